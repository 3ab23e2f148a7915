//! Tells images how to link, through `DEP_POLLWIRE_GUEST_LINK_ARGS`.

use std::path::Path;
use std::{env, fs, io};

/// Libraries that dependencies may ask for although nothing of them may be
/// used: an empty one in their place turns a missing symbol into a link error
/// rather than a null call at run time.
const EMPTY_LIBRARIES: [&str; 7] = ["c", "m", "rt", "pthread", "util", "dl", "gcc_s"];

fn main() -> io::Result<()> {
    let arguments = match env::var_os("CARGO_FEATURE_UNIKRAFT") {
        None => solo5()?,
        Some(_) => unikraft(),
    };
    println!("cargo::metadata=LINK_ARGS={}", arguments.join(";"));
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

/// An image.
fn solo5() -> io::Result<Vec<String>> {
    let manifest_dir = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out_dir = env::var("OUT_DIR").map_err(io::Error::other)?;
    let script = Path::new(&manifest_dir).join("solo5.ld");
    let libraries = Path::new(&out_dir).join("empty");
    fs::create_dir_all(&libraries)?;
    for name in EMPTY_LIBRARIES {
        fs::write(libraries.join(format!("lib{name}.so")), "/* empty */\n")?;
    }
    println!("cargo::rerun-if-changed={}", script.display());
    Ok(vec![
        "-nostdlib".to_owned(),
        "-nostartfiles".to_owned(),
        "-static".to_owned(),
        "-no-pie".to_owned(),
        format!("-L{}", libraries.display()),
        format!("-Wl,-T,{}", script.display()),
        "-Wl,-z,max-page-size=0x1000".to_owned(),
        "-Wl,-z,norelro".to_owned(),
        "-Wl,--build-id=none".to_owned(),
    ])
}

/// One relocatable object, which Unikraft's build links with the rest. What is
/// missing in it shows there.
fn unikraft() -> Vec<String> {
    [
        "-r",
        "-nostdlib",
        "-nostartfiles",
        "-no-pie",
        // Nothing is reachable before there is an entry.
        "-Wl,--no-gc-sections",
        "-Wl,--build-id=none",
        // Nothing unwinds: programs are built with panic = "abort".
        "-Wl,--defsym=rust_eh_personality=0",
        "-Wl,--defsym=_Unwind_Resume=0",
    ]
    .map(str::to_owned)
    .to_vec()
}
