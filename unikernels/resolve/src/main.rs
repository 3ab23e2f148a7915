//! Looks a name up, on the network `service`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pollwire_apps::resolve::{self, PROGRAM};
use pollwire_boot::{boot, refuse};
use pollwire_core::{Clock, Memory, NetCell, Runtime};
use pollwire_guest::{ExitCode, Guest};
use pollwire_tls::WallClock;

pollwire_guest::entry!(main; net "service");

/// 1 MiB of frames, and room for 32 connections.
static MEMORY: Memory<512, 32> = Memory::new();

fn main(guest: Guest) -> ExitCode {
    let (network, question) = match resolve::arguments(&PROGRAM, guest.args()) {
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
    let finished = runtime.block_on(|net| resolve::run(net, question, clock));
    pollwire_guest::println!("{}", finished.text);
    ExitCode::from(finished.exit_code)
}
