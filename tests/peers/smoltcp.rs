//! pollwire and smoltcp on a wire in memory, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use pollwire::rings::memory::{self, MemoryDevice, Wire};
use pollwire::rings::pcap::{PcapOptions, PcapTee};
use pollwire::rings::{Caps, FramePool, NetDevice, RxBurst, TxBurst, TxMeta};
use pollwire::{Config, FlowId, Instant, ListenOptions, Shutdown, Stack, TcpOptions};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::random::Random;
use super::streams::{Plan, Sparing, Stream};

const PORT: u16 = 7000;
/// Virtual time after which a transfer has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// smoltcp's device: the other end of the memory wire.
struct Phy {
    device: MemoryDevice,
    pool: FramePool,
    rx: RxBurst,
    tx: TxBurst,
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);

struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Phy {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived, Leaving<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }
}

impl Phy {
    fn collect(&mut self) {
        while self.device.rx_burst(&self.pool, &mut self.rx) > 0 {
            let frames = self.rx.drain().map(|received| received.frame.to_vec());
            self.arrived.extend(frames);
        }
    }

    fn send(&mut self) {
        for bytes in self.leaving.drain(..) {
            let mut frame = self.pool.alloc().expect("each leaves at once");
            frame.extend_from_slice(&bytes);
            let full = self.tx.push(frame.freeze(), TxMeta::default());
            assert!(full.is_ok(), "the burst is empty");
            self.device.tx_burst(&mut self.tx);
        }
    }
}

/// One end's application: writes its stream and reads the other's, by random
/// amounts.
struct App {
    writes: Stream,
    reads: Stream,
    unwritten: Vec<u8>,
    random: Random,
    shut: bool,
    ended: bool,
}

impl App {
    fn new(plan: &Plan, ours: bool) -> Self {
        Self {
            writes: plan.stream(ours),
            reads: plan.stream(!ours),
            unwritten: Vec::new(),
            random: Random::new(plan.seed ^ u64::from(ours)),
            shut: false,
            ended: false,
        }
    }

    /// What is to be written next; empty when all is.
    fn next(&mut self) -> &[u8] {
        if self.unwritten.is_empty() {
            let most = 1 + self.random.next_u64() % 20_000;
            self.unwritten = self.writes.take(usize::try_from(most).expect("small"));
        }
        &self.unwritten
    }

    fn wrote(&mut self, count: usize) {
        self.unwritten.drain(..count);
    }

    /// Whether it feels like reading: readers that pause close their windows.
    fn reads_now(&mut self) -> bool {
        !self.random.next_u64().is_multiple_of(4)
    }

    fn is_done(&self) -> bool {
        self.shut && self.ended
    }
}

struct World {
    now: Instant,
    wire: Wire,
    stack: Stack,
    device: PcapTee<MemoryDevice, Vec<u8>, Wire>,
    rx: RxBurst,
    tx: TxBurst,
    phy: Phy,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

fn smoltcp_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).expect("an hour or so"))
}

