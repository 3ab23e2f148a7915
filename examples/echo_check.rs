//! `unikernels/echo` on Linux, over a TAP device:
//!
//! ```sh
//! cargo run --release --example echo_check -- --ipv4=10.0.0.2/24 server
//! cargo run --release --example echo_check -- --ipv4=10.0.0.2/24 client 10.0.0.1 1000000
//! ```

mod common;

use std::process::ExitCode;

use pollwire_apps::echo::{self, Mode};
use pollwire_args::{Network, Program};

const PROGRAM: Program = Program {
    options: &[Network::OPTIONS, echo::OPTIONS, common::OPTIONS],
    ..echo::PROGRAM
};

fn main() -> ExitCode {
    common::run(&PROGRAM, Mode::from_matches, async |net, mode| {
        echo::run(net, mode).await
    })
}
