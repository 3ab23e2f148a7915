//! Images: ELF files with Solo5's notes.

use std::fmt;
use std::ops::Range;

use pollwire_rings::solo5::manifest::{self, Manifest, ManifestError, NOTE_NAME};

const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const TYPE_EXEC: u16 = 2;
const MACHINE_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const FLAG_EXECUTE: u32 = 1;
const FLAG_WRITE: u32 = 2;
const PAGE: u64 = 4096;
/// Lowest address of a guest's segments.
const LOWEST: u64 = 0x10_0000;
const NOTE_HEADER: usize = 20;
const ABI_NOTE: u32 = 0x3149_4241;
const ABI_VERSION: u32 = 2;

/// Which tender an image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// A virtual machine.
    Hvt,
    /// A process under a system-call filter.
    Spt,
}

impl Abi {
    fn number(self) -> u32 {
        match self {
            Self::Hvt => 1,
            Self::Spt => 2,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::Hvt, Self::Spt]
            .into_iter()
            .find(|abi| abi.number() == number)
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hvt => "hvt",
            Self::Spt => "spt",
        })
    }
}

impl std::str::FromStr for Abi {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "hvt" => Ok(Self::Hvt),
            "spt" => Ok(Self::Spt),
            _ => Err(format!("no ABI '{name}'; there are hvt and spt")),
        }
    }
}

/// Why a file is not an image that can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Not a 64-bit little-endian ELF file.
    NotElf,
    /// For another machine, or not a fixed-address executable.
    NotExecutable,
    /// Headers that point outside of the file.
    Truncated,
    /// No ABI note: not a Solo5 image.
    NoAbi,
    /// An ABI this tender does not have, by number.
    UnknownAbi(u32),
    /// A version of the ABI that this tender does not have.
    AbiVersion(u32),
    /// No manifest note.
    NoManifest,
    /// A damaged manifest.
    Manifest(ManifestError),
    /// A segment that breaks a rule of the loader.
    Segment(&'static str, u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not a 64-bit ELF file"),
            Self::NotExecutable => f.write_str("not a fixed-address x86-64 executable"),
            Self::Truncated => f.write_str("a header points outside of the file"),
            Self::NoAbi => f.write_str("no Solo5 ABI note: not a Solo5 image"),
            Self::UnknownAbi(number) => write!(f, "made for ABI {number}, neither hvt nor spt"),
            Self::AbiVersion(version) => write!(f, "ABI version {version} is not {ABI_VERSION}"),
            Self::NoManifest => f.write_str("no Solo5 manifest"),
            Self::Manifest(error) => write!(f, "bad Solo5 manifest: {error}"),
            Self::Segment(what, address) => write!(f, "segment at {address:#x} {what}"),
        }
    }
}

impl std::error::Error for ImageError {}

/// What a segment's memory allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read and execute.
    Execute,
}

/// A segment with file content. The rest of memory is zero and writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address, page-aligned or above.
    pub address: u64,
    /// Whole pages that it occupies.
    pub pages: Range<u64>,
    /// Its bytes in the file.
    pub content: Range<usize>,
    /// Its protection.
    pub protection: Protection,
}

/// A checked image.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Vec<u8>,
    abi: Abi,
    entry: u64,
    segments: Vec<Segment>,
    manifest: Range<usize>,
}

impl Image {
    /// Checks a file's content.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ImageError> {
        let headers = program_headers(&bytes)?;
        let abi_note = find_note(&bytes, &headers, ABI_NOTE)?.ok_or(ImageError::NoAbi)?;
        let number = u32_at(&bytes, abi_note.start).ok_or(ImageError::Truncated)?;
        let abi = Abi::from_number(number).ok_or(ImageError::UnknownAbi(number))?;
        let version = u32_at(&bytes, abi_note.start + 4).ok_or(ImageError::Truncated)?;
        if version != ABI_VERSION {
            return Err(ImageError::AbiVersion(version));
        }
        let note =
            find_note(&bytes, &headers, manifest::NOTE_TYPE)?.ok_or(ImageError::NoManifest)?;
        // The manifest is aligned within its note.
        let manifest = note.start + (manifest::NOTE_OFFSET - NOTE_HEADER)..note.end;
        let content = bytes.get(manifest.clone()).ok_or(ImageError::Truncated)?;
        Manifest::parse(content).map_err(ImageError::Manifest)?;
        let segments = segments(&bytes, &headers)?;
        let entry = u64_at(&bytes, 24).ok_or(ImageError::Truncated)?;
        let executable = |segment: &Segment| {
            segment.protection == Protection::Execute && segment.pages.contains(&entry)
        };
        if !segments.iter().any(executable) {
            return Err(ImageError::Segment(
                "holds the entry but is not executable",
                entry,
            ));
        }
        Ok(Self {
            abi,
            entry,
            segments,
            manifest,
            bytes,
        })
    }

    /// What it is made for.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Its first instruction.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Its segments, in ascending order, and their content.
    pub fn segments(&self) -> impl Iterator<Item = (&Segment, &[u8])> {
        self.segments.iter().map(|segment| {
            (
                segment,
                self.bytes.get(segment.content.clone()).unwrap_or_default(),
            )
        })
    }

    /// End of the last segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.pages.end)
    }

    /// The manifest, as it stands in the file.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        self.bytes.get(self.manifest.clone()).unwrap_or_default()
    }
}

