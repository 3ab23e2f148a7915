//! A resolver's host, a server's host and the wire.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, PTR, SOA, SVCB, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pollwire_core::{
    Config as StackConfig, Error, Instant, JoinHandle, Net, NetCell, Runtime, Stack, TcpFlow,
    TcpListener, UdpSocket,
};
use pollwire_rings::memory::{MemoryDevice, Wire, pair};
use pollwire_rings::{Caps, NetDevice};

pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// On the same network, but nobody is there.
pub(super) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub(super) fn cells<'n>() -> (NetCell<'n>, NetCell<'n>, MemoryDevice, MemoryDevice) {
    let caps = |last| Caps::plain([2, 0, 0, 0, 0, last], 1500);
    let (left, right) = pair(caps(1), caps(2));
    let cell = |last: u8, device: &MemoryDevice| {
        let cidr = alloc::format!("10.0.0.{last}/24")
            .parse()
            .expect("an address");
        let config = StackConfig::new(cidr, [last; 32]);
        NetCell::new(Stack::on_heap::<1024, 128, 2048>(&config, device.caps()))
    };
    (cell(1, &left), cell(2, &right), left, right)
}

/// Both hosts running.
pub(super) struct World<'n> {
    here: Runtime<'n, MemoryDevice, Wire>,
    there: Runtime<'n, MemoryDevice, Wire>,
    wire: Wire,
}

impl<'n> World<'n> {
    pub(super) fn new(
        here: &'n NetCell<'n>,
        there: &'n NetCell<'n>,
        left: MemoryDevice,
        right: MemoryDevice,
    ) -> Self {
        let wire = left.wire();
        Self {
            here: Runtime::new(here, left, wire.clone()),
            there: Runtime::new(there, right, wire.clone()),
            wire,
        }
    }

    pub(super) fn nets(&self) -> (Net<'n>, Net<'n>) {
        (self.here.net(), self.there.net())
    }

    fn turn(&mut self, end: Instant) {
        if !(self.here.turn() | self.there.turn()) {
            let ends = [self.here.deadline(), self.there.deadline()];
            let ends = ends.into_iter().chain([self.wire.next_event(), Some(end)]);
            self.wire.advance(ends.flatten().min().unwrap_or(end));
        }
    }

    /// Runs until the task has ended; gives its output.
    pub(super) fn finish<T>(&mut self, mut task: JoinHandle<'n, T>) -> T {
        for _ in 0..1_000_000 {
            self.turn(Instant::FAR_FUTURE);
            if let Some(output) = task.try_take() {
                return output;
            }
        }
        panic!("the test does not end");
    }

    /// Lets everything end, and finds that nothing is left here: no task, no
    /// flow, no frame.
    pub(super) fn check_empty(&mut self) {
        let end = self.wire.now() + Duration::from_secs(600);
        while self.wire.now() < end {
            self.turn(end);
        }
        let net = self.here.net();
        assert_eq!(net.task_count(), 0, "tasks are left");
        for net in [net, self.there.net()] {
            net.with_stack(|stack| {
                assert_eq!(stack.flows_in_use(), 0, "flows are left");
                assert_eq!(stack.pool().in_use(), 0, "frames are left");
            });
        }
    }
}

/// What the toy server was asked: the name in lower case, the type, over TCP.
pub(super) type Log = Rc<RefCell<Vec<(String, RecordType, bool)>>>;

/// Serves a small zone over UDP and TCP, port 53. Names decide what happens:
/// `big` is truncated over UDP, `late` answers after 300 ms over TCP, `silent`
/// never, `fail` with SERVFAIL.
pub(super) fn serve(net: Net<'_>) -> Log {
    let log = Log::default();
    let socket = UdpSocket::bind(net, (SERVER, 53).into()).expect("free");
    let listener = TcpListener::bind(net, (SERVER, 53).into()).expect("free");
    let udp_log = log.clone();
    net.spawn(async move {
        while let Ok((frame, from)) = socket.recv_frame_from().await {
            if let Some(reply) = answer(&frame, &udp_log, false) {
                let _ = socket.send_to(&reply, from).await;
            }
        }
    })
    .detach();
    let tcp_log = log.clone();
    net.spawn(async move {
        while let Ok(flow) = listener.accept().await {
            net.spawn(serve_flow(net, flow, tcp_log.clone())).detach();
        }
    })
    .detach();
    log
}

