//! Serves echo, discard, daytime, chargen and HTTP on the network `service`, HTTP
//! and echo over TLS, too.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use pollwire_apps::services::names::{self, Named};
use pollwire_apps::services::{self, PROGRAM, tls};
use pollwire_args::{Network, Stop};
use pollwire_boot::{boot, refuse};
use pollwire_core::{Clock, Memory, NetCell, Runtime};
use pollwire_guest::{ExitCode, Guest};
use pollwire_tls::WallClock;

pollwire_guest::entry!(main; net "service");

/// 16 MiB of frames, and room for 4096 connections.
static MEMORY: Memory<8192, 4096> = Memory::new();

/// PEM files, chosen by `build.rs`.
const CERTIFICATE: &[u8] = include_bytes!(env!("POLLWIRE_TLS_CERT"));
const KEY: &[u8] = include_bytes!(env!("POLLWIRE_TLS_KEY"));

fn main(guest: Guest) -> ExitCode {
    let (network, names) = match arguments(&guest) {
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
    let config = match tls::config(clock, CERTIFICATE, KEY) {
        Ok(config) => config,
        Err(error) => {
            log::error!("TLS: {error}");
            return ExitCode::FAILURE;
        }
    };
    log::info!("serving on {network}");
    let Err(error) = runtime.block_on(async |net| {
        tls::start(net, &config)?;
        names::start(net, names)?;
        services::run(net, || guest.wall_clock()).await
    });
    log::error!("{error}");
    ExitCode::FAILURE
}

fn arguments(guest: &Guest) -> Result<(Network, Vec<Named>), Stop> {
    let matches = PROGRAM.parse(guest.args())?;
    matches.at_most(0)?;
    Ok((
        Network::from_matches(&matches)?,
        names::from_matches(&matches)?,
    ))
}
