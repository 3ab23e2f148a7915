//! The open connection: application data, alerts, and what TLS says to itself
//! after the handshake (RFC 8446, 4.6).

use alloc::vec::Vec;
use core::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ContentType, Error, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite};

use super::record::{Opener, Overhead, Sealer};
use crate::{Alert, TlsError};

/// Warnings in a row, and key updates without data between, before the peer
/// counts as hostile.
const PATIENCE: u8 = 32;
/// Most bytes of a message after the handshake: a ticket is the longest.
const MAX_MESSAGE: usize = 1 << 16;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

/// rustls's key schedule and ticket logic of an open connection.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Kernel {
    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
        }
    }

    fn is_tls13(&self) -> bool {
        let version = match self {
            Self::Client(kernel) => kernel.protocol_version(),
            Self::Server(kernel) => kernel.protocol_version(),
        };
        version == ProtocolVersion::TLSv1_3
    }
}

/// What a record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Application data: where it lies in the record, in clear.
    Data(Range<usize>),
    /// TLS's own business.
    Nothing,
    /// `close_notify`: the peer will send no more.
    Closed,
}

/// A connection past its handshake.
pub(super) struct Session {
    kernel: Kernel,
    opener: Opener,
    sealer: Sealer,
    /// A handshake message that has not come whole.
    message: Vec<u8>,
    patience: u8,
    refused_renegotiation: bool,
}

impl Session {
    pub(super) fn new(kernel: Kernel, secrets: ExtractedSecrets) -> Result<Self, Error> {
        let suite = kernel.suite();
        let ((tx_seq, tx), (rx_seq, rx)) = (secrets.tx, secrets.rx);
        Ok(Self {
            kernel,
            opener: Opener::new(suite, rx_seq, rx)?,
            sealer: Sealer::new(suite, tx_seq, tx)?,
            message: Vec::new(),
            patience: PATIENCE,
            refused_renegotiation: false,
        })
    }

    pub(super) fn overhead(&self) -> Overhead {
        self.sealer.overhead()
    }

    /// Seals application data that lies between the overhead's parts.
    pub(super) fn seal(&mut self, record: &mut [u8]) -> Result<(), TlsError> {
        self.sealer
            .seal(ContentType::ApplicationData, record)
            .map_err(TlsError::from)
    }

    /// Appends a record of `kind` to `out`.
    fn send(
        &mut self,
        kind: ContentType,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        append(&mut self.sealer, kind, payload, out)
    }

