//! A wire made of a Unix socket: one Ethernet frame per message.
//!
//! The same wire joins guests that run without TAP and without root; with this
//! back end an ordinary Linux process is one of its ends. There is no header
//! and no offload: a message is a frame, checksums complete.

use core::time::Duration;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

pub use crate::host::DeviceStats;
use crate::host::{ETHERNET, Landing, STARVED, gather, sys};
use crate::{Caps, FramePool, NetDevice, RX_BURST, RxBurst, TxBurst};

/// One end of a `SOCK_SEQPACKET` connection.
#[derive(Debug)]
pub struct SeqPacket {
    /// Only read through; sending needs a flag that `Write` has no place for.
    file: File,
    caps: Caps,
    full: bool,
    /// There was no frame to receive into.
    starved: bool,
    closed: bool,
    stats: DeviceStats,
}

impl SeqPacket {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// The kernel's: no such socket, nobody listens, no permission; or the
    /// path is longer than a socket's address can hold.
    pub fn connect(path: impl AsRef<Path>, mac: [u8; 6], mtu: u16) -> io::Result<Self> {
        Self::from_fd(sys::seqpacket_connect(path.as_ref())?, mac, mtu)
    }

    /// Takes over a connected descriptor.
    ///
    /// # Errors
    /// The descriptor cannot be made non-blocking.
    pub fn from_fd(fd: OwnedFd, mac: [u8; 6], mtu: u16) -> io::Result<Self> {
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Self {
            file: fd.into(),
            caps: Caps::plain(mac, mtu),
            full: false,
            starved: false,
            closed: false,
            stats: DeviceStats::default(),
        })
    }

    /// Two joined descriptors, for [`from_fd`](Self::from_fd) or to hand one to
    /// a child process.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
        sys::seqpacket_pair()
    }

    /// Whether the other end is gone. What is sent then is dropped and counted
    /// under [`DeviceStats::tx_errors`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> DeviceStats {
        self.stats
    }

    /// A message without a byte and the end of the connection read alike; only
    /// poll tells them apart.
    fn note_empty_read(&mut self) {
        let ready = sys::wait(self.as_fd(), false, Some(Duration::ZERO));
        if ready.is_ok_and(|ready| !ready.hung_up) {
            self.stats.rx_runt += 1;
        } else {
            self.closed = true;
        }
    }

    fn receive(&mut self, pool: &FramePool, landing: &mut Landing, out: &mut RxBurst) -> bool {
        let room = landing.room();
        let result = self.file.read_vectored(&mut landing.slices(&mut []));
        match result {
            Ok(0) => {
                self.note_empty_read();
                return !self.closed;
            }
            Ok(len) if len >= room => self.stats.rx_truncated += 1,
            Ok(len) if len < ETHERNET => self.stats.rx_runt += 1,
            Ok(len) if landing.is_unwelcome(pool, len) => self.stats.rx_scarce += 1,
            Ok(len) => {
                landing.deliver(len, crate::RxMeta::default(), out);
                self.stats.rx_packets += 1;
                self.stats.rx_bytes += len as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.stats.rx_errors += 1;
                self.closed |= is_gone(&error);
                return false;
            }
        }
        true
    }
}

/// Whether the error says that there will never be anything more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

impl AsFd for SeqPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetDevice for SeqPacket {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        let mut landing = Landing::new(pool, usize::from(self.caps.mtu) + ETHERNET + 4);
        // What is dropped counts as well: a flood of it is not to hold up the turn.
        for _ in 0..RX_BURST {
            if self.closed || !out.has_room(landing.wanted()) {
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
            match sys::send_message(self.file.as_fd(), &gather(&[], &packet)) {
                Ok(count) => {
                    self.stats.tx_packets += 1;
                    self.stats.tx_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stats.tx_full += 1;
                    self.full = true;
                    break;
                }
                Err(error) => {
                    self.stats.tx_errors += 1;
                    self.closed |= is_gone(&error);
                }
            }
            accepted += 1;
        }
        burst.consume(accepted);
        accepted
    }

    /// Once the other end is gone there is nothing to wait for but time: sleeps
    /// for `timeout`, and without one returns at once.
    fn wait(&mut self, timeout: Option<Duration>) {
        if self.closed {
            thread::sleep(timeout.unwrap_or(Duration::ZERO));
        } else if self.starved {
            thread::sleep(timeout.unwrap_or(STARVED).min(STARVED));
        } else {
            // An interrupted wait is an early return, which `wait` may do.
            let _ = sys::wait(self.as_fd(), self.full, timeout);
        }
    }
}
