//! The system calls that std does not offer.

use core::ffi::{c_int, c_ulong};
use core::mem;
use core::ptr;
use core::time::Duration;
use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// What [`wait`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The other end is gone.
    pub(crate) hung_up: bool,
}

/// Waits until `fd` can be read (or written, when `writable`) or `timeout` is
/// over; `None` waits without bound.
pub(crate) fn wait(
    fd: BorrowedFd<'_>,
    writable: bool,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN | if writable { libc::POLLOUT } else { 0 },
        revents: 0,
    };
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one valid pollfd, a timespec that lives through the call or null,
    // and no signal mask.
    check(unsafe { libc::ppoll(&raw mut poll, 1, timeout, ptr::null()) })?;
    let hung_up = poll.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
    Ok(Ready { hung_up })
}

/// Makes reads and writes return instead of block.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and return plain integers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags | libc::O_NONBLOCK,
        ))?;
    }
    Ok(())
}

/// An interface request with `name` in it.
fn request(name: &CStr) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is a plain C structure for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let bytes = name.to_bytes();
    if bytes.len() >= libc::IFNAMSIZ {
        let problem = "an interface name has at most 15 bytes";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// An ioctl that reads or writes an interface request.
fn interface_ioctl(fd: BorrowedFd<'_>, code: c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every code that this module passes here takes an ifreq, and no
    // pointer within it.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), code as _, ptr::from_mut(request)) })?;
    Ok(())
}

/// Flags of a TAP descriptor.
#[derive(Clone, Copy)]
pub(crate) struct TunFlags(libc::c_short);

impl TunFlags {
    /// What this crate opens: Ethernet frames without packet information, with
    /// a vnet header.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the flags are 16 bits wide"
    )]
    pub(crate) const TAP: Self =
        Self((libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short);

    fn has(self, flag: c_int) -> bool {
        c_int::from(self.0) & flag != 0
    }

    pub(crate) fn is_tap(self) -> bool {
        self.has(libc::IFF_TAP)
    }

    pub(crate) fn has_packet_information(self) -> bool {
        !self.has(libc::IFF_NO_PI)
    }

    pub(crate) fn has_vnet_header(self) -> bool {
        self.has(libc::IFF_VNET_HDR)
    }
}

/// Joins the open /dev/net/tun to the interface `name`.
pub(crate) fn tun_attach(fd: BorrowedFd<'_>, name: &CStr, flags: TunFlags) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = flags.0;
    interface_ioctl(fd, libc::TUNSETIFF as c_ulong, &mut request)
}

/// The interface request that names a TAP descriptor's interface, and its flags.
pub(crate) fn tun_interface(fd: BorrowedFd<'_>) -> io::Result<(libc::ifreq, TunFlags)> {
    let mut request = request(c"")?;
    interface_ioctl(fd, libc::TUNGETIFF as c_ulong, &mut request)?;
    // SAFETY: TUNGETIFF fills in the name and the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((request, TunFlags(flags)))
}

/// Tells the kernel which offloads the reader takes.
pub(crate) fn tun_set_offload(fd: BorrowedFd<'_>, offloads: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETOFFLOAD as _,
            c_ulong::from(offloads),
        )
    })?;
    Ok(())
}

/// Sets the length of the vnet header.
pub(crate) fn tun_set_vnet_header(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = c_int::try_from(len).unwrap_or(c_int::MAX);
    // SAFETY: TUNSETVNETHDRSZ reads one int, which lives through the call.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETVNETHDRSZ as _,
            ptr::from_ref(&len),
        )
    })?;
    Ok(())
}

/// The MTU of the interface that `request` names, in this network namespace.
pub(crate) fn interface_mtu(mut request: libc::ifreq) -> io::Result<u16> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let fd = std::os::fd::AsFd::as_fd(&socket);
    interface_ioctl(fd, libc::SIOCGIFMTU as c_ulong, &mut request)?;
    // SAFETY: SIOCGIFMTU fills in the MTU.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
}

fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC, 0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A SOCK_SEQPACKET connection to the Unix socket at `path`.
pub(crate) fn seqpacket_connect(path: &Path) -> io::Result<OwnedFd> {
    // SAFETY: sockaddr_un is a plain C structure for which zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        let problem = "the socket's path is too long";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    let socket = socket(libc::AF_UNIX, libc::SOCK_SEQPACKET)?;
    // SAFETY: the address is a sockaddr_un of `len` bytes that lives through
    // the call, its path terminated by the zeroes behind it.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Two joined SOCK_SEQPACKET sockets.
pub(crate) fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: room for the two descriptors; they are new and owned by nobody.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Sends the pieces as one message, without a signal when nobody listens.
pub(crate) fn send_message(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: msghdr is a plain C structure for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // IoSlice is guaranteed to have the layout of iovec on Unix.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len() as _;
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the vector and what it points to are borrowed through the call,
    // and sending only reads them.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
