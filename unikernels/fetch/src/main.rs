//! Fetches a page over HTTP or HTTPS, on the network `service`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pollwire_apps::fetch::{self, PROGRAM};
use pollwire_boot::{boot, refuse};
use pollwire_core::{Clock, Memory, NetCell, Runtime};
use pollwire_guest::{ExitCode, Guest};
use pollwire_tls::WallClock;

pollwire_guest::entry!(main; net "service");

/// 4 MiB of frames, and room for 64 connections.
static MEMORY: Memory<2048, 64> = Memory::new();

fn main(guest: Guest) -> ExitCode {
    let (network, request) = match fetch::arguments(&PROGRAM, guest.args()) {
        Ok(arguments) => arguments,
        Err(stop) => return refuse(&stop),
    };
    let (stack, device) = match boot(&guest, &MEMORY, &network) {
        Ok(booted) => booted,
        Err(failure) => return failure,
    };
    let cell = NetCell::new(stack);
    let mut runtime = Runtime::new(&cell, device, guest.clock());
    let clock = WallClock::new(guest.wall_clock(), guest.clock().now());
    let finished = runtime.block_on(|net| fetch::run(net, request, clock));
    pollwire_guest::println!("{}", finished.text);
    ExitCode::from(finished.exit_code)
}
