//! smoltcp's side of the comparison.

mod wire;

use core::time::Duration;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::{Socket, tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use self::wire::WireEnd;
use crate::{End, IpVersion, Pair, Setup};

/// Bytes of each socket buffer on connections that work: the default of most
/// systems, and below the window that needs scaling.
const BUFFER: usize = 65_535;
/// Bytes of each socket buffer on idle connections.
const IDLE_BUFFER: usize = 64;

const TCP_PORT: u16 = 80;
const UDP_PORT: u16 = 7;
/// The client's ports: reused only long after TIME-WAIT.
const FIRST_PORT: u16 = 1024;
const PORTS: usize = 60_000;

/// Longer than smoltcp's TIME-WAIT of ten seconds.
const TIME_WAIT: Duration = Duration::from_secs(11);

struct Host {
    interface: Interface,
    device: WireEnd,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    udp: SocketHandle,
}

/// Two smoltcp hosts.
pub struct SmoltcpPair {
    now: Instant,
    client: Host,
    server: Host,
    opened: usize,
}

impl core::fmt::Debug for SmoltcpPair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SmoltcpPair")
            .field("now", &self.now)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

fn address(end: End) -> IpAddress {
    IpAddress::v4(10, 0, 0, mac(end).0[5])
}

fn mac(end: End) -> EthernetAddress {
    match end {
        End::Client => EthernetAddress([2, 0, 0, 0, 0, 1]),
        End::Server => EthernetAddress([2, 0, 0, 0, 0, 2]),
    }
}

fn tcp_socket(buffer: usize) -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; buffer]),
        tcp::SocketBuffer::new(vec![0; buffer]),
    );
    socket.set_nagle_enabled(false);
    socket
}

fn add(set: &mut SocketSet<'static>, socket: Socket<'static>) -> SocketHandle {
    match socket {
        Socket::Tcp(socket) => set.add(socket),
        Socket::Udp(socket) => set.add(socket),
    }
}

impl Host {
    fn new(end: End, setup: &Setup, now: Instant) -> Self {
        let mut device = WireEnd::new(setup.offloads);
        let config = Config::new(HardwareAddress::Ethernet(mac(end)));
        let mut interface = Interface::new(config, &mut device, now);
        interface.update_ip_addrs(|list| {
            list.push(IpCidr::new(address(end), 24))
                .expect("room for one address");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let tcp = sockets.add(tcp_socket(BUFFER));
        let queue = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 16_384]);
        let udp = sockets.add(udp::Socket::new(queue(), queue()));
        sockets
            .get_mut::<udp::Socket<'_>>(udp)
            .bind(UDP_PORT)
            .expect("a fresh socket binds");
        Self {
            interface,
            device,
            sockets,
            tcp,
            udp,
        }
    }

    fn tcp(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.tcp)
    }

    fn ingress(&mut self, now: Instant) {
        self.interface.poll_maintenance(now);
        while self
            .interface
            .poll_ingress_single(now, &mut self.device, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
    }

    fn egress(&mut self, now: Instant) {
        while self
            .interface
            .poll_egress(now, &mut self.device, &mut self.sockets)
            != PollResult::None
        {}
    }
}

impl SmoltcpPair {
    fn host(&mut self, end: End) -> &mut Host {
        match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// One way and back, application aside.
    fn round(&mut self) {
        for end in [End::Client, End::Server] {
            self.egress(end);
            self.ingress(end.peer());
        }
    }

    /// Opens a connection on the sockets that the hosts hold at `tcp`.
    fn handshake(&mut self) {
        let index = self.opened;
        self.opened += 1;
        let slot = u16::try_from(index % PORTS).expect("PORTS fits");
        let port = TCP_PORT + u16::try_from(index / PORTS % 1000).expect("below 1000");
        self.server
            .tcp()
            .listen(port)
            .expect("a closed socket listens");
        let remote = IpEndpoint::new(address(End::Server), port);
        let Host {
            interface,
            sockets,
            tcp,
            ..
        } = &mut self.client;
        sockets
            .get_mut::<tcp::Socket<'_>>(*tcp)
            .connect(interface.context(), remote, FIRST_PORT + slot)
            .expect("a closed socket connects");
        let mut rounds = 0;
        while !(self.client.tcp().may_send() && self.server.tcp().may_send()) {
            self.round();
            rounds += 1;
            assert!(rounds < 100, "smoltcp: no handshake");
        }
    }
}

impl Pair for SmoltcpPair {
    const NAME: &'static str = "smoltcp";
    type Flow = ();

