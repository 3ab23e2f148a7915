//! Moving data between a flow and its application, without and with copies.

use pollwire_rings::FrameRef;

use super::Env;
use super::tcb::{Tcb, TcpState, flag};
use crate::{ConnError, Counter, Error};

impl Tcb<'_> {
    /// Takes the next unread frame. `Ok(None)`: the peer sent FIN and all is
    /// read.
    #[inline]
    pub(crate) fn take_frame(&mut self, env: &mut Env<'_>) -> Result<Option<FrameRef>, Error> {
        let Some(frame) = self.next_frame(env) else {
            return self.nothing_to_read();
        };
        self.after_read(env);
        Ok(Some(frame))
    }

    /// Takes the next unread frame; [`after_read`](Self::after_read) follows.
    #[inline(always)]
    pub(crate) fn next_frame(&mut self, env: &mut Env<'_>) -> Option<FrameRef> {
        match self.take_first_unread() {
            Some(frame) => Some(frame),
            None => self.take_listed(env),
        }
    }

    #[inline(always)]
    pub(crate) fn take_first_unread(&mut self) -> Option<FrameRef> {
        let frame = self.cold.first_unread.take()?;
        self.account_read(&frame);
        Some(frame)
    }

    #[inline(always)]
    pub(crate) fn take_listed(&mut self, env: &mut Env<'_>) -> Option<FrameRef> {
        let frame = env.nodes.pop_front(&mut self.hot.recv)?;
        self.account_read(&frame);
        Some(frame)
    }

    #[inline(always)]
    fn account_read(&mut self, frame: &FrameRef) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 64 KiB")]
        let cost = frame.slot_size() as u32;
        self.hot.rcv_held = self.hot.rcv_held.saturating_sub(cost);
    }

    #[inline(always)]
    pub(crate) fn after_read(&mut self, env: &mut Env<'_>) {
        if self.hot.state.can_receive() && self.window_update_due(env) {
            self.ack_now();
        }
    }

    pub(crate) fn nothing_to_read(&self) -> Result<Option<FrameRef>, Error> {
        if let Some(error) = self.cold.error {
            return Err(error.into());
        }
        if self.hot.has(flag::READ_SHUT) {
            return Ok(None);
        }
        match self.hot.state {
            TcpState::Closed => Ok(None),
            state if state.peer_closed() => Ok(None),
            _ => Err(Error::WouldBlock),
        }
    }

    /// Copies unread bytes out; 0 means the end of the stream.
    pub(crate) fn read_into(&mut self, env: &mut Env<'_>, out: &mut [u8]) -> Result<usize, Error> {
        if out.is_empty() {
            return Ok(0);
        }
        let mut copied = 0;
        while copied < out.len() {
            let Some(frame) = self.first_frame(env) else {
                break;
            };
            let count = frame.len().min(out.len() - copied);
            if let (Some(to), Some(from)) =
                (out.get_mut(copied..copied + count), frame.get(..count))
            {
                to.copy_from_slice(from);
            }
            copied += count;
            if count < frame.len() {
                self.trim_first(env, count);
                break;
            }
            drop(self.next_frame(env));
            self.after_read(env);
        }
        env.counters.add(Counter::CopiedBytes, copied as u64);
        if copied == 0 {
            self.nothing_to_read().map(|_| 0)
        } else {
            Ok(copied)
        }
    }

    /// Whether something is unread.
    pub(crate) fn has_unread(&self) -> bool {
        self.cold.first_unread.is_some() || !self.hot.recv.is_empty()
    }

    fn first_frame<'e>(&'e self, env: &'e Env<'_>) -> Option<&'e FrameRef> {
        match &self.cold.first_unread {
            Some(frame) => Some(frame),
            None => env.nodes.get(self.hot.recv.head?)?.frame.as_ref(),
        }
    }

    /// Forgets the first `count` unread bytes; they lie in one frame.
    fn trim_first(&mut self, env: &mut Env<'_>, count: usize) {
        if let Some(frame) = &mut self.cold.first_unread {
            frame.trim_front(count);
        } else if let Some(node) = self.hot.recv.head.and_then(|id| env.nodes.get_mut(id)) {
            node.trim_front(u32::try_from(count).unwrap_or(0));
        }
    }

    /// Copies unread bytes out and leaves them in the queue.
    pub(crate) fn peek_into(&self, env: &mut Env<'_>, out: &mut [u8]) -> Result<usize, Error> {
        let (mut copied, mut at) = (0, self.hot.recv.head);
        let mut first = self.cold.first_unread.as_deref();
        loop {
            let from = match (first.take(), at.and_then(|id| env.nodes.get(id))) {
                (Some(from), _) => from,
                (None, Some(node)) => {
                    at = node.next;
                    node.frame.as_deref().unwrap_or_default()
                }
                (None, None) => break,
            };
            let count = from.len().min(out.len() - copied);
            if let (Some(to), Some(from)) = (out.get_mut(copied..copied + count), from.get(..count))
            {
                to.copy_from_slice(from);
            }
            copied += count;
        }
        env.counters.add(Counter::CopiedBytes, copied as u64);
        if copied == 0 && !out.is_empty() {
            self.nothing_to_read().map(|_| 0)
        } else {
            Ok(copied)
        }
    }

    /// Why nothing can be written, if so.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let open = self.hot.state == TcpState::Established && !self.hot.has(flag::FIN_QUEUED);
        if open && self.hot.queued() < self.cold.snd_limit {
            return Ok(());
        }
        self.why_not_writable()
    }

    #[inline(never)]
    fn why_not_writable(&self) -> Result<(), Error> {
        if let Some(error) = self.cold.error {
            return Err(error.into());
        }
        if self.hot.has(flag::FIN_QUEUED) {
            return Err(ConnError::Closed.into());
        }
        match self.hot.state {
            TcpState::Established | TcpState::CloseWait => {}
            TcpState::SynSent | TcpState::SynReceived => return Err(Error::WouldBlock),
            _ => return Err(ConnError::Closed.into()),
        }
        if self.hot.queued() >= self.cold.snd_limit {
            Err(Error::WouldBlock)
        } else {
            Ok(())
        }
    }

    /// Bytes that [`write_from`](Self::write_from) would take now.
    pub(crate) fn write_room(&self, env: &Env<'_>) -> Result<usize, Error> {
        match self.check_writable() {
            Err(Error::WouldBlock) => return Ok(0),
            other => other?,
        }
        let window = self.cold.snd_limit.saturating_sub(self.hot.queued()) as usize;
        let kept = env.pool.capacity() / 16;
        let frames = env.pool.available().saturating_sub(kept);
        let segments = frames.min(env.nodes.available());
        Ok(window.min(segments.saturating_mul(usize::from(self.hot.mss))))
    }

    /// Queues a frame's data, cut into segments, without a copy.
    #[inline]
    pub(crate) fn queue_frame(
        &mut self,
        env: &mut Env<'_>,
        frame: FrameRef,
    ) -> Result<(), (FrameRef, Error)> {
        if let Err(error) = self.check_writable() {
            return Err((frame, error));
        }
        if !(1..=usize::from(self.hot.mss)).contains(&frame.len()) {
            return self.again().queue_in_parts(&mut env.again(), frame);
        }
        self.append(env, frame)
            .map_err(|frame| (frame, Error::WouldBlock))
    }

    /// Cuts a frame into segments; all of it is queued, or nothing.
    fn queue_in_parts(
        &mut self,
        env: &mut Env<'_>,
        mut frame: FrameRef,
    ) -> Result<(), (FrameRef, Error)> {
        let mss = usize::from(self.hot.mss).max(1);
        if env.nodes.available() <= frame.len() / mss {
            return Err((frame, Error::WouldBlock));
        }
        while !frame.is_empty() {
            // There is a node for each part: asked above.
            drop(self.append(env, frame.split_to(mss)));
        }
        Ok(())
    }

    #[inline(always)]
    fn append(&mut self, env: &mut Env<'_>, frame: FrameRef) -> Result<(), FrameRef> {
        let len = u32::try_from(frame.len()).unwrap_or(0);
        let id = env.nodes.alloc(self.hot.snd_end, frame)?;
        env.nodes.push_back(&mut self.hot.send, id);
        if self.hot.unsent.is_none() {
            self.hot.unsent = Some(id);
        }
        self.hot.snd_end += len;
        Ok(())
    }

    /// Copies as much of `data` into the send queue as has room: first behind
    /// the last unsent segment, then into new frames.
    pub(crate) fn write_from(&mut self, env: &mut Env<'_>, data: &[u8]) -> Result<usize, Error> {
        self.check_writable()?;
        let room = self.cold.snd_limit.saturating_sub(self.hot.queued()) as usize;
        let mut data = data.get(..room.min(data.len())).unwrap_or_default();
        let mut written = self.fill_tail(env, data);
        data = data.get(written..).unwrap_or_default();
        while !data.is_empty() {
            if env.pool.available() <= env.pool.capacity() / 16 {
                break;
            }
            let Some(mut frame) = env.pool.alloc() else {
                break;
            };
            let part = data
                .get(..usize::from(self.hot.mss).min(data.len()))
                .unwrap_or_default();
            let count = frame.extend_from_slice(part);
            if count == 0 || self.append(env, frame.freeze()).is_err() {
                break;
            }
            written += count;
            data = data.get(count..).unwrap_or_default();
        }
        env.counters.add(Counter::CopiedBytes, written as u64);
        if written == 0 && !data.is_empty() {
            Err(Error::WouldBlock)
        } else {
            Ok(written)
        }
    }

    fn fill_tail(&mut self, env: &mut Env<'_>, data: &[u8]) -> usize {
        if self.hot.unsent.is_none() {
            return 0;
        }
        let mss = u32::from(self.hot.mss);
        let Some(node) = self.hot.send.tail.and_then(|id| env.nodes.get_mut(id)) else {
            return 0;
        };
        let room = mss.saturating_sub(node.len) as usize;
        let part = data.get(..room.min(data.len())).unwrap_or_default();
        let count = node
            .frame
            .as_mut()
            .map_or(0, |frame| frame.extend_if_unique(part));
        let added = u32::try_from(count).unwrap_or(0);
        node.len += added;
        self.hot.snd_end += added;
        count
    }
}
