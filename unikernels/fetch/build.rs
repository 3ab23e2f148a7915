//! Links the program as an image.

fn main() {
    let arguments = std::env::var("DEP_POLLWIRE_GUEST_LINK_ARGS")
        .expect("pollwire-guest must be a direct dependency");
    for argument in arguments.split(';') {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
