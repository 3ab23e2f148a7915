//! What a guest's network can be attached to: a TAP interface, a wire to
//! another guest, or a descriptor that is open already.

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::{process, thread, time};

use pollwire_rings::solo5::manifest::{self, Manifest, NetAttachment};

use crate::options::Options;

/// MTU of wires and of descriptors, which cannot be asked.
const WIRE_MTU: u16 = 1500;
/// How long to go on trying when two ends of a wire start at once.
const WIRE_ATTEMPTS: u32 = 100;

/// Where frames come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Tap(String),
    Wire(PathBuf),
    Fd(RawFd),
}

impl Source {
    pub(crate) fn parse(value: &str) -> Result<Self, String> {
        if let Some(path) = value.strip_prefix("wire:") {
            return match path.len() {
                1..=100 => Ok(Self::Wire(path.into())),
                _ => Err("a wire needs a path of 1 to 100 bytes".to_owned()),
            };
        }
        if let Some(number) = value.strip_prefix("fd:") {
            return match number.parse::<RawFd>() {
                Ok(fd) if fd >= 0 => Ok(Self::Fd(fd)),
                _ => Err(format!(
                    "'{value}': fd: takes the number of an open descriptor"
                )),
            };
        }
        if value.is_empty() || value.len() >= libc::IFNAMSIZ {
            return Err(format!("'{value}' cannot be the name of an interface"));
        }
        Ok(Self::Tap(value.to_owned()))
    }

    fn open(&self) -> Result<(OwnedFd, u16), String> {
        match self {
            Self::Tap(name) => {
                open_tap(name).map_err(|error| format!("TAP interface {name}: {error}"))
            }
            Self::Wire(path) => {
                let socket =
                    open_wire(path).map_err(|error| format!("wire {}: {error}", path.display()))?;
                Ok((socket, WIRE_MTU))
            }
            Self::Fd(fd) => {
                set_nonblocking(*fd).map_err(|error| format!("descriptor {fd}: {error}"))?;
                // SAFETY: the descriptor is open (the call above succeeded), and
                // the user gave it to this program for this use.
                Ok((unsafe { OwnedFd::from_raw_fd(*fd) }, WIRE_MTU))
            }
        }
    }
}

/// An attached device: its handle in the manifest and its descriptor.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) handle: u32,
    pub(crate) fd: OwnedFd,
}

/// Opens all devices and notes them in `bytes`, the manifest.
pub(crate) fn attach(bytes: &mut [u8], options: &Options) -> Result<Vec<Device>, String> {
    let declared: Vec<(String, bool)> = Manifest::parse(bytes)
        .map_err(|error| error.to_string())?
        .devices()
        .map(|(name, is_net)| (name.to_owned(), is_net))
        .collect();
    let named = options.nets.iter().map(|(name, _)| name);
    for name in named.chain(options.macs.iter().map(|(name, _)| name)) {
        if !declared
            .iter()
            .any(|(declared, is_net)| *is_net && declared == name)
        {
            return Err(format!("the image declares no network '{name}'"));
        }
    }
    let mut devices = Vec::new();
    // Entry 0 is the reserved one, so device n has handle n + 1.
    for (handle, (name, is_net)) in (1..).zip(&declared) {
        if !is_net {
            return Err(format!("'{name}' is a block device; this tender has none"));
        }
        let mut sources = options.nets.iter().filter(|(net, _)| net == name);
        let (Some((_, source)), None) = (sources.next(), sources.next()) else {
            return Err(format!(
                "the image declares network '{name}': attach it once with --net:{name}=..."
            ));
        };
        let mac = options.macs.iter().rfind(|(net, _)| net == name);
        let mac = match mac {
            Some((_, mac)) => *mac,
            None => random_mac().map_err(|error| format!("/dev/urandom: {error}"))?,
        };
        let (fd, mtu) = source.open()?;
        let attachment = NetAttachment {
            handle,
            mac,
            mtu,
            fd: fd.as_raw_fd(),
        };
        if !manifest::attach(bytes, &attachment) {
            return Err(format!("network '{name}' could not be attached"));
        }
        devices.push(Device { handle, fd });
    }
    Ok(devices)
}

fn random_mac() -> io::Result<[u8; 6]> {
    let mut mac = [0; 6];
    File::open("/dev/urandom")?.read_exact(&mut mac)?;
    // Locally administered, not a group.
    mac[0] = mac[0] & 0xfc | 2;
    Ok(mac)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: changes a flag of a descriptor; a bad number is an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok(())
}

