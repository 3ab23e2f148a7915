//! The spt device: one descriptor per network, read and written frame by frame.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::manifest::NetAttachment;
use super::{ETHERNET, Errno, Solo5Stats, Spt, SptBootInfo, join, usable_mtu};
use crate::scarce::is_unwelcome;
use crate::{Caps, FramePool, NetDevice, RX_BURST, RxBurst, RxMeta, TxBurst, TxPacket};

/// Longest sleep while the host has no room for a frame: the tender's epoll set
/// does not tell when there is room again.
const TX_RETRY: Duration = Duration::from_micros(50);
/// Below this, a sleep uses the timer; above, epoll's own milliseconds.
const TIMER_BELOW: Duration = Duration::from_millis(2);

/// A network device of an spt guest.
#[derive(Debug)]
pub struct SptDevice {
    spt: Spt,
    fd: i32,
    epoll_fd: i32,
    timer_fd: i32,
    timer_armed: bool,
    tx_blocked: bool,
    caps: Caps,
    joined: Box<[u8]>,
    stats: Solo5Stats,
}

impl SptDevice {
    /// The device of `attachment`, receiving into frames of `pool`.
    #[must_use]
    pub fn new(spt: Spt, boot: &SptBootInfo, attachment: &NetAttachment, pool: &FramePool) -> Self {
        let mtu = usable_mtu(attachment.mtu, pool.frame_size());
        Self {
            spt,
            fd: attachment.fd,
            epoll_fd: boot.epoll_fd,
            timer_fd: boot.timer_fd,
            timer_armed: false,
            tx_blocked: false,
            caps: super::caps(attachment.mac, mtu),
            joined: vec![0; usize::from(mtu) + ETHERNET].into_boxed_slice(),
            stats: Solo5Stats::default(),
        }
    }

    /// Counters since boot.
    #[must_use]
    pub fn stats(&self) -> Solo5Stats {
        self.stats
    }

    fn send(&mut self, packet: &TxPacket<'_>) -> Result<(), Errno> {
        let len = packet.len();
        if len < ETHERNET || len > self.joined.len() {
            self.stats.tx_invalid += 1;
            return Ok(());
        }
        let written = match packet.pieces {
            [whole] => self.spt.write(self.fd, whole),
            pieces => {
                let frame = join(pieces, &mut self.joined);
                let result = self.spt.write(self.fd, frame);
                if result.is_ok() {
                    self.stats.tx_joined_bytes += frame.len() as u64;
                }
                result
            }
        };
        match written {
            Ok(count) if count == len => Ok(()),
            Err(error @ (Errno::AGAIN | Errno::INTERRUPTED | Errno::NO_BUFFERS)) => Err(error),
            _ => {
                self.stats.tx_errors += 1;
                Ok(())
            }
        }
    }

    fn disarm(&mut self) {
        if self.timer_armed {
            self.timer_armed = false;
            self.spt.set_timer(self.timer_fd, Duration::ZERO);
        }
    }
}

impl NetDevice for SptDevice {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx_burst(&mut self, pool: &FramePool, out: &mut RxBurst) -> usize {
        let before = out.packets();
        // What is dropped counts as well: a flood of it is not to hold up the turn.
        for _ in 0..RX_BURST {
            if !out.has_room(1) {
                break;
            }
            let Some(mut frame) = pool.alloc() else { break };
            let room = frame.spare_mut();
            let capacity = room.len();
            match self.spt.read(self.fd, room) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTERRUPTED) => break,
                Ok(len) if len == capacity => self.stats.rx_truncated += 1,
                Ok(len) if is_unwelcome(pool, 0, len) => self.stats.rx_scarce += 1,
                Ok(len) => {
                    let _fits = frame.set_len(len);
                    if out.push(frame, RxMeta::default()).is_err() {
                        break;
                    }
                }
                Err(_) => {
                    self.stats.rx_errors += 1;
                    break;
                }
            }
        }
        out.packets() - before
    }

    fn tx_burst(&mut self, burst: &mut TxBurst) -> usize {
        let mut accepted = 0;
        self.tx_blocked = false;
        for packet in burst.iter() {
            if self.send(&packet).is_err() {
                self.tx_blocked = true;
                break;
            }
            accepted += 1;
        }
        burst.consume(accepted);
        accepted
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = match timeout {
            Some(timeout) if self.tx_blocked => Some(timeout.min(TX_RETRY)),
            None if self.tx_blocked => Some(TX_RETRY),
            timeout => timeout,
        };
        match timeout {
            Some(Duration::ZERO) => {}
            Some(timeout) if timeout < TIMER_BELOW => {
                self.timer_armed = true;
                self.spt.set_timer(self.timer_fd, timeout);
                self.spt.epoll_wait(self.epoll_fd, -1);
            }
            Some(timeout) => {
                // Rounded down: the next turn sleeps for what is left.
                let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
                self.disarm();
                self.spt.epoll_wait(self.epoll_fd, milliseconds);
            }
            None => {
                self.disarm();
                self.spt.epoll_wait(self.epoll_fd, -1);
            }
        }
    }
}
