//! What an application may ask of a connection.

use core::net::SocketAddr;
use core::time::Duration;

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
    /// Give up when data stays unacknowledged this long (RFC 9293, 3.8.3).
    /// `None` gives up after 15 retransmissions.
    pub user_timeout: Option<Duration>,
    /// Payload bytes that may wait to be read: the largest window offered.
    pub recv_buffer: u32,
    /// Payload bytes that may wait to be sent or acknowledged.
    pub send_buffer: u32,
}

impl TcpOptions {
    /// 256 KiB each way, Nagle's algorithm on, no keepalive.
    pub const DEFAULT: Self = Self {
        local: None,
        nodelay: false,
        keepalive: None,
        user_timeout: None,
        recv_buffer: 256 * 1024,
        send_buffer: 256 * 1024,
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