impl World {
    fn new(plan: &Plan) -> Self {
        let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
        let (mut ours, mut theirs) = memory::pair(caps(1), caps(2));
        let paths = plan.seeds().map(|seed| Sparing {
            path: plan.path.seeded(seed),
            delay: plan.path.delay,
        });
        let [from_us, to_us] = paths;
        ours.impair(from_us);
        theirs.impair(to_us);
        let wire = ours.wire();
        let mut entropy = [1; 32];
        entropy[..8].copy_from_slice(&plan.seed.to_le_bytes());
        let config = Config::new("10.0.0.1/24".parse().expect("an address"), entropy);
        let options = PcapOptions {
            snap_length: 96,
            ..PcapOptions::default()
        };
        let mut phy = Phy {
            device: theirs,
            pool: FramePool::on_heap::<256, 2048>(),
            rx: RxBurst::new(),
            tx: TxBurst::new(),
            arrived: VecDeque::new(),
            leaving: VecDeque::new(),
        };
        let now = Instant::from_secs(1);
        let mac = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 2]));
        let mut config_of_theirs = smoltcp::iface::Config::new(mac);
        config_of_theirs.random_seed = plan.seed;
        let mut interface = Interface::new(config_of_theirs, &mut phy, smoltcp_time(now));
        interface.update_ip_addrs(|list| {
            let address = IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24);
            list.push(address).expect("room for one address");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; 65_535]);
        let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Self {
            now,
            device: PcapTee::new(ours, Vec::new(), wire.clone(), options),
            wire,
            stack: Stack::on_heap::<1024, 16, 2048>(&config, caps(1)),
            rx: RxBurst::new(),
            tx: TxBurst::new(),
            phy,
            interface,
            sockets,
            socket,
        }
    }

    /// One turn of both hosts; `app` has its say in between.
    fn turn(&mut self, app: impl FnOnce(&mut Stack, &mut tcp::Socket<'static>)) {
        self.wire.advance(self.now);
        self.device.rx_burst(self.stack.pool(), &mut self.rx);
        self.stack.input(self.now, &mut self.rx);
        self.stack.expire(self.now);
        self.phy.collect();
        let time = smoltcp_time(self.now);
        let _ = self.interface.poll(time, &mut self.phy, &mut self.sockets);
        app(&mut self.stack, self.sockets.get_mut(self.socket));
        let _ = self.interface.poll(time, &mut self.phy, &mut self.sockets);
        self.phy.send();
        loop {
            let more = self.stack.output(self.now, &mut self.tx);
            if self.device.tx_burst(&mut self.tx) == 0 || !more {
                return;
            }
        }
    }

    /// On to the next event; `false` when there is none before `limit`.
    fn advance(&mut self, limit: Instant) -> bool {
        let wait = self
            .interface
            .poll_delay(smoltcp_time(self.now), &self.sockets);
        // smoltcp's clock ticks in microseconds.
        let theirs = wait.map(|wait| self.now + Duration::from(wait) + Duration::from_micros(1));
        let next = [self.wire.next_event(), self.stack.deadline(), theirs];
        match next.into_iter().flatten().min() {
            Some(next) if next <= limit => {
                self.now = self.now.max(next);
                true
            }
            _ => false,
        }
    }

    /// Opens the connection from the side that the plan says.
    fn open(&mut self, plan: &Plan) -> Result<FlowId, String> {
        let limit = self.now + PATIENCE;
        let Self {
            interface,
            sockets,
            stack,
            ..
        } = self;
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        let (mut connecting, mut listening) = (None, None);
        if plan.we_connect {
            socket.listen(PORT).expect("a fresh socket");
            let remote = ([10, 0, 0, 2], PORT).into();
            connecting = stack.tcp_connect(remote, TcpOptions::DEFAULT).ok();
        } else {
            let local = ([0, 0, 0, 0], PORT).into();
            listening = stack.tcp_listen(local, ListenOptions::DEFAULT).ok();
            let remote = (IpAddress::v4(10, 0, 0, 1), PORT);
            let connected = socket.connect(interface.context(), remote, 40_000);
            connected.expect("a fresh socket");
        }
        loop {
            let mut open = None;
            self.turn(|stack, _| {
                open = match (connecting, listening) {
                    (Some(flow), _) => stack.tcp_try_connected(flow).is_ok().then_some(flow),
                    (_, Some(listener)) => stack.tcp_try_accept(listener).ok(),
                    _ => None,
                };
            });
            if let Some(flow) = open {
                if let Some(listener) = listening {
                    self.stack.tcp_close_listener(listener);
                }
                return Ok(flow);
            }
            if !self.advance(limit) {
                return Err("the connection does not open".to_owned());
            }
        }
    }

    fn transfer(&mut self, plan: &Plan) -> Result<(), String> {
        let flow = self.open(plan)?;
        let limit = self.now + PATIENCE;
        let (mut ours, mut theirs) = (App::new(plan, true), App::new(plan, false));
        while !(ours.is_done() && theirs.is_done()) {
            let mut outcome = Ok(());
            self.turn(|stack, socket| {
                outcome =
                    run_ours(stack, flow, &mut ours).and_then(|()| run_theirs(socket, &mut theirs));
            });
            outcome?;
            if !self.advance(limit.min(self.now + Duration::from_millis(50))) {
                // Readers that paused have to be asked again.
                self.now += Duration::from_millis(50);
                if self.now > limit {
                    let left = (ours.reads.left, theirs.reads.left);
                    return Err(format!("not done: {left:?} bytes are missing"));
                }
            }
        }
        self.stack.tcp_close(flow);
        let end = self.now + Duration::from_secs(600);
        while self.advance(end) {
            self.turn(|_, _| {});
        }
        let pool = self.stack.pool();
        if self.stack.flows_in_use() != 0 || pool.available() != pool.capacity() {
            return Err("a flow or a frame is left".to_owned());
        }
        Ok(())
    }
}

