//! Linux TAP devices, with checksum and segmentation offload both ways.
//!
//! The kernel's stack is at the other end, so a packet never crosses a real
//! wire: with offloads on, checksums stay partial and TCP packets of up to
//! 64 KiB cross in one system call, in several frames. A partial checksum that
//! the kernel forwards to a real network card is completed there.
//!
//! Opening a TAP that does not exist yet creates it and takes `CAP_NET_ADMIN`.
//! An ordinary user opens one that was made for them:
//! `ip tuntap add tap0 mode tap user $USER && ip link set tap0 up`.

mod vnet;

use core::time::Duration;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

pub use crate::host::DeviceStats;
use crate::host::{ETHERNET, Landing, STARVED, gather, sys};
use crate::{Caps, FramePool, NetDevice, RX_BURST, RxBurst, TxBurst};
use vnet::VnetHeader;

/// Longest packet that segmentation offload hands over: the longest IP packet
/// and an Ethernet header with a VLAN tag.
const LARGEST: usize = 65_535 + ETHERNET + 4;
/// Most pieces per packet: well within the kernel's 1024, and what one burst
/// can hold.
const MAX_TX_PIECES: u8 = 128;
/// MTU where the interface cannot be asked.
const DEFAULT_MTU: u16 = 1500;

/// Which offloads a TAP uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Leave transport checksums partial, both ways.
    pub checksum: bool,
    /// Pass TCP packets larger than the MTU, both ways. Needs `checksum`.
    pub segmentation: bool,
}

impl Offloads {
    /// Everything.
    pub const ALL: Self = Self {
        checksum: true,
        segmentation: true,
    };
    /// Nothing: as plain as a network card of the eighties.
    pub const NONE: Self = Self {
        checksum: false,
        segmentation: false,
    };

    fn kernel_flags(self) -> u32 {
        match (self.checksum, self.segmentation) {
            (false, _) => 0,
            (true, false) => libc::TUN_F_CSUM,
            // Without TSO_ECN the kernel segments flows that use ECN itself.
            (true, true) => {
                libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN
            }
        }
    }
}

/// A TAP device.
#[derive(Debug)]
pub struct Tap {
    file: File,
    caps: Caps,
    /// Whether a vnet header goes before each packet.
    vnet: bool,
    /// Longest packet to receive.
    longest: usize,
    /// The last packet found no room.
    full: bool,
    /// There was no frame to receive into.
    starved: bool,
    stats: DeviceStats,
}

