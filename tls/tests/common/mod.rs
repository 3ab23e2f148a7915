//! Two hosts on one wire, in virtual time, and certificates.
#![expect(dead_code, reason = "each test binary uses a part")]

pub(crate) mod pki;

use std::time::Duration;

use pollwire_core::{
    Config, Counter, Instant, Ipv4Cidr, JoinHandle, Net, NetCell, Runtime, Stack, TcpFlow,
    TcpListener,
};
use pollwire_rings::memory::{Impairments, MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};
use pollwire_tls::{ClientConfig, ServerConfig, ServerName, TlsError, TlsFlow, WallClock};

pub(crate) const SERVER: [u8; 4] = [10, 0, 0, 2];
pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 3];
pub(crate) const PORT: u16 = 443;

/// 2026-06-01.
pub(crate) const TODAY: Duration = Duration::from_secs(1_780_272_000);

/// The wall clock of both hosts.
pub(crate) fn clock() -> WallClock {
    WallClock::new(TODAY, Instant::ZERO)
}

pub(crate) fn name(text: &'static str) -> ServerName<'static> {
    ServerName::try_from(text).expect("a name")
}

const fn caps(last: u8) -> Caps {
    Caps::plain([2, 0, 0, 0, 0, last], 1500)
}

fn cell<'n>(ip: [u8; 4], device: &MemoryDevice) -> NetCell<'n> {
    let cidr = Ipv4Cidr::new(ip.into(), 24).expect("24 is fine");
    let config = Config::new(cidr, [ip[3]; 32]);
    NetCell::new(Stack::on_heap::<1024, 256, 2048>(&config, device.caps()))
}

pub(crate) struct Hosts<'n> {
    server: NetCell<'n>,
    client: NetCell<'n>,
    devices: Option<(MemoryDevice, MemoryDevice)>,
}

impl<'n> Hosts<'n> {
    pub(crate) fn new() -> Self {
        Self::impaired(Impairments::NONE)
    }

    pub(crate) fn impaired(impairments: Impairments) -> Self {
        let (mut server, mut client) = pair(caps(2), caps(3));
        server.impair(impairments.seeded(1));
        client.impair(impairments.seeded(2));
        Self::on(server, client)
    }

    /// With devices that can what `change` says.
    pub(crate) fn with(change: impl Fn(&mut Caps)) -> Self {
        let caps = |last| {
            let mut caps = caps(last);
            change(&mut caps);
            caps
        };
        let (server, client) = pair(caps(2), caps(3));
        Self::on(server, client)
    }

    fn on(server: MemoryDevice, client: MemoryDevice) -> Self {
        Self {
            server: cell(SERVER, &server),
            client: cell(CLIENT, &client),
            devices: Some((server, client)),
        }
    }

    /// The devices, out of their place.
    pub(crate) fn take_devices(&mut self) -> (MemoryDevice, MemoryDevice) {
        self.devices.take().expect("taken once")
    }
}

pub(crate) struct World<'n> {
    server: Runtime<'n, MemoryDevice, Wire>,
    client: Runtime<'n, MemoryDevice, Wire>,
    wire: Wire,
}

impl<'n> World<'n> {
    pub(crate) fn new(hosts: &'n Hosts<'n>, devices: (MemoryDevice, MemoryDevice)) -> Self {
        let wire = devices.0.wire();
        Self {
            server: Runtime::new(&hosts.server, devices.0, wire.clone()),
            client: Runtime::new(&hosts.client, devices.1, wire.clone()),
            wire,
        }
    }

    /// The server's and the client's handles.
    pub(crate) fn nets(&self) -> (Net<'n>, Net<'n>) {
        (self.server.net(), self.client.net())
    }

    fn turn(&mut self, end: Instant) {
        if !(self.server.turn() | self.client.turn()) {
            let (server, client) = (self.server.deadline(), self.client.deadline());
            let ends = [server, client, self.wire.next_event(), Some(end)];
            let next = ends.into_iter().flatten().min().unwrap_or(end);
            assert!(next < Instant::FAR_FUTURE, "a stalled test");
            self.wire.advance(next);
        }
    }

    pub(crate) fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        for _ in 0..5_000_000 {
            if let Some(output) = task.try_take() {
                return output;
            }
            self.turn(Instant::FAR_FUTURE);
        }
        panic!("the test does not end");
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.wire.now() + span;
        while self.wire.now() < end {
            self.turn(end);
        }
    }

    /// Lets connections end, then finds every frame back.
    pub(crate) fn check_empty(&mut self) {
        self.pass(Duration::from_secs(600));
        for net in [self.server.net(), self.client.net()] {
            assert_eq!(net.task_count(), 0, "tasks are left");
            net.with_stack(|stack| {
                assert_eq!(stack.pool().in_use(), 0, "frames are left");
                assert_eq!(stack.large_in_use(), 0, "large frames are left");
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
            });
        }
    }
}

/// Bytes that the host copied so far.
pub(crate) fn copied(net: Net<'_>) -> u64 {
    net.with_stack(|stack| stack.counters().get(Counter::CopiedBytes))
}

pub(crate) async fn connect<'n>(
    net: Net<'n>,
    config: &ClientConfig,
    server: &'static str,
) -> Result<TlsFlow<'n>, TlsError> {
    let tcp = TcpFlow::connect(net, (SERVER, PORT).into()).await?;
    TlsFlow::connect(tcp, config, name(server)).await
}

pub(crate) fn listen(net: Net<'_>) -> TcpListener<'_> {
    TcpListener::bind(net, (SERVER, PORT).into()).expect("a free port")
}

pub(crate) async fn accept<'n>(
    listener: &TcpListener<'n>,
    config: &ServerConfig,
) -> Result<TlsFlow<'n>, TlsError> {
    TlsFlow::accept(listener.accept().await?, config).await
}

/// Sends everything back until `close_notify`.
pub(crate) async fn echo(flow: TlsFlow<'_>) -> Result<(), TlsError> {
    while let Some(data) = flow.recv().await? {
        flow.send(data).await?;
    }
    flow.close().await
}

/// What comes until `close_notify`.
pub(crate) async fn read_all(flow: &TlsFlow<'_>) -> Result<Vec<u8>, TlsError> {
    let mut all = Vec::new();
    while let Some(data) = flow.recv().await? {
        all.extend_from_slice(&data);
    }
    Ok(all)
}
