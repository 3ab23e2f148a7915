//! Links the program as an image, with the certificate that it is to show:
//! `POLLWIRE_TLS_CERT` and `POLLWIRE_TLS_KEY` name PEM files, those of `tls/`
//! take their place when they are not set.

use std::env;
use std::path::Path;

fn main() {
    let arguments = env::var("DEP_POLLWIRE_GUEST_LINK_ARGS")
        .expect("pollwire-guest must be a direct dependency");
    for argument in arguments.split(';') {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for (name, default) in [
        ("POLLWIRE_TLS_CERT", "tls/cert.pem"),
        ("POLLWIRE_TLS_KEY", "tls/key.pem"),
    ] {
        let file = env::var(name).unwrap_or_else(|_| {
            let file = Path::new(&folder).join(default);
            file.to_str().expect("a path in UTF-8").to_owned()
        });
        println!("cargo::rustc-env={name}={file}");
        println!("cargo::rerun-if-changed={file}");
        println!("cargo::rerun-if-env-changed={name}");
    }
}
