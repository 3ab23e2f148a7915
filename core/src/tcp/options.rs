//! What an application may ask of a connection.

use core::net::SocketAddr;
use core::time::Duration;

use super::congestion::{CongestionControl, Pacing};
use super::ecn::Ecn;

/// Options of a connection, or of those that a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Local address and port of an outgoing connection; an unspecified
    /// address or port 0 is chosen. `None` chooses both.
    pub local: Option<SocketAddr>,
    /// Send small segments at once, without Nagle's algorithm (RFC 9293, 3.7.4).
    pub nodelay: bool,
    /// Probe an idle peer after this long, and again after a tenth of it, ten
    /// times (RFC 9293, 3.8.4). From 1 second up.
    pub keepalive: Option<Duration>,
    /// Give up when data stays unacknowledged, or unsent because the peer's
    /// window is closed, this long (RFC 9293, 3.8.3; RFC 5482); with keepalive,
    /// when the peer has been silent this long. `None` gives up after 15
    /// retransmissions, or ten probes.
    pub user_timeout: Option<Duration>,
    /// Which algorithm controls the sending rate.
    pub congestion: CongestionControl,
    /// Whether segments are spread over the round trip.
    pub pacing: Pacing,
    /// Payload bytes that may wait to be read: the largest window offered. It
    /// begins with 64 KiB and grows while the peer fills it within a round trip.
    pub recv_buffer: u32,
    /// Payload bytes that may wait to be sent or acknowledged: 64 KiB at first,
    /// then up to twice the congestion window.
    pub send_buffer: u32,
    /// What the handshake offers and begins with. Later changes have no effect.
    pub handshake: Handshake,
}

/// What a connection offers in its SYN, and begins with. The defaults are right
/// for services; tests and odd peers may want others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Shift of our windows (RFC 7323, 2.2), up to 14. `None` takes the
    /// smallest that can express the receive buffer; a smaller one bounds the
    /// buffer.
    pub window_scale: Option<u8>,
    /// Upper bound of the segment size that is announced and used, in bytes of
    /// payload and TCP options, from 88 up. `None` leaves it to the MTU.
    pub max_segment: Option<u16>,
    /// Offer and accept selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and accept timestamps (RFC 7323, 3).
    pub timestamps: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Ecn,
    /// Initial congestion window in segments, from 1 up; `None` takes that of
    /// RFC 6928.
    pub initial_window: Option<u8>,
}

impl Handshake {
    /// Everything offered, every size chosen by the stack.
    pub const DEFAULT: Self = Self {
        window_scale: None,
        max_segment: None,
        sack: true,
        timestamps: true,
        ecn: Ecn::Accept,
        initial_window: None,
    };
}

impl Default for Handshake {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TcpOptions {
    /// Up to 4 MiB each way, Nagle's algorithm on, no keepalive, CUBIC.
    pub const DEFAULT: Self = Self {
        local: None,
        nodelay: false,
        keepalive: None,
        user_timeout: None,
        congestion: CongestionControl::Cubic,
        pacing: Pacing::Off,
        recv_buffer: 4 << 20,
        send_buffer: 4 << 20,
        handshake: Handshake::DEFAULT,
    };

    /// The same with Nagle's algorithm off.
    #[must_use]
    pub const fn nodelay(self) -> Self {
        Self {
            nodelay: true,
            ..self
        }
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
