//! spt: the guest is a child process under a system-call filter.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use pollwire_tender::image::Image;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::memory::GuestMemory;
use crate::net::Device;
use crate::options::Options;

/// Lowest address that Linux lets a process map (`vm.mmap_min_addr`).
const MEMORY_START: u64 = 0x1_0000;
const BOOT_INFO: u64 = MEMORY_START + 0x1000;
/// The timer's mark in the epoll set.
const TIMER_MARK: u64 = !1_u32 as u64;

/// Runs the image and returns the guest's exit code.
pub(crate) fn run(
    image: &Image,
    manifest: &[u8],
    devices: &[Device],
    options: &Options,
) -> Result<u8, String> {
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", io::Error::last_os_error())),
        0 => {
            let error = become_guest(image, manifest, devices, options).err();
            Err(error.unwrap_or_default())
        }
        child => wait(child),
    }
}

/// Turns this process into the guest; returns only what went wrong before.
fn become_guest(
    image: &Image,
    manifest: &[u8],
    devices: &[Device],
    options: &Options,
) -> Result<(), String> {
    // SAFETY: asks to end with the parent, and takes back the handlers that
    // Rust's runtime installs: they make calls that the filter forbids.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
    let memory = GuestMemory::in_place(MEMORY_START, options.memory).map_err(|error| {
        format!("guest memory at {MEMORY_START:#x}: {error} (is vm.mmap_min_addr above 65536?)")
    })?;
    memory.load(image, true)?;
    let waits = WaitSet::new(devices).map_err(|error| format!("epoll: {error}"))?;
    let (epoll_fd, timer_fd) = (waits.epoll.as_raw_fd(), waits.timer.as_raw_fd());
    memory.write_boot_info(
        BOOT_INFO,
        manifest,
        &options.cmdline,
        |manifest_at, cmdline_at| {
            // The two descriptors share the last word.
            let descriptors =
                u64::from(epoll_fd.cast_unsigned()) | u64::from(timer_fd.cast_unsigned()) << 32;
            [
                memory.size(),
                image.end(),
                cmdline_at,
                manifest_at,
                descriptors,
            ]
        },
    )?;
    let filter = filter(devices, &waits).map_err(|error| format!("seccomp: {error}"))?;
    let stack = memory.size() - 8;
    seccompiler::apply_filter(&filter).map_err(|error| format!("seccomp: {error}"))?;
    // SAFETY: the entry lies in an executable segment just loaded, the stack at
    // the end of the mapped memory; nothing of this program is needed again.
    unsafe {
        std::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "jmp {entry}",
            stack = in(reg) stack,
            entry = in(reg) image.entry(),
            in("rdi") BOOT_INFO,
            options(noreturn),
        )
    }
}

struct WaitSet {
    epoll: OwnedFd,
    timer: OwnedFd,
}

impl WaitSet {
    fn new(devices: &[Device]) -> io::Result<Self> {
        // SAFETY: makes descriptors that no one else owns.
        let (epoll, timer) = unsafe {
            let epoll = owned(libc::epoll_create1(0))?;
            let timer = owned(libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK,
            ))?;
            (epoll, timer)
        };
        let set = Self { epoll, timer };
        set.add(&set.timer, TIMER_MARK)?;
        for device in devices {
            set.add(&device.fd, u64::from(device.handle))?;
        }
        Ok(set)
    }

    fn add(&self, fd: &OwnedFd, mark: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: mark,
        };
        // SAFETY: reads `event`.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_raw_fd(),
                &raw mut event,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// # Safety
/// `fd` must be a new descriptor that no one else owns, or -1.
unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What Solo5's spt tender allows, and nothing else.
fn filter(devices: &[Device], waits: &WaitSet) -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let first_is = |value: i32| -> Result<SeccompRule, seccompiler::BackendError> {
        let value = u64::from(value.cast_unsigned());
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    let mut reads = Vec::new();
    let mut writes = vec![first_is(libc::STDOUT_FILENO)?];
    for device in devices {
        reads.push(first_is(device.fd.as_raw_fd())?);
        writes.push(first_is(device.fd.as_raw_fd())?);
    }
    let mut rules = BTreeMap::from([
        (libc::SYS_write, writes),
        (libc::SYS_exit_group, Vec::new()),
        (
            libc::SYS_epoll_pwait,
            vec![first_is(waits.epoll.as_raw_fd())?],
        ),
        (
            libc::SYS_timerfd_settime,
            vec![first_is(waits.timer.as_raw_fd())?],
        ),
        (
            libc::SYS_clock_gettime,
            vec![
                first_is(libc::CLOCK_MONOTONIC)?,
                first_is(libc::CLOCK_REALTIME)?,
            ],
        ),
        (libc::SYS_arch_prctl, vec![first_is(ARCH_SET_FS)?]),
    ]);
    // An empty list would allow the call with any argument.
    if !reads.is_empty() {
        rules.insert(libc::SYS_read, reads);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

const ARCH_SET_FS: i32 = 0x1002;

fn wait(child: libc::pid_t) -> Result<u8, String> {
    let mut status = 0;
    loop {
        // SAFETY: waits for the child made above and writes its status.
        let result = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if result == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(format!("waitpid: {error}"));
        }
    }
    if libc::WIFEXITED(status) {
        return Ok(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX));
    }
    Err(match libc::WTERMSIG(status) {
        libc::SIGSYS => "the guest made a system call that spt does not allow".to_owned(),
        libc::SIGSEGV => "the guest used memory that it may not: a stack overflow, or a bad \
                          pointer"
            .to_owned(),
        libc::SIGILL => "the guest ran an invalid instruction".to_owned(),
        signal => format!("the guest was ended by signal {signal}"),
    })
}
