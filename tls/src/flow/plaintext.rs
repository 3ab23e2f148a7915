//! Application data, in the memory in which it came or is to go.

use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use pollwire_rings::{FrameBuf, FrameRef};

use crate::engine::Overhead;

/// Application data of one record: in the frame that it came in, or gathered
/// where its record spans frames.
pub struct Plaintext(Kind);

enum Kind {
    Frame(FrameRef),
    /// A record that spanned frames, and where its data lies.
    Gathered(Vec<u8>, Range<usize>),
}

impl Plaintext {
    pub(super) fn gathered(record: Vec<u8>, data: Range<usize>) -> Self {
        Self(Kind::Gathered(record, data))
    }

    /// The frame that it lies in.
    ///
    /// # Errors
    /// Itself, when its record spanned frames.
    pub fn into_frame(self) -> Result<FrameRef, Self> {
        match self.0 {
            Kind::Frame(frame) => Ok(frame),
            gathered @ Kind::Gathered(..) => Err(Self(gathered)),
        }
    }

    /// The data with room for a record's bytes around it, where it was gathered
    /// out of such a record.
    pub(super) fn record_mut(&mut self, overhead: Overhead) -> Option<&mut [u8]> {
        match &mut self.0 {
            Kind::Frame(_) => None,
            Kind::Gathered(record, data) => {
                let start = data.start.checked_sub(overhead.front)?;
                record.get_mut(start..data.end + overhead.back)
            }
        }
    }

    /// Hides `count` bytes at the front (at most all).
    pub fn trim_front(&mut self, count: usize) {
        match &mut self.0 {
            Kind::Frame(frame) => frame.trim_front(count),
            Kind::Gathered(_, data) => {
                data.start = data.start.saturating_add(count).min(data.end);
            }
        }
    }
}

impl Deref for Plaintext {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Frame(frame) => frame,
            Kind::Gathered(record, data) => record.get(data.clone()).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for Plaintext {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<FrameRef> for Plaintext {
    fn from(frame: FrameRef) -> Self {
        Self(Kind::Frame(frame))
    }
}

impl From<FrameBuf> for Plaintext {
    fn from(frame: FrameBuf) -> Self {
        frame.freeze().into()
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::Frame(_) => "frame",
            Kind::Gathered(..) => "gathered",
        };
        write!(f, "Plaintext({kind}, {} bytes)", self.len())
    }
}
