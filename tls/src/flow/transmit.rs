//! Application data to frames.

use pollwire_core::{Error, Interest};
use pollwire_rings::FrameBuf;

use super::{Plaintext, State, TlsFlow};
use crate::TlsError;
use crate::engine::{MAX_RECORD_DATA, Overhead};

impl TlsFlow<'_> {
    /// Makes a record of `data` and queues it. A frame that nobody else holds,
    /// with room around its data, is sealed in place and becomes part of the
    /// send queue; anything else is copied. Waits while the send buffer is full.
    ///
    /// What was received can be sent back as it is. When data that must be
    /// copied is long, dropping the future may leave a part of it sent.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection is over or this side is closed;
    /// [`TlsError::KeyExhausted`].
    pub async fn send(&self, data: impl Into<Plaintext>) -> Result<(), TlsError> {
        let mut data = data.into();
        loop {
            data = match self.try_send(data) {
                Ok(()) => return Ok(()),
                Err((data, TlsError::Net(Error::WouldBlock))) => data,
                Err((_, error)) => return Err(error),
            };
            if data.len() > MAX_RECORD_DATA || !self.fits_empty_buffer(&data) {
                return self.write_all(&data).await;
            }
            self.wait(Interest::Writable).await;
        }
    }

    /// As [`send`](Self::send), without waiting. Data of more than
    /// [`MAX_RECORD_DATA`] bytes, or of more than the send buffer holds, must be
    /// [written](Self::try_write).
    ///
    /// # Errors
    /// The data comes back with the reason; [`TlsError::WOULD_BLOCK`] when the
    /// send buffer is full.
    pub fn try_send(&self, data: impl Into<Plaintext>) -> Result<(), (Plaintext, TlsError)> {
        let data = data.into();
        let (overhead, room) = match self.ready_to_seal() {
            Ok(ready) => ready,
            Err(error) => return Err((data, error)),
        };
        if data.is_empty() {
            return Ok(());
        }
        match writable(data, overhead) {
            Ok(frame) => {
                let length = frame.len();
                self.send_in_place(frame, overhead)
                    .map_err(|(frame, error)| (frame.into(), error))?;
                self.on_sent(length);
                Ok(())
            }
            Err(data) if data.len() > MAX_RECORD_DATA || data.len() + overhead.total() > room => {
                Err((data, TlsError::WOULD_BLOCK))
            }
            Err(mut data) => match self.send_gathered(&mut data, overhead) {
                Ok(()) => Ok(()),
                Err(error) => Err((data, error)),
            },
        }
    }

    /// Whether the data could be sent in one record if nothing was queued.
    fn fits_empty_buffer(&self, data: &[u8]) -> bool {
        let limit = self.tcp.options().map_or(0, |options| options.send_buffer);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.overhead()
            .is_ok_and(|overhead| data.len() + overhead.total() <= limit / 2)
    }

    /// Makes a record of a part of `data`, at least of one byte unless there is
    /// none, and queues it; returns how many bytes. Waits while the send buffer
    /// is full.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn write(&self, data: &[u8]) -> Result<usize, TlsError> {
        loop {
            match self.try_write(data) {
                Err(TlsError::Net(Error::WouldBlock)) => self.wait_to_write().await,
                done => return done,
            }
        }
    }

    /// Waits for room in the send buffer, and for a free frame.
    async fn wait_to_write(&self) {
        if self.net().try_alloc_frame().is_none() {
            drop(self.net().alloc_frame().await);
        } else {
            self.wait(Interest::Writable).await;
        }
    }

    /// As [`write`](Self::write), without waiting.
    ///
    /// # Errors
    /// [`TlsError::WOULD_BLOCK`] when the send buffer is full; else as `send`.
    pub fn try_write(&self, data: &[u8]) -> Result<usize, TlsError> {
        let written = self.write_record(data);
        self.state.borrow_mut().engine.shrink_output();
        written
    }

    /// Queues one record of a part of `data`; the room for the next one stays.
    fn write_record(&self, data: &[u8]) -> Result<usize, TlsError> {
        let (overhead, room) = self.ready_to_seal()?;
        if data.is_empty() {
            return Ok(0);
        }
        let segment = self.mss()?;
        let bulk = data.len() > segment && self.state.borrow_mut().pace.is_bulk(self.net().now());
        let most = match room.saturating_sub(overhead.total()) {
            most if bulk && most > segment => most.min(MAX_RECORD_DATA),
            _ => segment,
        };
        let part = data.get(..most.min(data.len())).unwrap_or_default();
        if part.len() <= segment {
            return self.send_segment(part, overhead);
        }
        match self.net().with_stack(|stack| stack.alloc_large()) {
            Some(frame) => self.send_large(frame, part, overhead),
            None => self.send_copy(part).map(|()| part.len()),
        }
    }

    /// Queues all of `data`.
    ///
    /// # Errors
    /// As [`send`](Self::send); some of the data may have been queued.
    pub async fn write_all(&self, data: &[u8]) -> Result<(), TlsError> {
        let mut rest = data;
        while !rest.is_empty() {
            match self.write_record(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(TlsError::Net(Error::WouldBlock)) => {
                    self.state.borrow_mut().engine.shrink_output();
                    self.wait_to_write().await;
                }
                Err(error) => return Err(error),
            }
        }
        self.state.borrow_mut().engine.shrink_output();
        Ok(())
    }

    /// Waits until the peer's TCP has acknowledged all that was written.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection ended before that.
    pub async fn flush(&self) -> Result<(), TlsError> {
        self.write_output().await?;
        Ok(self.tcp.flush().await?)
    }

    fn overhead(&self) -> Result<Overhead, TlsError> {
        self.state.borrow_mut().engine.overhead()
    }

    /// Queues what TLS itself has to send, and gives the room for more behind
    /// it; [`TlsError::WOULD_BLOCK`] where there is none.
    fn ready_to_seal(&self) -> Result<(Overhead, usize), TlsError> {
        self.state.borrow_mut().engine.renew_key_if_worn()?;
        self.try_write_output()?;
        match self.tcp.write_room()? {
            0 => Err(TlsError::WOULD_BLOCK),
            room => Ok((self.overhead()?, room)),
        }
    }

    /// Queues TLS's own records, all of them.
    fn try_write_output(&self) -> Result<(), TlsError> {
        let engine = &mut self.state.borrow_mut().engine;
        while !engine.output().is_empty() {
            let count = self.tcp.try_write(engine.output())?;
            engine.consume_output(count);
        }
        Ok(())
    }

    /// The same, as far as it goes.
    pub(super) fn push_output(&self) {
        // What is left goes before the next data; errors show there, too.
        let _later = self.try_write_output();
    }

    /// The same, waiting for room.
    pub(super) async fn write_output(&self) -> Result<(), TlsError> {
        loop {
            match self.try_write_output() {
                Err(TlsError::Net(Error::WouldBlock)) => self.wait_to_write().await,
                done => return done,
            }
        }
    }

    fn on_sent(&self, bytes: usize) {
        let now = self.net().now();
        self.state.borrow_mut().pace.on_sent(now, bytes);
    }

    /// Seals in the frame, whose data becomes the record's.
    fn send_in_place(
        &self,
        mut frame: FrameBuf,
        overhead: Overhead,
    ) -> Result<(), (FrameBuf, TlsError)> {
        let length = frame.len();
        let room = frame.push_front(overhead.front).is_some();
        if !room || frame.push_back(overhead.back).is_none() {
            return Err((frame, TlsError::WOULD_BLOCK));
        }
        let engine = &mut self.state.borrow_mut().engine;
        if let Err(error) = engine.seal(&mut frame) {
            frame.trim_front(overhead.front);
            frame.truncate(length);
            return Err((frame, error));
        }
        // A sealed record has its place in the sequence: what TCP cannot take
        // (it has no queue node left) waits in front of all that follows.
        if let Err((frame, _full)) = self.tcp.try_send(frame) {
            engine.put_behind(&frame);
        }
        Ok(())
    }

    /// One record in one new frame: one copy per byte, as without TLS.
    fn send_segment(&self, data: &[u8], overhead: Overhead) -> Result<usize, TlsError> {
        let mut frame = self.net().try_alloc_frame().ok_or(TlsError::WOULD_BLOCK)?;
        let room = frame.tailroom().saturating_sub(overhead.total());
        let part = data.get(..room.min(data.len())).unwrap_or_default();
        frame.push_back(overhead.front);
        frame.trim_front(overhead.front);
        let count = frame.extend_from_slice(part);
        self.send_in_place(frame, overhead)
            .map_err(|(_, error)| error)?;
        self.count_copied(count);
        self.on_sent(count);
        Ok(count)
    }

    /// One record that fills `frame`, which is cut into segments where it lies:
    /// one copy per byte, as without TLS.
    fn send_large(
        &self,
        mut frame: FrameBuf,
        data: &[u8],
        overhead: Overhead,
    ) -> Result<usize, TlsError> {
        frame.reset(overhead.front);
        let room = whole_segments(frame.slot_size(), self.tcp.mss()?);
        let part = data.get(..room.saturating_sub(overhead.total()).min(data.len()));
        let count = frame.extend_from_slice(part.unwrap_or_default());
        self.send_in_place(frame, overhead)
            .map_err(|(_, error)| error)?;
        self.count_copied(count);
        self.on_sent(count);
        Ok(count)
    }

    /// One record of data that lies in no frame: sealed where it was received,
    /// if there is room, and copied into frames.
    fn send_gathered(&self, data: &mut Plaintext, overhead: Overhead) -> Result<(), TlsError> {
        let length = data.len();
        let Some(record) = data.record_mut(overhead) else {
            return self.send_copy(data);
        };
        let State { engine, pace, .. } = &mut *self.state.borrow_mut();
        engine.seal(record)?;
        // A sealed record has its place in the sequence: what TCP cannot take
        // waits in front of all that follows.
        let count = self.tcp.try_write(record).unwrap_or(0);
        engine.put_behind(record.get(count..).unwrap_or_default());
        pace.on_sent(self.net().now(), length);
        Ok(())
    }

    /// One record by way of the engine's output, which lies in one piece.
    fn send_copy(&self, data: &[u8]) -> Result<(), TlsError> {
        let State { engine, pace, .. } = &mut *self.state.borrow_mut();
        engine.append(data)?;
        pace.on_sent(self.net().now(), data.len());
        self.count_copied(data.len());
        while !engine.output().is_empty() {
            // There was room for it; what is left all the same goes first the
            // next time.
            let Ok(count) = self.tcp.try_write(engine.output()) else {
                break;
            };
            engine.consume_kept(count);
        }
        Ok(())
    }
}

/// The longest record of at most `most` bytes whose last segment is a full one,
/// unless that would make it far shorter.
fn whole_segments(most: usize, segment: usize) -> usize {
    let rest = most % segment.max(1);
    if rest <= most / 4 { most - rest } else { most }
}

/// The frame to seal in place, if that can be done.
fn writable(data: Plaintext, overhead: Overhead) -> Result<FrameBuf, Plaintext> {
    let frame = data.into_frame()?;
    let frame = frame.try_into_mut().map_err(Plaintext::from)?;
    let fits = frame.len() <= MAX_RECORD_DATA
        && frame.headroom() >= overhead.front
        && frame.tailroom() >= overhead.back;
    if fits { Ok(frame) } else { Err(frame.into()) }
}
