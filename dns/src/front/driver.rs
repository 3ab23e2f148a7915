//! Carries out what the machine asks for, with tasks for what takes time.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use hickory_proto::rr::{Name, RecordType};
use pollwire_core::{Error, Instant, JoinHandle, Misuse, Net, UdpSocket};

use super::Clients;
use super::link::Link;
use crate::machine::{ExchangeId, Output, QueryId, StreamId};
use crate::{Answer, DnsError, Machine};

/// What all handles of one resolver share; dropping it ends its tasks.
pub(super) struct Owner<'n> {
    driver: Rc<Driver<'n>>,
}

/// What its tasks share.
pub(super) struct Driver<'n> {
    net: Net<'n>,
    clients: Option<Clients>,
    machine: RefCell<Machine>,
    sockets: RefCell<BTreeMap<ExchangeId, Socket<'n>>>,
    links: RefCell<BTreeMap<StreamId, Link<'n>>>,
    wakers: RefCell<BTreeMap<QueryId, Vec<Waker>>>,
    timer: RefCell<Option<Timer<'n>>>,
    /// Goes with what the network tells.
    follower: RefCell<Option<JoinHandle<'n, ()>>>,
}

struct Socket<'n> {
    socket: Rc<UdpSocket<'n>>,
    receiver: JoinHandle<'n, ()>,
}

struct Timer<'n> {
    due: Instant,
    task: JoinHandle<'n, ()>,
}

impl<'n> Owner<'n> {
    pub(super) fn new(net: Net<'n>, machine: Machine, clients: Option<Clients>) -> Self {
        let driver = Driver {
            net,
            clients,
            machine: RefCell::new(machine),
            sockets: RefCell::default(),
            links: RefCell::default(),
            wakers: RefCell::default(),
            timer: RefCell::default(),
            follower: RefCell::default(),
        };
        Self {
            driver: Rc::new(driver),
        }
    }

    pub(super) fn driver(&self) -> &Rc<Driver<'n>> {
        &self.driver
    }

    pub(super) fn net(&self) -> Net<'n> {
        self.driver.net
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Machine) -> T) -> T {
        self.driver.with(f)
    }

    pub(super) fn pump(&self) {
        self.driver.pump();
    }
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        let driver = &self.driver;
        for socket in core::mem::take(&mut *driver.sockets.borrow_mut()).into_values() {
            socket.receiver.abort();
        }
        for link in core::mem::take(&mut *driver.links.borrow_mut()).into_values() {
            link.abort();
        }
        if let Some(timer) = driver.timer.take() {
            timer.task.abort();
        }
        if let Some(follower) = driver.follower.take() {
            follower.abort();
        }
    }
}

