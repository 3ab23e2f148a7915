//! Guest memory.

use std::{io, ptr};

use pollwire_tender::image::{Image, Protection};

/// Bytes of a guest command line, terminator included.
const CMDLINE_SIZE: usize = 8192;

/// A guest's memory, from guest address 0 on; unmapped when it drops.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    /// Host address of guest address 0, which may itself not be mapped.
    base: *mut u8,
    /// First guest address that is mapped.
    start: u64,
    /// Bytes, counted from guest address 0.
    size: u64,
}

// SAFETY: plain memory; all access is by copies through raw pointers, and the
// guest changes it under every thread's feet anyway.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// Memory anywhere in this process, for a virtual machine.
    pub(crate) fn anywhere(size: u64) -> io::Result<Self> {
        let base = map(ptr::null_mut(), size, libc::MAP_SHARED)?;
        Ok(Self {
            base,
            start: 0,
            size,
        })
    }

    /// Memory at its guest addresses in this process, from `start` on.
    pub(crate) fn in_place(start: u64, size: u64) -> io::Result<Self> {
        let wanted = ptr::without_provenance_mut::<u8>(start as usize);
        let flags = libc::MAP_PRIVATE | libc::MAP_FIXED_NOREPLACE;
        let got = map(wanted, size - start, flags)?;
        if got.addr() != wanted.addr() {
            return Err(io::Error::other("the kernel ignores MAP_FIXED_NOREPLACE"));
        }
        Ok(Self {
            base: got.wrapping_sub(start as usize),
            start,
            size,
        })
    }

    /// Bytes, counted from guest address 0.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Host address of `len` bytes at guest address `address`, when they lie
    /// within the first `limit` bytes of memory.
    pub(crate) fn host(&self, address: u64, len: u64, limit: u64) -> Option<*mut u8> {
        let end = address.checked_add(len)?;
        let within = address >= self.start && end <= limit.min(self.size);
        within.then(|| self.base.wrapping_add(address as usize))
    }

    /// Copies `bytes` to `address`; `false`, and no change, when that is
    /// outside.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> bool {
        let Some(place) = self.host(address, bytes.len() as u64, self.size) else {
            return false;
        };
        // SAFETY: `host` checked the range, which is mapped and, until the
        // guest runs, writable; `bytes` is no guest memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        true
    }

    /// Loads the image and protects its segments. `executable` says whether
    /// code runs in this process or only in a virtual machine, where pages
    /// need not be executable here.
    pub(crate) fn load(&self, image: &Image, executable: bool) -> Result<(), String> {
        for (segment, content) in image.segments() {
            if !self.write(segment.address, content) {
                return Err(format!(
                    "the segment at {:#x} is outside of memory",
                    segment.address
                ));
            }
        }
        for (segment, _) in image.segments() {
            let protection = match segment.protection {
                Protection::Write => libc::PROT_READ | libc::PROT_WRITE,
                Protection::Execute if executable => libc::PROT_READ | libc::PROT_EXEC,
                Protection::Execute | Protection::Read => libc::PROT_READ,
            };
            let len = segment.pages.end - segment.pages.start;
            let start = self
                .host(segment.pages.start, len, self.size)
                .ok_or("a segment ends outside of memory")?;
            // SAFETY: whole pages of the guest's own mapping.
            let result = unsafe { libc::mprotect(start.cast(), len as usize, protection) };
            if result != 0 {
                return Err(format!("mprotect: {}", io::Error::last_os_error()));
            }
        }
        Ok(())
    }

    /// Writes the boot information `info` at `address`, with the manifest and
    /// the command line behind it. `info` makes its bytes from the addresses of
    /// these two.
    pub(crate) fn write_boot_info<const N: usize>(
        &self,
        address: u64,
        manifest: &[u8],
        cmdline: &str,
        info: impl FnOnce(u64, u64) -> [u64; N],
    ) -> Result<(), String> {
        if cmdline.len() >= CMDLINE_SIZE {
            return Err(format!(
                "the guest's arguments exceed {} bytes",
                CMDLINE_SIZE - 1
            ));
        }
        if cmdline.contains('\0') {
            return Err("a guest argument contains a zero byte".to_owned());
        }
        let manifest_at = address + (N * 8) as u64;
        let cmdline_at = manifest_at + manifest.len() as u64;
        let words = info(manifest_at, cmdline_at);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let written = self.write(address, &bytes)
            && self.write(manifest_at, manifest)
            && self.write(cmdline_at, cmdline.as_bytes());
        if written {
            Ok(())
        } else {
            Err("no room for boot information".to_owned())
        }
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        let start = self.base.wrapping_add(self.start as usize);
        // SAFETY: the mapping that the constructor made; nothing refers to it.
        unsafe { libc::munmap(start.cast(), (self.size - self.start) as usize) };
    }
}

fn map(wanted: *mut u8, len: u64, flags: libc::c_int) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping, which replaces none: the flags are
    // MAP_SHARED at no fixed place, or MAP_FIXED_NOREPLACE.
    let got = unsafe {
        libc::mmap(
            wanted.cast(),
            len as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if got == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(got.cast())
}
