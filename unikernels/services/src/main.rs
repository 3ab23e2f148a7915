//! Serves echo, discard, daytime, chargen and HTTP on the network `service`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pollwire_apps::services::{self, PROGRAM};
use pollwire_args::{Network, Stop};
use pollwire_core::{Memory, NetCell, Runtime, Stack};
use pollwire_guest::{ExitCode, Guest};

pollwire_guest::entry!(main; net "service");

/// 16 MiB of frames, and room for 4096 connections.
static MEMORY: Memory<8192, 4096> = Memory::new();

fn main(guest: Guest) -> ExitCode {
    let network = match network(&guest) {
        Ok(network) => network,
        Err(stop) => {
            pollwire_guest::println!("{stop}");
            return ExitCode::from(stop.exit_code());
        }
    };
    if let Some(level) = network.log {
        log::set_max_level(level);
    }
    let mut seed = [0; 32];
    guest.random().fill(&mut seed);
    let open = |pool: &_| guest.net("service", pool);
    let (stack, device) = match Stack::boot(&MEMORY, &network.config(seed), open) {
        Ok(booted) => booted,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let cell = NetCell::new(stack);
    let mut runtime = Runtime::new(&cell, device, guest.clock());
    log::info!("serving on {}", network.ipv4);
    let Err(error) = runtime.block_on(|net| services::run(net, || guest.wall_clock()));
    log::error!("{error}");
    ExitCode::FAILURE
}

fn network(guest: &Guest) -> Result<Network, Stop> {
    let matches = PROGRAM.parse(guest.args())?;
    matches.at_most(0)?;
    Network::from_matches(&matches)
}