impl Tap {
    /// Opens the TAP called `name`. `mac` is this stack's address, not that of
    /// the kernel's end; [`local_mac`](crate::local_mac) makes one up.
    ///
    /// # Errors
    /// The kernel's: no `/dev/net/tun`, no permission, TAP in use, bad name.
    pub fn open(name: &str, mac: [u8; 6], offloads: Offloads) -> io::Result<Self> {
        let name = CString::new(name).map_err(|_| bad("an interface name holds no zero byte"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        sys::tun_attach(file.as_fd(), &name, sys::TunFlags::TAP)?;
        Self::from_fd(file.into(), mac, offloads)
    }

    /// Takes over the descriptor of a TAP that was opened elsewhere. Without
    /// `IFF_VNET_HDR` it has no offloads. Where the interface belongs to
    /// another network namespace its MTU cannot be asked and 1500 is assumed.
    ///
    /// # Errors
    /// It is no TAP descriptor, or was opened without `IFF_NO_PI`.
    pub fn from_fd(fd: OwnedFd, mac: [u8; 6], offloads: Offloads) -> io::Result<Self> {
        let (interface, flags) = sys::tun_interface(fd.as_fd())?;
        if !flags.is_tap() || flags.has_packet_information() {
            return Err(bad("the descriptor is no TAP opened with IFF_NO_PI"));
        }
        let vnet = flags.has_vnet_header();
        let offloads = if vnet { offloads } else { Offloads::NONE };
        sys::set_nonblocking(fd.as_fd())?;
        if vnet {
            sys::tun_set_vnet_header(fd.as_fd(), VnetHeader::LEN)?;
        }
        sys::tun_set_offload(fd.as_fd(), offloads.kernel_flags())?;
        let mtu = sys::interface_mtu(interface).unwrap_or(DEFAULT_MTU);
        let segmentation = offloads.checksum && offloads.segmentation;
        let mut caps = Caps::plain(mac, mtu);
        caps.tx_checksum = offloads.checksum;
        (caps.tso4, caps.tso6) = (segmentation, segmentation);
        caps.max_tx_pieces = MAX_TX_PIECES;
        caps.tag_beside_mtu = true;
        let longest = if segmentation {
            LARGEST
        } else {
            usize::from(mtu) + ETHERNET + 4
        };
        Ok(Self {
            file: fd.into(),
            caps,
            vnet,
            longest,
            full: false,
            starved: false,
            stats: DeviceStats::default(),
        })
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> DeviceStats {
        self.stats
    }

    fn header_len(&self) -> usize {
        if self.vnet { VnetHeader::LEN } else { 0 }
    }

    /// Receives one packet into `landing`; `false` when there is no more to be
    /// had now.
    fn receive(&mut self, pool: &FramePool, landing: &mut Landing, out: &mut RxBurst) -> bool {
        let mut header = [0; VnetHeader::LEN];
        let header_len = self.header_len();
        let room = header_len + landing.room();
        let (used, _) = header.split_at_mut(header_len);
        let count = match self.file.read_vectored(&mut landing.slices(used)) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(_) => {
                self.stats.rx_errors += 1;
                return false;
            }
        };
        let len = count.saturating_sub(header_len);
        if count >= room {
            self.stats.rx_truncated += 1;
        } else if len < ETHERNET {
            self.stats.rx_runt += 1;
        } else if landing.is_unwelcome(pool, len) {
            self.stats.rx_scarce += 1;
        } else {
            let meta = VnetHeader::parse(&header).rx_meta();
            landing.deliver(len, meta, out);
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += len as u64;
        }
        true
    }
}

fn bad(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, problem)
}

impl Drop for Tap {
    /// A TAP that outlives its program keeps what it was told: the kernel would
    /// leave checksums to the next program, which may know nothing of them and
    /// takes the packets for damaged.
    fn drop(&mut self) {
        // The interface may be gone already; then nothing is kept.
        let _gone = sys::tun_set_offload(self.file.as_fd(), 0);
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetDevice for Tap {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        let mut landing = Landing::new(pool, self.longest);
        // What is dropped counts as well: a flood of it is not to hold up the turn.
        for _ in 0..RX_BURST {
            if !out.has_room(landing.wanted()) {
                break;
            }
            self.starved = !landing.fill(pool);
            if self.starved {
                self.stats.rx_no_frame += 1;
                break;
            }
            if !self.receive(pool, &mut landing, out) {
                break;
            }
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut accepted = 0;
        self.full = false;
        for packet in burst.iter() {
            let header = VnetHeader::for_packet(&packet).to_bytes();
            let header = header.get(..self.header_len()).unwrap_or_default();
            match retry(|| self.file.write_vectored(&gather(header, &packet))) {
                Ok(count) => {
                    self.stats.tx_packets += 1;
                    self.stats.tx_bytes += count.saturating_sub(header.len()) as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stats.tx_full += 1;
                    self.full = true;
                    break;
                }
                // EIO: the interface is down. EINVAL: the kernel dislikes the
                // packet. ENOBUFS: it has no memory. None of them may hold up
                // what comes behind.
                Err(_) => self.stats.tx_errors += 1,
            }
            accepted += 1;
        }
        burst.consume(accepted);
        accepted
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        if self.starved {
            return thread::sleep(timeout.unwrap_or(STARVED).min(STARVED));
        }
        let ready = sys::wait(self.as_fd(), self.full, timeout);
        if ready.is_ok_and(|ready| ready.hung_up) {
            // The interface is down or gone: poll returns at once, and the
            // loop must not spin on it.
            thread::sleep(timeout.unwrap_or(DOWN).min(DOWN));
        }
    }
}

/// How often a device that is down is looked at.
const DOWN: Duration = Duration::from_millis(10);

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
