//! TLS without a network: records in, records out, application data between.
//!
//! [`Engine`] drives one connection. It is given whole records (cut with
//! [`record_length`]), opens them in place, and says where the data lies. What
//! is to be sent stands in [`output`](Engine::output); application data is
//! sealed in place, in memory of the caller.
//!
//! The handshake is rustls's. Once it is over, rustls keeps the key schedule and
//! the tickets, and the records are protected here, for two reasons: rustls
//! copies each record's plaintext into a heap buffer in both directions, and a
//! record that lies in a frame can be opened and sealed there.

mod fault;
mod handshake;
pub(crate) mod record;
mod session;

use alloc::boxed::Box;
use alloc::vec::Vec;

use pollwire_core::{ConnError, Instant};
use rustls_pki_types::ServerName;

pub use record::Overhead;
pub use session::Received;

use crate::{Alert, ClientConfig, ConnectionInfo, ServerConfig, TlsError};
use handshake::Handshake;
use record::BadHeader;
use session::Session;

/// Most bytes of application data in one record (RFC 8446, 5.1).
pub const MAX_RECORD_DATA: usize = record::MAX_PLAINTEXT;

/// Room for output that an idle connection keeps.
const KEPT: usize = 1024;

/// The length of the record that `bytes` begin with, its header included;
/// `None` while that is not known yet.
///
/// # Errors
/// [`TlsError::Protocol`] when it is no record, or too long a one.
pub fn record_length(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
    record::length(bytes).map_err(|bad| {
        let (alert, reason) = match bad {
            BadHeader::NotTls => (Alert::UNEXPECTED_MESSAGE, "this is not TLS"),
            BadHeader::TooLong => (Alert::RECORD_OVERFLOW, "a record that is too long"),
        };
        let reason = reason.into();
        TlsError::Protocol { alert, reason }
    })
}

enum State {
    Handshake(Box<Handshake>),
    Open(Box<Session>),
    Failed(TlsError),
}

/// One side of one TLS connection.
pub struct Engine {
    state: State,
    info: Option<ConnectionInfo>,
    /// Records to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// We said `close_notify`.
    closed: bool,
}

impl Engine {
    /// The client's side; its first message is in [`output`](Self::output).
    /// `now` is the time by which certificates are judged, on the clock that
    /// the configuration's [`WallClock`](crate::WallClock) was made with.
    ///
    /// # Errors
    /// [`TlsError::Config`].
    pub fn client(
        config: &ClientConfig,
        name: ServerName<'static>,
        now: Instant,
    ) -> Result<Self, TlsError> {
        config.clock.set(now);
        let mut engine = Self::new(Handshake::client(config.inner.clone(), name)?);
        engine.handshake(&mut []).map(drop)?;
        Ok(engine)
    }

    /// The server's side.
    ///
    /// # Errors
    /// [`TlsError::Config`].
    pub fn server(config: &ServerConfig, now: Instant) -> Result<Self, TlsError> {
        config.clock.set(now);
        Ok(Self::new(Handshake::server(config.inner.clone())?))
    }

    fn new(handshake: Handshake) -> Self {
        Self {
            state: State::Handshake(Box::new(handshake)),
            info: None,
            out: Vec::new(),
            sent: 0,
            closed: false,
        }
    }

