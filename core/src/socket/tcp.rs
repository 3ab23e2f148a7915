//! TCP connections and listeners.

use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use embedded_io_async::ReadExactError;
use pollwire_rings::{FrameBuf, FrameRef};

use super::Net;
use crate::tcp::{
    FlowId, Interest, ListenOptions, ListenerId, ListenerStats, Shutdown, TcpOptions, TcpState,
};
use crate::{Error, Misuse, Stack, TcpEvent, TcpInfo};

/// A TCP connection.
///
/// All operations take `&self`: one task may read while another writes. Two
/// tasks that wait for the same direction of one connection are not supported:
/// the later one takes the wake-up.
///
/// Dropping it closes gracefully in the background: what was written is still
/// sent, and retransmitted as needed. To know that it arrived, await
/// [`close`](Self::close); to be rid of it at once, [`abort`](Self::abort).
///
/// Dropping the future of any operation cancels the operation and nothing
/// else: `recv`, `send`, `read`, `write`, `flush` either happened or did not.
/// Only [`read_exact`](Self::read_exact) and [`write_all`](Self::write_all) may
/// have done a part.
pub struct TcpFlow<'n> {
    net: Net<'n>,
    id: FlowId,
}

/// Aborts the connection when the future that waits for it is dropped.
struct Connecting<'n>(Option<TcpFlow<'n>>);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        if let Some(flow) = self.0.take() {
            flow.abort();
        }
    }
}

impl<'n> TcpFlow<'n> {
    /// Connects to `remote` with default options.
    ///
    /// # Errors
    /// As [`connect_with`](Self::connect_with).
    pub async fn connect(net: Net<'n>, remote: SocketAddr) -> Result<Self, Error> {
        Self::connect_with(net, remote, TcpOptions::default()).await
    }

    /// Connects to `remote`. Dropping the future aborts the attempt.
    ///
    /// # Errors
    /// [`Error::Conn`] when the peer refuses or does not answer,
    /// [`Error::Misuse`] when the attempt could not begin: no source address,
    /// a bad destination, no flow or port free.
    pub async fn connect_with(
        net: Net<'n>,
        remote: SocketAddr,
        options: TcpOptions,
    ) -> Result<Self, Error> {
        let id = net.with_stack(|stack| stack.tcp_connect(remote, options))?;
        let mut attempt = Connecting(Some(Self { net, id }));
        poll_fn(|cx| {
            net.poll_with(
                cx,
                |stack| stack.tcp_try_connected(id),
                |stack, waker| stack.tcp_wake_on(id, Interest::Writable, waker),
            )
        })
        .await?;
        attempt.0.take().ok_or(Error::Misuse(Misuse::StaleHandle))
    }

