//! What applications call: connections without blocking. The async sockets are
//! built of these.

use core::net::{IpAddr, SocketAddr};
use core::task::Waker;

use pollwire_rings::{FrameBuf, FrameRef};

use super::Env;
use super::options::{Handshake, TcpOptions};
use super::table::FlowId;
use super::tcb::{Tcb, TcpState, flag, mark};
use crate::flow::canonical;
use crate::stack::Stray;
use crate::{ConnError, Counter, Error, FlowKey, Misuse, Stack};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data, the end of the stream, or the end of the flow.
    Readable,
    /// Room to write, the connection's opening, or its end.
    Writable,
}

/// Which direction to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Received data is thrown away from now on.
    Read,
    /// A FIN follows what was written.
    Write,
    /// Both.
    Both,
}

/// First and last of the ephemeral ports (RFC 6335, 6).
pub(super) const EPHEMERAL: (u16, u16) = (49_152, 65_535);
/// Random ports tried before giving up (RFC 6056, 3.3.1).
pub(super) const PORT_TRIES: u32 = 4096;

impl Stack {
    /// Begins to connect; [`tcp_try_connected`](Self::tcp_try_connected) tells
    /// the outcome.
    ///
    /// # Errors
    /// [`Misuse`]: a destination that cannot be, or nothing left.
    pub fn tcp_connect(
        &mut self,
        remote: SocketAddr,
        options: TcpOptions,
    ) -> Result<FlowId, Misuse> {
        if let Some(own) = self.zone_of(remote)? {
            return self.on(own, |stack| stack.tcp_connect(remote, options));
        }
        let remote = canonical(remote);
        let options = TcpOptions {
            local: options.local.map(canonical),
            ..options
        };
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(Misuse::BadDestination);
        }
        let source = match options.local {
            Some(local) if !local.ip().is_unspecified() => {
                if !self.is_local(local.ip()) {
                    return Err(Misuse::AddressNotLocal);
                }
                if local.is_ipv4() != remote.is_ipv4() {
                    return Err(Misuse::NoSourceAddress);
                }
                local.ip()
            }
            _ => self
                .source_for(remote.ip())
                .ok_or(Misuse::NoSourceAddress)?,
        };
        let key = match options.local.map_or(0, |local| local.port()) {
            0 => self.ephemeral_key(source, remote)?,
            port => {
                let key = FlowKey::new(SocketAddr::new(source, port), remote);
                self.unused(key).ok_or(Misuse::AddressInUse)?
            }
        };
        let now = self.now();
        let offsets = self.tcp.secrets.offsets(&key.key);
        let index = self
            .open_flow(now, key, &options, offsets.isn(now), offsets.timestamps)
            .ok_or(Misuse::NoFlowFree)?;
        let tcb = self.tcp.tcb(index).ok_or(Misuse::NoFlowFree)?;
        tcb.hot.state = TcpState::SynSent;
        tcb.hot.set(flag::OWNED);
        tcb.cold.stuck_since = now;
        self.tcp.touch(index);
        self.tcp.handle(index).ok_or(Misuse::NoFlowFree)
    }

    /// RFC 6056, 3.3.1: a random port, and another while it is taken.
    fn ephemeral_key(&mut self, source: IpAddr, remote: SocketAddr) -> Result<Stray, Misuse> {
        for _ in 0..PORT_TRIES {
            let port = self.random_port();
            let key = FlowKey::new(SocketAddr::new(source, port), remote);
            if let Some(unused) = self.unused(key) {
                return Ok(unused);
            }
        }
        Err(Misuse::NoPortFree)
    }

    /// Whether the handshake is complete.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] while it goes on; [`Error::Conn`] when it failed.
    pub fn tcp_try_connected(&mut self, id: FlowId) -> Result<(), Error> {
        let (tcb, _) = self.tcb_env(id)?;
        match (tcb.cold.error, tcb.hot.state) {
            (Some(error), _) => Err(error.into()),
            (None, TcpState::SynSent | TcpState::SynReceived) => Err(Error::WouldBlock),
            _ => Ok(()),
        }
    }

    /// The state and environment of a flow.
    #[inline]
    pub(super) fn tcb_env(&mut self, id: FlowId) -> Result<(Tcb<'_>, Env<'_>), Misuse> {
        let now = self.now();
        match self.flow(now, id.index) {
            Some(found) if found.0.cold.generation == id.generation => Ok(found),
            _ => Err(Misuse::StaleHandle),
        }
    }

    /// Puts a flow on output's list if it has something to say.
    #[inline]
    fn touch_if(&mut self, id: FlowId, has_output: bool) {
        if has_output {
            self.tcp.touch(id.index);
        }
    }

    /// Gives every received frame to `each`, oldest first, payload only: no
    /// copy. Returns how many there were; none is the end of the stream.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing is there yet; [`Error::Conn`] when the
    /// connection broke.
    #[inline]
    pub fn tcp_try_recv_all(
        &mut self,
        id: FlowId,
        mut each: impl FnMut(FrameRef),
    ) -> Result<usize, Error> {
        let (mut tcb, mut env) = self.tcb_env(id)?;
        let mut count = 0;
        if let Some(frame) = tcb.take_first_unread() {
            each(frame);
            count += 1;
        }
        while let Some(frame) = tcb.take_listed(&mut env) {
            each(frame);
            count += 1;
        }
        if count == 0 {
            return tcb.again().nothing_to_read().map(|_| 0);
        }
        tcb.after_read(&mut env);
        let update = tcb.hot.has(flag::ACK_NOW);
        self.touch_if(id, update);
        Ok(count)
    }

    /// The next received frame, payload only: no copy. `Ok(None)` is the end of
    /// the stream.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing is there yet; [`Error::Conn`] when the
    /// connection broke.
    #[inline]
    pub fn tcp_try_recv(&mut self, id: FlowId) -> Result<Option<FrameRef>, Error> {
        let (mut tcb, mut env) = self.tcb_env(id)?;
        let frame = tcb.take_frame(&mut env)?;
        let update = tcb.hot.has(flag::ACK_NOW);
        self.touch_if(id, update);
        Ok(frame)
    }

    /// Copies received data into `out`; 0 is the end of the stream (or an empty
    /// `out`).
    ///
    /// # Errors
    /// As [`tcp_try_recv`](Self::tcp_try_recv).
    pub fn tcp_try_read(&mut self, id: FlowId, out: &mut [u8]) -> Result<usize, Error> {
        let (mut tcb, mut env) = self.tcb_env(id)?;
        let count = tcb.read_into(&mut env, out)?;
        let update = tcb.hot.has(flag::ACK_NOW);
        self.touch_if(id, update);
        Ok(count)
    }

    /// Copies received data into `out` and leaves it to be read; 0 is the end of
    /// the stream (or an empty `out`).
    ///
    /// # Errors
    /// As [`tcp_try_recv`](Self::tcp_try_recv).
    pub fn tcp_try_peek(&mut self, id: FlowId, out: &mut [u8]) -> Result<usize, Error> {
        let (tcb, mut env) = self.tcb_env(id)?;
        tcb.peek_into(&mut env, out)
    }

    /// Queues a frame's bytes to be sent, without a copy. A frame with at least
    /// 128 bytes of headroom and no other handle carries its own headers.
    ///
    /// # Errors
    /// The frame, and [`Error::WouldBlock`] when the send buffer is full or the
    /// connection not open yet, or [`Error::Conn`] when it is closed.
    #[inline]
    pub fn tcp_try_send(
        &mut self,
        id: FlowId,
        frame: impl Into<FrameRef>,
    ) -> Result<(), (FrameRef, Error)> {
        let frame = frame.into();
        let (mut tcb, mut env) = match self.tcb_env(id) {
            Ok(found) => found,
            Err(misuse) => return Err((frame, misuse.into())),
        };
        tcb.queue_frame(&mut env, frame)?;
        let touched = tcb.hot.has(flag::TOUCHED);
        self.touch_if(id, !touched);
        Ok(())
    }

    /// Copies `data` into the send queue; returns how many bytes fitted.
    ///
    /// # Errors
    /// As [`tcp_try_send`](Self::tcp_try_send).
    pub fn tcp_try_write(&mut self, id: FlowId, data: &[u8]) -> Result<usize, Error> {
        let (mut tcb, mut env) = self.tcb_env(id)?;
        let count = tcb.write_from(&mut env, data)?;
        self.tcp.touch(id.index);
        Ok(count)
    }

    /// Payload bytes that the send queue has room for.
    ///
    /// # Errors
    /// As [`tcp_try_send`](Self::tcp_try_send).
    pub fn tcp_send_room(&mut self, id: FlowId) -> Result<usize, Error> {
        let (tcb, _) = self.tcb_env(id)?;
        tcb.check_writable()?;
        Ok(tcb.cold.snd_limit.saturating_sub(tcb.hot.queued()) as usize)
    }

    /// Bytes that [`tcp_try_write`](Self::tcp_try_write) would take now, whole;
    /// 0 while it would block. For layers that must not be stopped half-way
    /// through a record.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection is over or this side is closed.
    pub fn tcp_write_room(&mut self, id: FlowId) -> Result<usize, Error> {
        let (tcb, env) = self.tcb_env(id)?;
        tcb.write_room(&env)
    }

    /// Whether everything written has been acknowledged.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] while something is under way.
    pub fn tcp_try_flush(&mut self, id: FlowId) -> Result<(), Error> {
        let (tcb, _) = self.tcb_env(id)?;
        match tcb.cold.error {
            Some(error) => Err(error.into()),
            None if tcb.hot.queued() == 0 => Ok(()),
            None => Err(Error::WouldBlock),
        }
    }

    /// Whether both directions are done: our FIN acknowledged, the peer's
    /// received, or the flow gone.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] before that; [`Error::Conn`] when it broke.
    pub fn tcp_try_closed(&mut self, id: FlowId) -> Result<(), Error> {
        let (tcb, _) = self.tcb_env(id)?;
        match (tcb.cold.error, tcb.hot.state) {
            (Some(error), _) => Err(error.into()),
            (None, TcpState::Closed) => Ok(()),
            _ => Err(Error::WouldBlock),
        }
    }

    /// Shuts one direction, or both.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection is over.
    pub fn tcp_shutdown(&mut self, id: FlowId, how: Shutdown) -> Result<(), Error> {
        let (mut tcb, mut env) = self.tcb_env(id)?;
        if let Some(error) = tcb.cold.error {
            return Err(error.into());
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            tcb.shut_read(&mut env);
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            tcb.queue_fin();
        }
        self.tcp.touch(id.index);
        Ok(())
    }

    /// Gives the handle up: a FIN follows what was written and the rest goes on
    /// in the background. With unread data the peer is told by RST that it was
    /// lost (RFC 2525, 2.17). So it is when more than half of all flows would go
    /// on like this.
    pub fn tcp_close(&mut self, id: FlowId) {
        self.end_log(id);
        let Ok((mut tcb, mut env)) = self.tcb_env(id) else {
            return;
        };
        if tcb.has_mark(mark::LOGGED) {
            tcb.watch_log(false);
        }
        let unread = tcb.has_unread() && !tcb.hot.has(flag::READ_SHUT);
        tcb.hot
            .clear(flag::OWNED | flag::WAIT_READ | flag::WAIT_WRITE);
        tcb.cold.read_waker = None;
        tcb.cold.write_waker = None;
        let state = tcb.hot.state;
        match state {
            TcpState::Closed => return self.tcp.release(id.index),
            TcpState::SynSent => return self.end_flow(id.index, None),
            _ if unread => return self.reset_and_end(id.index, ConnError::Aborted),
            TcpState::FinWait2 => {
                tcb.cold.misc_at = env.now.plus_nanos(super::input::FIN_WAIT_2_NANOS);
            }
            _ => {}
        }
        tcb.shut_read(&mut env);
        tcb.queue_fin();
        // The handle is void from now on.
        tcb.cold.generation = tcb.cold.generation.wrapping_add(1);
        tcb.cold.marks |= mark::ORPHAN;
        self.tcp.touch(id.index);
        self.tcp.orphans += 1;
        if self.tcp.orphans > self.tcp.most_orphans() {
            self.counters.inc(Counter::TcpOrphansReset);
            self.reset_and_end(id.index, ConnError::Aborted);
        }
    }

    /// Ends the connection by RST and gives the handle up.
    pub fn tcp_abort(&mut self, id: FlowId) {
        self.end_log(id);
        let Ok((tcb, _)) = self.tcb_env(id) else {
            return;
        };
        tcb.hot.clear(flag::OWNED);
        match tcb.hot.state {
            TcpState::Closed => self.tcp.release(id.index),
            TcpState::SynSent => self.end_flow(id.index, None),
            _ => self.reset_and_end(id.index, ConnError::Aborted),
        }
    }

    pub(crate) fn reset_and_end(&mut self, index: u32, error: ConnError) {
        let seq = self
            .tcp
            .hot(index)
            .map(|hot| hot.snd_nxt)
            .unwrap_or_default();
        let now = self.now();
        self.send_reset_of(now, index, seq);
        if let Some(tcb) = self.tcp.tcb(index) {
            tcb.cold.listener = 0;
        }
        self.end_flow(index, Some(error));
    }

    /// Has `waker` woken once when the flow may have become ready.
    #[inline]
    pub fn tcp_wake_on(&mut self, id: FlowId, interest: Interest, waker: &Waker) {
        let Ok((tcb, _)) = self.tcb_env(id) else {
            waker.wake_by_ref();
            return;
        };
        match interest {
            Interest::Readable => {
                tcb.hot.set(flag::WAIT_READ);
                keep_waker(&mut tcb.cold.read_waker, waker);
            }
            Interest::Writable => {
                tcb.hot.set(flag::WAIT_WRITE);
                keep_waker(&mut tcb.cold.write_waker, waker);
            }
        }
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_local_addr(&mut self, id: FlowId) -> Result<SocketAddr, Misuse> {
        self.tcb_env(id).map(|(tcb, _)| tcb.key.local())
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_peer_addr(&mut self, id: FlowId) -> Result<SocketAddr, Misuse> {
        self.tcb_env(id).map(|(tcb, _)| tcb.key.remote())
    }

    /// The connection's state.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_state(&mut self, id: FlowId) -> Result<TcpState, Misuse> {
        let (tcb, _) = self.tcb_env(id)?;
        if !tcb.has_mark(mark::TIME_WAIT) {
            return Ok(tcb.hot.state);
        }
        let (key, hash) = (*tcb.key, tcb.cold.hash);
        Ok(if self.in_time_wait(hash, &key) {
            TcpState::TimeWait
        } else {
            TcpState::Closed
        })
    }

    /// Payload bytes that a full segment to the peer carries, options
    /// deducted (RFC 9293, 3.7.1): frames of this length are sent as they are.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_mss(&mut self, id: FlowId) -> Result<u16, Misuse> {
        self.tcb_env(id).map(|(tcb, _)| tcb.hot.mss)
    }

    /// The connection's options; `handshake` tells what was agreed on once the
    /// connection is open.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_options(&mut self, id: FlowId) -> Result<TcpOptions, Misuse> {
        let (tcb, _) = self.tcb_env(id)?;
        let time = |millis: u32| {
            (millis > 0).then(|| core::time::Duration::from_millis(u64::from(millis)))
        };
        Ok(TcpOptions {
            local: Some(tcb.key.local()),
            nodelay: tcb.hot.has(flag::NODELAY),
            keepalive: time(tcb.cold.keepalive_ms),
            user_timeout: time(tcb.cold.user_timeout_ms),
            congestion: tcb.congestion_control(),
            pacing: tcb.pacing(),
            recv_buffer: tcb.cold.buffers.rcv_most,
            send_buffer: tcb.cold.buffers.snd_most,
            handshake: Handshake {
                window_scale: tcb.hot.has(flag::SCALE).then_some(tcb.hot.rcv_scale),
                max_segment: Some(tcb.cold.our_mss),
                sack: tcb.hot.has(flag::SACK),
                timestamps: tcb.hot.has(flag::TIMESTAMPS),
                ecn: tcb.ecn_option(),
                initial_window: match tcb.cold.initial_window {
                    0 => None,
                    count => Some(count),
                },
            },
        })
    }

    /// Changes the connection's options; `local` and `handshake` are ignored.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_set_options(&mut self, id: FlowId, options: TcpOptions) -> Result<(), Misuse> {
        let (mut tcb, env) = self.tcb_env(id)?;
        tcb.apply(&options);
        tcb.bound_buffer();
        if tcb.hot.state.is_synchronized() {
            tcb.restart_keepalive(&env);
        }
        self.tcp.touch(id.index);
        Ok(())
    }

    /// An empty frame to write into and [send](Self::tcp_try_send); `None`
    /// while frames are scarce: the last sixteenth is kept for the stack.
    #[must_use]
    pub fn frame_alloc(&self) -> Option<FrameBuf> {
        if self.pool.available() <= self.pool.capacity() / 16 {
            return None;
        }
        self.pool.alloc()
    }
}

