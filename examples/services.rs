//! The services of `unikernels/services` on Linux, over a TAP device:
//!
//! ```sh
//! cargo run --release --example services -- --tap=tap0 --ipv4=10.0.0.2/24
//! ```
//!
//! HTTPS and echo over TLS show the certificate for development of
//! `unikernels/services/tls`.

mod common;

use std::process::ExitCode;

use pollwire::host::wall_clock;
use pollwire_apps::services::{self, names, tls};
use pollwire_args::{Network, Program};
use pollwire_tls::{TlsError, WallClock};

const CERTIFICATE: &[u8] = include_bytes!("../unikernels/services/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../unikernels/services/tls/key.pem");

const PROGRAM: Program = Program {
    options: &[Network::OPTIONS, services::OPTIONS, common::OPTIONS],
    ..services::PROGRAM
};

fn main() -> ExitCode {
    common::run(
        &PROGRAM,
        |matches| {
            matches.at_most(0)?;
            names::from_matches(matches)
        },
        async |net, names| {
            let clock = WallClock::new(wall_clock(), net.now());
            let config = tls::config(clock, CERTIFICATE, KEY)?;
            tls::start(net, &config)?;
            names::start(net, names)?;
            match services::run(net, wall_clock).await {
                Err(error) => Err(TlsError::from(error)),
                Ok(never) => match never {},
            }
        },
    )
}
