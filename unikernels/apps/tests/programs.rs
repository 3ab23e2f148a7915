//! The programs as they run in a guest, in virtual time: a server on one host,
//! its clients on the other, a wire between them.

use std::time::Duration;

use pollwire_apps::{echo, services};
use pollwire_core::{
    Config, Counter, Error, Instant, Ipv4Cidr, JoinHandle, Net, NetCell, Runtime, Shutdown, Stack,
    TcpFlow, UdpSocket,
};
use pollwire_rings::memory::{Impairments, MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};
use pollwire_tls::{ClientConfig, Roots, ServerName, TlsError, TlsFlow, WallClock};

const SERVER: [u8; 4] = [10, 0, 0, 2];
const CLIENT: [u8; 4] = [10, 0, 0, 3];

fn cell<'n>(ip: [u8; 4], device: &MemoryDevice) -> NetCell<'n> {
    let cidr = Ipv4Cidr::new(ip.into(), 24).expect("24 is fine");
    let config = Config::new(cidr, [ip[3]; 32]);
    NetCell::new(Stack::on_heap::<4096, 4096, 2048>(&config, device.caps()))
}

struct World<'n> {
    server: Runtime<'n, MemoryDevice, Wire>,
    client: Runtime<'n, MemoryDevice, Wire>,
    wire: Wire,
}

fn devices(impairments: Impairments) -> (MemoryDevice, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (mut server, mut client) = pair(caps(2), caps(3));
    server.impair(impairments.seeded(1));
    client.impair(impairments.seeded(2));
    (server, client)
}

impl<'n> World<'n> {
    fn new(
        cells: &'n (NetCell<'n>, NetCell<'n>),
        (server, client): (MemoryDevice, MemoryDevice),
    ) -> Self {
        let wire = server.wire();
        Self {
            server: Runtime::new(&cells.0, server, wire.clone()),
            client: Runtime::new(&cells.1, client, wire.clone()),
            wire,
        }
    }

    /// A turn of both; when there is nothing to do, time passes until there
    /// is, but not beyond `end`.
    fn turn(&mut self, end: Instant) {
        if !(self.server.turn() | self.client.turn()) {
            let (server, client) = (self.server.deadline(), self.client.deadline());
            let ends = [server, client, self.wire.next_event(), Some(end)];
            let next = ends.into_iter().flatten().min().unwrap_or(end);
            self.wire.advance(next);
        }
    }

    fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        for _ in 0..5_000_000 {
            self.turn(Instant::FAR_FUTURE);
            if let Some(output) = task.try_take() {
                return output;
            }
        }
        panic!("the test does not end");
    }

    /// Lets connections end, then finds every frame back.
    fn check_frames(&mut self) {
        let end = self.wire.now() + Duration::from_secs(300);
        while self.wire.now() < end {
            self.turn(end);
        }
        for net in [self.server.net(), self.client.net()] {
            net.with_stack(|stack| {
                assert_eq!(stack.pool().in_use(), 0, "frames are left");
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
            });
        }
    }
}

fn clock() -> Duration {
    Duration::from_secs(1_767_225_599)
}

fn start_services(net: Net<'_>) {
    net.spawn(async move {
        let Err(error) = services::run(net, clock).await;
        panic!("services: {error}");
    })
    .detach();
}

/// Sends `request`, closes its side, and gives all that comes back.
async fn ask(net: Net<'_>, port: u16, request: &[u8]) -> Result<Vec<u8>, Error> {
    let flow = TcpFlow::connect(net, (SERVER, port).into()).await?;
    flow.write_all(request).await?;
    flow.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    while let Some(frame) = flow.recv().await? {
        answer.extend_from_slice(&frame);
    }
    flow.close().await?;
    Ok(answer)
}

