//! What the examples that have a twin in `unikernels/` share: the Linux side
//! of what `pollwire-guest` does for the twin.

use std::error::Error;
use std::process::ExitCode;

use log::{LevelFilter, Log, Metadata, Record};
use pollwire::host::{MonotonicClock, entropy};
use pollwire::rings::{NetDevice, local_mac, tap};
use pollwire::{Net, NetCell, Runtime, Stack};
use pollwire_args::{Matches, Network, Opt, Program, Stop};

const TAP: Opt = Opt::value("tap", "NAME", "the TAP device to use (default tap0)");

/// The options that a guest's tender takes.
pub(crate) const OPTIONS: &[Opt] = &[TAP];

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!(
            "{:<5} {}: {}",
            record.level(),
            record.target(),
            record.args()
        );
    }

    fn flush(&self) {}
}

/// Parses the arguments with `read`, runs `program` over a TAP and tells the
/// exit code. `main` gets what `read` made of the arguments.
pub(crate) fn run<A, E: Error>(
    program: &Program,
    read: impl FnOnce(&Matches<'_>) -> Result<A, Stop>,
    main: impl for<'n> AsyncFnOnce(Net<'n>, A) -> Result<(), E>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = program
        .parse(arguments.iter().map(String::as_str))
        .and_then(|matches| {
            let tap = matches.value::<String>(&TAP)?;
            Ok((tap, Network::from_matches(&matches)?, read(&matches)?))
        });
    let (tap, network, rest) = match parsed {
        Ok(parsed) => parsed,
        Err(stop) => {
            match &stop {
                Stop::Help(text) => println!("{text}"),
                Stop::Usage(text) => eprintln!("{text}"),
            }
            return ExitCode::from(stop.exit_code());
        }
    };
    log::set_max_level(network.log.unwrap_or(LevelFilter::Info));
    // The only logger of this process: there is none to be replaced.
    let _ = log::set_logger(&Stderr);
    match serve(&tap.unwrap_or_else(|| "tap0".into()), &network, rest, main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program.name);
            ExitCode::FAILURE
        }
    }
}

fn serve<A, E: Error>(
    tap: &str,
    network: &Network,
    arguments: A,
    main: impl for<'n> AsyncFnOnce(Net<'n>, A) -> Result<(), E>,
) -> Result<(), String> {
    let seed = entropy().map_err(|error| format!("/dev/urandom: {error}"))?;
    let mac = local_mac(u64::from_le_bytes([
        seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7],
    ]));
    let device = tap::Tap::open(tap, mac, tap::Offloads::ALL)
        .map_err(|error| format!("TAP {tap}: {error}"))?;
    let config = network.config(seed);
    let cell = NetCell::new(Stack::on_heap::<16_384, 4096, 2048>(&config, device.caps()));
    log::info!("{network} on {tap}");
    Runtime::new(&cell, device, MonotonicClock::new())
        .block_on(|net| main(net, arguments))
        .map_err(|error| error.to_string())
}