    /// The stack's name for this connection, for the `tcp_*` operations of
    /// [`Stack`].
    #[must_use]
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// The handle that it was made from.
    #[must_use]
    pub fn net(&self) -> Net<'n> {
        self.net
    }

    fn poll_on<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        operation: impl FnOnce(&mut Stack) -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        self.net.poll_with(cx, operation, |stack, waker| {
            stack.tcp_wake_on(self.id, interest, waker);
        })
    }

    /// The next received bytes, in the frame in which they came; `None` when
    /// the peer has closed its side. Nothing is copied. The frame counts as
    /// read, and the window that it took up is given back, at once; the frame
    /// itself returns to the pool when it is dropped or sent.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection was reset or timed out.
    pub async fn recv(&self) -> Result<Option<FrameRef>, Error> {
        poll_fn(|cx| self.poll_on(cx, Interest::Readable, |stack| stack.tcp_try_recv(self.id)))
            .await
    }

    /// As [`recv`](Self::recv), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing has arrived; else as `recv`.
    pub fn try_recv(&self) -> Result<Option<FrameRef>, Error> {
        self.net.with_stack(|stack| stack.tcp_try_recv(self.id))
    }

    /// Queues the bytes of `frame`, without copying them: the frame becomes
    /// part of the send queue and returns to the pool when the peer has
    /// acknowledged it. Waits while the send buffer is full.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection is over or this side is closed.
    pub async fn send(&self, frame: impl Into<FrameRef>) -> Result<(), Error> {
        let mut held = Some(frame.into());
        poll_fn(|cx| {
            let Some(frame) = held.take() else {
                return Poll::Ready(Ok(()));
            };
            self.poll_on(cx, Interest::Writable, |stack| {
                stack
                    .tcp_try_send(self.id, frame)
                    .map_err(|(frame, error)| {
                        held = Some(frame);
                        error
                    })
            })
        })
        .await
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// The frame comes back with the reason; [`Error::WouldBlock`] when the
    /// send buffer is full.
    pub fn try_send(&self, frame: impl Into<FrameRef>) -> Result<(), (FrameRef, Error)> {
        let frame = frame.into();
        self.net
            .with_stack(|stack| stack.tcp_try_send(self.id, frame))
    }

    /// An empty frame to fill and [`send`](Self::send).
    pub async fn alloc_frame(&self) -> FrameBuf {
        self.net.alloc_frame().await
    }

    /// Copies received bytes into `buffer`; returns how many, 0 when the peer
    /// has closed its side (or the buffer is empty).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            self.poll_on(cx, Interest::Readable, |stack| {
                stack.tcp_try_read(self.id, buffer)
            })
        })
        .await
    }

    /// As [`read`](Self::read), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing has arrived; else as `read`.
    pub fn try_read(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.net
            .with_stack(|stack| stack.tcp_try_read(self.id, buffer))
    }

    /// Fills all of `buffer`.
    ///
    /// # Errors
    /// [`ReadExactError::UnexpectedEof`] when the peer closed its side before
    /// that; else as [`read`](Self::read).
    pub async fn read_exact(&self, buffer: &mut [u8]) -> Result<(), ReadExactError<Error>> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let count = self.read(rest).await?;
            if count == 0 {
                return Err(ReadExactError::UnexpectedEof);
            }
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Copies bytes of `data` into the send queue; returns how many, at least
    /// one unless `data` is empty. Waits while the send buffer is full.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn write(&self, data: &[u8]) -> Result<usize, Error> {
        if data.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            self.poll_on(cx, Interest::Writable, |stack| {
                stack.tcp_try_write(self.id, data)
            })
        })
        .await
    }

    /// As [`write`](Self::write), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when the send buffer is full; else as `write`.
    pub fn try_write(&self, data: &[u8]) -> Result<usize, Error> {
        self.net
            .with_stack(|stack| stack.tcp_try_write(self.id, data))
    }

    /// Bytes that [`try_write`](Self::try_write) would take now, whole; 0 while
    /// it would block. For layers that must not be stopped half-way through a
    /// record.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection is over or this side is closed.
    pub fn write_room(&self) -> Result<usize, Error> {
        self.net.with_stack(|stack| stack.tcp_write_room(self.id))
    }

    /// Queues all of `data`.
    ///
    /// # Errors
    /// As [`write`](Self::write); some of the data may have been queued.
    pub async fn write_all(&self, data: &[u8]) -> Result<(), Error> {
        let mut rest = data;
        while !rest.is_empty() {
            let count = self.write(rest).await?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until the peer has acknowledged all that was written. Sending
    /// does not depend on it.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection ended before that.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_on(cx, Interest::Writable, |stack| stack.tcp_try_flush(self.id)))
            .await
    }

    /// Closes one direction or both: `Write` sends FIN after what is queued;
    /// `Read` discards what arrives from now on.
    ///
    /// # Errors
    /// [`Error::Conn`] when the connection is over already.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        self.net
            .with_stack(|stack| stack.tcp_shutdown(self.id, how))
    }

    /// Closes both directions and waits until the peer has acknowledged all
    /// that was written, and the FIN behind it: then the peer's TCP has
    /// everything. The rest (the peer's own FIN, TIME-WAIT) goes on in the
    /// background, as does everything when the future is dropped.
    ///
    /// # Errors
    /// [`Error::Conn`] when the peer reset the connection or stopped
    /// answering, so that written data may be lost.
    pub async fn close(self) -> Result<(), Error> {
        self.shutdown(Shutdown::Both)?;
        poll_fn(|cx| {
            self.poll_on(cx, Interest::Writable, |stack| {
                match stack.tcp_try_closed(self.id) {
                    Err(Error::WouldBlock) if stack.tcp_state(self.id)? == TcpState::FinWait2 => {
                        Ok(())
                    }
                    other => other,
                }
            })
        })
        .await
    }

    /// Ends the connection at once with a reset; queued data is discarded.
    pub fn abort(self) {
        let this = core::mem::ManuallyDrop::new(self);
        this.net.with_stack(|stack| stack.tcp_abort(this.id));
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.net.with_stack(|stack| stack.tcp_local_addr(self.id))?)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.net.with_stack(|stack| stack.tcp_peer_addr(self.id))?)
    }

    /// Payload bytes that a full segment to the peer carries: bulk senders
    /// fill their frames to this length.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn mss(&self) -> Result<usize, Error> {
        let mss = self.net.with_stack(|stack| stack.tcp_mss(self.id))?;
        Ok(usize::from(mss))
    }

    /// What the connection knows of its path and its peer.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn info(&self) -> Result<TcpInfo, Error> {
        Ok(self.net.with_stack(|stack| stack.tcp_info(self.id))?)
    }

    /// Switches the event log on, with room for the last `events`; 0 switches
    /// it off. See [`Stack::tcp_log`].
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn log(&self, events: usize) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.tcp_log(self.id, events))?)
    }

    /// The events of the log, oldest first; a line each, `pollwire-perf plot`
    /// draws them.
    #[must_use]
    pub fn events(&self) -> Vec<TcpEvent> {
        self.net
            .with_stack(|stack| stack.tcp_events(self.id).0.collect())
    }

    /// The options in force.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn options(&self) -> Result<TcpOptions, Error> {
        Ok(self.net.with_stack(|stack| stack.tcp_options(self.id))?)
    }

    /// Changes options: Nagle, keepalive, user timeout, buffer limits.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn set_options(&self, options: TcpOptions) -> Result<(), Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.tcp_set_options(self.id, options))?)
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the connection is gone.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<(), Error> {
        self.set_options(TcpOptions {
            nodelay,
            ..self.options()?
        })
    }

    /// A reading and a writing half, for two futures of one task.
    pub fn split(&mut self) -> (ReadHalf<'_, 'n>, WriteHalf<'_, 'n>) {
        (ReadHalf { flow: self }, WriteHalf { flow: self })
    }
}

