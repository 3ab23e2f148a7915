//! The thread that serves the ring (`hvt_ring.h`).

use std::hint::spin_loop;
use std::os::fd::RawFd;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pollwire_rings::solo5::ring::{Request, Ring, RingServer};
use vmm_sys_util::eventfd::EventFd;

use crate::memory::GuestMemory;
use crate::net::Transfer;

/// Looks at the ring before sleep, as many as Solo5's own.
const SPINS: u32 = 4096;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) memory: Arc<GuestMemory>,
    /// Where the ring lies: right behind the memory that the guest may name.
    pub(super) ring_at: u64,
    pub(super) handles: Vec<(u32, RawFd)>,
    pub(super) wake: EventFd,
    pub(super) stop: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn run(self) {
        let size = size_of::<Ring>() as u64;
        let Some(place) = self.memory.host(self.ring_at, size, self.memory.size()) else {
            eprintln!("pollwire-tender: the ring lies outside of memory");
            return;
        };
        // SAFETY: the ring has its own page-aligned place in memory, which lives
        // as long as `self.memory`. All its fields are atomic, and all-zero is
        // a valid ring.
        let ring = unsafe { &*place.cast::<Ring>() };
        let mut server = RingServer::new(ring);
        loop {
            if let Err(message) = self.serve(&mut server) {
                eprintln!("pollwire-tender: {message}");
                end_guest();
            }
            let busy = (0..SPINS).any(|_| {
                spin_loop();
                server.has_work()
            });
            if busy {
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            if server.prepare_to_sleep() {
                let woken = self.wake.read();
                server.woken();
                if woken.is_err() {
                    return;
                }
            }
        }
    }

    fn serve(&self, server: &mut RingServer<'_>) -> Result<(), String> {
        while let Some(request) = server.next() {
            match request {
                Request::Write {
                    handle,
                    address,
                    len,
                } => self.write(handle, address, len)?,
                Request::Read {
                    handle,
                    address,
                    len,
                    id,
                } => {
                    let received = self.read(handle, address, len)?;
                    server.commit(id, received);
                }
                Request::Unknown => {}
            }
            server.done();
        }
        Ok(())
    }

    /// Like Solo5's tenders, refuses ranges that touch the last byte.
    fn range(&self, address: u64, len: u32) -> Result<*mut u8, String> {
        self.memory
            .host(address, u64::from(len), self.ring_at - 1)
            .ok_or_else(|| format!("ring: the guest has no {len} bytes at {address:#x}"))
    }

    fn transfer(&self, handle: u32) -> Option<Transfer> {
        let found = self.handles.iter().find(|(known, _)| *known == handle);
        found.map(|(_, fd)| Transfer(*fd))
    }

    fn write(&self, handle: u32, address: u64, len: u32) -> Result<(), String> {
        let place = self.range(address, len)?;
        let Some(transfer) = self.transfer(handle) else {
            return Ok(());
        };
        // SAFETY: mapped guest memory; the guest promised to leave the frame
        // alone until its entry is done, and one that breaks the promise gets
        // the bytes wrong, no more: they go to the kernel unread.
        let frame = unsafe { slice::from_raw_parts(place, len as usize) };
        transfer
            .send(frame)
            .map_err(|error| format!("ring: network: {error}"))
    }

    fn read(&self, handle: u32, address: u64, len: u32) -> Result<Option<u32>, String> {
        let place = self.range(address, len)?;
        let Some(transfer) = self.transfer(handle) else {
            return Ok(None);
        };
        // SAFETY: mapped guest memory, lent by the guest until the commit.
        let received = unsafe { transfer.receive(place, len as usize) };
        let received = received.map_err(|error| format!("ring: network: {error}"))?;
        Ok(received.and_then(|len| u32::try_from(len).ok()))
    }
}

/// Ends this process, and the guest with it.
#[expect(
    clippy::disallowed_methods,
    reason = "the CPU's thread is inside the guest, which only this ends; nothing needs cleaning"
)]
fn end_guest() -> ! {
    std::process::exit(1)
}
