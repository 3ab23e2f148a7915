//! The application manifest: which devices an image asks for, and what the
//! tender attached. Layouts of Solo5's `mft_abi.h`, version 1.

use core::fmt;

/// Bytes of an entry's name, terminator included.
pub const NAME_SIZE: usize = 68;
/// Most entries of a manifest, the reserved first one included.
pub const MAX_ENTRIES: usize = 64;
/// Bytes before the first entry: version and entry count.
pub const HEADER_SIZE: usize = 8;
/// Bytes of one entry.
pub const ENTRY_SIZE: usize = 104;
/// Offset of the manifest in its note, alignment bytes included.
pub const NOTE_OFFSET: usize = 24;
/// The ELF note type, `MFT1`.
pub const NOTE_TYPE: u32 = 0x3154_464d;
/// The owner's name in Solo5's ELF notes.
pub const NOTE_NAME: [u8; 8] = *b"Solo5\0\0\0";

const VERSION: u32 = 1;
const NOTE_HEADER: usize = 20;
const TYPE_OFFSET: usize = NAME_SIZE;
const MAC_OFFSET: usize = 72;
const MTU_OFFSET: usize = 78;
const FD_OFFSET: usize = 88;
const ATTACHED_OFFSET: usize = 96;

const TYPE_NET: u32 = 2;
const TYPE_RESERVED_FIRST: u32 = 1 << 30;

/// One entry as it stands in an image.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Entry {
    name: [u8; NAME_SIZE],
    kind: u32,
    unused: [u8; ENTRY_SIZE - NAME_SIZE - 4],
}

impl Entry {
    const RESERVED: Self = Self {
        name: [0; NAME_SIZE],
        kind: TYPE_RESERVED_FIRST,
        unused: [0; ENTRY_SIZE - NAME_SIZE - 4],
    };

    /// A network device called `name`.
    ///
    /// # Panics
    /// At compile time, when the name is empty, longer than 67 bytes or not
    /// alphanumeric ASCII: the tenders' options could not name it.
    #[must_use]
    pub const fn net(name: &str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "a device needs a name");
        assert!(
            bytes.len() < NAME_SIZE,
            "a device name has at most 67 bytes"
        );
        let mut entry = Self {
            kind: TYPE_NET,
            ..Self::RESERVED
        };
        let mut index = 0;
        while index < bytes.len() {
            assert!(
                bytes[index].is_ascii_alphanumeric(),
                "a device name has letters and digits only"
            );
            entry.name[index] = bytes[index];
            index += 1;
        }
        entry
    }
}

/// The manifest as an ELF note; goes into `.note.solo5.manifest`.
#[repr(C, align(8))]
pub struct Note<const DEVICES: usize> {
    name_size: u32,
    desc_size: u32,
    note_type: u32,
    name: [u8; 8],
    pad: u32,
    version: u32,
    entries: u32,
    reserved: Entry,
    devices: [Entry; DEVICES],
}

impl<const DEVICES: usize> Note<DEVICES> {
    /// A note for `devices`.
    ///
    /// # Panics
    /// At compile time, with more than 63 devices.
    #[must_use]
    pub const fn new(devices: [Entry; DEVICES]) -> Self {
        assert!(DEVICES < MAX_ENTRIES, "a manifest has at most 63 devices");
        #[expect(clippy::cast_possible_truncation, reason = "at most 6,680 bytes")]
        Self {
            name_size: 6,
            desc_size: (size_of::<Self>() - NOTE_HEADER) as u32,
            note_type: NOTE_TYPE,
            name: NOTE_NAME,
            pad: 0,
            version: VERSION,
            entries: DEVICES as u32 + 1,
            reserved: Entry::RESERVED,
            devices,
        }
    }

    /// The note as it stands in an image.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the type is `repr(C)` and has no padding: its fields add up to
        // its size (asserted below), so all its bytes are initialised.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

const _: () = {
    assert!(size_of::<Entry>() == ENTRY_SIZE);
    assert!(core::mem::offset_of!(Note<1>, version) == NOTE_OFFSET);
    assert!(size_of::<Note<1>>() == NOTE_OFFSET + HEADER_SIZE + 2 * ENTRY_SIZE);
};

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Its size does not match its entry count.
    Size,
    /// A version other than 1.
    Version(u32),
    /// More than 64 entries, or none.
    Count(u32),
    /// The first entry is not the reserved one.
    First,
    /// A name without a terminator.
    Name,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("its size does not match its entry count"),
            Self::Version(version) => write!(f, "version {version} is not 1"),
            Self::Count(count) => write!(f, "{count} entries are not within 1..=64"),
            Self::First => f.write_str("the first entry is not the reserved one"),
            Self::Name => f.write_str("a device name has no terminator"),
        }
    }
}

impl core::error::Error for ManifestError {}

/// What the tender attached under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetAttachment {
    /// The entry's index, which is Solo5's handle.
    pub handle: u32,
    /// The device's Ethernet address.
    pub mac: [u8; 6],
    /// Its MTU, Ethernet header not counted.
    pub mtu: u16,
    /// The host's descriptor (`spt`).
    pub fd: i32,
}

/// A checked manifest over borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    entries: &'a [u8],
}