async fn serve_flow<'n>(net: Net<'n>, flow: TcpFlow<'n>, log: Log) {
    let flow = Rc::new(flow);
    let read = |len: usize| {
        let flow = flow.clone();
        async move {
            let mut bytes = alloc::vec![0; len];
            flow.read_exact(&mut bytes).await.map(|()| bytes)
        }
    };
    while let Ok(len) = read(2).await {
        let Ok(query) = read(usize::from(u16::from_be_bytes([len[0], len[1]]))).await else {
            return;
        };
        let (flow, log) = (flow.clone(), log.clone());
        net.spawn(async move {
            let late = query
                .windows(5)
                .any(|part| part.eq_ignore_ascii_case(b"\x04late"));
            if late {
                net.sleep(Duration::from_millis(300)).await;
            }
            if let Some(reply) = answer(&query, &log, true) {
                let mut framed = Vec::from((reply.len() as u16).to_be_bytes());
                framed.extend(reply);
                let _ = flow.write_all(&framed).await;
            }
        })
        .detach();
    }
}

pub(super) fn answer(query: &[u8], log: &Log, tcp: bool) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(query).expect("a query");
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    let question = message.queries[0].clone();
    let asked = question.name.to_lowercase().to_ascii();
    log.borrow_mut()
        .push((asked.clone(), question.query_type, tcp));
    let label = asked.split('.').next().unwrap_or_default();
    let own = |data| Record::from_rdata(question.name.clone(), 60, data);
    let v4 = |last| RData::A(A::new(198, 51, 100, last));
    let https =
        |priority, target: &str| RData::HTTPS(HTTPS(SVCB::new(priority, name(target), Vec::new())));
    match (label, question.query_type) {
        ("silent", _) => return None,
        ("fail", _) => message.metadata.response_code = ResponseCode::ServFail,
        ("big", _) if !tcp => message.metadata.truncation = true,
        ("big", RecordType::A) => {
            message.add_answers((0..200).map(|last| own(v4(last))));
        }
        ("www" | "late", RecordType::A) => {
            message.add_answer(own(v4(1)));
        }
        ("www", RecordType::AAAA) => {
            message.add_answer(own(RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))));
        }
        ("www", RecordType::TXT) => {
            message.add_answer(own(RData::TXT(TXT::new(alloc::vec!["hello".into()]))));
        }
        ("alias", RecordType::A) => {
            message.add_answer(own(RData::CNAME(CNAME(name("www.example.")))));
        }
        ("apex", RecordType::HTTPS) => {
            message.add_answer(own(https(0, "svc.example.")));
        }
        ("svc", RecordType::HTTPS) => {
            message.add_answer(own(https(2, ".")));
            message.add_answers((b'a'..=b'h').map(|letter| {
                let target = alloc::format!("{}.example.", char::from(letter));
                own(https(1, &target))
            }));
        }
        ("plain", RecordType::HTTPS) => {
            message.add_answer(own(https(0, "www.example.")));
        }
        ("gone", RecordType::HTTPS) => {
            message.add_answer(own(https(0, ".")));
        }
        ("round", RecordType::HTTPS) => {
            message.add_answer(own(https(0, "round.example.")));
        }
        ("7", RecordType::PTR) => {
            message.add_answer(own(RData::PTR(PTR(name("www.example.")))));
        }
        _ => {
            if !matches!(label, "www" | "alias" | "late") {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            let soa = SOA::new(name("ns."), name("admin."), 1, 2, 3, 4, 60);
            message.add_authority(Record::from_rdata(Name::root(), 60, RData::SOA(soa)));
        }
    }
    Some(message.to_vec().expect("a message"))
}

/// The errors of the wrong type, for tests that return one.
pub(super) fn server() -> SocketAddr {
    (SERVER, 53).into()
}

/// Holds the lookups' error type and the stack's together.
pub(super) fn misuse<T>(result: Result<T, Error>) -> T {
    result.expect("the stack works")
}
