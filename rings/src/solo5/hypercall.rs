//! The calls of an hvt guest: a 32-bit OUT whose value is the address of the
//! arguments (`hvt_abi.h`, version 2).

use core::arch::asm;
use core::time::Duration;

use super::ring::Ring;

const PORT_BASE: u16 = 0x500;
const PORT_KICK: u16 = 0x600;
const FEATURE_RING: u32 = 1;

const WALLTIME: u16 = 1;
const PUTS: u16 = 2;
const POLL: u16 = 3;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;
const HALT: u16 = 8;

const RET_OK: i32 = 0;
const RET_AGAIN: i32 = 1;

/// Boot information of an hvt guest, at the address in its first argument.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HvtBootInfo {
    /// Guest memory, in bytes from address 0.
    pub mem_size: u64,
    /// End of the image's last segment with file content.
    pub kernel_end: u64,
    /// Frequency of the time-stamp counter, in Hz.
    pub cpu_cycle_freq: u64,
    /// Address of the command line, zero-terminated.
    pub cmdline: *const u8,
    /// Address of the manifest.
    pub manifest: *const u8,
    host_features: u32,
    guest_features: u32,
    net_ring: *const Ring,
}

impl HvtBootInfo {
    /// The shared ring for network I/O, when the tender offers one. Tenders
    /// before 0.11 leave these fields zero.
    #[must_use]
    pub fn ring(&self) -> Option<*const Ring> {
        let offered = self.host_features & FEATURE_RING != 0 && !self.net_ring.is_null();
        offered.then_some(self.net_ring)
    }
}

/// Why a read gave no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetReadError {
    /// None has arrived.
    Empty,
    /// The host refused, with this code.
    Refused(i32),
}

/// Proof that this program runs as an hvt guest; its methods are the calls.
#[derive(Clone, Copy, Debug)]
pub struct Hvt(());

impl Hvt {
    /// The proof.
    ///
    /// # Safety
    /// The program must run as an hvt guest at ring 0, with all its memory
    /// mapped at its physical address and below 4 GiB.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Writes to the console.
    pub fn puts(self, text: &[u8]) {
        let mut argument = Puts {
            data: text.as_ptr(),
            len: text.len(),
        };
        // SAFETY: the call reads `len` bytes at `data`, both of `text`.
        unsafe { call(PUTS, &raw mut argument) }
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn wall_clock(self) -> u64 {
        let mut nanos = 0_u64;
        // SAFETY: the call writes eight bytes at the argument.
        unsafe { call(WALLTIME, &raw mut nanos) }
        nanos
    }

    /// Sleeps until a device can be read or `timeout` has passed; `None` waits
    /// without bound. Returns the set of readable handles.
    #[must_use]
    pub fn poll(self, timeout: Option<Duration>) -> u64 {
        // The tender takes seconds as a signed number: a century is for ever.
        const FOR_EVER: u64 = 3_000_000_000_000_000_000;
        let nanos = timeout.map_or(FOR_EVER, |timeout| {
            u64::try_from(timeout.as_nanos())
                .unwrap_or(FOR_EVER)
                .min(FOR_EVER)
        });
        let mut argument = Poll {
            timeout_nanos: nanos,
            ready_set: 0,
            ret: 0,
        };
        // SAFETY: the call reads and writes the argument only.
        unsafe { call(POLL, &raw mut argument) }
        argument.ready_set
    }

    /// Writes one frame. An error is the host's code.
    ///
    /// # Errors
    /// The code, when the host refuses the handle.
    pub fn net_write(self, handle: u32, frame: &[u8]) -> Result<(), i32> {
        let mut argument = NetWrite {
            handle: u64::from(handle),
            data: frame.as_ptr(),
            len: frame.len(),
            ret: 0,
        };
        // SAFETY: the call reads `len` bytes at `data`, both of `frame`.
        unsafe { call(NET_WRITE, &raw mut argument) }
        match argument.ret {
            RET_OK => Ok(()),
            code => Err(code),
        }
    }

    /// Reads one frame into `buffer` and returns its length.
    ///
    /// # Errors
    /// [`NetReadError`].
    pub fn net_read(self, handle: u32, buffer: &mut [u8]) -> Result<usize, NetReadError> {
        let mut argument = NetRead {
            handle: u64::from(handle),
            data: buffer.as_mut_ptr(),
            len: buffer.len(),
            ret: 0,
        };
        // SAFETY: the call writes at most `len` bytes at `data`, both of the
        // exclusively borrowed `buffer`.
        unsafe { call(NET_READ, &raw mut argument) }
        match argument.ret {
            RET_OK => Ok(argument.len.min(buffer.len())),
            RET_AGAIN => Err(NetReadError::Empty),
            code => Err(NetReadError::Refused(code)),
        }
    }

    /// Wakes the tender's I/O thread.
    pub fn kick(self) {
        // SAFETY: `Hvt` proves ring 0; the port only signals the host.
        unsafe {
            asm!("out dx, eax", in("dx") PORT_KICK, in("eax") 0_u32,
                 options(nostack, preserves_flags));
        }
    }

    /// Ends the guest with `status`.
    pub fn halt(self, status: i32) -> ! {
        let mut argument = Halt {
            cookie: core::ptr::null_mut(),
            status,
        };
        loop {
            // SAFETY: the call reads the argument and does not return.
            unsafe { call(HALT, &raw mut argument) }
        }
    }
}

#[repr(C)]
struct Puts {
    data: *const u8,
    len: usize,
}

#[repr(C)]
struct Poll {
    timeout_nanos: u64,
    ready_set: u64,
    ret: i32,
}

#[repr(C)]
struct NetWrite {
    handle: u64,
    data: *const u8,
    len: usize,
    ret: i32,
}

#[repr(C)]
struct NetRead {
    handle: u64,
    data: *mut u8,
    len: usize,
    ret: i32,
}

#[repr(C)]
struct Halt {
    cookie: *mut u8,
    status: i32,
}

/// # Safety
/// `argument` must be what call `number` expects, and every address in it must
/// be valid for what the call does there.
unsafe fn call<T>(number: u16, argument: *mut T) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an hvt guest's memory lies below 4 GiB"
    )]
    let address = argument.expose_provenance() as u32;
    // SAFETY: ring 0, proved by `Hvt`; the caller vouches for the argument.
    // The memory clobber is implied: the host reads and writes through it.
    unsafe {
        asm!("out dx, eax", in("dx") PORT_BASE + number, in("eax") address,
             options(nostack, preserves_flags));
    }
}