/// Rewrites which tender the image in `bytes` is made for. One link serves both
/// when the program looks at its own note, as pollwire's guests do.
///
/// # Errors
/// [`ImageError`] when it is not an image.
pub fn set_abi(bytes: &mut [u8], abi: Abi) -> Result<(), ImageError> {
    let headers = program_headers(bytes)?;
    let note = find_note(bytes, &headers, ABI_NOTE)?.ok_or(ImageError::NoAbi)?;
    bytes
        .get_mut(note.start..note.start + 4)
        .ok_or(ImageError::Truncated)?
        .copy_from_slice(&abi.number().to_le_bytes());
    Ok(())
}

struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

impl ProgramHeader {
    fn content(&self, bytes: &[u8]) -> Result<Range<usize>, ImageError> {
        let start = usize::try_from(self.offset).map_err(|_| ImageError::Truncated)?;
        let size = usize::try_from(self.file_size).map_err(|_| ImageError::Truncated)?;
        let end = start.checked_add(size).ok_or(ImageError::Truncated)?;
        if end > bytes.len() {
            return Err(ImageError::Truncated);
        }
        Ok(start..end)
    }
}

fn program_headers(bytes: &[u8]) -> Result<Vec<ProgramHeader>, ImageError> {
    let ident: &[u8] = b"\x7fELF\x02\x01\x01";
    if bytes.len() < ELF_HEADER || !bytes.starts_with(ident) {
        return Err(ImageError::NotElf);
    }
    let half = |offset| u16_at(bytes, offset).ok_or(ImageError::Truncated);
    if half(16)? != TYPE_EXEC || half(18)? != MACHINE_X86_64 {
        return Err(ImageError::NotExecutable);
    }
    let (entry_size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    if entry_size != PROGRAM_HEADER {
        return Err(ImageError::NotElf);
    }
    let start = u64_at(bytes, 32).and_then(|offset| usize::try_from(offset).ok());
    let table = start
        .and_then(|start| bytes.get(start..start.checked_add(count * PROGRAM_HEADER)?))
        .ok_or(ImageError::Truncated)?;
    let parse = |entry: &[u8]| {
        Some(ProgramHeader {
            kind: u32_at(entry, 0)?,
            flags: u32_at(entry, 4)?,
            offset: u64_at(entry, 8)?,
            address: u64_at(entry, 16)?,
            file_size: u64_at(entry, 32)?,
            memory_size: u64_at(entry, 40)?,
            align: u64_at(entry, 48)?,
        })
    };
    table
        .chunks_exact(PROGRAM_HEADER)
        .map(|entry| parse(entry).ok_or(ImageError::Truncated))
        .collect()
}

/// Where the descriptor of Solo5's note of type `kind` lies.
fn find_note(
    bytes: &[u8],
    headers: &[ProgramHeader],
    kind: u32,
) -> Result<Option<Range<usize>>, ImageError> {
    for header in headers.iter().filter(|header| header.kind == PT_NOTE) {
        let content = header.content(bytes)?;
        let note = bytes.get(content.clone()).unwrap_or_default();
        let ours = u32_at(note, 0) == Some(6)
            && u32_at(note, 8) == Some(kind)
            && note.get(12..NOTE_HEADER) == Some(&NOTE_NAME[..]);
        if !ours {
            continue;
        }
        let size = u32_at(note, 4).ok_or(ImageError::Truncated)? as usize;
        let start = content.start + NOTE_HEADER;
        if size > note.len() - NOTE_HEADER {
            return Err(ImageError::Truncated);
        }
        return Ok(Some(start..start + size));
    }
    Ok(None)
}

fn segments(bytes: &[u8], headers: &[ProgramHeader]) -> Result<Vec<Segment>, ImageError> {
    let mut segments: Vec<Segment> = Vec::new();
    // Solo5's tenders skip segments without content: memory is zero anyway.
    let loads = headers
        .iter()
        .filter(|header| header.kind == PT_LOAD && header.file_size > 0);
    for header in loads {
        let refuse = |what| ImageError::Segment(what, header.address);
        let align = header.align;
        if !align.is_power_of_two() || align < PAGE {
            return Err(refuse("is not page-aligned"));
        }
        if header.memory_size < header.file_size {
            return Err(refuse("is larger in the file than in memory"));
        }
        let end = header.address.checked_add(header.memory_size);
        let end = end.and_then(|end| end.checked_next_multiple_of(align));
        let pages = header.address & !(align - 1)..end.ok_or(refuse("ends past all memory"))?;
        if pages.start < LOWEST {
            return Err(refuse("begins below 0x100000"));
        }
        if segments
            .last()
            .is_some_and(|last| pages.start < last.pages.end)
        {
            return Err(refuse("overlaps or precedes the one before"));
        }
        let protection = match (
            header.flags & FLAG_WRITE != 0,
            header.flags & FLAG_EXECUTE != 0,
        ) {
            (true, true) => return Err(refuse("is both writable and executable")),
            (true, false) => Protection::Write,
            (false, true) => Protection::Execute,
            (false, false) => Protection::Read,
        };
        segments.push(Segment {
            address: header.address,
            pages,
            content: header.content(bytes)?,
            protection,
        });
    }
    Ok(segments)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