impl<'a> Manifest<'a> {
    /// Checks `bytes`, which are the manifest and nothing behind it.
    ///
    /// # Errors
    /// What is wrong with it, see [`ManifestError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        let version = u32_at(bytes, 0).ok_or(ManifestError::Size)?;
        let count = u32_at(bytes, 4).ok_or(ManifestError::Size)?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        if count == 0 || count as usize > MAX_ENTRIES {
            return Err(ManifestError::Count(count));
        }
        let entries = bytes.get(HEADER_SIZE..).ok_or(ManifestError::Size)?;
        if entries.len() != count as usize * ENTRY_SIZE {
            return Err(ManifestError::Size);
        }
        let manifest = Self { entries };
        for (index, entry) in manifest.iter().enumerate() {
            if index == 0 && (entry.kind() != TYPE_RESERVED_FIRST || !entry.name().is_empty()) {
                return Err(ManifestError::First);
            }
            if entry.0.get(NAME_SIZE - 1) != Some(&0) {
                return Err(ManifestError::Name);
            }
        }
        Ok(manifest)
    }

    fn iter(self) -> impl Iterator<Item = RawEntry<'a>> {
        self.entries.chunks_exact(ENTRY_SIZE).map(RawEntry)
    }

    /// Names of the devices that the image asks for, with `true` for those
    /// that are network devices.
    pub fn devices(self) -> impl Iterator<Item = (&'a str, bool)> {
        self.iter()
            .filter(|entry| entry.kind() < TYPE_RESERVED_FIRST)
            .map(|entry| (entry.name(), entry.kind() == TYPE_NET))
    }

    /// The attached network device `name`.
    #[must_use]
    pub fn net(self, name: &str) -> Option<NetAttachment> {
        let (index, entry) = self
            .iter()
            .enumerate()
            .find(|(_, entry)| entry.kind() == TYPE_NET && entry.name() == name)?;
        if entry.0.get(ATTACHED_OFFSET) != Some(&1) {
            return None;
        }
        Some(NetAttachment {
            handle: u32::try_from(index).ok()?,
            mac: entry.0.get(MAC_OFFSET..MTU_OFFSET)?.try_into().ok()?,
            mtu: u16::from_le_bytes(entry.0.get(MTU_OFFSET..MTU_OFFSET + 2)?.try_into().ok()?),
            fd: i32::from_le_bytes(entry.0.get(FD_OFFSET..FD_OFFSET + 4)?.try_into().ok()?),
        })
    }
}

/// Marks the network device of manifest `bytes` that `attachment.handle` names
/// as attached. `false`, and no change, when there is no such device. For
/// tenders.
pub fn attach(bytes: &mut [u8], attachment: &NetAttachment) -> bool {
    let start = HEADER_SIZE + attachment.handle as usize * ENTRY_SIZE;
    let Some(entry) = bytes
        .get_mut(start..)
        .and_then(|rest| rest.get_mut(..ENTRY_SIZE))
    else {
        return false;
    };
    if RawEntry(entry).kind() != TYPE_NET {
        return false;
    }
    let mut put = |offset: usize, value: &[u8]| {
        if let Some(place) = entry.get_mut(offset..offset + value.len()) {
            place.copy_from_slice(value);
        }
    };
    put(MAC_OFFSET, &attachment.mac);
    put(MTU_OFFSET, &attachment.mtu.to_le_bytes());
    put(FD_OFFSET, &attachment.fd.to_le_bytes());
    put(ATTACHED_OFFSET, &[1]);
    true
}

struct RawEntry<'a>(&'a [u8]);

impl<'a> RawEntry<'a> {
    fn kind(&self) -> u32 {
        u32_at(self.0, TYPE_OFFSET).unwrap_or(0)
    }

    fn name(&self) -> &'a str {
        let field = self.0.get(..NAME_SIZE).unwrap_or_default();
        let len = field
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(NAME_SIZE);
        let name = field.get(..len).unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn manifest() -> Vec<u8> {
        let note = Note::new([Entry::net("service"), Entry::net("other")]);
        note.as_bytes()[NOTE_OFFSET..].to_vec()
    }

    #[test]
    fn declared_then_attached() {
        let mut bytes = manifest();
        let parsed = Manifest::parse(&bytes).unwrap();
        let names: Vec<_> = parsed.devices().collect();
        assert_eq!(names, [("service", true), ("other", true)]);
        assert_eq!(parsed.net("service"), None, "not attached yet");
        let attachment = NetAttachment {
            handle: 2,
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1500,
            fd: 7,
        };
        assert!(attach(&mut bytes, &attachment));
        let parsed = Manifest::parse(&bytes).unwrap();
        assert_eq!(parsed.net("other"), Some(attachment));
        assert_eq!(parsed.net("service"), None);
    }

    #[test]
    fn reserved_and_missing_entries_cannot_be_attached() {
        let mut bytes = manifest();
        for handle in [0, 3, u32::MAX] {
            let attachment = NetAttachment {
                handle,
                mac: [0; 6],
                mtu: 0,
                fd: 0,
            };
            assert!(!attach(&mut bytes, &attachment), "handle {handle}");
        }
        assert_eq!(bytes, manifest());
    }

    #[test]
    fn bad_manifests_are_named() {
        let good = manifest();
        let with = |offset: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[offset] = value;
            Manifest::parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0, 2), Err(ManifestError::Version(2)));
        assert_eq!(with(4, 0), Err(ManifestError::Count(0)));
        assert_eq!(with(4, 65), Err(ManifestError::Count(65)));
        assert_eq!(with(4, 4), Err(ManifestError::Size));
        assert_eq!(with(8, b'x'), Err(ManifestError::First));
        assert_eq!(with(8 + 104 + 67, b'x'), Err(ManifestError::Name));
        for len in 0..good.len() {
            assert!(Manifest::parse(&good[..len]).is_err(), "length {len}");
        }
    }
}
