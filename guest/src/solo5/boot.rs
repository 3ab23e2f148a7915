//! From the tender's jump to the program's `main`.

use core::arch::naked_asm;
use core::slice;

use pollwire_rings::FramePool;
use pollwire_rings::solo5::manifest::{self, Manifest};
use pollwire_rings::solo5::{Hvt, HvtBootInfo, HvtDevice, Spt, SptBootInfo, SptDevice};

use super::{GuestDevice, clock, fault, heap, note};
use crate::boot::pollwire_guest_main;
use crate::{Abi, DeviceError, Guest, exit};

/// The tenders' limit, terminator included.
const CMDLINE_SIZE: usize = 8192;

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
enum Platform {
    Hvt(Hvt, HvtBootInfo),
    Spt(Spt, SptBootInfo),
}

extern "C" fn start(boot_info: *const u8) -> ! {
    let platform = match note::abi() {
        // SAFETY: the tenders check the image's ABI note, so this is an hvt
        // guest and `boot_info` its boot information; hvt maps all memory at
        // its physical address, below 4 GiB.
        Abi::Hvt => unsafe { Platform::Hvt(Hvt::new(), boot_info.cast::<HvtBootInfo>().read()) },
        // SAFETY: likewise an spt guest.
        _ => unsafe { Platform::Spt(Spt::new(), boot_info.cast::<SptBootInfo>().read()) },
    };
    if let Platform::Hvt(_, boot) = &platform {
        // SAFETY: first and only call, on an hvt guest.
        unsafe { fault::install() };
        clock::calibrate(boot.cpu_cycle_freq);
    }
    match boot(platform) {
        Ok(guest) => exit::exit(pollwire_guest_main(guest)),
        Err(reason) => exit::refuse(reason),
    }
}

fn boot(platform: Platform) -> Result<Guest, &'static str> {
    let (memory_size, cmdline, manifest) = match &platform {
        Platform::Hvt(_, boot) => (boot.mem_size, boot.cmdline, boot.manifest),
        Platform::Spt(_, boot) => (boot.mem_size, boot.cmdline, boot.manifest),
    };
    // SAFETY: first and only call; the tender says how much memory there is.
    let heap_size = unsafe { heap::claim_rest_of_memory(memory_size) }?;
    // SAFETY: the tender's boot information points to a terminated command
    // line and a checked manifest, which both stay as they are.
    let (cmdline, manifest) = unsafe { (read_cmdline(cmdline), read_manifest(manifest)) };
    let machine = Machine {
        platform,
        manifest: manifest?,
        memory_size,
    };
    Guest::boot(machine, cmdline?.split_ascii_whitespace(), heap_size)
}

/// The tender's side of a [`Guest`].
#[derive(Debug)]
pub(crate) struct Machine {
    platform: Platform,
    manifest: Manifest<'static>,
    memory_size: u64,
}

impl Machine {
    pub(crate) fn abi(&self) -> Abi {
        match self.platform {
            Platform::Hvt(..) => Abi::Hvt,
            Platform::Spt(..) => Abi::Spt,
        }
    }

    pub(crate) fn enable_avx(&self) -> Result<(), &'static str> {
        match self.platform {
            Platform::Hvt(..) => fault::enable_avx(),
            Platform::Spt(..) => Ok(()),
        }
    }

    pub(crate) fn net(&self, name: &str, pool: &FramePool) -> Result<GuestDevice, DeviceError> {
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

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn wall_clock(&self) -> u64 {
        match self.platform {
            Platform::Hvt(hvt, _) => hvt.wall_clock(),
            Platform::Spt(spt, _) => spt.wall_clock(),
        }
    }

    pub(crate) fn memory_size(&self) -> u64 {
        self.memory_size
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
