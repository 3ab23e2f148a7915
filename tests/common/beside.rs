//! What Linux does in a thread while a stack in this process goes on.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use pollwire::Net;
use socket2::{Domain, Protocol, Socket, Type};

/// Nothing on a TAP takes longer, even where the machine is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `work` in a thread, while the stack goes on.
pub(crate) async fn meanwhile<T: Send + 'static>(
    net: Net<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let worker = thread::spawn(work);
    while !worker.is_finished() {
        net.sleep(Duration::from_millis(1)).await;
    }
    match worker.join() {
        Ok(value) => value,
        Err(cause) => std::panic::resume_unwind(cause),
    }
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

/// Has Linux ping `target` with `size` bytes of payload; whether all of it came
/// back.
pub(crate) fn ping(target: Ipv4Addr, size: usize) -> bool {
    ping_for(PATIENCE, target, size)
}

/// Whether nobody answers to a ping of `target` for a second.
pub(crate) fn silent(target: Ipv4Addr) -> bool {
    !ping_for(Duration::from_secs(1), target, 1)
}

fn ping_for(patience: Duration, target: Ipv4Addr, size: usize) -> bool {
    let icmp = Some(Protocol::ICMPV4);
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, icmp).expect("root here");
    let to = SocketAddr::from((target, 0));
    socket.connect(&to.into()).expect("connected");
    socket.set_read_timeout(Some(patience)).expect("settable");
    let mut request = vec![8, 0, 0, 0, 0x70, 0x77, 0, 1];
    request.extend(pattern(size));
    let check = pollwire::offload::Sum::of(&request).finish();
    request[2..4].copy_from_slice(&check.to_be_bytes());
    let start = Instant::now();
    socket.send(&request).expect("sent");
    let mut packet = vec![0; 66_000];
    while start.elapsed() < patience {
        match socket.read(&mut packet) {
            Ok(count) => {
                let reply = &packet[20..count];
                if reply[0] == 0 && reply[4..] == request[4..] {
                    return true;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return false;
            }
        }
    }
    false
}
