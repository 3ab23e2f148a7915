//! Echo server, or client that checks what comes back, on the network
//! `service`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use pollwire_apps::echo::{self, PROGRAM};
use pollwire_boot::{boot, refuse};
use pollwire_core::{Memory, NetCell, Runtime};
use pollwire_guest::{ExitCode, Guest};

pollwire_guest::entry!(main; net "service");

/// 4 MiB of frames, and room for 1024 connections.
static MEMORY: Memory<2048, 1024> = Memory::new();

fn main(guest: Guest) -> ExitCode {
    let (network, mode) = match echo::arguments(&PROGRAM, guest.args()) {
        Ok(arguments) => arguments,
        Err(stop) => return refuse(&stop),
    };
    let (stack, device) = match boot(&guest, &MEMORY, &network) {
        Ok(booted) => booted,
        Err(failure) => return failure,
    };
    let cell = NetCell::new(stack);
    let mut runtime = Runtime::new(&cell, device, guest.clock());
    match runtime.block_on(|net| echo::run(net, mode)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}
