//! Socket options, `fcntl` and `ioctl`.

use std::time::Duration;

use crate::engine::Engine;
use crate::errno::{Answer, Errno};
use crate::info;

/// `SO_MEMINFO` (Linux's `socket.h`).
const SO_MEMINFO: i32 = 55;
/// Bytes of its values, all unknown here.
const MEMORY_INFO: usize = 9 * 4;
/// The smallest segment size that `TCP_MAXSEG` takes (Linux: `TCP_MIN_MSS`).
const LEAST_MSS: i32 = 88;

impl Engine {
    /// `setsockopt`.
    ///
    /// # Errors
    /// `EINVAL` for a value too short or out of range, `ENOPROTOOPT`.
    pub fn set_option(&mut self, fd: i32, level: i32, name: i32, value: &[u8]) -> Answer<()> {
        let first = value
            .first_chunk()
            .map(|bytes| i32::from_ne_bytes(*bytes))
            .ok_or(Errno(libc::EINVAL));
        let listens_or_open = self.info(fd)?.is_some();
        let socket = self.get(fd)?;
        let unsigned = |value: i32| u32::try_from(value).map_err(|_| Errno(libc::EINVAL));
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => socket.reuse_address = first? != 0,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
                // Linux takes twice of it, and half of that for its own cost.
                socket.options.recv_buffer = unsigned(first?)?;
                socket.asked_recv = true;
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => {
                // Linux takes twice of it; its cost is small on this side.
                socket.options.send_buffer = unsigned(first?)?.saturating_mul(2);
            }
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => socket.keepalive = first? != 0,
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let seconds = value.get(4..8).and_then(|bytes| bytes.first_chunk());
                let seconds = i32::from_ne_bytes(*seconds.ok_or(Errno(libc::EINVAL))?);
                socket.reset_on_close = first? != 0 && seconds == 0;
            }
            (libc::SOL_SOCKET, libc::SO_DEBUG | libc::SO_PRIORITY) => {}
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => socket.options.nodelay = first? != 0,
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
                let mss = first?;
                if mss < LEAST_MSS || listens_or_open {
                    return Err(Errno(libc::EINVAL));
                }
                socket.options.handshake.max_segment = u16::try_from(mss).ok();
            }
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                let millis = u64::from(unsigned(first?)?);
                let time = Duration::from_millis(millis);
                socket.options.user_timeout = (millis > 0).then_some(time);
            }
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => {
                let seconds = u64::from(unsigned(first?)?);
                socket.keep_idle = Duration::from_secs(seconds);
            }
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        }
        self.apply(fd)
    }

    /// `getsockopt`: the value's bytes, at most `room` of them.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn option(&mut self, fd: i32, level: i32, name: i32, room: usize) -> Answer<Vec<u8>> {
        let mut bytes = self.option_bytes(fd, level, name)?;
        bytes.truncate(room);
        Ok(bytes)
    }

    fn option_bytes(&mut self, fd: i32, level: i32, name: i32) -> Answer<Vec<u8>> {
        let listens = self.is_listener(fd);
        let info = self.info(fd)?;
        let socket = self.get(fd)?;
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let value = match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => self.take_error(fd)?,
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => i32::from(listens),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => i32::from(socket.reuse_address),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(socket.keepalive),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) if socket.asked_recv => {
                signed(socket.options.recv_buffer.saturating_mul(2))
            }
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => signed(socket.options.recv_buffer),
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => signed(socket.options.send_buffer),
            (libc::SOL_SOCKET, SO_MEMINFO) => return Ok(vec![0; MEMORY_INFO]),
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let on = i32::from(socket.reset_on_close);
                return Ok([on.to_ne_bytes(), [0; 4]].concat());
            }
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(socket.options.nodelay),
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => match info {
                Some(info) => i32::from(info.send_mss),
                None => i32::from(socket.options.handshake.max_segment.unwrap_or(536)),
            },
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                let time = socket.options.user_timeout.unwrap_or_default();
                i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
            }
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => {
                i32::try_from(socket.keep_idle.as_secs()).unwrap_or(i32::MAX)
            }
            (libc::IPPROTO_TCP, libc::TCP_INFO) => return Ok(info::bytes(info, listens)),
            // Nothing that the congestion control tells in Linux's layout.
            (libc::IPPROTO_TCP, libc::TCP_CC_INFO) => return Ok(Vec::new()),
            _ => return Err(Errno(libc::ENOPROTOOPT)),
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    /// `fcntl`: `F_GETFL` and `F_SETFL`, of which `O_NONBLOCK` counts.
    ///
    /// # Errors
    /// `EINVAL` for another command.
    pub fn fcntl(&mut self, fd: i32, command: i32, argument: i64) -> Answer<i32> {
        let socket = self.get(fd)?;
        match command {
            libc::F_GETFL if socket.nonblocking => Ok(libc::O_RDWR | libc::O_NONBLOCK),
            libc::F_GETFL => Ok(libc::O_RDWR),
            libc::F_SETFL => {
                socket.nonblocking = argument & i64::from(libc::O_NONBLOCK) != 0;
                Ok(0)
            }
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// `ioctl`: bytes to be read (`FIONREAD`, also `SIOCINQ`) and bytes not
    /// acknowledged (`TIOCOUTQ`, also `SIOCOUTQ`).
    ///
    /// # Errors
    /// `EINVAL` for another request or a listener, `ENOTTY` without connection.
    pub fn ioctl(&mut self, fd: i32, request: u64) -> Answer<i32> {
        if self.is_listener(fd) {
            return Err(Errno(libc::EINVAL));
        }
        let info = self.info(fd)?;
        let (unread, unacked) =
            info.map_or((0, 0), |info| (info.unread, info.in_flight + info.unsent));
        let value = match request {
            libc::FIONREAD => unread,
            libc::TIOCOUTQ => unacked,
            _ => return Err(Errno(libc::EINVAL)),
        };
        Ok(i32::try_from(value).unwrap_or(i32::MAX))
    }
}
