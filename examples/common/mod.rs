//! What the examples that have a twin in `unikernels/` share: the Linux side
//! of what `pollwire-guest` does for the twin.

use std::error::Error;
use std::process::ExitCode;

use log::{LevelFilter, Log, Metadata, Record};
use pollwire::host::{MonotonicClock, entropy};
use pollwire::rings::{NetDevice, local_mac, tap};
use pollwire::{Net, NetCell, Runtime, Stack};
use pollwire_apps::Finished;
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

/// What a program leaves behind, told to the user.
pub(crate) trait Report {
    /// Prints it, under the program's `name`; gives the exit code.
    fn report(self, name: &str) -> ExitCode;
}

impl<E: Error> Report for Result<(), E> {
    fn report(self, name: &str) -> ExitCode {
        match self {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name}: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Report for Finished {
    fn report(self, _: &str) -> ExitCode {
        println!("{}", self.text);
        ExitCode::from(self.exit_code)
    }
}

/// Parses the arguments with `read`, runs `program` over a TAP and tells the
/// exit code. `main` gets what `read` made of the arguments.
pub(crate) fn run<A, T: Report>(
    program: &Program,
    read: impl FnOnce(&Matches<'_>) -> Result<A, Stop>,
    main: impl for<'n> AsyncFnOnce(Net<'n>, A) -> T,
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
        Ok(done) => done.report(program.name),
        Err(error) => {
            eprintln!("{}: {error}", program.name);
            ExitCode::FAILURE
        }
    }
}

fn serve<A, T>(
    tap: &str,
    network: &Network,
    arguments: A,
    main: impl for<'n> AsyncFnOnce(Net<'n>, A) -> T,
) -> Result<T, String> {
    let seed = entropy().map_err(|error| format!("/dev/urandom: {error}"))?;
    let mac = local_mac(u64::from_le_bytes([
        seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], seed[6], seed[7],
    ]));
    let device = tap::Tap::open(tap, mac, tap::Offloads::ALL)
        .map_err(|error| format!("TAP {tap}: {error}"))?;
    let config = network.config(seed);
    let cell = NetCell::new(Stack::on_heap::<16_384, 4096, 2048>(&config, device.caps()));
    log::info!("{network} on {tap}");
    Ok(Runtime::new(&cell, device, MonotonicClock::new()).block_on(|net| main(net, arguments)))
}