    /// What the handshake agreed on; `None` while it goes on. From then on
    /// application data may be sealed.
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.info.as_ref()
    }

    /// Records to send, in this order, before anything that is sealed later.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// Says that the first `count` bytes of [`output`](Self::output) are sent.
    pub fn consume_output(&mut self, count: usize) {
        self.consume_kept(count);
        self.shrink_output();
    }

    /// The same; the memory stays, for the next record.
    pub(crate) fn consume_kept(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.out.len());
        if self.sent == self.out.len() {
            self.sent = 0;
            self.out.clear();
        }
    }

    /// Gives memory back that a large record took, when it has gone. Of many
    /// connections few are busy: the others keep no room for one.
    pub(crate) fn shrink_output(&mut self) {
        if self.out.is_empty() {
            self.out.shrink_to(KEPT);
        }
    }

    /// Takes one whole record in. Application data is opened where it lies.
    ///
    /// # Errors
    /// What is wrong with it; the connection is of no more use then, and the
    /// alert for the peer stands in [`output`](Self::output).
    pub fn on_record(&mut self, record: &mut [u8]) -> Result<Received, TlsError> {
        let received = match &mut self.state {
            State::Handshake(_) => self.handshake(record),
            State::Open(session) => {
                let received = session.receive(record, &mut self.out);
                received.inspect_err(|error| {
                    if let Some(alert) = alert_for(error) {
                        session.send_fatal(alert, &mut self.out);
                    }
                })
            }
            State::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = &received {
            self.state = State::Failed(error.clone());
        }
        received
    }

    fn handshake(&mut self, record: &mut [u8]) -> Result<Received, TlsError> {
        let State::Handshake(handshake) = &mut self.state else {
            return Ok(Received::Nothing);
        };
        handshake.advance(record, &mut self.out)?;
        let early = core::mem::take(&mut handshake.early);
        let closed = handshake.closed;
        if handshake.is_done() {
            let failed = TlsError::Net(ConnError::Closed.into());
            let state = core::mem::replace(&mut self.state, State::Failed(failed));
            if let State::Handshake(handshake) = state {
                let (session, info) = handshake.finish()?;
                self.info = Some(info);
                self.state = State::Open(Box::new(session));
            }
        }
        // Data that came where rustls still read: back to where it lay.
        match record.get_mut(..early.len()) {
            Some(space) if !early.is_empty() => {
                space.copy_from_slice(&early);
                Ok(Received::Data(0..early.len()))
            }
            _ if closed => Ok(Received::Closed),
            _ => Ok(Received::Nothing),
        }
    }

    fn session(&mut self) -> Result<(&mut Session, &mut Vec<u8>), TlsError> {
        match &mut self.state {
            State::Open(_) if self.closed => Err(ConnError::Closed.into()),
            State::Open(session) => Ok((session, &mut self.out)),
            State::Handshake(_) => Err(TlsError::WOULD_BLOCK),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// Bytes around the data in each record that is sent.
    ///
    /// # Errors
    /// [`TlsError::WOULD_BLOCK`] during the handshake; else why the connection
    /// is of no more use.
    pub fn overhead(&mut self) -> Result<Overhead, TlsError> {
        self.session().map(|(session, _)| session.overhead())
    }

    /// To be called before each sealing: changes keys when their time has come,
    /// which may add to [`output`](Self::output).
    ///
    /// # Errors
    /// [`TlsError::KeyExhausted`] in TLS 1.2, which cannot change keys; else as
    /// [`overhead`](Self::overhead).
    pub fn renew_key_if_worn(&mut self) -> Result<(), TlsError> {
        let (session, out) = self.session()?;
        session.renew_if_worn(out)
    }

    /// Seals one record in place: `record` holds the data with
    /// [`overhead`](Self::overhead)'s bytes before and behind, which are
    /// written. It must be sent after what [`output`](Self::output) holds.
    ///
    /// # Errors
    /// As [`overhead`](Self::overhead).
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), TlsError> {
        self.session()?.0.seal(record)
    }

    /// Seals `data` (at most [`MAX_RECORD_DATA`] bytes) as one record behind
    /// [`output`](Self::output).
    ///
    /// # Errors
    /// As [`overhead`](Self::overhead).
    pub fn append(&mut self, data: &[u8]) -> Result<(), TlsError> {
        let (session, out) = self.session()?;
        session.append_data(data, out)
    }

    /// Puts a sealed record behind [`output`](Self::output), whose turn it is.
    pub(crate) fn put_behind(&mut self, record: &[u8]) {
        self.out.extend_from_slice(record);
    }

    /// Puts `close_notify` behind [`output`](Self::output), once: no data can be
    /// sealed any more.
    ///
    /// # Errors
    /// As [`overhead`](Self::overhead).
    pub fn close(&mut self) -> Result<(), TlsError> {
        if !self.closed {
            let (session, out) = self.session()?;
            session.send_close(out)?;
            self.closed = true;
        }
        Ok(())
    }

    /// Changes the sending key (RFC 8446, 4.6.3); no effect in TLS 1.2.
    ///
    /// # Errors
    /// As [`overhead`](Self::overhead).
    pub fn update_key(&mut self) -> Result<(), TlsError> {
        if self.info.as_ref().map(|info| info.version) != Some(crate::Version::Tls13) {
            return Ok(());
        }
        let (session, out) = self.session()?;
        session.update_sending_key(out)
    }
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("info", &self.info)
            .field("output", &self.output().len())
            .finish_non_exhaustive()
    }
}

/// What to tell the peer of an error; nothing where it told us.
fn alert_for(error: &TlsError) -> Option<Alert> {
    match error {
        TlsError::Tampered => Some(Alert::BAD_RECORD_MAC),
        TlsError::Protocol { alert, .. } => Some(*alert),
        TlsError::AlertReceived(_) | TlsError::Net(_) => None,
        _ => Some(Alert::INTERNAL_ERROR),
    }
}
