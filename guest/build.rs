//! Tells images how to link, through `DEP_POLLWIRE_GUEST_LINK_ARGS`.

use std::path::Path;
use std::{env, fs, io};

/// Libraries that dependencies may ask for although nothing of them may be
/// used: an empty one in their place turns a missing symbol into a link error
/// rather than a null call at run time.
const EMPTY_LIBRARIES: [&str; 7] = ["c", "m", "rt", "pthread", "util", "dl", "gcc_s"];

fn main() -> io::Result<()> {
    let manifest_dir = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out_dir = env::var("OUT_DIR").map_err(io::Error::other)?;
    let script = Path::new(&manifest_dir).join("solo5.ld");
    let libraries = Path::new(&out_dir).join("empty");
    fs::create_dir_all(&libraries)?;
    for name in EMPTY_LIBRARIES {
        fs::write(libraries.join(format!("lib{name}.so")), "/* empty */\n")?;
    }
    let arguments = [
        "-nostdlib".to_owned(),
        "-nostartfiles".to_owned(),
        "-static".to_owned(),
        "-no-pie".to_owned(),
        format!("-L{}", libraries.display()),
        format!("-Wl,-T,{}", script.display()),
        "-Wl,-z,max-page-size=0x1000".to_owned(),
        "-Wl,-z,norelro".to_owned(),
        "-Wl,--build-id=none".to_owned(),
    ];
    println!("cargo::metadata=LINK_ARGS={}", arguments.join(";"));
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
