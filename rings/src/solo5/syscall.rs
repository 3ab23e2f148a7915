//! The calls of an spt guest: the few Linux system calls that the tender's
//! filter lets through.

use core::arch::asm;
use core::time::Duration;

use crate::Instant;

const READ: usize = 0;
const WRITE: usize = 1;
const CLOCK_GETTIME: usize = 228;
const EXIT_GROUP: usize = 231;
const EPOLL_PWAIT: usize = 281;
const TIMERFD_SETTIME: usize = 286;

const STDOUT: i32 = 1;
const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;

/// Boot information of an spt guest, at the address in its first argument.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SptBootInfo {
    /// Guest memory, in bytes from address 0.
    pub mem_size: u64,
    /// End of the image's last segment with file content.
    pub kernel_end: u64,
    /// Address of the command line, zero-terminated.
    pub cmdline: *const u8,
    /// Address of the manifest.
    pub manifest: *const u8,
    /// The epoll set of all devices and the timer.
    pub epoll_fd: i32,
    /// The timer in that set.
    pub timer_fd: i32,
}

/// A Linux error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// A signal came before anything else.
    pub const INTERRUPTED: Self = Self(4);
    /// Nothing to read, or no room to write.
    pub const AGAIN: Self = Self(11);
    /// The host has no memory for it now.
    pub const NO_BUFFERS: Self = Self(105);
}

/// Proof that this program runs as an spt guest; its methods are the calls.
#[derive(Clone, Copy, Debug)]
pub struct Spt(());

impl Spt {
    /// The proof.
    ///
    /// # Safety
    /// The program must run as an spt guest: a Linux process whose descriptors
    /// are those that the tender opened for it.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Writes to the console.
    pub fn puts(self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            match self.write(STDOUT, rest) {
                Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTERRUPTED) => {}
                // A console that is gone must not stop the service.
                _ => return,
            }
        }
    }

    /// Nanoseconds of the host's monotonic clock.
    #[must_use]
    pub fn monotonic_clock(self) -> Instant {
        Instant::from_nanos(clock(CLOCK_MONOTONIC))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn wall_clock(self) -> u64 {
        clock(CLOCK_REALTIME)
    }

    /// Reads one frame into `buffer` and returns its length.
    ///
    /// # Errors
    /// The host's; [`Errno::AGAIN`] when none has arrived.
    pub fn read(self, fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the call writes at most `buffer.len()` bytes there.
        let result = unsafe {
            syscall(
                READ,
                [
                    argument(fd),
                    buffer.as_mut_ptr().expose_provenance(),
                    buffer.len(),
                    0,
                    0,
                    0,
                ],
            )
        };
        result.map(|count| count.min(buffer.len()))
    }

    /// Writes one frame and returns how much of it was taken.
    ///
    /// # Errors
    /// The host's; [`Errno::AGAIN`] when there is no room now.
    pub fn write(self, fd: i32, frame: &[u8]) -> Result<usize, Errno> {
        // SAFETY: the call reads `frame.len()` bytes there.
        unsafe {
            syscall(
                WRITE,
                [
                    argument(fd),
                    frame.as_ptr().expose_provenance(),
                    frame.len(),
                    0,
                    0,
                    0,
                ],
            )
        }
    }

    /// Sleeps on the tender's epoll set until something is ready or
    /// `milliseconds` have passed; -1 waits without bound. A signal may end it
    /// early.
    pub fn epoll_wait(self, epoll_fd: i32, milliseconds: i32) {
        // `struct epoll_event` is 12 bytes, packed, on x86-64. Which device is
        // ready does not matter: the loop polls them all.
        let mut events = [0_u8; 12 * 8];
        // SAFETY: the call writes at most eight events of 12 bytes each.
        let result = unsafe {
            syscall(
                EPOLL_PWAIT,
                [
                    argument(epoll_fd),
                    events.as_mut_ptr().expose_provenance(),
                    8,
                    argument(milliseconds),
                    0,
                    8,
                ],
            )
        };
        // An interrupted or refused wait is an early return, which `wait` allows.
        let _early = result;
    }

    /// Arms the timer to fire once after `delay`, or disarms it with zero.
    pub fn set_timer(self, timer_fd: i32, delay: Duration) {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        let value = [0, 0, seconds, i64::from(delay.subsec_nanos())];
        // SAFETY: the call reads `struct itimerspec`, four 64-bit numbers.
        let result = unsafe {
            syscall(
                TIMERFD_SETTIME,
                [
                    argument(timer_fd),
                    0,
                    (&raw const value).expose_provenance(),
                    0,
                    0,
                    0,
                ],
            )
        };
        debug_assert!(result.is_ok(), "the tender's timer refused: {result:?}");
    }

    /// Ends the guest with `status`.
    pub fn exit(self, status: i32) -> ! {
        loop {
            // SAFETY: ends the process.
            let _never = unsafe { syscall(EXIT_GROUP, [argument(status), 0, 0, 0, 0, 0]) };
        }
    }
}

fn clock(which: usize) -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: the call writes `struct timespec`, two 64-bit numbers.
    let result = unsafe {
        syscall(
            CLOCK_GETTIME,
            [which, (&raw mut time).expose_provenance(), 0, 0, 0, 0],
        )
    };
    debug_assert!(result.is_ok(), "the tender allows both clocks");
    let [seconds, nanos] = time;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

/// A signed argument, sign-extended as the kernel expects it.
#[expect(clippy::cast_sign_loss, reason = "the kernel takes it back as signed")]
fn argument(value: i32) -> usize {
    value as isize as usize
}

/// # Safety
/// `arguments` must be what call `number` expects, and every address among them
/// must be valid for what the call does there.
unsafe fn syscall(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel preserves all
    // registers but rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    usize::try_from(result).map_err(|_| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "errors lie within -4095..0"
        )]
        Errno(-(result as i32))
    })
}
