//! Sockets by Linux's names, over the stack's non-blocking operations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pollwire::{
    FlowId, ListenOptions, ListenerId, Misuse, Shutdown, TcpInfo, TcpOptions, TcpState,
};

use crate::engine::Engine;
use crate::errno::{Answer, Errno};

/// Most connections that may wait on a listener (Linux: `somaxconn`).
const MOST_BACKLOG: usize = 128;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Neither listening nor connected.
    Fresh,
    Listener(ListenerId),
    Flow(FlowId),
}

/// A socket.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    kind: Kind,
    pub(crate) nonblocking: bool,
    pub(crate) options: TcpOptions,
    pub(crate) reuse_address: bool,
    /// The receive buffer's size was set by the caller.
    pub(crate) asked_recv: bool,
    /// Close sends RST (`SO_LINGER` with a time of zero).
    pub(crate) reset_on_close: bool,
    pub(crate) keepalive: bool,
    pub(crate) keep_idle: Duration,
    local: Option<SocketAddr>,
    /// The handshake's outcome was told to the caller.
    connected: bool,
    /// The connection's error was told to the caller: from now on it is over.
    error_told: bool,
    shut_write: bool,
    shut_read: bool,
}

impl Socket {
    fn new(options: TcpOptions) -> Self {
        Self {
            kind: Kind::Fresh,
            nonblocking: false,
            options,
            reuse_address: false,
            asked_recv: false,
            reset_on_close: false,
            keepalive: false,
            keep_idle: Duration::from_secs(7200),
            local: None,
            connected: false,
            error_told: false,
            shut_write: false,
            shut_read: false,
        }
    }
}