    fn new(setup: &Setup) -> Self {
        assert_eq!(setup.ip, IpVersion::V4, "smoltcp: built without IPv6");
        let now = Instant::from_millis(1);
        let mut pair = Self {
            now,
            client: Host::new(End::Client, setup, now),
            server: Host::new(End::Server, setup, now),
            opened: 0,
        };
        // The first datagram resolves the neighbours.
        for from in [End::Client, End::Server] {
            assert!(pair.send_datagram(from, 1));
            pair.round();
            pair.advance(Duration::from_secs(2));
            pair.round();
            assert_eq!(pair.receive_datagram(from.peer()), Some(1));
        }
        pair
    }

    fn advance(&mut self, by: Duration) {
        self.now += by.into();
    }

    fn ingress(&mut self, end: End) {
        let now = self.now;
        match end {
            End::Client => wire::carry(&mut self.server.device, &mut self.client.device),
            End::Server => wire::carry(&mut self.client.device, &mut self.server.device),
        }
        self.host(end).ingress(now);
    }

    fn egress(&mut self, end: End) {
        let now = self.now;
        self.host(end).egress(now);
    }

    fn open(&mut self) {
        self.handshake();
    }

    fn close(&mut self, (): ()) {
        self.client.tcp().close();
        self.egress(End::Client);
        self.ingress(End::Server);
        self.server.tcp().close();
        self.egress(End::Server);
        self.ingress(End::Client);
        self.egress(End::Client);
        self.ingress(End::Server);
        assert!(
            !self.server.tcp().is_open(),
            "smoltcp: the server does not close"
        );
        self.advance(TIME_WAIT);
        self.round();
        assert!(
            !self.client.tcp().is_open(),
            "smoltcp: TIME-WAIT does not end"
        );
    }

    fn open_idle(&mut self, count: usize) {
        // smoltcp's cost per packet grows with the number of sockets, so each
        // handshake happens among few, and its sockets join the others later.
        let working = [End::Client, End::Server].map(|end| {
            let host = self.host(end);
            host.sockets.remove(host.tcp)
        });
        let mut idle = [Vec::with_capacity(count), Vec::with_capacity(count)];
        for _ in 0..count {
            for end in [End::Client, End::Server] {
                let host = self.host(end);
                host.tcp = host.sockets.add(tcp_socket(IDLE_BUFFER));
            }
            self.handshake();
            for (end, kept) in [End::Client, End::Server].into_iter().zip(&mut idle) {
                let host = self.host(end);
                kept.push(host.sockets.remove(host.tcp));
            }
        }
        for ((end, working), kept) in [End::Client, End::Server]
            .into_iter()
            .zip(working)
            .zip(idle)
        {
            let host = self.host(end);
            for socket in kept {
                add(&mut host.sockets, socket);
            }
            host.tcp = add(&mut host.sockets, working);
        }
    }

    fn send(&mut self, from: End, (): (), len: usize) -> usize {
        let socket = self.host(from).tcp();
        let mut taken = 0;
        while taken < len && socket.can_send() {
            taken += socket
                .send(|buffer| {
                    let count = buffer.len().min(len - taken);
                    (count, count)
                })
                .expect("can_send");
        }
        taken
    }

    fn receive(&mut self, at: End, (): ()) -> usize {
        let socket = self.host(at).tcp();
        let mut total = 0;
        while socket.can_recv() {
            total += socket
                .recv(|buffer| (buffer.len(), buffer.len()))
                .expect("can_recv");
        }
        total
    }

    fn send_datagram(&mut self, from: End, len: usize) -> bool {
        let to = IpEndpoint::new(address(from.peer()), UDP_PORT);
        let host = self.host(from);
        host.sockets
            .get_mut::<udp::Socket<'_>>(host.udp)
            .send(len, to)
            .is_ok()
    }

    fn receive_datagram(&mut self, at: End) -> Option<usize> {
        let host = self.host(at);
        let (data, _) = host
            .sockets
            .get_mut::<udp::Socket<'_>>(host.udp)
            .recv()
            .ok()?;
        Some(data.len())
    }
}
