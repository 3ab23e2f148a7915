//! Frames to application data.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use pollwire_rings::FrameRef;
use smallvec::SmallVec;

use super::Plaintext;
use crate::TlsError;
use crate::engine::{Engine, Received, record_length};

/// How the stream ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// By `close_notify`.
    Closed,
    /// Badly.
    Failed(TlsError),
}

/// What was received, and how far it is understood.
pub(super) struct Receiver {
    /// Opened, and not yet given to the application.
    ready: VecDeque<Plaintext>,
    /// The beginning of a record that goes on in the next frame.
    partial: Vec<u8>,
    /// That record's length, header included, when enough has come to tell.
    whole: Option<usize>,
    end: Option<End>,
    /// Bytes that had to be copied, to be counted.
    copied: usize,
}

/// Data of one record within a frame.
type Spans = SmallVec<[Range<usize>; 4]>;

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            partial: Vec::new(),
            whole: None,
            end: None,
            copied: 0,
        }
    }

    /// The next data, or how the stream ended; `None` when a frame is wanted.
    pub(super) fn next(&mut self) -> Option<Result<Option<Plaintext>, TlsError>> {
        if let Some(data) = self.ready.pop_front() {
            return Some(Ok(Some(data)));
        }
        match &self.end {
            Some(End::Closed) => Some(Ok(None)),
            Some(End::Failed(error)) => Some(Err(error.clone())),
            None => None,
        }
    }

    /// Puts back what the application did not read of it.
    pub(super) fn put_back(&mut self, data: Plaintext) {
        if !data.is_empty() {
            self.ready.push_front(data);
        }
    }

    /// Why the stream ended, if badly.
    pub(super) fn failure(&self) -> Option<TlsError> {
        match &self.end {
            Some(End::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Ends the stream, unless it has ended.
    pub(super) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Throws away what came; nothing more is given out.
    pub(super) fn discard(&mut self) {
        self.ready.clear();
        self.partial = Vec::new();
        self.finish(End::Closed);
    }

    /// How many bytes were copied since the last question; those of a record
    /// when it is whole.
    pub(super) fn take_copied(&mut self) -> usize {
        if !self.partial.is_empty() && self.end.is_none() {
            return 0;
        }
        core::mem::take(&mut self.copied)
    }

    /// Takes a frame in.
    pub(super) fn feed(&mut self, engine: &mut Engine, mut frame: FrameRef) {
        let fed = self.complete(engine, &mut frame);
        let fed = fed.and_then(|()| self.open_within(engine, frame));
        if let Err(error) = fed {
            self.finish(End::Failed(error));
        }
    }

    /// Goes on with the record that began in an earlier frame.
    fn complete(&mut self, engine: &mut Engine, frame: &mut FrameRef) -> Result<(), TlsError> {
        while !self.partial.is_empty() && !frame.is_empty() && self.end.is_none() {
            let wanted = self.whole.unwrap_or(crate::engine::record::HEADER);
            let missing = wanted.saturating_sub(self.partial.len());
            let part = frame.get(..missing.min(frame.len())).unwrap_or_default();
            let taken = part.len();
            self.partial.extend_from_slice(part);
            self.copied += taken;
            frame.trim_front(taken);
            if self.whole.is_none() {
                self.whole = record_length(&self.partial)?;
                let more = self.whole.unwrap_or(0).saturating_sub(self.partial.len());
                self.partial.reserve_exact(more);
            }
            if self.whole.is_some_and(|whole| whole <= self.partial.len()) {
                let record = core::mem::take(&mut self.partial);
                self.open_gathered(engine, record)?;
            }
        }
        Ok(())
    }

    fn open_gathered(&mut self, engine: &mut Engine, mut record: Vec<u8>) -> Result<(), TlsError> {
        match engine.on_record(&mut record)? {
            Received::Data(data) if data.is_empty() => {}
            Received::Data(data) => self.ready.push_back(Plaintext::gathered(record, data)),
            Received::Nothing => {}
            Received::Closed => self.finish(End::Closed),
        }
        Ok(())
    }

    /// Opens the records that lie wholly in `frame`, in place; keeps the
    /// beginning of one that does not.
    fn open_within(&mut self, engine: &mut Engine, frame: FrameRef) -> Result<(), TlsError> {
        // RFC 8446, 6.1: "Any data received after a closure alert has been
        // received MUST be ignored."
        if frame.is_empty() || self.end.is_some() {
            return Ok(());
        }
        let mut frame = match frame.try_into_mut() {
            Ok(frame) => frame,
            Err(shared) => return self.open_copy(engine, &shared),
        };
        let (mut spans, mut opened) = (Spans::new(), 0);
        let result = self.open_records(engine, &mut frame, &mut spans, &mut opened);
        // All are opened before any is given out: a frame that the application
        // holds a part of cannot be written to.
        let last = spans.pop();
        let rest = opened..frame.len();
        if result.is_ok() && self.end.is_none() && !rest.is_empty() {
            let part = frame.get(rest).unwrap_or_default();
            self.begin_partial(part);
            self.copied += part.len();
        }
        let mut whole = frame.freeze();
        for span in spans {
            self.ready
                .extend(whole.slice(span.start, span.end).map(Plaintext::from));
        }
        if let Some(span) = last {
            whole.truncate(span.end);
            whole.trim_front(span.start);
            self.ready.push_back(whole.into());
        }
        result
    }

    /// Keeps the beginning of a record, with room for the rest of it.
    fn begin_partial(&mut self, part: &[u8]) {
        // What is no record has been refused before.
        self.whole = record_length(part).ok().flatten();
        self.partial.reserve_exact(self.whole.unwrap_or(part.len()));
        self.partial.extend_from_slice(part);
    }

    fn open_records(
        &mut self,
        engine: &mut Engine,
        bytes: &mut [u8],
        spans: &mut Spans,
        opened: &mut usize,
    ) -> Result<(), TlsError> {
        while self.end.is_none() {
            let rest = bytes.get_mut(*opened..).unwrap_or_default();
            let Some(record) = record_length(rest)?.and_then(|length| rest.get_mut(..length))
            else {
                break;
            };
            let (start, length) = (*opened, record.len());
            match engine.on_record(record)? {
                Received::Data(data) if data.is_empty() => {}
                Received::Data(data) => spans.push(start + data.start..start + data.end),
                Received::Nothing => {}
                Received::Closed => self.finish(End::Closed),
            }
            *opened += length;
        }
        Ok(())
    }

    /// For frames that somebody else holds, too: a device that keeps what it
    /// received, or a capture.
    fn open_copy(&mut self, engine: &mut Engine, frame: &[u8]) -> Result<(), TlsError> {
        let mut bytes = frame.to_vec();
        self.copied += bytes.len();
        let (mut spans, mut opened) = (Spans::new(), 0);
        let result = self.open_records(engine, &mut bytes, &mut spans, &mut opened);
        if result.is_ok() && self.end.is_none() {
            self.begin_partial(bytes.get(opened..).unwrap_or_default());
        }
        for span in spans {
            let data = bytes.get(span).unwrap_or_default().to_vec();
            let length = data.len();
            self.ready.push_back(Plaintext::gathered(data, 0..length));
        }
        result
    }
}