    /// Appends application data, as one record, to `out`.
    pub(super) fn append_data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.send(ContentType::ApplicationData, data, out)
    }

    pub(super) fn send_close(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.send(ContentType::Alert, &[1, Alert::CLOSE_NOTIFY.0], out)
    }

    /// Changes keys before the old one has protected more than it may
    /// (RFC 8446, 5.5).
    pub(super) fn renew_if_worn(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        if !self.sealer.is_worn() {
            return Ok(());
        }
        if !self.kernel.is_tls13() {
            return Err(TlsError::KeyExhausted);
        }
        self.update_sending_key(out)
    }

    /// Says `key_update(update_not_requested)` under the old key, then takes
    /// the new one (RFC 8446, 4.6.3).
    pub(super) fn update_sending_key(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.send(ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        let (seq, secrets) = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret()?,
            Kernel::Server(kernel) => kernel.update_tx_secret()?,
        };
        self.sealer = Sealer::new(self.kernel.suite(), seq, secrets)?;
        Ok(())
    }

    fn update_receiving_key(&mut self) -> Result<(), TlsError> {
        let (seq, secrets) = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_rx_secret()?,
            Kernel::Server(kernel) => kernel.update_rx_secret()?,
        };
        self.opener = Opener::new(self.kernel.suite(), seq, secrets)?;
        Ok(())
    }

    /// Appends the fatal alert that fits `error`.
    pub(super) fn send_fatal(&mut self, alert: Alert, out: &mut Vec<u8>) {
        // When even that cannot be sealed, the peer is not told why.
        let _unsealed = self.send(ContentType::Alert, &[2, alert.0], out);
    }

    /// Takes one whole record in, opening it where it lies. Replies are
    /// appended to `out`.
    pub(super) fn receive(
        &mut self,
        record: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Received, TlsError> {
        let (kind, plain) = self.opener.open(record)?;
        // RFC 8446, 5.1: "Handshake messages MUST NOT be interleaved with other
        // record types."
        if kind != ContentType::Handshake && !self.message.is_empty() {
            return Err(unexpected("a handshake message is interrupted"));
        }
        let payload = record.get(plain.clone()).unwrap_or_default();
        match kind {
            ContentType::ApplicationData => {
                if payload.is_empty() {
                    // Legal against traffic analysis (RFC 8446, 5.1), but not
                    // for ever.
                    self.lose_patience("too many empty records")?;
                } else {
                    self.patience = PATIENCE;
                }
                Ok(Received::Data(plain))
            }
            ContentType::Alert => self.on_alert(payload),
            ContentType::Handshake => {
                self.on_handshake(payload, out)?;
                Ok(Received::Nothing)
            }
            _ => Err(unexpected("a record of a type that is not due")),
        }
    }

    fn lose_patience(&mut self, reason: &str) -> Result<(), TlsError> {
        self.patience = self.patience.checked_sub(1).ok_or(unexpected(reason))?;
        Ok(())
    }

    fn on_alert(&mut self, payload: &[u8]) -> Result<Received, TlsError> {
        let &[level, description] = payload else {
            return Err(malformed("an alert of the wrong length"));
        };
        match (level, Alert(description)) {
            (_, Alert::CLOSE_NOTIFY) => Ok(Received::Closed),
            // RFC 8446, 6: all others are fatal, whatever level they claim;
            // `user_canceled` announces the `close_notify` that follows.
            (_, alert) if self.kernel.is_tls13() && alert != Alert::USER_CANCELED => {
                Err(TlsError::AlertReceived(alert))
            }
            (1, _) | (_, Alert::USER_CANCELED) => {
                self.lose_patience("too many warnings")?;
                Ok(Received::Nothing)
            }
            (_, alert) => Err(TlsError::AlertReceived(alert)),
        }
    }

    fn on_handshake(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        // RFC 8446, 5.1: "Implementations MUST NOT send zero-length fragments of
        // Handshake types".
        if payload.is_empty() {
            return Err(unexpected("an empty handshake record"));
        }
        let mut messages = core::mem::take(&mut self.message);
        messages.extend_from_slice(payload);
        let mut rest = messages.as_slice();
        while let Some((&[kind, high, middle, low], behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if length > MAX_MESSAGE {
                return Err(malformed("a handshake message that is too long"));
            }
            let Some((body, next)) = behind.split_at_checked(length) else {
                break;
            };
            rest = next;
            self.on_message(kind, body, rest.is_empty(), out)?;
        }
        let kept = messages.len() - rest.len();
        messages.drain(..kept);
        self.message = messages;
        Ok(())
    }

    fn on_message(
        &mut self,
        kind: u8,
        body: &[u8],
        ends_record: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if !self.kernel.is_tls13() {
            return self.on_renegotiation(kind, out);
        }
        match (kind, &mut self.kernel) {
            (KEY_UPDATE, _) => self.on_key_update(body, ends_record, out),
            (NEW_SESSION_TICKET, Kernel::Client(kernel)) => {
                kernel.handle_new_session_ticket(body)?;
                self.lose_patience("too many tickets")
            }
            _ => Err(unexpected("a handshake message that is not due")),
        }
    }

    fn on_key_update(
        &mut self,
        body: &[u8],
        ends_record: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        // RFC 8446, 5.1: "Handshake messages MUST NOT span key changes."
        if !ends_record {
            return Err(unexpected("a message behind key_update in its record"));
        }
        self.lose_patience("too many key updates")?;
        self.update_receiving_key()?;
        match body {
            [0] => Ok(()),
            [1] => self.update_sending_key(out),
            _ => Err(TlsError::Protocol {
                alert: Alert::ILLEGAL_PARAMETER,
                reason: "a key_update that asks for nothing known".into(),
            }),
        }
    }

    /// TLS 1.2: renegotiation is refused by a warning (RFC 5246, 7.2.2), a
    /// second request ends the connection.
    fn on_renegotiation(&mut self, kind: u8, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let asked = match &self.kernel {
            Kernel::Client(_) => kind == HELLO_REQUEST,
            Kernel::Server(_) => kind == CLIENT_HELLO,
        };
        if !asked || self.refused_renegotiation {
            return Err(unexpected("a handshake message that is not due"));
        }
        self.refused_renegotiation = true;
        self.send(ContentType::Alert, &[1, Alert::NO_RENEGOTIATION.0], out)
    }
}

/// Appends one record to `out`, sealed there.
fn append(
    sealer: &mut Sealer,
    kind: ContentType,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let Overhead { front, back } = sealer.overhead();
    let start = out.len();
    out.reserve(front + payload.len() + back);
    out.resize(start + front, 0);
    out.extend_from_slice(payload);
    out.resize(out.len() + back, 0);
    let sealed = sealer.seal(kind, out.get_mut(start..).unwrap_or_default());
    if sealed.is_err() {
        out.truncate(start);
    }
    Ok(sealed?)
}

fn unexpected(reason: &str) -> TlsError {
    TlsError::Protocol {
        alert: Alert::UNEXPECTED_MESSAGE,
        reason: reason.into(),
    }
}

fn malformed(reason: &str) -> TlsError {
    TlsError::Protocol {
        alert: Alert::DECODE_ERROR,
        reason: reason.into(),
    }
}
