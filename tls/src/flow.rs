//! [`TlsFlow`]: TLS on a TCP connection.

mod embedded_io;
mod halves;
mod pace;
mod plaintext;
mod receive;
mod transmit;

use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use embedded_io_async::ReadExactError;
use pollwire_core::{Error, Interest, Net, Shutdown, TcpFlow, TcpState};
use pollwire_rings::{FrameBuf, FrameRef};
use rustls_pki_types::ServerName;

pub use halves::{ReadHalf, WriteHalf};
pub use plaintext::Plaintext;

use crate::engine::Engine;
use crate::{CipherSuite, ClientConfig, ConnectionInfo, ServerConfig, TlsError, Version};
use pace::Pace;
use receive::{End, Receiver};

/// A TLS connection.
///
/// Its operations are [`TcpFlow`]'s and behave as they do: all take `&self`,
/// one task may read while another writes, and dropping a future cancels the
/// operation and nothing else. What differs is that data comes in records:
///
/// * [`recv`](Self::recv) gives one record's data, in the frame in which it
///   came where it lay in one.
/// * [`send`](Self::send) makes a record of a frame and seals it there, when
///   nobody else holds the frame and it has room for
///   [`overhead`](crate::engine::Overhead); [`alloc_frame`](Self::alloc_frame)
///   gives such frames.
/// * [`write`](Self::write) makes records of one segment at first and after
///   idle time, and of 16 KiB in bulk.
///
/// The end of the stream is the peer's `close_notify`. When TCP ends without
/// it, reading fails with [`TlsError::Truncated`].
pub struct TlsFlow<'n> {
    tcp: TcpFlow<'n>,
    /// Borrowed within one call, never across an await, and never while the
    /// application's own code runs.
    state: RefCell<State>,
    /// Set at the end of the handshake.
    info: OnceCell<ConnectionInfo>,
}

/// Before the end of the handshake, until when no flow is given out.
static NOTHING_AGREED: ConnectionInfo = ConnectionInfo {
    version: Version::Tls13,
    cipher_suite: CipherSuite(0),
    key_exchange: None,
    alpn: None,
    peer_certificates: Vec::new(),
    resumed: false,
};

struct State {
    engine: Engine,
    receiver: Receiver,
    pace: Pace,
}

impl State {
    /// How the handshake ended, if it has.
    fn outcome(&self) -> Option<Result<ConnectionInfo, TlsError>> {
        match self.engine.info() {
            Some(info) => Some(Ok(info.clone())),
            None => self.receiver.failure().map(Err),
        }
    }
}

impl<'n> TlsFlow<'n> {
    /// Does the handshake as the client of the server `name`, on an open TCP
    /// connection. Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`TlsError`]: the peer was told why, by an alert.
    pub async fn connect(
        tcp: TcpFlow<'n>,
        config: &ClientConfig,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let engine = Engine::client(config, name, tcp.net().now())?;
        Self::handshake(tcp, engine).await
    }

