//! What a program knows of its machine, whatever that is.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use log::LevelFilter;
use pollwire_rings::FramePool;

use crate::console::{self, LogSettings};
use crate::platform::{GuestClock, GuestDevice, Machine};
use crate::{Abi, DeviceError, ExitCode, Random, entropy};

const RESERVED_PREFIX: &str = "--guest.";

unsafe extern "Rust" {
    /// Defined by [`entry!`](crate::entry) in the program.
    pub(crate) safe fn pollwire_guest_main(guest: Guest) -> ExitCode;
}

/// The machine that the program runs on.
#[derive(Debug)]
pub struct Guest {
    machine: Machine,
    arguments: &'static [&'static str],
    heap_size: usize,
    random: Random,
}

impl Guest {
    /// Called once there is a heap of `heap_size` bytes. `words` are all boot
    /// arguments.
    pub(crate) fn boot(
        machine: Machine,
        words: impl Iterator<Item = &'static str>,
        heap_size: usize,
    ) -> Result<Self, &'static str> {
        let (reserved, arguments): (Vec<_>, Vec<_>) =
            words.partition(|word| word.starts_with(RESERVED_PREFIX));
        let guest = Self {
            machine,
            arguments: Box::leak(arguments.into_boxed_slice()),
            heap_size,
            random: entropy::seeded()?,
        };
        guest.apply_reserved_arguments(&reserved)?;
        Ok(guest)
    }

    fn apply_reserved_arguments(&self, words: &[&str]) -> Result<(), &'static str> {
        let mut settings = LogSettings::default();
        let options = words.iter().filter_map(|w| w.strip_prefix(RESERVED_PREFIX));
        for option in options {
            match option.split_once('=') {
                Some(("log", level)) => {
                    settings.level = level
                        .parse::<LevelFilter>()
                        .map_err(|_| "--guest.log takes off, error, warn, info, debug or trace")?;
                }
                None if option == "avx" => self.machine.enable_avx()?,
                _ => return Err("an unknown --guest. argument; there are log=LEVEL and avx"),
            }
        }
        console::install_logger(settings);
        Ok(())
    }

    /// What runs this image.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.machine.abi()
    }

    /// The boot arguments. Solo5's tenders join theirs with single spaces and
    /// keep no quotes, so there an argument cannot contain white space. Unikraft
    /// heeds quotes; its own arguments, before `--`, are not among these.
    pub fn args(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.arguments.iter().copied()
    }

    /// The network device that [`entry!`](crate::entry) declared as `name`,
    /// receiving into frames of `pool`. Its MTU is the host's, or what such a
    /// frame holds when that is less. On Unikraft the first name is network
    /// device 0, the second device 1, and so on.
    ///
    /// # Errors
    /// [`DeviceError`] when nothing is attached under that name, or the device
    /// does not start. Solo5's tenders refuse to run an image with a declared
    /// device unattached, so `name` was not declared then.
    pub fn net(&self, name: &str, pool: &FramePool) -> Result<GuestDevice, DeviceError> {
        let device = self.machine.net(name, pool)?;
        log::debug!("network {name}: {}", device.way());
        Ok(device)
    }

    /// The monotonic clock.
    #[must_use]
    pub fn clock(&self) -> GuestClock {
        GuestClock::new()
    }

    /// Time since the Unix epoch.
    #[must_use]
    pub fn wall_clock(&self) -> Duration {
        Duration::from_nanos(self.machine.wall_clock())
    }

    /// A generator of random bytes fit for keys, independent of every other
    /// that this function gave.
    #[must_use]
    pub fn random(&self) -> Random {
        self.random.split()
    }

    /// Bytes of guest memory.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.machine.memory_size()
    }

    /// Bytes of the heap.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.heap_size
    }
}