fn run_ours(stack: &mut Stack, flow: FlowId, app: &mut App) -> Result<(), String> {
    while !app.shut {
        let next = app.next();
        if next.is_empty() {
            let shut = stack.tcp_shutdown(flow, Shutdown::Write);
            shut.map_err(|error| format!("shutdown: {error}"))?;
            app.shut = true;
        } else {
            match stack.tcp_try_write(flow, next) {
                Ok(count) => app.wrote(count),
                Err(pollwire::Error::WouldBlock) => break,
                Err(error) => return Err(format!("our write: {error}")),
            }
        }
    }
    while !app.ended && app.reads_now() {
        match stack.tcp_try_recv(flow) {
            Ok(Some(frame)) => app
                .reads
                .check(&frame)
                .map_err(|how| format!("to us: {how}"))?,
            Ok(None) if app.reads.left > 0 => return Err("to us: ends early".to_owned()),
            Ok(None) => app.ended = true,
            Err(pollwire::Error::WouldBlock) => break,
            Err(error) => return Err(format!("our read: {error}")),
        }
    }
    Ok(())
}

fn run_theirs(socket: &mut tcp::Socket<'static>, app: &mut App) -> Result<(), String> {
    let opening = [
        tcp::State::Listen,
        tcp::State::SynSent,
        tcp::State::SynReceived,
    ];
    if opening.contains(&socket.state()) {
        return Ok(());
    }
    while !app.shut && socket.can_send() {
        let next = app.next();
        if next.is_empty() {
            socket.close();
            app.shut = true;
        } else {
            let count = socket.send_slice(next);
            let count = count.map_err(|error| format!("their write: {error}"))?;
            app.wrote(count);
        }
    }
    while !app.ended && app.reads_now() {
        let mut buffer = [0; 4096];
        match socket.recv_slice(&mut buffer) {
            Ok(0) => break,
            Ok(count) => app
                .reads
                .check(&buffer[..count])
                .map_err(|how| format!("from us: {how}"))?,
            Err(tcp::RecvError::Finished) if app.reads.left == 0 => app.ended = true,
            Err(error) => return Err(format!("their read: {error}, {} left", app.reads.left)),
        }
    }
    Ok(())
}

/// Carries a plan out; the virtual time that it took, or what went wrong and the
/// capture.
pub(crate) fn run(plan: &Plan) -> Result<Duration, (String, Vec<u8>)> {
    let mut world = World::new(plan);
    match world.transfer(plan) {
        Ok(()) => Ok(world.now - Instant::from_secs(1)),
        Err(error) => {
            let counters = world.stack.counters().to_string();
            Err((format!("{error}\n{counters}"), world.device.into_parts().1))
        }
    }
}
