//! Compiles the shim, as it is, against the test bed's headers and driver.

fn main() {
    let shim = "../lib-pollwire/shim";
    println!("cargo::rerun-if-changed={shim}");
    for own in ["include", "testbed.h", "netbuf.c", "driver.c"] {
        println!("cargo::rerun-if-changed={own}");
    }
    cc::Build::new()
        .std("gnu11")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .include("include")
        .include(".")
        .include(shim)
        .file(format!("{shim}/netdev.c"))
        .file("netbuf.c")
        .file("driver.c")
        // Undefined behaviour stops the test, without a library to report it.
        .flag_if_supported("-fsanitize=undefined")
        .flag_if_supported("-fsanitize-undefined-trap-on-error")
        .compile("pollwire_uk_testbed");
}
