//! CPU faults of an hvt guest: print what happened, then halt.
//!
//! The tender leaves the guest with a descriptor table that lies outside the
//! mapped memory and with no interrupt table, so any fault would end in a
//! silent triple fault. This installs both, with a stack of its own for the
//! handler: the fault may be due to the program's.

use core::arch::{asm, global_asm};
use core::mem::size_of;

use crate::{ExitCode, exit};

const VECTORS: usize = 32;
const STUB_SIZE: usize = 16;
const STACK_SIZE: usize = 16 * 1024;

/// Same selectors as the tender's, so that the loaded segments stay valid.
const CODE_SELECTOR: u64 = 8;
const TSS_SELECTOR: u16 = 24;
const GATE_PRESENT_INTERRUPT: u64 = 0x8e;
const FIRST_IST: u64 = 1;

/// Null, code, data, and the two words of the task-state segment.
type Gdt = [u64; 5];
/// Two words per gate.
type Idt = [[u64; 2]; VECTORS];
/// 104 bytes, in 32-bit words as its fields are only so aligned.
type Tss = [u32; 26];
/// Word of [`Tss`] where the first interrupt stack's address begins.
const TSS_IST1: usize = 9;

static mut GDT: Gdt = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0];
static mut IDT: Idt = [[0; 2]; VECTORS];
static mut TSS: Tss = [0; 26];

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);
static mut STACK: Stack = Stack([0; STACK_SIZE]);

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

// One stub of 16 bytes per vector: pushes a zero where the CPU pushes no error
// code (the mask has the bits of those that do), then its number.
global_asm!(
    ".balign 16",
    "pollwire_fault_stubs:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    ".if (0x60227d00 >> vector) & 1",
    ".else",
    "push 0",
    ".endif",
    "push vector",
    "jmp pollwire_fault_common",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "pollwire_fault_common:",
    "mov rdi, rsp",
    "and rsp, -16",
    "cld",
    "call {fault}",
    "ud2",
    fault = sym fault,
);

unsafe extern "C" {
    static pollwire_fault_stubs: [u8; VECTORS * STUB_SIZE];
}

/// What the stubs and the CPU push.
#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Installs the tables.
///
/// # Safety
/// Called once, on an hvt guest, before anything can fault.
pub(crate) unsafe fn install() {
    let (gdt, idt, tss) = (&raw mut GDT, &raw mut IDT, &raw mut TSS);
    let stack_top = (&raw const STACK).addr() as u64 + STACK_SIZE as u64;
    let stubs = (&raw const pollwire_fault_stubs).addr() as u64;
    let tss_base = tss.addr() as u64;
    // SAFETY: the statics are used here alone, and the CPU reads them only once
    // the instructions below have run. The table pointers live across those
    // instructions. Selector 24 is the segment just described.
    unsafe {
        // The low half, then the high half.
        (*tss)[TSS_IST1] = stack_top as u32;
        (*tss)[TSS_IST1 + 1] = (stack_top >> 32) as u32;
        (*gdt)[3] = (size_of::<Tss>() as u64 - 1)
            | (tss_base & 0xff_ffff) << 16
            | 0x89 << 40
            | (tss_base >> 24 & 0xff) << 56;
        (*gdt)[4] = tss_base >> 32;
        for vector in 0..VECTORS {
            let stub = stubs + (vector * STUB_SIZE) as u64;
            (*idt)[vector] = [
                stub & 0xffff
                    | CODE_SELECTOR << 16
                    | FIRST_IST << 32
                    | GATE_PRESENT_INTERRUPT << 40
                    | (stub >> 16 & 0xffff) << 48,
                stub >> 32,
            ];
        }
        let gdt = TablePointer {
            limit: size_of::<Gdt>() as u16 - 1,
            base: gdt.addr() as u64,
        };
        let idt = TablePointer {
            limit: size_of::<Idt>() as u16 - 1,
            base: idt.addr() as u64,
        };
        asm!(
            "lgdt [{gdt}]",
            "lidt [{idt}]",
            "ltr {tss:x}",
            gdt = in(reg) &raw const gdt,
            idt = in(reg) &raw const idt,
            tss = in(reg) TSS_SELECTOR,
            options(nostack, preserves_flags),
        );
    }
}

extern "C" fn fault(frame: &Frame) -> ! {
    let address: u64;
    // SAFETY: reading CR2 has no effect; ring 0, as only hvt guests get here.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    crate::println!(
        "CPU fault {} ({}), error code {:#x}\n  rip {:#x}, rsp {:#x}, flags {:#x}, \
         cs {:#x}, ss {:#x}, fault address {address:#x}",
        frame.vector,
        name(frame.vector),
        frame.error,
        frame.rip,
        frame.rsp,
        frame.rflags,
        frame.cs,
        frame.ss,
    );
    exit::exit(ExitCode::FAULT)
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid instruction",
        7 => "no coprocessor",
        8 => "double fault",
        12 => "stack segment fault",
        13 => "general protection",
        14 => "page fault",
        16 | 19 => "floating-point error",
        17 => "alignment check",
        18 => "machine check",
        _ => "unexpected",
    }
}

/// Lets the guest use AVX, which hvt leaves off.
///
/// Opt-in, since a KVM that emulates dies on the first such instruction.
pub(crate) fn enable_avx() -> Result<(), &'static str> {
    const OSXSAVE: u64 = 1 << 18;
    const X87_SSE_AVX: u32 = 7;
    if !cpu_has_avx() {
        return Err("--guest.avx: this CPU has no AVX");
    }
    // SAFETY: ring 0, as only hvt guests get here; the CPU has XSAVE and AVX,
    // so bit 18 of CR4 and these bits of XCR0 exist. Nothing saves the state:
    // a guest has one thread and no interrupts.
    unsafe {
        asm!(
            "mov {cr4}, cr4",
            "or {cr4}, {osxsave}",
            "mov cr4, {cr4}",
            "xsetbv",
            cr4 = out(reg) _,
            osxsave = const OSXSAVE,
            in("ecx") 0,
            in("eax") X87_SSE_AVX,
            in("edx") 0,
            options(nostack),
        );
    }
    Ok(())
}

/// CPUID's word on XSAVE and AVX, whether or not the operating system (we) has
/// enabled them: bits 26 and 28 of leaf 1's ECX.
fn cpu_has_avx() -> bool {
    const XSAVE_AND_AVX: u32 = 1 << 26 | 1 << 28;
    let features: u32;
    // SAFETY: every x86-64 CPU has CPUID; rbx, which the compiler reserves, is
    // put back.
    unsafe {
        asm!(
            "mov {saved}, rbx",
            "cpuid",
            "mov rbx, {saved}",
            saved = out(reg) _,
            inout("eax") 1 => _,
            inout("ecx") 0 => features,
            out("edx") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    features & XSAVE_AND_AVX == XSAVE_AND_AVX
}
