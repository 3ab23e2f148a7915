//! hvt: the guest is a virtual machine under KVM.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VcpuExit, VcpuFd, VmFd};
use pollwire_rings::solo5::ring::Ring;
use pollwire_tender::image::Image;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

use crate::memory::GuestMemory;
use crate::net::Device;
use crate::options::Options;

mod calls;
mod io_thread;

use calls::{Calls, Outcome};

/// Large pages map all memory but the first of them.
const LARGE_PAGE: u64 = 0x20_0000;
const MOST_MEMORY: u64 = 1 << 32;

const GDT: u64 = 0x1000;
const PML4: u64 = 0x2000;
const PDPT: u64 = 0x3000;
const DIRECTORIES: u64 = 0x4000;
const FIRST_TABLE: u64 = 0x8000;
const BOOT_INFO: u64 = 0x1_0000;
/// Pages below are the guest's to read, from `BOOT_INFO` on.
const GUEST_START: u64 = 0x10_0000;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 1 << 7;

const FEATURE_RING: u64 = 1;

type Fallible<T> = Result<T, String>;

/// What a failed step of KVM's says.
fn kvm(what: &str) -> impl Fn(kvm_ioctls::Error) -> String + '_ {
    move |error| format!("KVM: {what}: {error}")
}

/// Runs the image and returns the guest's exit code.
pub(crate) fn run(
    image: &Image,
    manifest: &[u8],
    devices: &[Device],
    options: &Options,
) -> Fallible<u8> {
    // Machine first, so that a machine without KVM hears of that.
    let kvm_fd = Kvm::new().map_err(|error| {
        format!("/dev/kvm: {error}; an spt image needs no KVM (pollwire-tender set-abi spt ...)")
    })?;
    let vm = kvm_fd.create_vm().map_err(kvm("create the machine"))?;
    let guest_size = options.memory.next_multiple_of(LARGE_PAGE);
    let with_ring = options.ring && !devices.is_empty() && kvm_fd.check_extension(Cap::Ioeventfd);
    // The ring lies behind the memory that the guest knows of.
    let size = guest_size + if with_ring { LARGE_PAGE } else { 0 };
    if size > MOST_MEMORY {
        return Err("an hvt guest's memory, with the ring, must stay below 4 GiB".to_owned());
    }
    let memory = GuestMemory::anywhere(size).map_err(|error| format!("guest memory: {error}"))?;
    memory.load(image, false)?;
    map_memory(&vm, &memory)?;
    write_tables(&memory)?;
    let mut vcpu = vm.create_vcpu(0).map_err(kvm("create the CPU"))?;
    let hertz = prepare_cpu(&kvm_fd, &vcpu, image.entry(), guest_size)?;
    let ring = if with_ring { guest_size } else { 0 };
    memory.write_boot_info(
        BOOT_INFO,
        manifest,
        &options.cmdline,
        |manifest_at, cmdline_at| {
            let features = if with_ring { FEATURE_RING } else { 0 };
            [
                guest_size,
                image.end(),
                hertz,
                cmdline_at,
                manifest_at,
                features,
                ring,
            ]
        },
    )?;
    let memory = Arc::new(memory);
    let handles: Vec<(u32, RawFd)> = devices
        .iter()
        .map(|device| (device.handle, device.fd.as_raw_fd()))
        .collect();
    let io = if with_ring {
        Some(IoThread::start(&vm, &memory, guest_size, &handles)?)
    } else {
        None
    };
    let mut calls = Calls::new(Arc::clone(&memory), guest_size, handles);
    let result = run_cpu(&mut vcpu, &mut calls);
    if let Some(io) = io {
        io.stop();
    }
    result
}

fn map_memory(vm: &VmFd, memory: &GuestMemory) -> Fallible<()> {
    let start = memory
        .host(0, memory.size(), memory.size())
        .ok_or("no guest memory")?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        guest_phys_addr: 0,
        memory_size: memory.size(),
        userspace_addr: start.expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: the region is the whole mapping, which outlives the machine: both
    // belong to `run`, which drops the machine first or ends the process.
    unsafe { vm.set_user_memory_region(region) }.map_err(kvm("map guest memory"))
}

