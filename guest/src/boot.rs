//! From the tender's jump to the program's `main`.

use core::arch::naked_asm;
use core::slice;
use core::time::Duration;

use log::LevelFilter;
use pollwire_rings::FramePool;
use pollwire_rings::solo5::manifest::{self, Manifest};
use pollwire_rings::solo5::{Hvt, HvtBootInfo, HvtDevice, Spt, SptBootInfo, SptDevice};

use crate::console::{self, LogSettings};
use crate::{
    Abi, DeviceError, ExitCode, GuestClock, GuestDevice, Random, clock, entropy, exit, fault, heap,
};

const RESERVED_PREFIX: &str = "--guest.";
/// The tenders' limit, terminator included.
const CMDLINE_SIZE: usize = 8192;

unsafe extern "Rust" {
    /// Defined by [`entry!`](crate::entry) in the program.
    safe fn pollwire_guest_main(guest: Guest) -> ExitCode;
}

/// Where the tender jumps to, with the boot information's address in `rdi`. The
/// tender's stack at the end of memory has no guard, so the image's own takes
/// its place.
///
/// # Safety
/// Called by the tender alone, once.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "lea rsp, [rip + _stack_top]",
        "xor ebp, ebp",
        "call {start}",
        "ud2",
        start = sym start,
    )
}

/// What the tender told the guest, by ABI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Platform {
    Hvt(Hvt, HvtBootInfo),
    Spt(Spt, SptBootInfo),
}

extern "C" fn start(boot_info: *const u8) -> ! {
    let platform = match Abi::of_image() {
        // SAFETY: the tenders check the image's ABI note, so this is an hvt
        // guest and `boot_info` its boot information; hvt maps all memory at
        // its physical address, below 4 GiB.
        Abi::Hvt => unsafe { Platform::Hvt(Hvt::new(), boot_info.cast::<HvtBootInfo>().read()) },
        // SAFETY: likewise an spt guest.
        Abi::Spt => unsafe { Platform::Spt(Spt::new(), boot_info.cast::<SptBootInfo>().read()) },
    };
    if let Platform::Hvt(_, boot) = &platform {
        // SAFETY: first and only call, on an hvt guest.
        unsafe { fault::install() };
        clock::calibrate(boot.cpu_cycle_freq);
    }
    match Guest::boot(platform) {
        Ok(guest) => exit::exit(pollwire_guest_main(guest)),
        Err(reason) => {
            crate::println!("pollwire-guest: cannot boot: {reason}");
            exit::exit(ExitCode::BOOT_REFUSED)
        }
    }
}

/// The machine that the program runs on.
#[derive(Debug)]
pub struct Guest {
    platform: Platform,
    cmdline: &'static str,
    manifest: Manifest<'static>,
    memory_size: u64,
    heap_size: usize,
    random: Random,
}