#[test]
fn every_service_answers() {
    let devices = devices(Impairments::NONE);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let net = world.client.net();
    start_services(world.server.net());
    let text = [b'x'; 10_000];
    let echoed = net.spawn(async move { ask(net, 7, &text).await });
    assert_eq!(world.finish(echoed).expect("echo"), text);
    let discarded = net.spawn(async move { ask(net, 9, &text).await });
    assert_eq!(world.finish(discarded).expect("discard"), b"");
    let time = net.spawn(ask(net, 13, b""));
    assert_eq!(
        world.finish(time).expect("daytime"),
        b"2025-12-31 23:59:59 UTC\r\n"
    );
    let pages = b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n\
                  DELETE / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let answers = net.spawn(ask(net, 80, pages));
    let answers = String::from_utf8(world.finish(answers).expect("HTTP")).expect("text");
    for (part, count) in [
        ("HTTP/1.1 ", 4),
        ("200 OK", 2),
        ("<h1>", 1),
        ("404 Not Found", 1),
        ("405 Method", 1),
        ("Connection: close", 1),
    ] {
        assert_eq!(answers.matches(part).count(), count, "{part} in {answers}");
    }
    let counters = net.spawn(ask(net, 80, b"GET /counters HTTP/1.1\r\n\r\n"));
    let counters = String::from_utf8(world.finish(counters).expect("HTTP")).expect("text");
    assert!(counters.contains("\r\n\r\nframes-in-use "), "{counters}");
    assert!(counters.contains("\nflows-in-use "), "{counters}");
    assert!(counters.contains("\ntcp-established 5\n"), "{counters}");
    let bad = net.spawn(ask(net, 80, b"hello\r\n"));
    assert!(
        world
            .finish(bad)
            .expect("HTTP")
            .starts_with(b"HTTP/1.1 400 ")
    );
    let characters = net.spawn(async move {
        let flow = TcpFlow::connect(net, (SERVER, 19).into()).await?;
        let mut text = vec![0; 100_000];
        flow.read_exact(&mut text).await.expect("endless");
        flow.abort();
        Ok::<_, Error>(text)
    });
    let text = world.finish(characters).expect("chargen");
    assert!(text.starts_with(b" !\"#$%") && text[74 * 95..].starts_with(b" !\"#$%"));
    let datagram = net.spawn(async move {
        let socket = UdpSocket::bind(net, (CLIENT, 0).into())?;
        socket.send_to(b"datagram", (SERVER, 7).into()).await?;
        Ok::<_, Error>(socket.recv_frame_from().await?.0.to_vec())
    });
    assert_eq!(world.finish(datagram).expect("UDP echo"), b"datagram");
    world.check_frames();
}

#[test]
fn an_idle_http_connection_is_closed() {
    let devices = devices(Impairments::NONE);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let net = world.client.net();
    start_services(world.server.net());
    let waited = net.spawn(async move {
        let flow = TcpFlow::connect(net, (SERVER, 80).into()).await?;
        let start = net.now();
        assert!(flow.recv().await?.is_none());
        Ok::<_, Error>(net.now() - start)
    });
    let waited = world.finish(waited).expect("closed");
    assert!((60..62).contains(&waited.as_secs()), "{waited:?}");
    world.check_frames();
}

#[test]
fn a_thousand_connections_are_open_at_once() {
    let devices = devices(Impairments::NONE);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let net = world.client.net();
    start_services(world.server.net());
    let all = net.spawn(async move {
        let mut flows = Vec::new();
        for _ in 0..1000 {
            flows.push(TcpFlow::connect(net, (SERVER, 7).into()).await?);
        }
        for (index, flow) in (0_u32..).zip(&flows) {
            flow.write_all(&index.to_be_bytes()).await?;
        }
        for (index, flow) in (0_u32..).zip(&flows) {
            let mut back = [0; 4];
            flow.read_exact(&mut back).await.expect("an echo");
            assert_eq!(u32::from_be_bytes(back), index);
        }
        Ok::<_, Error>(())
    });
    world.finish(all).expect("works");
    world.check_frames();
}

