//! The work itself, the same for every stack.
//!
//! Each function drives both hosts until the work is done. They panic when a
//! stack stops making progress: a bench of a stalled stack has no meaning.

use core::time::Duration;

use crate::{End, MSS, Pair};

/// Bytes of a small request, reply or datagram.
pub const SMALL: usize = 64;

/// Turns without progress after which a run counts as stalled.
const PATIENCE: usize = 10_000;

/// How far virtual time moves between turns.
const TICK: Duration = Duration::from_micros(1);

/// Moves `segments` full segments from client to server.
pub fn bulk<P: Pair>(pair: &mut P, flow: P::Flow, segments: usize) {
    let total = segments * MSS;
    let (mut sent, mut received, mut stalled) = (0, 0, 0);
    while received < total {
        sent += pair.send(End::Client, flow, total - sent);
        pair.egress(End::Client);
        pair.ingress(End::Server);
        let arrived = pair.receive(End::Server, flow);
        pair.egress(End::Server);
        pair.ingress(End::Client);
        pair.advance(TICK);
        received += arrived;
        stalled = if arrived == 0 { stalled + 1 } else { 0 };
        assert!(
            stalled < PATIENCE,
            "{}: bulk stalls at {received} of {total} bytes",
            P::NAME
        );
    }
}

/// Sends `rounds` small requests, one after the other, each answered by a
/// small reply on the same connection.
pub fn ping_pong<P: Pair>(pair: &mut P, flow: P::Flow, rounds: usize) {
    for _ in 0..rounds {
        for from in [End::Client, End::Server] {
            assert_eq!(
                pair.send(from, flow, SMALL),
                SMALL,
                "{}: send refused",
                P::NAME
            );
            let mut arrived = 0;
            for _ in 0..PATIENCE {
                pair.egress(from);
                pair.ingress(from.peer());
                arrived += pair.receive(from.peer(), flow);
                pair.advance(TICK);
                if arrived == SMALL {
                    break;
                }
            }
            assert_eq!(arrived, SMALL, "{}: ping-pong stalls", P::NAME);
        }
    }
}

/// Sends `rounds` small datagrams, each answered by one: two packets a round.
pub fn udp_echo<P: Pair>(pair: &mut P, rounds: usize) {
    for _ in 0..rounds {
        for from in [End::Client, End::Server] {
            assert!(
                pair.send_datagram(from, SMALL),
                "{}: datagram refused",
                P::NAME
            );
            pair.egress(from);
            pair.ingress(from.peer());
            assert_eq!(
                pair.receive_datagram(from.peer()),
                Some(SMALL),
                "{}: datagram lost",
                P::NAME
            );
            pair.advance(TICK);
        }
    }
}

/// Opens and closes `count` connections, one after the other.
pub fn connect_close<P: Pair>(pair: &mut P, count: usize) {
    for _ in 0..count {
        let flow = pair.open();
        pair.close(flow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IpVersion, Offloads, PollwirePair, Setup, SmoltcpPair};

    fn all_work<P: Pair>(offloads: Offloads) {
        all_work_over::<P>(IpVersion::V4, offloads);
    }

    fn all_work_over<P: Pair>(ip: IpVersion, offloads: Offloads) {
        let mut pair = P::new(&Setup {
            offloads,
            ip,
            idle: 20,
        });
        connect_close(&mut pair, 12);
        pair.open_idle(20);
        udp_echo(&mut pair, 5);
        let flow = pair.open();
        ping_pong(&mut pair, flow, 5);
        bulk(&mut pair, flow, 300);
        pair.close(flow);
    }

    #[test]
    fn smoltcp_does_all_the_work() {
        all_work::<SmoltcpPair>(Offloads::None);
        all_work::<SmoltcpPair>(Offloads::Checksum);
    }

    #[test]
    fn pollwire_does_all_the_work() {
        all_work::<PollwirePair>(Offloads::None);
        all_work::<PollwirePair>(Offloads::Checksum);
        all_work::<PollwirePair>(Offloads::Segmentation);
    }

    #[test]
    fn pollwire_does_all_the_work_over_ipv6() {
        all_work_over::<PollwirePair>(IpVersion::V6, Offloads::None);
        all_work_over::<PollwirePair>(IpVersion::V6, Offloads::Checksum);
        all_work_over::<PollwirePair>(IpVersion::V6, Offloads::Segmentation);
    }

    #[test]
    fn pollwire_copies_nothing_in_bulk() {
        for ip in [IpVersion::V4, IpVersion::V6] {
            let setup = Setup {
                ip,
                ..Setup::new(Offloads::None)
            };
            let mut pair = PollwirePair::new(&setup);
            let flow = pair.open();
            bulk(&mut pair, flow, 1000);
            assert_eq!(pair.copied_bytes(), 0, "{ip:?}");
        }
    }
}
