//! One connection to a server.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

use pollwire_core::{Either, Error, JoinHandle, Net, TcpFlow, TcpOptions, select};

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
    if let Ok(flow) = connect(driver.net(), &server).await {
        let now = driver.net().now();
        driver.with(|machine| machine.on_connected(now, stream));
        driver.pump();
        let _ = exchange(&driver, stream, &flow, &outgoing).await;
    }
    driver.link_lost(stream);
}

async fn connect<'n>(net: Net<'n>, server: &Nameserver) -> Result<TcpFlow<'n>, Error> {
    match server.transport {
        Transport::Udp | Transport::Tcp => {
            let options = TcpOptions {
                recv_buffer: RECEIVE_BUFFER,
                ..TcpOptions::DEFAULT.nodelay()
            };
            TcpFlow::connect_with(net, server.address, options).await
        }
        Transport::Tls(_) => Err(pollwire_core::ConnError::Refused.into()),
    }
}

/// Writes what is queued and reads what comes, until the peer closes.
async fn exchange(
    driver: &Rc<Driver<'_>>,
    stream: StreamId,
    flow: &TcpFlow<'_>,
    outgoing: &Outgoing,
) -> Result<(), Error> {
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
