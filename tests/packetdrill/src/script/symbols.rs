//! Names that scripts use for numbers.

/// The number behind a name of C's.
pub(crate) fn value(name: &str) -> Option<i64> {
    if let Some((_, value)) = ERRORS.iter().find(|(known, _)| *known == name) {
        return Some(i64::from(*value));
    }
    let value = match name {
        "AF_INET" => libc::AF_INET,
        "SOCK_STREAM" => libc::SOCK_STREAM,
        "SOCK_NONBLOCK" => libc::SOCK_NONBLOCK,
        "IPPROTO_TCP" | "SOL_TCP" => libc::IPPROTO_TCP,
        "SOL_SOCKET" => libc::SOL_SOCKET,
        "SO_REUSEADDR" => libc::SO_REUSEADDR,
        "SO_ERROR" => libc::SO_ERROR,
        "SO_RCVBUF" => libc::SO_RCVBUF,
        "SO_SNDBUF" => libc::SO_SNDBUF,
        "SO_KEEPALIVE" => libc::SO_KEEPALIVE,
        "SO_LINGER" => libc::SO_LINGER,
        "TCP_NODELAY" => libc::TCP_NODELAY,
        "TCP_MAXSEG" => libc::TCP_MAXSEG,
        "TCP_KEEPIDLE" => libc::TCP_KEEPIDLE,
        "TCP_USER_TIMEOUT" => libc::TCP_USER_TIMEOUT,
        "F_GETFL" => libc::F_GETFL,
        "F_SETFL" => libc::F_SETFL,
        "O_RDWR" => libc::O_RDWR,
        "O_NONBLOCK" => libc::O_NONBLOCK,
        "MSG_PEEK" => libc::MSG_PEEK,
        "MSG_DONTWAIT" => libc::MSG_DONTWAIT,
        "MSG_WAITALL" => libc::MSG_WAITALL,
        "SHUT_RD" => libc::SHUT_RD,
        "SHUT_WR" => libc::SHUT_WR,
        "SHUT_RDWR" => libc::SHUT_RDWR,
        "POLLIN" => i32::from(libc::POLLIN),
        "POLLOUT" => i32::from(libc::POLLOUT),
        "POLLERR" => i32::from(libc::POLLERR),
        "POLLHUP" => i32::from(libc::POLLHUP),
        "POLLRDHUP" => i32::from(libc::POLLRDHUP),
        "FIONREAD" | "SIOCINQ" => return i64::try_from(libc::FIONREAD).ok(),
        "TIOCOUTQ" | "SIOCOUTQ" => return i64::try_from(libc::TIOCOUTQ).ok(),
        _ => return None,
    };
    Some(i64::from(value))
}

/// The name of an error number.
pub(crate) fn error_name(number: i32) -> String {
    ERRORS
        .iter()
        .find(|(_, value)| *value == number)
        .map_or_else(|| format!("errno {number}"), |(name, _)| (*name).into())
}

const ERRORS: [(&str, i32); 20] = [
    ("EAGAIN", libc::EAGAIN),
    ("EALREADY", libc::EALREADY),
    ("EADDRINUSE", libc::EADDRINUSE),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EBADF", libc::EBADF),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("ECONNRESET", libc::ECONNRESET),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EINPROGRESS", libc::EINPROGRESS),
    ("EINVAL", libc::EINVAL),
    ("EISCONN", libc::EISCONN),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("ENOBUFS", libc::ENOBUFS),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("ENOTCONN", libc::ENOTCONN),
    ("EPIPE", libc::EPIPE),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("ETIMEDOUT", libc::ETIMEDOUT),
];
