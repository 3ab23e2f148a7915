//! Hypercalls: what the guest asks by writing an address to a port
//! (`hvt_abi.h`, version 2).

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;
use std::{io, ptr, slice};

use crate::memory::GuestMemory;
use crate::net::Transfer;

const PORT_BASE: u16 = 0x500;
/// Where the guest wakes the ring's thread.
pub(crate) const PORT_KICK: u16 = 0x600;

const WALLTIME: u16 = 1;
const PUTS: u16 = 2;
const POLL: u16 = 3;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;
const HALT: u16 = 8;

const RET_OK: u32 = 0;
const RET_AGAIN: u32 = 1;
const RET_INVALID: u32 = 2;

/// What to do after a call.
#[derive(Debug)]
pub(super) enum Outcome {
    Continue,
    Halt(u8),
}

/// Serves the calls of one guest.
#[derive(Debug)]
pub(super) struct Calls {
    memory: Arc<GuestMemory>,
    /// End of the memory that the guest may name.
    limit: u64,
    handles: Vec<(u32, RawFd)>,
}

impl Calls {
    pub(super) fn new(memory: Arc<GuestMemory>, limit: u64, handles: Vec<(u32, RawFd)>) -> Self {
        Self {
            memory,
            limit,
            handles,
        }
    }

    pub(super) fn handle(&mut self, port: u16, argument: u32) -> Result<Outcome, String> {
        let at = u64::from(argument);
        match port.wrapping_sub(PORT_BASE) {
            WALLTIME => self.put(at, wall_clock())?,
            PUTS => self.puts(at)?,
            POLL => self.poll(at)?,
            NET_WRITE => self.net_write(at)?,
            NET_READ => self.net_read(at)?,
            HALT => {
                let status = self.get::<u32>(at + 8)?;
                return Ok(Outcome::Halt(status.to_le_bytes()[0]));
            }
            _ => return Err(format!("the guest wrote to port {port:#x}")),
        }
        Ok(Outcome::Continue)
    }

    /// Like Solo5's tenders, refuses ranges that touch the last byte.
    fn range(&self, at: u64, len: u64) -> Result<*mut u8, String> {
        self.memory.host(at, len, self.limit - 1).ok_or_else(|| {
            format!("the guest named memory that it does not have: {len} bytes at {at:#x}")
        })
    }

    fn get<T: Copy>(&self, at: u64) -> Result<T, String> {
        let place = self.range(at, size_of::<T>() as u64)?;
        // SAFETY: the range is mapped and readable; `T` is a plain number.
        Ok(unsafe { place.cast::<T>().read_unaligned() })
    }

    fn put<T: Copy>(&self, at: u64, value: T) -> Result<(), String> {
        let place = self.range(at, size_of::<T>() as u64)?;
        if at < super::GUEST_START {
            return Err(format!("the guest named read-only memory at {at:#x}"));
        }
        // SAFETY: the range is mapped. Segments that are read-only here end this
        // process with a signal: the guest named its own code as a result.
        unsafe { place.cast::<T>().write_unaligned(value) };
        Ok(())
    }

    fn fd(&self, handle: u64) -> Option<RawFd> {
        let found = self
            .handles
            .iter()
            .find(|(known, _)| u64::from(*known) == handle);
        found.map(|(_, fd)| *fd)
    }

    fn puts(&self, at: u64) -> Result<(), String> {
        let (data, len) = (self.get::<u64>(at)?, self.get::<u64>(at + 8)?);
        let place = self.range(data, len)?;
        // SAFETY: reads mapped guest memory; the guest, whose only CPU waits
        // for this call, does not change it meanwhile.
        let result = unsafe { libc::write(libc::STDOUT_FILENO, place.cast(), len as usize) };
        // A console that is gone must not stop the guest.
        let _ignored = result;
        Ok(())
    }

    fn poll(&self, at: u64) -> Result<(), String> {
        let nanos = self.get::<u64>(at)?;
        let mut polled: Vec<libc::pollfd> = self
            .handles
            .iter()
            .map(|(_, fd)| libc::pollfd {
                fd: *fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let timeout = Duration::from_nanos(nanos);
        let timeout = libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        // SAFETY: reads and writes `polled`, reads `timeout`.
        let count = unsafe {
            libc::ppoll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                &raw const timeout,
                ptr::null(),
            )
        };
        let mut ready = 0_u64;
        for ((handle, _), polled) in self.handles.iter().zip(&polled) {
            if count > 0 && polled.revents != 0 {
                ready |= 1 << handle;
            }
        }
        self.put(at + 8, ready)?;
        self.put(at + 16, count.max(0))
    }

    fn net_write(&self, at: u64) -> Result<(), String> {
        let (handle, data, len) = (self.get(at)?, self.get(at + 8)?, self.get::<u64>(at + 16)?);
        let place = self.range(data, len)?;
        let ret = match self.fd(handle) {
            None => RET_INVALID,
            Some(fd) => {
                // SAFETY: mapped guest memory, which the guest's waiting CPU
                // does not change.
                let frame = unsafe { slice::from_raw_parts(place, len as usize) };
                Transfer(fd).send(frame).map_err(fatal)?;
                RET_OK
            }
        };
        self.put(at + 24, ret)
    }

    fn net_read(&self, at: u64) -> Result<(), String> {
        let (handle, data, len) = (self.get(at)?, self.get(at + 8)?, self.get::<u64>(at + 16)?);
        let place = self.range(data, len)?;
        let ret = match self.fd(handle) {
            None => RET_INVALID,
            // SAFETY: mapped guest memory, which nothing else uses while the
            // guest's CPU waits.
            Some(fd) => match unsafe { Transfer(fd).receive(place, len as usize) } {
                Ok(None) => RET_AGAIN,
                Ok(Some(received)) => {
                    self.put(at + 16, received as u64)?;
                    RET_OK
                }
                Err(error) => return Err(fatal(error)),
            },
        };
        self.put(at + 24, ret)
    }
}

fn fatal(error: io::Error) -> String {
    format!("network: {error}")
}

fn wall_clock() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