    /// Does the handshake as the server.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn accept(tcp: TcpFlow<'n>, config: &ServerConfig) -> Result<Self, TlsError> {
        let engine = Engine::server(config, tcp.net().now())?;
        Self::handshake(tcp, engine).await
    }

    async fn handshake(tcp: TcpFlow<'n>, engine: Engine) -> Result<Self, TlsError> {
        let flow = Self {
            tcp,
            state: RefCell::new(State {
                engine,
                receiver: Receiver::new(),
                pace: Pace::new(),
            }),
            info: OnceCell::new(),
        };
        loop {
            let output = flow.take_output();
            if !output.is_empty() {
                flow.tcp.write_all(&output).await?;
            }
            match flow.state.borrow().outcome() {
                Some(Ok(info)) => {
                    flow.info.get_or_init(|| info);
                    break;
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
            match flow.tcp.recv().await? {
                Some(frame) => flow.feed(frame),
                None => return Err(TlsError::Truncated),
            }
        }
        Ok(flow)
    }

    /// Takes the records that TLS itself has to send.
    fn take_output(&self) -> Vec<u8> {
        let engine = &mut self.state.borrow_mut().engine;
        let output = engine.output().to_vec();
        engine.consume_output(output.len());
        output
    }

    fn feed(&self, frame: FrameRef) {
        let State {
            engine, receiver, ..
        } = &mut *self.state.borrow_mut();
        receiver.feed(engine, frame);
        let copied = receiver.take_copied();
        if copied > 0 {
            self.count_copied(copied);
        }
    }

    fn count_copied(&self, bytes: usize) {
        self.net().with_stack(|stack| stack.count_copied(bytes));
    }

    /// What the handshake agreed on.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        self.info.get().unwrap_or(&NOTHING_AGREED)
    }

    /// The connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpFlow<'n> {
        &self.tcp
    }

    /// The handle that it was made from.
    #[must_use]
    pub fn net(&self) -> Net<'n> {
        self.tcp.net()
    }

    /// The next record's data; `None` when the peer said `close_notify`. Where
    /// the record lay in one frame, nothing is copied.
    ///
    /// # Errors
    /// [`TlsError`]; [`TlsError::Truncated`] when TCP ended before
    /// `close_notify`.
    pub async fn recv(&self) -> Result<Option<Plaintext>, TlsError> {
        loop {
            match self.try_recv() {
                Err(TlsError::Net(Error::WouldBlock)) => self.wait(Interest::Readable).await,
                done => return done,
            }
        }
    }

    /// As [`recv`](Self::recv), without waiting.
    ///
    /// # Errors
    /// [`TlsError::WOULD_BLOCK`] when no whole record has come; else as `recv`.
    pub fn try_recv(&self) -> Result<Option<Plaintext>, TlsError> {
        loop {
            let next = self.state.borrow_mut().receiver.next();
            if let Some(next) = next {
                return next;
            }
            match self.tcp.try_recv() {
                Ok(Some(frame)) => {
                    self.feed(frame);
                    // Replies and alerts, as far as there is room for them now.
                    self.push_output();
                }
                Ok(None) => {
                    let end = End::Failed(TlsError::Truncated);
                    self.state.borrow_mut().receiver.finish(end);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Copies received data into `buffer`; returns how many bytes, 0 when the
    /// peer said `close_notify` (or the buffer is empty).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn read(&self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        loop {
            match self.try_read(buffer) {
                Err(TlsError::Net(Error::WouldBlock)) => self.wait(Interest::Readable).await,
                done => return done,
            }
        }
    }

    /// As [`read`](Self::read), without waiting.
    ///
    /// # Errors
    /// [`TlsError::WOULD_BLOCK`] when no whole record has come; else as `recv`.
    pub fn try_read(&self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        let mut copied = 0;
        while copied < buffer.len() {
            let rest = buffer.get_mut(copied..).unwrap_or_default();
            let mut data = match self.try_recv() {
                Ok(Some(data)) => data,
                // What was read before comes first.
                _ if copied > 0 => break,
                Ok(None) => break,
                Err(error) => return Err(error),
            };
            let count = data.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..count), data.get(..count)) {
                to.copy_from_slice(from);
            }
            copied += count;
            data.trim_front(count);
            self.state.borrow_mut().receiver.put_back(data);
        }
        self.count_copied(copied);
        Ok(copied)
    }

    /// Fills all of `buffer`.
    ///
    /// # Errors
    /// [`ReadExactError::UnexpectedEof`] when the peer said `close_notify`
    /// before that; else as [`read`](Self::read).
    pub async fn read_exact(&self, buffer: &mut [u8]) -> Result<(), ReadExactError<TlsError>> {
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

    /// Waits until something may have become possible.
    async fn wait(&self, interest: Interest) {
        let mut waited = false;
        poll_fn(|cx| {
            if core::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.net()
                .with_stack(|stack| stack.tcp_wake_on(self.tcp.id(), interest, cx.waker()));
            Poll::Pending
        })
        .await;
    }

    /// An empty frame to fill and [`send`](Self::send), with room for the
    /// record around the data. Data of at most [`mss`](Self::mss) bytes travels
    /// in one segment.
    pub async fn alloc_frame(&self) -> FrameBuf {
        self.tcp.alloc_frame().await
    }

    /// Bytes of data whose record fills a segment to the peer.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection is gone.
    pub fn mss(&self) -> Result<usize, TlsError> {
        let overhead = self.state.borrow_mut().engine.overhead()?.total();
        Ok(self.tcp.mss()?.saturating_sub(overhead).max(1))
    }

    /// Closes one direction or both. Towards the peer: `close_notify`, then
    /// FIN. Reading: what comes from now on is discarded.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection is over already.
    pub async fn shutdown(&self, how: Shutdown) -> Result<(), TlsError> {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.state.borrow_mut().receiver.discard();
            self.tcp.shutdown(Shutdown::Read)?;
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.state.borrow_mut().engine.close()?;
            self.write_output().await?;
            self.tcp.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// Says `close_notify`, closes both directions, and waits until the peer's
    /// TCP has everything.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the peer reset the connection or stopped
    /// answering, so that written data may be lost.
    pub async fn close(self) -> Result<(), TlsError> {
        self.shutdown(Shutdown::Both).await?;
        let id = self.tcp.id();
        loop {
            let closed = self
                .net()
                .with_stack(|stack| match stack.tcp_try_closed(id) {
                    Err(Error::WouldBlock) if stack.tcp_state(id)? == TcpState::FinWait2 => Ok(()),
                    other => other,
                });
            match closed {
                Err(Error::WouldBlock) => self.wait(Interest::Writable).await,
                done => return Ok(done?),
            }
        }
    }

    /// Ends the connection at once with a reset: no `close_notify`; queued data
    /// is discarded.
    pub fn abort(self) {
        let id = self.tcp.id();
        self.net().with_stack(|stack| stack.tcp_abort(id));
    }

    /// A reading and a writing half, for two futures of one task.
    pub fn split(&mut self) -> (ReadHalf<'_, 'n>, WriteHalf<'_, 'n>) {
        (ReadHalf { flow: self }, WriteHalf { flow: self })
    }

    /// Changes the sending key (RFC 8446, 4.6.3); no effect in TLS 1.2. It
    /// happens by itself before a key has protected more than it may.
    ///
    /// # Errors
    /// [`TlsError`] when the connection is over.
    pub fn update_key(&self) -> Result<(), TlsError> {
        self.state.borrow_mut().engine.update_key()?;
        self.push_output();
        Ok(())
    }

    /// This side's address.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, TlsError> {
        Ok(self.tcp.local_addr()?)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`TlsError::Net`] when the connection is gone.
    pub fn peer_addr(&self) -> Result<SocketAddr, TlsError> {
        Ok(self.tcp.peer_addr()?)
    }
}

impl Drop for TlsFlow<'_> {
    /// Closes gracefully in the background, with `close_notify` as far as there
    /// is room for it. What came and was not read is no reason for a reset: it
    /// may be a session ticket.
    fn drop(&mut self) {
        let engine = &mut self.state.get_mut().engine;
        // In vain when the connection is over, which is well.
        let _closed = engine.close();
        self.push_output();
        let _shut = self.tcp.shutdown(Shutdown::Both);
    }
}

impl core::fmt::Debug for TlsFlow<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("TlsFlow").field(&self.tcp.id()).finish()
    }
}
