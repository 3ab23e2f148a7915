//! `unikernels/resolve` on Linux, over a TAP device:
//!
//! ```sh
//! cargo run --release --example resolve -- --ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 \
//!     --nameserver=udp:9.9.9.9 --host=www.example.org
//! ```

mod common;

use std::process::ExitCode;

use pollwire::host::wall_clock;
use pollwire_apps::resolve::{self, Question, Resolving};
use pollwire_args::{Network, Program};
use pollwire_tls::WallClock;

const PROGRAM: Program = Program {
    options: &[
        Network::OPTIONS,
        resolve::OPTIONS,
        Resolving::OPTIONS,
        common::OPTIONS,
    ],
    ..resolve::PROGRAM
};

fn main() -> ExitCode {
    common::run(&PROGRAM, Question::from_matches, async |net, question| {
        let clock = WallClock::new(wall_clock(), net.now());
        resolve::run(net, question, clock).await
    })
}