/// Keeps one waker. Another task's that stood there is woken: it must not wait
/// for ever for what this one takes.
pub(super) fn keep_waker(kept: &mut Option<Waker>, waker: &Waker) {
    match kept {
        Some(old) if old.will_wake(waker) => {}
        _ => {
            if let Some(old) = kept.replace(waker.clone()) {
                old.wake();
            }
        }
    }
}

impl Tcb<'_> {
    /// Throws unread data away, and what arrives from now on.
    fn shut_read(&mut self, env: &mut Env<'_>) {
        self.cold.first_unread = None;
        env.nodes.clear(&mut self.hot.recv);
        if let Some(episode) = self.cold.episode_mut() {
            env.nodes.clear(&mut episode.out_of_order);
            episode.out_of_order_count = 0;
        }
        self.hot.rcv_held = 0;
        self.hot.clear(flag::OUT_OF_ORDER);
        self.hot.set(flag::READ_SHUT);
        self.wake_reader();
    }

    /// RFC 9293, 3.10.4: CLOSE. The FIN goes out behind what is queued.
    fn queue_fin(&mut self) {
        if self.hot.has(flag::FIN_QUEUED) {
            return;
        }
        match self.hot.state {
            // The FIN waits for the handshake (RFC 9293, 3.10.4: "queue this
            // until entering the ESTABLISHED state").
            TcpState::SynReceived => {}
            TcpState::Established => self.hot.state = TcpState::FinWait1,
            TcpState::CloseWait => self.hot.state = TcpState::LastAck,
            _ => return,
        }
        self.hot.set(flag::FIN_QUEUED);
        self.wake_writer();
    }
}