#[test]
fn echo_client_and_server_agree_over_a_bad_wire() {
    let bad = Impairments {
        delay: Duration::from_millis(2),
        loss: 0.02,
        reorder: 0.02,
        reorder_by: Duration::from_millis(1),
        duplicate: 0.01,
        corrupt: 0.01,
        ..Impairments::NONE
    };
    let devices = devices(bad);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let (here, there) = (world.client.net(), world.server.net());
    let mode = echo::Mode::Server {
        port: 9000,
        limit: Some(2),
    };
    let server = there.spawn(echo::run(there, mode));
    for length in [0, 300_000] {
        let mode = echo::Mode::Client {
            server: (SERVER, 9000).into(),
            length,
        };
        let client = here.spawn(echo::run(here, mode));
        assert_eq!(world.finish(client), Ok(()));
    }
    assert_eq!(world.finish(server), Ok(()));
    world.check_frames();
}

#[test]
fn measuring_finds_all_data_intact() {
    let devices = devices(Impairments::NONE);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let (here, there) = (world.client.net(), world.server.net());
    let mode = echo::Mode::Server {
        port: 9000,
        limit: Some(3),
    };
    let server = there.spawn(echo::run(there, mode));
    let mode = echo::Mode::Measure {
        server: (SERVER, 9000).into(),
        length: 1_000_000,
    };
    let client = here.spawn(echo::run(here, mode));
    assert_eq!(world.finish(client), Ok(()));
    assert_eq!(world.finish(server), Ok(()));
    for net in [here, there] {
        net.with_stack(|stack| {
            let counters = stack.counters();
            assert_eq!(counters.get(Counter::CopiedBytes), 0);
            assert!(counters.get(Counter::TcpBytesAcked) > 1_125_000);
            assert_eq!(counters.get(Counter::TcpRetransmits), 0);
        });
    }
    world.check_frames();
}

#[test]
fn https_serves_what_http_does() {
    const CERTIFICATE: &[u8] = include_bytes!("../../services/tls/cert.pem");
    const KEY: &[u8] = include_bytes!("../../services/tls/key.pem");
    let devices = devices(Impairments::NONE);
    let cells = (cell(SERVER, &devices.0), cell(CLIENT, &devices.1));
    let mut world = World::new(&cells, devices);
    let (server, net) = (world.server.net(), world.client.net());
    let clock = WallClock::new(clock(), Instant::ZERO);
    let config = services::tls::config(clock, CERTIFICATE, KEY).expect("fine");
    services::tls::start(server, &config).expect("free ports");
    start_services(server);
    let roots = Roots::empty().with_pem(CERTIFICATE).expect("fine");
    let config = ClientConfig::builder(clock)
        .roots(roots)
        .build()
        .expect("fine");
    let secure = async move |port: u16, request: Vec<u8>| {
        let tcp = TcpFlow::connect(net, (SERVER, port).into()).await?;
        let name = ServerName::try_from("unikernel.test").expect("a name");
        let flow = TlsFlow::connect(tcp, &config, name).await?;
        flow.write_all(&request).await?;
        flow.shutdown(Shutdown::Write).await?;
        let mut answer = Vec::new();
        while let Some(data) = flow.recv().await? {
            answer.extend_from_slice(&data);
        }
        flow.close().await?;
        Ok::<_, TlsError>(answer)
    };
    let asking = net.spawn(async move {
        let request = b"GET / HTTP/1.1\r\n\r\n".repeat(20);
        let plain = ask(net, 80, &request).await.expect("HTTP");
        let secret = secure(443, request).await.expect("HTTPS");
        let text = vec![b'x'; 100_000];
        let echoed = secure(4433, text.clone()).await.expect("echo");
        (plain, secret, echoed == text)
    });
    let (plain, secret, echoed) = world.finish(asking);
    assert!(plain.len() > 20 * 200);
    assert_eq!(plain, secret);
    assert!(echoed);
    world.check_frames();
}