fn seqpacket_socket() -> io::Result<OwnedFd> {
    // SAFETY: makes a socket, owned by no one else.
    unsafe {
        let fd = check(libc::socket(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn open_tap(name: &str) -> io::Result<(OwnedFd, u16)> {
    // SAFETY: an all-zero `ifreq` is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    let socket = seqpacket_socket()?;
    // Asked first: TUNSETIFF would create a missing interface.
    // SAFETY: the calls read the name and write the union of `request`, and the
    // fields read are those that they wrote.
    let (flags, mtu) = unsafe {
        check(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        ))?;
        let flags = request.ifr_ifru.ifru_flags;
        check(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFMTU,
            &raw mut request,
        ))?;
        (flags, request.ifr_ifru.ifru_mtu)
    };
    if i32::from(flags) & libc::IFF_UP == 0 {
        return Err(io::Error::other(format!(
            "it is down; try: ip link set {name} up"
        )));
    }
    let tap = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let kind = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = i16::try_from(kind).map_err(io::Error::other)?;
    // SAFETY: reads the name and flags of `request`.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    // What a program before this one left to itself: with checksums among it, all
    // that the kernel sends would look damaged to the guest.
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD as _, 0) })?;
    set_nonblocking(tap.as_raw_fd())?;
    Ok((tap.into(), u16::try_from(mtu).unwrap_or(u16::MAX)))
}

/// Joins the wire at `path`: connects when the other end waits there, else waits
/// there itself.
fn open_wire(path: &Path) -> io::Result<OwnedFd> {
    for _ in 0..WIRE_ATTEMPTS {
        match connect(path) {
            Ok(socket) => {
                set_nonblocking(socket.as_raw_fd())?;
                return Ok(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Nobody listens there any more: a left-over.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    return Err(io::Error::other("something that is no wire is there"));
                }
                remove(path)?;
            }
            Err(error) => return Err(error),
        }
        if let Some(socket) = listen(path)? {
            set_nonblocking(socket.as_raw_fd())?;
            return Ok(socket);
        }
        thread::sleep(time::Duration::from_millis(5));
    }
    Err(io::Error::other("both ends wait for each other"))
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket_socket()?;
    let (address, len) = unix_address(path);
    // SAFETY: `address` is valid for `len` bytes.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Waits for the other end; `None` when another tender was faster to wait.
///
/// The socket gets its name only once it listens, by a link, which is atomic
/// and fails when the name is taken: whoever sees the name can connect.
fn listen(path: &Path) -> io::Result<Option<OwnedFd>> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", process::id()));
    let hidden = PathBuf::from(hidden);
    let socket = seqpacket_socket()?;
    let (address, len) = unix_address(&hidden);
    // SAFETY: `address` is valid for `len` bytes.
    unsafe {
        check(libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            len,
        ))?;
        check(libc::listen(socket.as_raw_fd(), 1))?;
    }
    let linked = fs::hard_link(&hidden, path);
    remove(&hidden)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: accepts a connection, whose descriptor no one else owns.
    let accepted = unsafe {
        let fd = check(libc::accept4(
            socket.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        ))?;
        OwnedFd::from_raw_fd(fd)
    };
    remove(path)?;
    Ok(Some(accepted))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unix_address(path: &Path) -> (libc::sockaddr_un, libc::socklen_t) {
    // SAFETY: an all-zero `sockaddr_un` is valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The last byte stays zero: `Source::parse` bounds the path.
    let room = address.sun_path.len() - 1;
    for (place, byte) in address.sun_path[..room]
        .iter_mut()
        .zip(path.as_os_str().as_bytes())
    {
        *place = byte.cast_signed();
    }
    (
        address,
        mem::size_of::<libc::sockaddr_un>() as libc::socklen_t,
    )
}

/// Longest wait for room for a frame; then it is dropped, as a full TAP would.
const ROOM_MILLISECONDS: libc::c_int = 10;

/// Moves frames over a descriptor on behalf of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer(pub(crate) RawFd);

impl Transfer {
    /// Sends a frame; waits a little for room, then drops it.
    ///
    /// # Errors
    /// The host's, when it does not take such a frame at all.
    pub(crate) fn send(self, frame: &[u8]) -> io::Result<()> {
        for _ in 0..2 {
            // SAFETY: reads `frame`.
            let sent = unsafe { libc::write(self.0, frame.as_ptr().cast(), frame.len()) };
            if usize::try_from(sent) == Ok(frame.len()) {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if sent >= 0 => return Err(io::Error::other("part of a frame was sent")),
                Some(libc::EAGAIN | libc::ENOBUFS) => self.wait_for_room(),
                Some(libc::EINTR) => {}
                // The guest at the other end has gone.
                Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => return Ok(()),
                _ => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_for_room(self) {
        let mut polled = libc::pollfd {
            fd: self.0,
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: reads and writes `polled`. Its result does not matter: the
        // caller tries again.
        unsafe { libc::poll(&raw mut polled, 1, ROOM_MILLISECONDS) };
    }

    /// Receives a frame of at most `len` bytes to `place`; `None` when none has
    /// arrived.
    ///
    /// # Safety
    /// `place` must be writable for `len` bytes, which nothing else uses.
    pub(crate) unsafe fn receive(self, place: *mut u8, len: usize) -> io::Result<Option<usize>> {
        // SAFETY: the caller's promise.
        let received = unsafe { libc::read(self.0, place.cast(), len) };
        if let Ok(received) = usize::try_from(received) {
            return Ok((received > 0).then_some(received));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ECONNRESET) => Ok(None),
            _ => Err(error),
        }
    }
}