impl Engine {
    /// Opens a TCP socket under the descriptor `fd`.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`, `EPROTONOSUPPORT`: only TCP over IPv4 is here.
    pub fn socket(&mut self, fd: i32, domain: i32, kind: i32, protocol: i32) -> Answer<()> {
        if domain != libc::AF_INET {
            return Err(Errno(libc::EAFNOSUPPORT));
        }
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        if kind & !flags != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return Err(Errno(libc::EPROTONOSUPPORT));
        }
        let mut socket = Socket::new(self.settings().tcp);
        socket.nonblocking = kind & libc::SOCK_NONBLOCK != 0;
        self.sockets.insert(fd, socket);
        Ok(())
    }

    pub(crate) fn get(&mut self, fd: i32) -> Answer<&mut Socket> {
        self.sockets.get_mut(&fd).ok_or(Errno(libc::EBADF))
    }

    /// Whether calls on `fd` wait.
    pub(crate) fn blocks(&mut self, fd: i32) -> bool {
        self.get(fd).is_ok_and(|socket| !socket.nonblocking)
    }

    fn flow(&mut self, fd: i32) -> Answer<Option<FlowId>> {
        Ok(match self.get(fd)?.kind {
            Kind::Flow(flow) => Some(flow),
            _ => None,
        })
    }

    /// Gives the socket its address; the stack takes the first one bound to.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL`, `EINVAL` when it has one already.
    pub fn bind(&mut self, fd: i32, address: SocketAddr) -> Answer<()> {
        if self.get(fd)?.local.is_some() {
            return Err(Errno(libc::EINVAL));
        }
        if !self.is_own(address.ip()) {
            return Err(Errno(libc::EADDRNOTAVAIL));
        }
        self.get(fd)?.local = Some(address);
        Ok(())
    }

    /// Turns the socket into a listener.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EINVAL` when it is connected.
    pub fn listen(&mut self, fd: i32, backlog: i32) -> Answer<()> {
        let socket = self.get(fd)?;
        match socket.kind {
            Kind::Fresh => {}
            Kind::Listener(_) => return Ok(()),
            Kind::Flow(_) => return Err(Errno(libc::EINVAL)),
        }
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let local = socket.local.unwrap_or(any);
        let backlog = usize::try_from(backlog).unwrap_or(MOST_BACKLOG);
        let options = ListenOptions {
            // Linux lets one more wait than was asked for.
            backlog: backlog.min(MOST_BACKLOG - 1) + 1,
            tcp: socket.options,
            ..ListenOptions::DEFAULT
        };
        let id = self.boot(None).tcp_listen(local, options)?;
        self.get(fd)?.kind = Kind::Listener(id);
        Ok(())
    }

    /// Takes a connection off the listener's queue, to be called `new`.
    ///
    /// # Errors
    /// `EAGAIN` while none waits; `EINVAL` when `fd` does not listen.
    pub fn accept(&mut self, fd: i32, new: i32) -> Answer<SocketAddr> {
        let listener = self.get(fd)?.clone();
        let Kind::Listener(id) = listener.kind else {
            return Err(Errno(libc::EINVAL));
        };
        let stack = self.boot(None);
        let flow = stack.tcp_try_accept(id)?;
        let peer = stack.tcp_peer_addr(flow)?;
        let socket = Socket {
            kind: Kind::Flow(flow),
            nonblocking: false,
            connected: true,
            ..listener
        };
        self.sockets.insert(new, socket);
        self.apply(new)?;
        Ok(peer)
    }

    /// Connects, or tells how connecting goes.
    ///
    /// # Errors
    /// `EINPROGRESS` when it has just begun, `EALREADY` while it goes on,
    /// `EISCONN` once it is done and told, or why it failed.
    pub fn connect(&mut self, fd: i32, to: SocketAddr) -> Answer<()> {
        let socket = self.get(fd)?;
        match socket.kind {
            Kind::Listener(_) => return Err(Errno(libc::EISCONN)),
            Kind::Flow(_) => {
                return match self.connected(fd) {
                    Err(error) if error.would_block() => Err(Errno(libc::EALREADY)),
                    other => other,
                };
            }
            Kind::Fresh => {}
        }
        let options = TcpOptions {
            local: socket.local,
            ..socket.options
        };
        let flow = self.boot(None).tcp_connect(to, options)?;
        self.get(fd)?.kind = Kind::Flow(flow);
        self.apply(fd)?;
        self.flush();
        Err(Errno(libc::EINPROGRESS))
    }

    /// Whether the connection is open. The outcome is told once.
    ///
    /// # Errors
    /// `EAGAIN` while the handshake goes on, `EISCONN` when it was told
    /// before, or why it failed.
    pub fn connected(&mut self, fd: i32) -> Answer<()> {
        let flow = self.flow(fd)?.ok_or(Errno(libc::ENOTCONN))?;
        let outcome = self.boot(None).tcp_try_connected(flow).map_err(Errno::from);
        let socket = self.get(fd)?;
        match outcome {
            Ok(()) if socket.connected => Err(Errno(libc::EISCONN)),
            Ok(()) => {
                socket.connected = true;
                Ok(())
            }
            Err(error) if error.would_block() => Err(error),
            Err(_) if socket.error_told => Err(Errno(libc::ECONNABORTED)),
            Err(error) => {
                socket.error_told = true;
                Err(error)
            }
        }
    }

    /// Reads into `out`; 0 is the end of the stream. With `peek` the data stays.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOTCONN`, or why the connection ended (once).
    pub fn read(&mut self, fd: i32, out: &mut [u8], peek: bool) -> Answer<usize> {
        let flow = self.flow(fd)?.ok_or(Errno(libc::ENOTCONN))?;
        let stack = self.boot(None);
        let result = if peek {
            stack.tcp_try_peek(flow, out)
        } else {
            stack.tcp_try_read(flow, out)
        };
        self.flush();
        result.or_else(|error| {
            let error = Errno::from(error);
            if error.would_block() {
                return Err(error);
            }
            self.tell_error(fd, error).map_or(Ok(0), Err)
        })
    }

    /// Writes as much of `data` as there is room for.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`, or why the connection ended (once).
    pub fn write(&mut self, fd: i32, data: &[u8]) -> Answer<usize> {
        let flow = self.flow(fd)?.ok_or(Errno(libc::EPIPE))?;
        let result = self.boot(None).tcp_try_write(flow, data);
        self.flush();
        result.map_err(|error| {
            let error = Errno::from(error);
            if error.would_block() {
                return error;
            }
            self.tell_error(fd, error).unwrap_or(Errno(libc::EPIPE))
        })
    }

    /// Tells the connection's error, the first time.
    fn tell_error(&mut self, fd: i32, error: Errno) -> Option<Errno> {
        let socket = self.get(fd).ok()?;
        let own = error.0 == libc::EPIPE;
        (!own && !std::mem::replace(&mut socket.error_told, true)).then_some(error)
    }

    /// `SO_ERROR`: why the connection ended, once.
    pub(crate) fn take_error(&mut self, fd: i32) -> Answer<i32> {
        let Some(flow) = self.flow(fd)? else {
            return Ok(0);
        };
        let outcome = self.boot(None).tcp_try_connected(flow).map_err(Errno::from);
        Ok(match outcome {
            Err(error) if !error.would_block() => {
                self.tell_error(fd, error).map_or(0, |error| error.0)
            }
            _ => 0,
        })
    }

    /// Shuts one direction down, or both (`SHUT_RD`, `SHUT_WR`, `SHUT_RDWR`).
    ///
    /// # Errors
    /// `ENOTCONN`, `EINVAL`.
    pub fn shutdown(&mut self, fd: i32, how: i32) -> Answer<()> {
        let flow = self.flow(fd)?.ok_or(Errno(libc::ENOTCONN))?;
        let how = match how {
            libc::SHUT_RD => Shutdown::Read,
            libc::SHUT_WR => Shutdown::Write,
            libc::SHUT_RDWR => Shutdown::Both,
            _ => return Err(Errno(libc::EINVAL)),
        };
        let done = self.boot(None).tcp_shutdown(flow, how);
        self.flush();
        done.map_err(|_| Errno(libc::ENOTCONN))?;
        let socket = self.get(fd)?;
        socket.shut_read |= how != Shutdown::Write;
        socket.shut_write |= how != Shutdown::Read;
        Ok(())
    }

    /// Gives the socket up.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&mut self, fd: i32) -> Answer<()> {
        let socket = self.sockets.remove(&fd).ok_or(Errno(libc::EBADF))?;
        match socket.kind {
            Kind::Fresh => return Ok(()),
            Kind::Listener(id) => self.boot(None).tcp_close_listener(id),
            Kind::Flow(flow) if socket.reset_on_close => self.boot(None).tcp_abort(flow),
            Kind::Flow(flow) => self.boot(None).tcp_close(flow),
        }
        self.flush();
        Ok(())
    }

    /// Passes the socket's options on to its connection.
    pub(crate) fn apply(&mut self, fd: i32) -> Answer<()> {
        let socket = self.get(fd)?;
        socket.options.keepalive = socket.keepalive.then_some(socket.keep_idle);
        let options = socket.options;
        match socket.kind {
            Kind::Fresh => {}
            Kind::Listener(id) => self.boot(None).tcp_set_listen_options(id, options)?,
            Kind::Flow(flow) => {
                self.boot(None).tcp_set_options(flow, options)?;
                self.flush();
            }
        }
        Ok(())
    }

    /// What the connection tells of itself; `None` without one.
    pub(crate) fn info(&mut self, fd: i32) -> Answer<Option<TcpInfo>> {
        let Some(flow) = self.flow(fd)? else {
            return Ok(None);
        };
        match self.boot(None).tcp_info(flow) {
            Ok(info) => Ok(Some(info)),
            Err(Misuse::StaleHandle) => Ok(None),
            Err(misuse) => Err(misuse.into()),
        }
    }

    /// Whether `fd` listens.
    pub(crate) fn is_listener(&mut self, fd: i32) -> bool {
        self.get(fd)
            .is_ok_and(|socket| matches!(socket.kind, Kind::Listener(_)))
    }

    /// `poll`'s bits that hold now, `POLLNVAL` for no socket.
    pub fn readiness(&mut self, fd: i32) -> i16 {
        let Some(socket) = self.sockets.get(&fd).cloned() else {
            return libc::POLLNVAL;
        };
        match socket.kind {
            Kind::Fresh => libc::POLLOUT | libc::POLLHUP,
            Kind::Listener(id) => match self.boot(None).tcp_can_accept(id) {
                Ok(true) => libc::POLLIN | libc::POLLRDNORM,
                _ => 0,
            },
            Kind::Flow(flow) => self.flow_readiness(flow, &socket),
        }
    }

    fn flow_readiness(&mut self, flow: FlowId, socket: &Socket) -> i16 {
        let stack = self.boot(None);
        let would_block = |error: pollwire::Error| Errno::from(error).would_block();
        let state = stack.tcp_state(flow).unwrap_or(TcpState::Closed);
        if state == TcpState::SynSent {
            return 0;
        }
        let mut bits = 0;
        let peek = stack.tcp_try_peek(flow, &mut [0]);
        if !peek.is_err_and(would_block) {
            bits |= libc::POLLIN | libc::POLLRDNORM;
        }
        let ended = state == TcpState::Closed;
        let peer_closed = peek == Ok(0) || has_peers_fin(state);
        if peer_closed || ended {
            bits |= libc::POLLRDHUP;
        }
        if ended || (socket.shut_write && (peer_closed || socket.shut_read)) {
            bits |= libc::POLLHUP;
        }
        match stack.tcp_send_room(flow) {
            Ok(0) => {}
            Err(error) if would_block(error) => {}
            _ => bits |= libc::POLLOUT | libc::POLLWRNORM,
        }
        let failed = stack
            .tcp_try_connected(flow)
            .is_err_and(|error| !would_block(error));
        if failed && !socket.error_told {
            bits |= libc::POLLERR;
        }
        bits
    }
}

/// Whether the peer's FIN has arrived (RFC 9293, 3.3.2).
fn has_peers_fin(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, LastAck, TimeWait};
    matches!(state, CloseWait | Closing | LastAck | TimeWait)
}
