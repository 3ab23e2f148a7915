//! What every networked unikernel here does first: a stack on the network
//! `service`, set up as the boot arguments say.
//!
//! On Linux, `examples/common` does the same over a TAP device.
#![no_std]
#![forbid(unsafe_code)]

use pollwire_args::{Network, Stop};
use pollwire_core::{Memory, Stack};
use pollwire_guest::{ExitCode, Guest, GuestDevice};

/// Prints why the program does not run with these arguments, or the help text
/// that they ask for; returns the exit code.
#[must_use]
pub fn refuse(stop: &Stop) -> ExitCode {
    pollwire_guest::println!("{stop}");
    ExitCode::from(stop.exit_code())
}

/// Boots a stack in `memory` on the network `service`, which the image must
/// declare: `pollwire_guest::entry!(main; net "service")`. Logs from now on as
/// `network` says.
///
/// # Errors
/// [`ExitCode::FAILURE`], the reason logged: the device does not open, or
/// another stack has taken `memory`.
pub fn boot<const FRAMES: usize, const FLOWS: usize, const SIZE: usize>(
    guest: &Guest,
    memory: &'static Memory<FRAMES, FLOWS, SIZE>,
    network: &Network,
) -> Result<(Stack, GuestDevice), ExitCode> {
    if let Some(level) = network.log {
        log::set_max_level(level);
    }
    let mut seed = [0; 32];
    guest.random().fill(&mut seed);
    let open = |pool: &_| guest.net("service", pool);
    Stack::boot(memory, &network.config(seed), open).map_err(|error| {
        log::error!("{error}");
        ExitCode::FAILURE
    })
}