impl Guest {
    fn boot(platform: Platform) -> Result<Self, &'static str> {
        let (memory_size, cmdline, manifest) = match &platform {
            Platform::Hvt(_, boot) => (boot.mem_size, boot.cmdline, boot.manifest),
            Platform::Spt(_, boot) => (boot.mem_size, boot.cmdline, boot.manifest),
        };
        // SAFETY: first and only call; the tender says how much memory there is.
        let heap_size = unsafe { heap::claim_rest_of_memory(memory_size) }?;
        // SAFETY: the tender's boot information points to a terminated command
        // line and a checked manifest, which both stay as they are.
        let (cmdline, manifest) = unsafe { (read_cmdline(cmdline), read_manifest(manifest)) };
        let guest = Self {
            platform,
            cmdline: cmdline?,
            manifest: manifest?,
            memory_size,
            heap_size,
            random: entropy::seeded()?,
        };
        guest.apply_reserved_arguments()?;
        Ok(guest)
    }

    fn apply_reserved_arguments(&self) -> Result<(), &'static str> {
        let mut settings = LogSettings::default();
        for word in self.cmdline.split_ascii_whitespace() {
            let Some(option) = word.strip_prefix(RESERVED_PREFIX) else {
                continue;
            };
            match option.split_once('=') {
                Some(("log", level)) => {
                    settings.level = level
                        .parse::<LevelFilter>()
                        .map_err(|_| "--guest.log takes off, error, warn, info, debug or trace")?;
                }
                None if option == "avx" => {
                    if let Platform::Hvt(..) = self.platform {
                        fault::enable_avx()?;
                    }
                }
                _ => return Err("an unknown --guest. argument; there are log=LEVEL and avx"),
            }
        }
        console::install_logger(settings);
        Ok(())
    }

    /// Which tender runs this image.
    #[must_use]
    pub fn abi(&self) -> Abi {
        match self.platform {
            Platform::Hvt(..) => Abi::Hvt,
            Platform::Spt(..) => Abi::Spt,
        }
    }

    /// The boot arguments, split at white space. The tenders join their own
    /// arguments with single spaces and keep no quotes, so an argument cannot
    /// contain white space.
    pub fn args(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.cmdline
            .split_ascii_whitespace()
            .filter(|word| !word.starts_with(RESERVED_PREFIX))
    }

    /// The network device that [`entry!`](crate::entry) declared as `name`,
    /// receiving into frames of `pool`. Its MTU is the host's, or what such a
    /// frame holds when that is less.
    ///
    /// # Errors
    /// [`DeviceError`] when nothing is attached under that name. The tenders
    /// refuse to start an image with a declared device unattached, so `name`
    /// was not declared then.
    pub fn net(&self, name: &str, pool: &FramePool) -> Result<GuestDevice, DeviceError> {
        let attachment = self.manifest.net(name).ok_or(DeviceError::NotAttached)?;
        Ok(match &self.platform {
            Platform::Spt(spt, boot) => {
                GuestDevice::Spt(SptDevice::new(*spt, boot, &attachment, pool))
            }
            Platform::Hvt(hvt, boot) => {
                // SAFETY: the tender's boot information names its ring, and the
                // tender serves it for the guest's whole life.
                let device = unsafe { HvtDevice::new(*hvt, boot, &attachment, pool) };
                GuestDevice::Hvt(device)
            }
        })
    }

    /// The monotonic clock.
    #[must_use]
    pub fn clock(&self) -> GuestClock {
        GuestClock::new()
    }

    /// Time since the Unix epoch.
    #[must_use]
    pub fn wall_clock(&self) -> Duration {
        Duration::from_nanos(match self.platform {
            Platform::Hvt(hvt, _) => hvt.wall_clock(),
            Platform::Spt(spt, _) => spt.wall_clock(),
        })
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
        self.memory_size
    }

    /// Bytes of the heap.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.heap_size
    }
}

/// # Safety
/// `text` must point to zero-terminated bytes that never change.
unsafe fn read_cmdline(text: *const u8) -> Result<&'static str, &'static str> {
    // SAFETY: reads up to the terminator, within the caller's promise.
    let len = (0..CMDLINE_SIZE).find(|&at| unsafe { text.add(at).read() } == 0);
    let len = len.ok_or("the command line has no end")?;
    // SAFETY: `len` bytes were just read.
    let bytes = unsafe { slice::from_raw_parts(text, len) };
    str::from_utf8(bytes).map_err(|_| "the command line is not UTF-8")
}

/// # Safety
/// `bytes` must point to a manifest that never changes.
unsafe fn read_manifest(bytes: *const u8) -> Result<Manifest<'static>, &'static str> {
    // SAFETY: a manifest begins with version and entry count; the address may be
    // unaligned.
    let count = unsafe { bytes.add(4).cast::<u32>().read_unaligned() } as usize;
    if count > manifest::MAX_ENTRIES {
        return Err("the tender's manifest has too many entries");
    }
    let size = manifest::HEADER_SIZE + count * manifest::ENTRY_SIZE;
    // SAFETY: so many bytes belong to a manifest of `count` entries.
    let bytes = unsafe { slice::from_raw_parts(bytes, size) };
    Manifest::parse(bytes).map_err(|_| "the tender's manifest is damaged")
}
