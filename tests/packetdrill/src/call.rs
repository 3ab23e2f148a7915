//! Calls that may wait, as steps: each attempt does what can be done now.

use std::net::SocketAddr;
use std::task::Poll;

use pollwire::Instant;

use crate::engine::Engine;
use crate::errno::{Answer, Errno};

/// An entry of `poll`'s list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollItem {
    /// The socket.
    pub fd: i32,
    /// What is waited for.
    pub events: i16,
    /// What holds.
    pub revents: i16,
}

/// A call that may wait.
#[derive(Clone, Debug)]
pub enum Call {
    /// Take a connection off a listener's queue.
    Accept {
        /// The listener.
        fd: i32,
        /// The descriptor of the connection to come.
        new: i32,
        /// The peer, once there is one.
        peer: Option<SocketAddr>,
    },
    /// Connect.
    Connect {
        /// The socket.
        fd: i32,
        /// Where to.
        to: SocketAddr,
        /// The handshake was begun by this call.
        begun: bool,
    },
    /// Read, as `recv` does.
    Read {
        /// The socket.
        fd: i32,
        /// Room for the data.
        out: Vec<u8>,
        /// Bytes read so far.
        done: usize,
        /// `MSG_PEEK`, `MSG_DONTWAIT`, `MSG_WAITALL`.
        flags: i32,
    },
    /// Write, as `send` does.
    Write {
        /// The socket.
        fd: i32,
        /// The data.
        data: Vec<u8>,
        /// Bytes written so far.
        done: usize,
        /// `MSG_DONTWAIT`.
        flags: i32,
    },
    /// Wait until a socket is ready.
    Poll {
        /// The sockets.
        items: Vec<PollItem>,
        /// When to give up; `None` never does.
        until: Option<Instant>,
    },
}

impl Call {
    /// Does what can be done now. [`Poll::Pending`] asks to be tried again when
    /// something has happened.
    pub fn attempt(&mut self, engine: &mut Engine) -> Poll<Answer<usize>> {
        match self {
            Self::Accept { fd, new, peer } => {
                let blocks = engine.blocks(*fd);
                let answer = engine.accept(*fd, *new).map(|from| {
                    *peer = Some(from);
                    usize::try_from(*new).unwrap_or(0)
                });
                wait_if(blocks, answer)
            }
            Self::Connect { fd, to, begun } => connect(engine, *fd, *to, begun),
            Self::Read {
                fd,
                out,
                done,
                flags,
            } => read(engine, *fd, out, done, *flags),
            Self::Write {
                fd,
                data,
                done,
                flags,
            } => write(engine, *fd, data, done, *flags),
            Self::Poll { items, until } => poll(engine, items, *until),
        }
    }

    /// When the call ends even if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Poll { until, .. } => *until,
            _ => None,
        }
    }
}

/// An answer, or the wish to wait for a better one.
fn wait_if<T>(blocks: bool, answer: Answer<T>) -> Poll<Answer<T>> {
    match answer {
        Err(error) if blocks && error.would_block() => Poll::Pending,
        other => Poll::Ready(other),
    }
}

fn connect(engine: &mut Engine, fd: i32, to: SocketAddr, begun: &mut bool) -> Poll<Answer<usize>> {
    let blocks = engine.blocks(fd);
    if !*begun {
        *begun = true;
        match engine.connect(fd, to) {
            Err(Errno(libc::EINPROGRESS | libc::EALREADY)) if blocks => {}
            other => return Poll::Ready(other.map(|()| 0)),
        }
    }
    wait_if(true, engine.connected(fd).map(|()| 0))
}

fn read(
    engine: &mut Engine,
    fd: i32,
    out: &mut [u8],
    done: &mut usize,
    flags: i32,
) -> Poll<Answer<usize>> {
    let blocks = engine.blocks(fd) && flags & libc::MSG_DONTWAIT == 0;
    let peek = flags & libc::MSG_PEEK != 0;
    let all = flags & libc::MSG_WAITALL != 0 && !peek;
    loop {
        let rest = out.get_mut(*done..).unwrap_or_default();
        match engine.read(fd, rest, peek) {
            Ok(count) => {
                *done += count;
                let finished = !all || count == 0 || *done == out.len();
                if finished {
                    return Poll::Ready(Ok(*done));
                }
            }
            Err(_) if *done > 0 && !blocks => return Poll::Ready(Ok(*done)),
            Err(error) => return wait_if(blocks, Err(error)),
        }
    }
}

fn write(
    engine: &mut Engine,
    fd: i32,
    data: &[u8],
    done: &mut usize,
    flags: i32,
) -> Poll<Answer<usize>> {
    let blocks = engine.blocks(fd) && flags & libc::MSG_DONTWAIT == 0;
    loop {
        let rest = data.get(*done..).unwrap_or_default();
        match engine.write(fd, rest) {
            Ok(count) => {
                *done += count;
                if *done == data.len() {
                    return Poll::Ready(Ok(*done));
                }
            }
            Err(error) if error.would_block() && blocks => return Poll::Pending,
            Err(_) if *done > 0 => return Poll::Ready(Ok(*done)),
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

fn poll(
    engine: &mut Engine,
    items: &mut [PollItem],
    until: Option<Instant>,
) -> Poll<Answer<usize>> {
    let mut count = 0;
    for item in items {
        // Errors are told whether they were asked for or not.
        let always = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        item.revents = engine.readiness(item.fd) & (item.events | always);
        count += usize::from(item.revents != 0);
    }
    let late = until.is_some_and(|until| engine.now() >= until);
    if count > 0 || late {
        Poll::Ready(Ok(count))
    } else {
        Poll::Pending
    }
}
