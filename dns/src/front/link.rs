//! One connection to a server.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use pollwire_core::{Either, JoinHandle, TcpFlow, TcpOptions, select};

use super::driver::Driver;
use crate::machine::StreamId;
use crate::{Nameserver, Transport};

/// Bytes read at once.
const READ: usize = 2048;
/// Bytes that may wait to be read: the longest message, and a half.
const RECEIVE_BUFFER: u32 = 96 * 1024;

/// A connection and the task that serves it.
pub(super) struct Link<'n> {
    outgoing: Rc<Outgoing>,
    task: JoinHandle<'n, ()>,
}

/// What waits to be written.
#[derive(Default)]
struct Outgoing {
    queue: RefCell<VecDeque<Rc<[u8]>>>,
    waker: Cell<Option<Waker>>,
}

impl Outgoing {
    fn next(&self) -> Option<Rc<[u8]>> {
        self.queue.borrow_mut().pop_front()
    }

    /// Ready when there is something to write.
    async fn ready(&self) {
        poll_fn(|cx| {
            if self.queue.borrow().is_empty() {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
}

impl<'n> Link<'n> {
    /// Begins to connect.
    pub(super) fn open(driver: &Rc<Driver<'n>>, stream: StreamId, server: Nameserver) -> Self {
        let outgoing = Rc::new(Outgoing::default());
        let served = serve(driver.clone(), stream, server, outgoing.clone());
        Self {
            outgoing,
            task: driver.net().spawn(served),
        }
    }

    /// Queues `bytes`.
    pub(super) fn send(&self, bytes: Rc<[u8]>) {
        self.outgoing.queue.borrow_mut().push_back(bytes);
        if let Some(waker) = self.outgoing.waker.take() {
            waker.wake();
        }
    }

    /// Closes it: gracefully for the peer, at once for us.
    pub(super) fn abort(self) {
        self.task.abort();
    }
}

async fn serve<'n>(
    driver: Rc<Driver<'n>>,
    stream: StreamId,
    server: Nameserver,
    outgoing: Rc<Outgoing>,
) {
    // Why it ended does not matter: whoever waits asks elsewhere.
    if let Ok(flow) = connect(&driver, &server).await {
        let now = driver.net().now();
        driver.with(|machine| machine.on_connected(now, stream));
        driver.pump();
        let _ = exchange(&driver, stream, &flow, &outgoing).await;
    }
    driver.link_lost(stream);
}

/// An open connection of either kind. Why one fails does not matter here.
enum Flow<'n> {
    Tcp(TcpFlow<'n>),
    #[cfg(feature = "tls")]
    Tls(alloc::boxed::Box<pollwire_tls::TlsFlow<'n>>),
}

/// The connection is over.
struct Broken;

impl Flow<'_> {
    async fn read(&self, buffer: &mut [u8]) -> Result<usize, Broken> {
        match self {
            Self::Tcp(flow) => flow.read(buffer).await.map_err(|_| Broken),
            #[cfg(feature = "tls")]
            Self::Tls(flow) => flow.read(buffer).await.map_err(|_| Broken),
        }
    }

    async fn write_all(&self, bytes: &[u8]) -> Result<(), Broken> {
        match self {
            Self::Tcp(flow) => flow.write_all(bytes).await.map_err(|_| Broken),
            #[cfg(feature = "tls")]
            Self::Tls(flow) => flow.write_all(bytes).await.map_err(|_| Broken),
        }
    }
}

async fn connect<'n>(driver: &Driver<'n>, server: &Nameserver) -> Result<Flow<'n>, Broken> {
    let options = TcpOptions {
        recv_buffer: RECEIVE_BUFFER,
        ..TcpOptions::DEFAULT.nodelay()
    };
    match &server.transport {
        Transport::Udp | Transport::Tcp => {
            let flow = TcpFlow::connect_with(driver.net(), server.address, options).await;
            flow.map(Flow::Tcp).map_err(|_| Broken)
        }
        #[cfg(feature = "tls")]
        Transport::Tls(tls) => {
            let clients = driver.clients().ok_or(Broken)?;
            let flow = TcpFlow::connect_with(driver.net(), server.address, options).await;
            let flow = flow.map_err(|_| Broken)?;
            let flow = clients.handshake(flow, server, tls).await;
            flow.map(|flow| Flow::Tls(alloc::boxed::Box::new(flow)))
                .map_err(|_| Broken)
        }
        #[cfg(not(feature = "tls"))]
        Transport::Tls(_) => match driver.clients() {
            None => Err(Broken),
            Some(never) => match *never {},
        },
    }
}

/// Writes what is queued and reads what comes, until the peer closes.
async fn exchange(
    driver: &Rc<Driver<'_>>,
    stream: StreamId,
    flow: &Flow<'_>,
    outgoing: &Outgoing,
) -> Result<(), Broken> {
    let mut buffer = vec![0; READ];
    loop {
        while let Some(bytes) = outgoing.next() {
            flow.write_all(&bytes).await?;
        }
        match select(flow.read(&mut buffer), outgoing.ready()).await {
            Either::First(read) => {
                let read = read?;
                let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    return Ok(());
                };
                let now = driver.net().now();
                driver.with(|machine| machine.on_stream_data(now, stream, bytes));
                driver.pump();
            }
            Either::Second(()) => {}
        }
    }
}
