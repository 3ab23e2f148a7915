//! The sockets: async and non-blocking operations over a [`Stack`].
//!
//! Every socket holds a [`Net`], a copyable handle on the stack. Each operation
//! has an async form, polled by the loop's own executor in the turn in which
//! the packet came, and a `try_` form for callers with a loop of their own.
//!
//! [`Stack`]: crate::Stack

mod embedded_io;
mod embedded_nal;
mod net;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::world as testing;

pub use embedded_nal::{BoundUdp, ConnectedUdp};
pub use net::{Net, NetCell};
pub use tcp::{ReadHalf, TcpFlow, TcpListener, WriteHalf};
pub use udp::UdpSocket;