/// Segments, and pages that map all memory at its own address: small ones
/// below 2 MiB, where the tables are hidden and the boot information is
/// read-only, large ones above.
fn write_tables(memory: &GuestMemory) -> Fallible<()> {
    let put = |at: u64, value: u64| {
        let written = memory.write(at, &value.to_le_bytes());
        if written {
            Ok(())
        } else {
            Err("no room for page tables".to_owned())
        }
    };
    put(GDT + 8, 0x00af_9b00_0000_ffff)?;
    put(GDT + 16, 0x00cf_9300_0000_ffff)?;
    put(PML4, PDPT | PRESENT | WRITABLE)?;
    for directory in 0..4 {
        put(
            PDPT + directory * 8,
            (DIRECTORIES + directory * 0x1000) | PRESENT | WRITABLE,
        )?;
    }
    put(DIRECTORIES, FIRST_TABLE | PRESENT | WRITABLE)?;
    for page in 1..memory.size() / LARGE_PAGE {
        put(
            DIRECTORIES + page * 8,
            (page * LARGE_PAGE) | PRESENT | WRITABLE | LARGE,
        )?;
    }
    for page in BOOT_INFO / 0x1000..LARGE_PAGE / 0x1000 {
        let address = page * 0x1000;
        let writable = if address < GUEST_START { 0 } else { WRITABLE };
        put(FIRST_TABLE + page * 8, address | PRESENT | writable)?;
    }
    Ok(())
}

/// Puts the CPU into 64-bit mode at the image's entry; returns the frequency of
/// its time-stamp counter.
fn prepare_cpu(kvm_fd: &Kvm, vcpu: &VcpuFd, entry: u64, guest_size: u64) -> Fallible<u64> {
    let cpuid = kvm_fd
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm("ask for CPU features"))?;
    vcpu.set_cpuid2(&cpuid).map_err(kvm("set CPU features"))?;
    let segment = |selector: u16, kind: u8, long: u8| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..kvm_segment::default()
    };
    let data = segment(16, 3, 0);
    let unusable = kvm_segment {
        unusable: 1,
        ..kvm_segment::default()
    };
    let sregs = kvm_sregs {
        cs: segment(8, 11, 1),
        ss: data,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        tr: kvm_segment {
            type_: 11,
            present: 1,
            ..kvm_segment::default()
        },
        ldt: unusable,
        gdt: kvm_dtable {
            base: GDT,
            limit: 23,
            ..kvm_dtable::default()
        },
        // Protection, paging, native FPU errors, write protection.
        cr0: 0x8001_0021,
        cr3: PML4,
        // Physical address extension, SSE and its exceptions.
        cr4: 0x620,
        // Long mode, enabled and active.
        efer: 0x500,
        ..kvm_sregs::default()
    };
    vcpu.set_sregs(&sregs)
        .map_err(kvm("set system registers"))?;
    let regs = kvm_regs {
        rip: entry,
        rflags: 2,
        rsp: guest_size - 8,
        rdi: BOOT_INFO,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs).map_err(kvm("set registers"))?;
    let kilohertz = vcpu
        .get_tsc_khz()
        .map_err(kvm("ask for the clock's frequency"))?;
    Ok(u64::from(kilohertz) * 1000)
}

fn run_cpu(vcpu: &mut VcpuFd, calls: &mut Calls) -> Fallible<u8> {
    loop {
        let unexpected = match vcpu.run() {
            Ok(VcpuExit::IoOut(port, &[a, b, c, d])) => {
                match calls.handle(port, u32::from_le_bytes([a, b, c, d]))? {
                    Outcome::Continue => continue,
                    Outcome::Halt(status) => return Ok(status),
                }
            }
            Ok(exit) => format!("{exit:?}"),
            Err(error) if error.errno() == libc::EINTR => continue,
            Err(error) if error.errno() == libc::EFAULT => {
                "wrote to read-only memory, as a stack overflow does".to_owned()
            }
            Err(error) => error.to_string(),
        };
        let at = vcpu.get_regs().map_or(0, |regs| regs.rip);
        return Err(format!("the guest stopped at {at:#x}: {unexpected}"));
    }
}

/// The thread that serves the ring.
struct IoThread {
    thread: thread::JoinHandle<()>,
    wake: EventFd,
    stop: Arc<AtomicBool>,
}

impl IoThread {
    fn start(
        vm: &VmFd,
        memory: &Arc<GuestMemory>,
        ring: u64,
        handles: &[(u32, RawFd)],
    ) -> Fallible<Self> {
        let event = |error| format!("event descriptor: {error}");
        let wake = EventFd::new(EFD_CLOEXEC).map_err(event)?;
        let port = IoEventAddress::Pio(u64::from(calls::PORT_KICK));
        vm.register_ioevent(&wake, &port, 0_u32)
            .map_err(kvm("register the ring's kick"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let server = io_thread::Server {
            memory: Arc::clone(memory),
            ring_at: ring,
            handles: handles.to_vec(),
            wake: wake.try_clone().map_err(event)?,
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("ring".to_owned())
            .spawn(move || server.run())
            .map_err(|error| format!("the ring's thread: {error}"))?;
        Ok(Self { thread, wake, stop })
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if self.wake.write(1).is_ok() {
            // A panic of the thread has printed its message.
            let _finished = self.thread.join();
        }
    }
}

const _: () = assert!(size_of::<Ring>() as u64 <= LARGE_PAGE);
