use super::*;
use pollwire_rings::solo5::manifest::{Entry, Note};

/// A minimal image: headers, ABI note, manifest note, one page of code.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; 0x2000];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |offset: usize, value: &[u8]| {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    };
    put(16, &TYPE_EXEC.to_le_bytes());
    put(18, &MACHINE_X86_64.to_le_bytes());
    put(24, &0x10_0000_u64.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &3_u16.to_le_bytes());
    let mut header = |index: usize, kind: u32, flags: u32, fields: [u64; 6]| {
        let at = 64 + index * PROGRAM_HEADER;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (index, field) in fields.iter().enumerate() {
            put(at + 8 + index * 8, &field.to_le_bytes());
        }
    };
    header(
        0,
        PT_LOAD,
        5,
        [0x1000, 0x10_0000, 0x10_0000, 0x1000, 0x1000, 0x1000],
    );
    header(1, PT_NOTE, 4, [0x200, 0, 0, 36, 36, 4]);
    let note = Note::new([Entry::net("service")]);
    let size = size_of_val(&note);
    header(2, PT_NOTE, 4, [0x300, 0, 0, size as u64, size as u64, 8]);
    for (index, word) in [6, 16, ABI_NOTE].iter().enumerate() {
        put(0x200 + index * 4, &u32::to_le_bytes(*word));
    }
    put(0x20c, &NOTE_NAME);
    put(0x214, &2_u32.to_le_bytes());
    put(0x218, &2_u32.to_le_bytes());
    put(0x300, note.as_bytes());
    bytes
}

#[test]
fn a_good_image_parses_and_changes_its_abi() {
    let mut bytes = image();
    let parsed = Image::parse(bytes.clone()).expect("good");
    assert_eq!(parsed.abi(), Abi::Spt);
    assert_eq!(parsed.entry(), 0x10_0000);
    assert_eq!(parsed.end(), 0x10_1000);
    assert_eq!(parsed.segments().count(), 1);
    set_abi(&mut bytes, Abi::Hvt).expect("good");
    assert_eq!(Image::parse(bytes).expect("good").abi(), Abi::Hvt);
}

#[track_caller]
fn refused(offset: usize, value: &[u8]) -> ImageError {
    let mut bytes = image();
    bytes[offset..offset + value.len()].copy_from_slice(value);
    Image::parse(bytes).expect_err("must be refused")
}

#[test]
fn bad_images_are_named() {
    assert_eq!(refused(4, &[1]), ImageError::NotElf);
    assert_eq!(refused(16, &[3]), ImageError::NotExecutable);
    assert_eq!(refused(32, &u64::MAX.to_le_bytes()), ImageError::Truncated);
    assert_eq!(refused(0x208, &[0]), ImageError::NoAbi);
    assert_eq!(refused(0x214, &[6]), ImageError::UnknownAbi(6));
    assert_eq!(refused(0x218, &[3]), ImageError::AbiVersion(3));
    assert_eq!(refused(0x308, &[0]), ImageError::NoManifest);
    assert!(matches!(refused(0x318, &[9]), ImageError::Manifest(_)));
    let load = 64;
    assert!(matches!(
        refused(load + 4, &[7]),
        ImageError::Segment("is both writable and executable", _)
    ));
    assert!(matches!(refused(load + 4, &[4]), ImageError::Segment(..)));
    assert!(matches!(
        refused(load + 18, &[0]),
        ImageError::Segment("begins below 0x100000", _)
    ));
    assert!(matches!(
        refused(load + 48, &[1, 0]),
        ImageError::Segment("is not page-aligned", _)
    ));
    assert_eq!(refused(load + 8, &[0, 0x80]), ImageError::Truncated);
}

/// Any change of any byte of the headers and notes parses or is refused.
#[test]
fn mutated_images_never_panic() {
    for offset in (0..64 + 3 * PROGRAM_HEADER)
        .chain(0x200..0x224)
        .chain(0x300..0x328)
    {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = image();
            bytes[offset] = value;
            let _either = Image::parse(bytes);
        }
    }
    let whole = image();
    for len in 0..0x400 {
        assert!(Image::parse(whole[..len].to_vec()).is_err(), "length {len}");
    }
}
