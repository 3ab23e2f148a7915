//! `unikernels/fetch` on Linux, over a TAP device:
//!
//! ```sh
//! cargo run --release --example fetch -- --ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 \
//!     --nameserver=tls:9.9.9.9!dns.quad9.net https://www.example.org/
//! ```

mod common;

use std::process::ExitCode;

use pollwire::host::wall_clock;
use pollwire_apps::fetch::{self, Request};
use pollwire_apps::resolve::Resolving;
use pollwire_args::{Network, Program};
use pollwire_tls::WallClock;

const PROGRAM: Program = Program {
    options: &[
        Network::OPTIONS,
        fetch::OPTIONS,
        Resolving::OPTIONS,
        common::OPTIONS,
    ],
    ..fetch::PROGRAM
};

fn main() -> ExitCode {
    common::run(&PROGRAM, Request::from_matches, async |net, request| {
        let clock = WallClock::new(wall_clock(), net.now());
        fetch::run(net, request, clock).await
    })
}
