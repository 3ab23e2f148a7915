//! The handshake: rustls's unbuffered connections, fed one record at a time.
//!
//! One at a time, so that rustls has read exactly to the end of the handshake
//! when it is handed over: whatever comes behind it is opened by
//! [`Session`](super::session::Session), where it lies.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::session::{Kernel, Session};
use crate::info::{CipherSuite, ConnectionInfo, KeyExchange, Version};

/// Most bytes of one flight, as far as it is not understood yet: a chain of
/// certificates is the longest thing in it.
const MAX_FLIGHT: usize = 1 << 16;

/// A connection before the end of its handshake.
pub(super) struct Handshake {
    side: Side,
    /// Records that rustls has not consumed.
    input: Vec<u8>,
    /// Application data that came with the last records of the handshake.
    pub(super) early: Vec<u8>,
    /// `close_notify` came.
    pub(super) closed: bool,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What both sides of rustls can do, under different types.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn has_output(&self) -> bool;
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }
    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Handshake {
    pub(super) fn client(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let side = Side::Client(UnbufferedClientConnection::new(config, name)?);
        Ok(Self::new(side))
    }

    pub(super) fn server(config: Arc<rustls::ServerConfig>) -> Result<Self, Error> {
        let side = Side::Server(UnbufferedServerConnection::new(config)?);
        Ok(Self::new(side))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            input: Vec::new(),
            early: Vec::new(),
            closed: false,
        }
    }

    /// Takes in one record (none at the start) and appends to `out` what is to
    /// be sent: in failure, too, for then it is the alert.
    pub(super) fn advance(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if self.input.len() + record.len() > MAX_FLIGHT {
            return Err(rustls::InvalidMessage::HandshakePayloadTooLarge.into());
        }
        self.input.extend_from_slice(record);
        let Self {
            side,
            input,
            early,
            closed,
        } = self;
        let done = match side {
            Side::Client(connection) => drive(connection, input, early, closed, out),
            Side::Server(connection) => drive(connection, input, early, closed, out),
        };
        if done.is_err() {
            match side {
                Side::Client(connection) => fetch_alert(connection, input, out),
                Side::Server(connection) => fetch_alert(connection, input, out),
            }
        }
        done
    }

    /// Whether the handshake is over and rustls has read all that it got.
    pub(super) fn is_done(&self) -> bool {
        !self.common().is_handshaking() && self.input.is_empty()
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    /// Hands over to the open connection.
    pub(super) fn finish(self) -> Result<(Session, ConnectionInfo), Error> {
        let info = info(self.common())?;
        let (secrets, kernel) = match self.side {
            Side::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
            Side::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
        };
        Ok((Session::new(kernel, secrets)?, info))
    }
}

fn drive<P: Process>(
    connection: &mut P,
    input: &mut Vec<u8>,
    early: &mut Vec<u8>,
    closed: &mut bool,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { discard, state } = connection.process(input);
        let more = match state {
            Err(error) => {
                input.drain(..discard.min(input.len()));
                return Err(error);
            }
            Ok(state) => step(state, early, closed, out)?,
        };
        input.drain(..discard.min(input.len()));
        if !more {
            return Ok(());
        }
    }
}

/// Does what rustls wants done; `false` when it wants input.
fn step<Data>(
    state: ConnectionState<'_, '_, Data>,
    early: &mut Vec<u8>,
    closed: &mut bool,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    match state {
        ConnectionState::EncodeTlsData(message) => encode(message, out)?,
        ConnectionState::TransmitTlsData(sent) => sent.done(),
        ConnectionState::ReadTraffic(mut records) => {
            while let Some(record) = records.next_record() {
                early.extend_from_slice(record?.payload);
            }
        }
        ConnectionState::PeerClosed => *closed = true,
        _ => return Ok(false),
    }
    Ok(true)
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let needed = match message.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        _ => 0,
    };
    let start = out.len();
    out.resize(start + needed, 0);
    let space = out.get_mut(start..).unwrap_or_default();
    let encoded = message.encode(space);
    encoded.map_err(|_| Error::General("a message does not fit its own length".into()))?;
    Ok(())
}

/// After a failure: what rustls wants the peer to know of it. It gives that
/// before it looks at any input.
fn fetch_alert<P: Process>(connection: &mut P, input: &mut [u8], out: &mut Vec<u8>) {
    while connection.has_output() {
        let UnbufferedStatus { state, .. } = connection.process(input);
        let Ok(ConnectionState::EncodeTlsData(message)) = state else {
            return;
        };
        if encode(message, out).is_err() {
            return;
        }
    }
}

fn info(common: &CommonState) -> Result<ConnectionInfo, Error> {
    let version = match common.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
        Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
        _ => return Err(Error::HandshakeNotComplete),
    };
    let suite = common
        .negotiated_cipher_suite()
        .ok_or(Error::HandshakeNotComplete)?;
    let group = common.negotiated_key_exchange_group();
    let certificates = common.peer_certificates().unwrap_or_default();
    Ok(ConnectionInfo {
        version,
        cipher_suite: CipherSuite(suite.suite().into()),
        key_exchange: group.map(|group| KeyExchange(group.name().into())),
        alpn: common.alpn_protocol().map(<[u8]>::to_vec),
        peer_certificates: certificates.to_vec(),
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
    })
}