impl<'n> Driver<'n> {
    pub(super) fn net(&self) -> Net<'n> {
        self.net
    }

    pub(super) fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }

    /// Keeps the task that follows the network, and ends the one before.
    pub(super) fn set_follower(&self, task: JoinHandle<'n, ()>) {
        if let Some(before) = self.follower.replace(Some(task)) {
            before.abort();
        }
    }

    /// Borrows the machine for one call, in which nothing else runs.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Machine) -> T) -> T {
        f(&mut self.machine.borrow_mut())
    }

    /// Does all that the machine asks for, tells those who wait, and sets the
    /// timer.
    pub(super) fn pump(self: &Rc<Self>) {
        while let Some(output) = self.with(Machine::poll_output) {
            self.carry_out(output);
        }
        while let Some(query) = self.with(Machine::poll_finished) {
            let wakers = self.wakers.borrow_mut().remove(&query);
            for waker in wakers.into_iter().flatten() {
                waker.wake();
            }
        }
        self.set_timer();
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        match output {
            Output::SendDatagram {
                exchange,
                server,
                message,
            } => {
                if self.send(exchange, server, &message).is_err() {
                    let now = self.net.now();
                    self.with(|machine| machine.on_datagram_failed(now, exchange));
                }
            }
            Output::CloseExchange(exchange) => {
                let socket = self.sockets.borrow_mut().remove(&exchange);
                if let Some(socket) = socket {
                    socket.receiver.abort();
                }
            }
            Output::Connect { stream, server } => {
                let link = Link::open(self, stream, server);
                self.links.borrow_mut().insert(stream, link);
            }
            Output::SendBytes { stream, bytes } => {
                if let Some(link) = self.links.borrow().get(&stream) {
                    link.send(bytes);
                }
            }
            Output::CloseStream(stream) => {
                let link = self.links.borrow_mut().remove(&stream);
                if let Some(link) = link {
                    link.abort();
                }
            }
        }
    }

    /// Sends from the exchange's own socket. What finds no frame or room is
    /// lost, as datagrams may be: the machine sends it again.
    fn send(
        self: &Rc<Self>,
        exchange: ExchangeId,
        server: SocketAddr,
        message: &[u8],
    ) -> Result<(), Error> {
        let socket = self.socket(exchange, server)?;
        match socket.try_send_to(message, server) {
            Err(Error::WouldBlock | Error::Misuse(Misuse::NoFrameFree)) => Ok(()),
            sent => sent,
        }
    }

    fn socket(
        self: &Rc<Self>,
        exchange: ExchangeId,
        server: SocketAddr,
    ) -> Result<Rc<UdpSocket<'n>>, Error> {
        if let Some(known) = self.sockets.borrow().get(&exchange) {
            return Ok(known.socket.clone());
        }
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // RFC 5452, 9.2: a random port for each query, as the stack chooses.
        let socket = Rc::new(UdpSocket::bind(self.net, SocketAddr::new(any, 0))?);
        socket.connect(Some(server))?;
        let receiver = receive(self.clone(), exchange, socket.clone());
        let receiver = self.net.spawn(receiver);
        let entry = Socket {
            socket: socket.clone(),
            receiver,
        };
        self.sockets.borrow_mut().insert(exchange, entry);
        Ok(socket)
    }

    /// The connection is over, and not by our will.
    pub(super) fn link_lost(self: &Rc<Self>, stream: StreamId) {
        let link = self.links.borrow_mut().remove(&stream);
        if link.is_some() {
            let now = self.net.now();
            self.with(|machine| machine.on_stream_closed(now, stream));
            self.pump();
        }
    }

    /// Sees to it that a task runs the machine's timers when they are due.
    fn set_timer(self: &Rc<Self>) {
        let Some(due) = self.with(|machine| machine.deadline()) else {
            if let Some(timer) = self.timer.take() {
                timer.task.abort();
            }
            return;
        };
        let armed = self.timer.borrow().as_ref().map(|timer| timer.due);
        if armed.is_some_and(|armed| armed <= due) {
            return;
        }
        let task = self.net.spawn(expire(self.clone(), due));
        if let Some(timer) = self.timer.replace(Some(Timer { due, task })) {
            timer.task.abort();
        }
    }
}

async fn receive<'n>(driver: Rc<Driver<'n>>, exchange: ExchangeId, socket: Rc<UdpSocket<'n>>) {
    loop {
        let received = socket.recv_frame_from().await;
        let now = driver.net.now();
        match received {
            Ok((frame, from)) => {
                driver.with(|machine| machine.on_datagram(now, exchange, from, &frame));
            }
            Err(_) => {
                driver.with(|machine| machine.on_datagram_failed(now, exchange));
            }
        }
        driver.pump();
        // Closed meanwhile: this was the last turn of this task.
        if !driver.sockets.borrow().contains_key(&exchange) {
            return;
        }
    }
}

async fn expire(driver: Rc<Driver<'_>>, due: Instant) {
    driver.net.sleep_until(due).await;
    // Taken, not aborted: this task ends by itself.
    driver.timer.take();
    let now = driver.net.now();
    driver.with(|machine| machine.expire(now));
    driver.pump();
}

/// A lookup of one name and type.
#[must_use = "futures do nothing unless awaited"]
pub(super) struct Pending<'n> {
    owner: Rc<Owner<'n>>,
    /// `None` once the answer was given.
    query: Option<QueryId>,
}

impl<'n> Pending<'n> {
    pub(super) fn new(owner: Rc<Owner<'n>>, name: &Name, record_type: RecordType) -> Self {
        let now = owner.net().now();
        let query = owner.with(|machine| machine.start(now, name, record_type));
        owner.pump();
        Self {
            owner,
            query: Some(query),
        }
    }
}

impl Future for Pending<'_> {
    type Output = Result<Answer, DnsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(query) = self.query else {
            return Poll::Ready(Err(DnsError::Stopped));
        };
        if let Some(answer) = self.owner.with(|machine| machine.take(query)) {
            self.query = None;
            return Poll::Ready(answer);
        }
        let mut wakers = self.owner.driver.wakers.borrow_mut();
        let waiting = wakers.entry(query).or_default();
        if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(query) = self.query {
            let now = self.owner.net().now();
            self.owner.with(|machine| machine.cancel(now, query));
            self.owner.pump();
            let known = self.owner.with(|machine| machine.is_known(query));
            if !known {
                self.owner.driver.wakers.borrow_mut().remove(&query);
            }
        }
    }
}
