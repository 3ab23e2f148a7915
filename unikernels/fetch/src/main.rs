//! Fetches a page over HTTP or HTTPS, on the network `service`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pollwire_apps::fetch::{self, PROGRAM};
use pollwire_core::{Clock, Memory, NetCell, Runtime, Stack};
use pollwire_guest::{ExitCode, Guest};
use pollwire_tls::WallClock;

pollwire_guest::entry!(main; net "service");

/// 4 MiB of frames, and room for 64 connections.
static MEMORY: Memory<2048, 64> = Memory::new();

fn main(guest: Guest) -> ExitCode {
    let (network, request) = match fetch::arguments(&PROGRAM, guest.args()) {
        Ok(arguments) => arguments,
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
    let clock = WallClock::new(guest.wall_clock(), guest.clock().now());
    let finished = runtime.block_on(|net| fetch::run(net, request, clock));
    pollwire_guest::println!("{}", finished.text);
    ExitCode::from(finished.exit_code)
}
