//! The services of `unikernels/services` on Linux, over a TAP device:
//!
//! ```sh
//! cargo run --release --example services -- --tap=tap0 --ipv4=10.0.0.2/24
//! ```

mod common;

use std::process::ExitCode;

use pollwire_apps::services;
use pollwire_args::{Network, Program};

const PROGRAM: Program = Program {
    options: &[Network::OPTIONS, common::OPTIONS],
    ..services::PROGRAM
};

fn main() -> ExitCode {
    common::run(
        &PROGRAM,
        |matches| matches.at_most(0),
        async |net, ()| match services::run(net, pollwire::host::wall_clock).await {
            Err(error) => Err(error),
            Ok(never) => match never {},
        },
    )
}
