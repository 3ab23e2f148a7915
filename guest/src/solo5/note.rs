//! The ELF notes that make a program a Solo5 image, and what they say.

use pollwire_rings::solo5::manifest::NOTE_NAME;

use crate::Abi;

/// The ABI that this image was made for.
pub(crate) fn abi() -> Abi {
    // SAFETY: a plain read of a static. Volatile, since the tool that makes
    // images rewrites the word after linking.
    match unsafe { (&raw const ABI_NOTE.target).read_volatile() } {
        HVT => Abi::Hvt,
        _ => Abi::Spt,
    }
}

const HVT: u32 = 1;
const SPT: u32 = 2;

/// "ABI1": `elf_abi.h`.
#[repr(C)]
struct AbiNote {
    name_size: u32,
    desc_size: u32,
    note_type: u32,
    name: [u8; 8],
    target: u32,
    version: u32,
    reserved: [u32; 2],
}

#[used]
#[unsafe(link_section = ".note.solo5.abi")]
static ABI_NOTE: AbiNote = AbiNote {
    name_size: 6,
    desc_size: 16,
    note_type: 0x3149_4241,
    name: NOTE_NAME,
    target: SPT,
    version: 2,
    reserved: [0; 2],
};

/// Tells OpenBSD's loader that the image is its own, so that it heeds the
/// interpreter below. `elf_abi.h` asks for it in every image.
#[repr(C)]
struct OpenBsdNote {
    name_size: u32,
    desc_size: u32,
    note_type: u32,
    name: [u8; 8],
    data: u32,
}

#[used]
#[unsafe(link_section = ".note.solo5.not_openbsd")]
static OPENBSD_NOTE: OpenBsdNote = OpenBsdNote {
    name_size: 8,
    desc_size: 4,
    note_type: 1,
    name: *b"OpenBSD\0",
    data: 0,
};

/// An interpreter that cannot exist: no host kernel must run an image.
#[used]
#[unsafe(link_section = ".interp")]
static INTERPRETER: [u8; 24] = *b"/nonexistent/solo5/\0\0\0\0\0";