impl Drop for TcpFlow<'_> {
    fn drop(&mut self) {
        self.net.with_stack(|stack| stack.tcp_close(self.id));
    }
}

impl core::fmt::Debug for TcpFlow<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("TcpFlow").field(&self.id).finish()
    }
}

/// The reading half of a [`TcpFlow`].
#[derive(Debug)]
pub struct ReadHalf<'a, 'n> {
    pub(super) flow: &'a TcpFlow<'n>,
}

impl ReadHalf<'_, '_> {
    /// See [`TcpFlow::recv`].
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self) -> Result<Option<FrameRef>, Error> {
        self.flow.recv().await
    }

    /// See [`TcpFlow::read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.flow.read(buffer).await
    }

    /// See [`TcpFlow::read_exact`].
    ///
    /// # Errors
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadExactError<Error>> {
        self.flow.read_exact(buffer).await
    }

    /// Discards what arrives from now on.
    ///
    /// # Errors
    /// As [`TcpFlow::shutdown`].
    pub fn shutdown(&mut self) -> Result<(), Error> {
        self.flow.shutdown(Shutdown::Read)
    }
}

/// The writing half of a [`TcpFlow`].
#[derive(Debug)]
pub struct WriteHalf<'a, 'n> {
    pub(super) flow: &'a TcpFlow<'n>,
}

impl WriteHalf<'_, '_> {
    /// See [`TcpFlow::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, frame: impl Into<FrameRef>) -> Result<(), Error> {
        self.flow.send(frame).await
    }

    /// See [`TcpFlow::write`].
    ///
    /// # Errors
    /// As there.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.flow.write(data).await
    }

    /// See [`TcpFlow::write_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), Error> {
        self.flow.write_all(data).await
    }

    /// See [`TcpFlow::flush`].
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.flow.flush().await
    }

    /// Sends FIN after what is queued.
    ///
    /// # Errors
    /// As [`TcpFlow::shutdown`].
    pub fn shutdown(&mut self) -> Result<(), Error> {
        self.flow.shutdown(Shutdown::Write)
    }
}

/// Accepts TCP connections on one port. Dropping it stops listening and resets
/// the connections that nobody accepted.
pub struct TcpListener<'n> {
    net: Net<'n>,
    id: ListenerId,
}

impl<'n> TcpListener<'n> {
    /// Listens at `local` with default options. Port 0 picks a free one, the
    /// unspecified address means all of this host's.
    ///
    /// # Errors
    /// As [`bind_with`](Self::bind_with).
    pub fn bind(net: Net<'n>, local: SocketAddr) -> Result<Self, Error> {
        Self::bind_with(net, local, ListenOptions::default())
    }

    /// Listens at `local`; `options` holds the length of the accept queue and
    /// what the accepted connections start with.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the address is in use or not this host's.
    pub fn bind_with(
        net: Net<'n>,
        local: SocketAddr,
        options: ListenOptions,
    ) -> Result<Self, Error> {
        let id = net.with_stack(|stack| stack.tcp_listen(local, options))?;
        Ok(Self { net, id })
    }

    /// The next connection.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the listener is gone.
    pub async fn accept(&self) -> Result<TcpFlow<'n>, Error> {
        let id = poll_fn(|cx| {
            self.net.poll_with(
                cx,
                |stack| stack.tcp_try_accept(self.id),
                |stack, waker| stack.tcp_wake_on_accept(self.id, waker),
            )
        })
        .await?;
        Ok(TcpFlow { net: self.net, id })
    }

    /// As [`accept`](Self::accept), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when no connection is waiting.
    pub fn try_accept(&self) -> Result<TcpFlow<'n>, Error> {
        let id = self.net.with_stack(|stack| stack.tcp_try_accept(self.id))?;
        Ok(TcpFlow { net: self.net, id })
    }

    /// What it has seen since it was opened.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the listener is gone.
    pub fn stats(&self) -> Result<ListenerStats, Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.tcp_listener_stats(self.id))?)
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the listener is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self
            .net
            .with_stack(|stack| stack.tcp_listener_addr(self.id))?)
    }
}

impl Drop for TcpListener<'_> {
    fn drop(&mut self) {
        self.net
            .with_stack(|stack| stack.tcp_close_listener(self.id));
    }
}

impl core::fmt::Debug for TcpListener<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("TcpListener").field(&self.id).finish()
    }
}
