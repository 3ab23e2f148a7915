mod marks;
pub(crate) mod peer;
mod v6;

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;
use std::vec;
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{RxBurst, RxChecksum, RxMeta, TxChecksum};
use proptest::prelude::*;

use self::peer::{BROADCAST, OWN, PEER, Peer, datagram, peer};
use super::{UdpId, UdpOptions};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::{Counter, DropReason, Error, Misuse};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn bind(host: &mut Peer, address: Ipv4Addr, port: u16) -> UdpId {
    host.stack
        .udp_bind(SocketAddr::from((address, port)))
        .expect("free")
}

/// The payload and sender of the datagram that waits.
fn receive(host: &mut Peer, id: UdpId) -> Result<(Vec<u8>, SocketAddr), Error> {
    host.stack
        .udp_try_recv(id)
        .map(|(payload, from)| (payload.to_vec(), from))
}

#[test]
fn rfc_768_datagrams_arrive_whole_and_in_order() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    let long = vec![0xa5; 1472];
    for payload in [&b""[..], b"x", &long] {
        host.give_udp(OWN, 4000, 7, payload);
    }
    for payload in [&b""[..], b"x", &long] {
        assert_eq!(receive(&mut host, id), Ok((payload.to_vec(), peer(4000))));
    }
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    assert_eq!(host.count(Counter::UdpIn), 3);
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn rfc_768_the_length_field_ends_the_datagram() {
    let mut host = Peer::new();
    let id = bind(&mut host, OWN, 7);
    let mut padded = datagram(PEER, OWN, 4000, 7, b"short");
    padded.extend([0xee; 100]);
    host.give(OWN, PROTOCOL_UDP, &padded);
    assert_eq!(receive(&mut host, id), Ok((b"short".to_vec(), peer(4000))));
    host.finish();
}

#[test]
fn rfc_768_broken_lengths_and_ports_are_dropped() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let good = datagram(PEER, OWN, 4000, 7, b"payload");
    for len in 0..8 {
        host.give(OWN, PROTOCOL_UDP, &good[..len]);
    }
    assert_eq!(host.dropped(DropReason::UdpTooShort), 8);
    for len in (0..8).chain([16, 1000, u16::MAX]) {
        let mut bad = good.clone();
        bad[4..6].copy_from_slice(&len.to_be_bytes());
        host.give(OWN, PROTOCOL_UDP, &bad);
    }
    assert_eq!(host.dropped(DropReason::UdpBadLength), 11);
    host.give_udp(OWN, 4000, 0, b"to nobody");
    assert_eq!(host.dropped(DropReason::UdpBadPort), 1);
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    assert!(host.take().is_empty());
    host.finish();
}

#[test]
fn rfc_1122_4_1_3_4_wrong_checksums_are_dropped_and_none_is_accepted() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let good = datagram(PEER, OWN, 4000, 7, b"payload");
    // Length and port aside, any flipped bit shows.
    for at in (0..2).chain(8..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        host.give(OWN, PROTOCOL_UDP, &bad);
    }
    assert_eq!(
        host.dropped(DropReason::UdpBadChecksum),
        good.len() as u64 - 6
    );
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));

    let mut without = good.clone();
    without[6..8].copy_from_slice(&[0, 0]);
    host.give(OWN, PROTOCOL_UDP, &without);
    assert_eq!(
        receive(&mut host, id),
        Ok((b"payload".to_vec(), peer(4000)))
    );
    host.finish();
}

#[test]
fn checksums_that_the_device_vouches_for_are_not_looked_at() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let mut odd = datagram(PEER, OWN, 4000, 7, b"payload");
    odd[6] ^= 0xff;
    for checksum in [RxChecksum::Verified, RxChecksum::Partial] {
        let meta = RxMeta {
            checksum,
            ..RxMeta::default()
        };
        host.give_with_options(OWN, PROTOCOL_UDP, &[], &odd, meta);
        assert_eq!(
            receive(&mut host, id),
            Ok((b"payload".to_vec(), peer(4000)))
        );
    }
    host.finish();
}

#[test]
fn datagrams_coalesced_by_the_device_are_dropped_by_name() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    // A first piece as the peer sends it, cut in two by a device.
    let sender = bind(&mut host, ANY, 4000);
    host.stack
        .udp_try_send(sender, &[1; 100], peer(7))
        .expect("sends");
    let mut ip = host.take_one().ip;
    ip[12..16].copy_from_slice(&PEER.octets());
    ip[16..20].copy_from_slice(&OWN.octets());
    let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &ip].concat();
    let mut burst = RxBurst::new();
    let (front, back) = (host.frame(&frame[..60]), host.frame(&frame[60..]));
    burst
        .push(
            front,
            RxMeta {
                continues: true,
                gso_size: 50,
                ..RxMeta::default()
            },
        )
        .expect("room");
    burst.push(back, RxMeta::default()).expect("room");
    host.stack.input(host.now, &mut burst);
    assert_eq!(host.dropped(DropReason::UdpCoalesced), 1);
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    host.finish();
}

#[test]
fn queues_are_bounded_in_datagrams() {
    let mut host = Peer::new();
    let options = UdpOptions {
        recv_datagrams: 4,
        ..UdpOptions::DEFAULT
    };
    let id = host
        .stack
        .udp_bind_with((ANY, 7).into(), options)
        .expect("free");
    for number in 0..10_u8 {
        host.give_udp(OWN, 4000, 7, &[number]);
    }
    assert_eq!(host.dropped(DropReason::UdpQueueFull), 6);
    for number in 0..4 {
        assert_eq!(receive(&mut host, id), Ok((vec![number], peer(4000))));
    }
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    host.give_udp(OWN, 4000, 7, b"again");
    assert_eq!(receive(&mut host, id), Ok((b"again".to_vec(), peer(4000))));
    assert!(host.take().is_empty(), "a full queue is no closed port");
    host.finish();
}

#[test]
fn queues_are_bounded_in_bytes_counted_as_slots() {
    let mut host = Peer::new();
    let options = UdpOptions {
        recv_bytes: 3 * 2048,
        ..UdpOptions::DEFAULT
    };
    let id = host
        .stack
        .udp_bind_with((ANY, 7).into(), options)
        .expect("free");
    let tiny = UdpOptions {
        recv_datagrams: 0,
        recv_bytes: 0,
    };
    let least = host
        .stack
        .udp_bind_with((ANY, 8).into(), tiny)
        .expect("free");
    for _ in 0..5 {
        host.give_udp(OWN, 4000, 7, b"x");
        host.give_udp(OWN, 4000, 8, b"x");
    }
    assert_eq!(host.dropped(DropReason::UdpQueueFull), 2 + 4);
    for id in [id, least] {
        while receive(&mut host, id).is_ok() {}
    }
    host.finish();
}

#[test]
fn a_socket_that_does_not_keep_up_leaves_frames_for_others() {
    let mut host = Peer::new();
    let slow = bind(&mut host, ANY, 7);
    let fast = bind(&mut host, ANY, 8);
    for _ in 0..80 {
        host.give_udp(OWN, 4000, 7, b"x");
    }
    assert!(host.stack.pool().available() >= 7, "an eighth stays free");
    assert!(host.dropped(DropReason::UdpNoMemory) > 0);
    for _ in 0..20 {
        host.give_udp(OWN, 4000, 8, b"y");
        assert_eq!(receive(&mut host, fast), Ok((b"y".to_vec(), peer(4000))));
    }
    host.stack.udp_close(slow);
    host.finish();
}

#[test]
fn an_echo_goes_back_in_the_frame_in_which_it_came() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    // The first packet also asks the neighbour whether it is still there.
    host.stack.udp_try_send(id, b"", peer(4000)).expect("sends");
    host.take();
    for len in [0, 1, 17, 64, 1471, 1472] {
        let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
        host.give_udp(OWN, 4000, 7, &payload);
        let (frame, from) = host.stack.udp_try_recv(id).expect("waits");
        host.stack
            .udp_try_send_frame(id, frame, from)
            .expect("sends");
        assert_eq!(host.stack.pool().in_use(), 1, "one frame does it all");
        let sent = host.take_one();
        assert_eq!(
            (sent.pieces, sent.protocol(), sent.source()),
            (1, PROTOCOL_UDP, OWN)
        );
        assert_eq!(sent.body(), datagram(OWN, PEER, 7, 4000, &payload));
    }
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn frames_that_are_shared_or_have_no_room_get_their_header_in_front() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    for payload in [&b"odd"[..], b"even"] {
        let shared = host.frame(payload).freeze();
        host.stack
            .udp_try_send_frame(id, shared.clone(), peer(9))
            .expect("sends");
        host.stack
            .udp_try_send_frame(id, shared, peer(9))
            .expect("sends");
        let mut cramped = host.frame(b"");
        cramped.reset(41);
        cramped.extend_from_slice(payload);
        host.stack
            .udp_try_send_frame(id, cramped, peer(9))
            .expect("sends");
        for sent in host.take() {
            assert_eq!(sent.pieces, 2);
            assert_eq!(sent.body(), datagram(OWN, PEER, 7, 9, payload));
        }
    }
    assert_eq!(host.count(Counter::CopiedBytes), 0);
    host.finish();
}

#[test]
fn headers_from_the_template_are_those_of_the_layers() {
    for mut host in [Peer::new(), Peer::with_tx_checksum()] {
        let id = bind(&mut host, ANY, 7);
        for len in [0, 1, 2, 63, 64, 127, 128, 129, 1471, 1472, 5] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8 ^ 0x5a).collect();
            let alone = host.frame(&payload);
            host.stack
                .udp_try_send_frame(id, alone, peer(4000))
                .expect("sent");
            let routed = host.take_one();
            // A shared frame takes the layers one by one.
            let shared = host.frame(&payload).freeze();
            host.stack
                .udp_try_send_frame(id, shared.clone(), peer(4000))
                .expect("sent");
            let layered = host.take_one();
            assert_eq!((routed.pieces, layered.pieces), (1, 2), "{len} bytes");
            assert_eq!(routed.ip, layered.ip, "{len} bytes");
            assert_eq!(routed.meta, layered.meta, "{len} bytes");
        }
        host.finish();
    }
}

#[test]
fn rfc_1122_3_3_4_2_a_kept_way_follows_the_address_asked() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let second = Ipv4Addr::new(10, 0, 0, 3);
    for asked in [OWN, OWN, OWN, second, second, OWN, second, second, second] {
        host.give_udp(asked, 4000, 7, b"ask");
        let (payload, from) = host.stack.udp_try_recv(id).expect("it came");
        host.stack
            .udp_try_send_frame(id, payload, from)
            .expect("sent");
        assert_eq!(host.take_one().source(), asked);
    }
    host.finish();
}

#[test]
fn rfc_768_a_computed_zero_is_sent_as_all_ones() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    host.stack
        .udp_try_send(id, &[0, 0], peer(9))
        .expect("sends");
    // The checksum itself as data makes the sum all ones, its complement 0.
    let check = host.take_one().body()[6..8].to_vec();
    host.stack.udp_try_send(id, &check, peer(9)).expect("sends");
    let sent = host.take_one();
    assert_eq!(sent.body()[6..8], [0xff, 0xff]);
    assert_eq!(sent.body(), datagram(OWN, PEER, 7, 9, &check));
    host.finish();
}

#[test]
fn checksums_are_left_to_a_device_that_completes_them() {
    let mut host = Peer::with_tx_checksum();
    let id = bind(&mut host, ANY, 7);
    host.stack
        .udp_try_send(id, b"payload", peer(9))
        .expect("sends");
    let shared = host.frame(b"payload").freeze();
    host.stack
        .udp_try_send_frame(id, shared.clone(), peer(9))
        .expect("sends");
    for sent in host.take() {
        assert_eq!(
            sent.meta.checksum,
            TxChecksum::Partial {
                start: 34,
                offset: 6
            }
        );
        let pseudo = Sum::pseudo_v4(OWN.octets(), PEER.octets(), PROTOCOL_UDP, 15).fold();
        assert_eq!(sent.body()[6..8], pseudo.to_be_bytes());
        let mut completed = sent.body().to_vec();
        let check = Sum::of(&completed).finish_nonzero();
        completed[6..8].copy_from_slice(&check.to_be_bytes());
        assert_eq!(completed, datagram(OWN, PEER, 7, 9, b"payload"));
    }
    drop(shared);
    host.finish();
}

#[test]
fn copies_are_counted() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    host.give_udp(OWN, 4000, 7, b"0123456789");
    let mut buffer = [0; 4];
    assert_eq!(
        host.stack.udp_try_recv_into(id, &mut buffer),
        Ok((10, peer(4000)))
    );
    assert_eq!(&buffer, b"0123");
    assert_eq!(host.count(Counter::CopiedBytes), 4);
    host.stack
        .udp_try_send(id, b"012345", peer(9))
        .expect("sends");
    assert_eq!(host.count(Counter::CopiedBytes), 10);
    let mut frame = host.stack.udp_reserve(id, 3).expect("a frame is free");
    frame.copy_from_slice(b"abc");
    host.stack
        .udp_try_send_frame(id, frame, peer(9))
        .expect("sends");
    assert_eq!(host.count(Counter::CopiedBytes), 10);
    assert_eq!(host.count(Counter::UdpOut), 2);
    host.finish();
}

#[test]
fn what_cannot_be_sent_comes_back_with_the_reason() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let too_long = vec![0; 65_508];
    assert_eq!(
        host.stack.udp_try_send(id, &too_long, peer(9)),
        Err(Misuse::TooLong.into())
    );
    assert_eq!(
        host.stack.udp_reserve(id, 4096).map(drop),
        Err(Misuse::TooLong.into())
    );
    let nowhere = [peer(0), (ANY, 9).into()];
    for remote in nowhere {
        let frame = host.frame(b"kept");
        let (frame, error) = host
            .stack
            .udp_try_send_frame(id, frame, remote)
            .expect_err("refused");
        assert_eq!(
            (&frame[..], error),
            (&b"kept"[..], Misuse::BadDestination.into())
        );
        assert_eq!(
            host.stack.udp_connect(id, Some(remote)),
            Err(Misuse::BadDestination)
        );
    }
    let v6: SocketAddr = "[2001:db8::1]:9".parse().expect("an address");
    assert_eq!(
        host.stack.udp_try_send(id, b"x", v6),
        Err(Misuse::NoSourceAddress.into())
    );
    let off_link = SocketAddr::from(([192, 0, 2, 1], 9));
    assert_eq!(
        host.stack.udp_try_send(id, b"x", off_link),
        Err(Misuse::NoSourceAddress.into())
    );

    let shared = host.frame(b"kept").freeze();
    let held: Vec<_> = core::iter::from_fn(|| host.stack.pool().alloc()).collect();
    assert_eq!(
        host.stack.udp_try_send(id, b"x", peer(9)),
        Err(Misuse::NoFrameFree.into())
    );
    assert_eq!(
        host.stack.udp_reserve(id, 1).map(drop),
        Err(Misuse::NoFrameFree.into())
    );
    let (kept, error) = host
        .stack
        .udp_try_send_frame(id, shared.clone(), peer(9))
        .expect_err("refused");
    assert_eq!(
        (&kept[..], error),
        (&b"kept"[..], Misuse::NoFrameFree.into())
    );
    assert_eq!(host.count(Counter::NoFrame), 3);
    drop((held, shared, kept));
    host.finish();
}

#[test]
fn a_full_way_out_holds_senders_back() {
    let mut host = Peer::with_frames::<1024>();
    let id = bind(&mut host, ANY, 7);
    let mut sent = 0;
    let refused = loop {
        match host.stack.udp_try_send(id, b"x", peer(9)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::WouldBlock);
    assert_eq!(host.take().len(), sent);
    assert_eq!(host.stack.udp_try_send(id, b"x", peer(9)), Ok(()));
    assert_eq!(host.dropped(DropReason::OutboxFull), 0);
    host.finish();
}

#[test]
fn rfc_919_broadcasts_reach_sockets_on_any_address_only() {
    let mut host = Peer::new();
    let any = bind(&mut host, ANY, 7);
    let own = bind(&mut host, OWN, 8);
    for group in [BROADCAST, Ipv4Addr::BROADCAST] {
        host.give_udp(group, 4000, 7, b"all");
        host.give_udp(group, 4000, 8, b"all");
        assert_eq!(receive(&mut host, any), Ok((b"all".to_vec(), peer(4000))));
        assert_eq!(receive(&mut host, own), Err(Error::WouldBlock));
    }
    assert_eq!(host.dropped(DropReason::UdpNoSocket), 2);
    assert!(host.take().is_empty(), "no errors about broadcasts");
    host.finish();
}

#[test]
fn rfc_1122_3_3_4_2_answers_come_from_the_address_asked() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let second = Ipv4Addr::new(10, 0, 0, 3);
    for asked in [second, OWN] {
        host.give_udp(asked, 4000, 7, b"who?");
        receive(&mut host, id).expect("waits");
        host.stack
            .udp_try_send(id, b"me", peer(4000))
            .expect("sends");
        assert_eq!(host.take_one().source(), asked);
    }
    // Others, and answers to broadcasts, come from the usual address.
    host.give_udp(second, 4000, 7, b"who?");
    receive(&mut host, id).expect("waits");
    host.stack
        .udp_try_send(id, b"me", peer(4001))
        .expect("sends");
    assert_eq!(host.take_one().source(), OWN);
    host.give_udp(BROADCAST, 4000, 7, b"who?");
    receive(&mut host, id).expect("waits");
    host.stack
        .udp_try_send(id, b"me", peer(4000))
        .expect("sends");
    assert_eq!(host.take_one().source(), OWN);
    host.finish();
}

#[test]
fn binds_that_overlap_are_refused() {
    let mut host = Peer::new();
    let second = Ipv4Addr::new(10, 0, 0, 3);
    let own = bind(&mut host, OWN, 7);
    let other = bind(&mut host, second, 7);
    for taken in [OWN, second, ANY] {
        let refused = host.stack.udp_bind((taken, 7).into());
        assert_eq!(refused, Err(Misuse::AddressInUse));
    }
    let foreign = host.stack.udp_bind((PEER, 7).into());
    assert_eq!(foreign, Err(Misuse::AddressNotLocal));
    host.give_udp(second, 4000, 7, b"second");
    assert_eq!(receive(&mut host, own), Err(Error::WouldBlock));
    assert_eq!(
        receive(&mut host, other),
        Ok((b"second".to_vec(), peer(4000)))
    );
    host.stack.udp_close(own);
    host.stack.udp_close(other);
    let any = bind(&mut host, ANY, 7);
    assert_eq!(host.stack.udp_local_addr(any), Ok((ANY, 7).into()));
    assert_eq!(
        host.stack.udp_bind((OWN, 7).into()),
        Err(Misuse::AddressInUse)
    );
    host.finish();
}

#[test]
fn rfc_6056_ephemeral_ports_are_random_and_distinct() {
    let mut host = Peer::new();
    let mut ports = Vec::new();
    for _ in 0..500 {
        let id = bind(&mut host, ANY, 0);
        ports.push(host.stack.udp_local_addr(id).expect("open").port());
    }
    assert!(ports.iter().all(|port| *port >= 49_152));
    assert!(!ports.is_sorted());
    for port in &ports {
        host.give_udp(OWN, 4000, *port, b"x");
        let from = host.stack.udp_bind((ANY, *port).into());
        assert_eq!(from, Err(Misuse::AddressInUse));
        if host.stack.pool().available() < 32 {
            break;
        }
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 500);
    drop(host);
}

#[test]
fn handles_are_stale_once_closed() {
    let mut host = Peer::new();
    let old = bind(&mut host, ANY, 7);
    host.give_udp(OWN, 4000, 7, b"lost with the socket");
    host.stack.udp_close(old);
    let new = bind(&mut host, ANY, 7);
    assert_ne!(old, new);
    let stale = Err(Error::Misuse(Misuse::StaleHandle));
    assert_eq!(
        receive(&mut host, old),
        Err(Error::Misuse(Misuse::StaleHandle))
    );
    assert_eq!(host.stack.udp_try_send(old, b"x", peer(9)), stale);
    assert_eq!(host.stack.udp_reserve(old, 1).map(drop), stale);
    assert_eq!(host.stack.udp_connect(old, None), Err(Misuse::StaleHandle));
    assert_eq!(host.stack.udp_local_addr(old), Err(Misuse::StaleHandle));
    host.stack.udp_wake_on_recv(old, Waker::noop());
    host.stack.udp_close(old);
    assert_eq!(
        receive(&mut host, new),
        Err(Error::WouldBlock),
        "queues are not inherited"
    );
    host.give_udp(OWN, 4000, 7, b"new");
    assert_eq!(receive(&mut host, new), Ok((b"new".to_vec(), peer(4000))));
    host.finish();
}

#[test]
fn connected_sockets_hear_their_peer_only() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    host.stack
        .udp_connect(id, Some(peer(53)))
        .expect("connects");
    host.give_udp(OWN, 54, 7, b"spoofed");
    host.give_udp(OWN, 53, 7, b"answer");
    assert_eq!(receive(&mut host, id), Ok((b"answer".to_vec(), peer(53))));
    assert_eq!(receive(&mut host, id), Err(Error::WouldBlock));
    assert_eq!(host.dropped(DropReason::UdpNotFromPeer), 1);
    assert_eq!(
        host.take_one().body()[..2],
        [3, 3],
        "to others the port is closed"
    );
    host.stack.udp_connect(id, None).expect("opens");
    host.give_udp(OWN, 54, 7, b"hello");
    assert_eq!(receive(&mut host, id), Ok((b"hello".to_vec(), peer(54))));
    host.finish();
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn only_waiting_tasks_are_woken_and_once() {
    let mut host = Peer::new();
    let id = bind(&mut host, ANY, 7);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let times = || woken.0.load(Ordering::Relaxed);
    host.stack.udp_wake_on_recv(id, &waker);
    assert_eq!(times(), 0);
    host.give_udp(OWN, 4000, 7, b"1");
    host.give_udp(OWN, 4000, 7, b"2");
    assert_eq!(times(), 1);
    host.stack.udp_wake_on_recv(id, &waker);
    assert_eq!(times(), 2, "at once when a datagram waits already");
    while receive(&mut host, id).is_ok() {}
    host.stack.udp_wake_on_recv(id, &waker);
    host.stack.udp_close(id);
    assert_eq!(times(), 3, "a closed socket lets its task find out");
    host.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What one stack emits another parses to the same.
    #[test]
    fn parse_after_emit_is_identity(
        payload in proptest::collection::vec(any::<u8>(), 0..=1472),
        from in 1_u16..,
        to in 1_u16..,
        how in 0..3,
    ) {
        let mut host = Peer::new();
        let id = bind(&mut host, ANY, from);
        let sent = match how {
            0 => host.stack.udp_try_send(id, &payload, peer(to)).map_err(drop),
            1 => {
                let frame = host.frame(&payload);
                host.stack.udp_try_send_frame(id, frame, peer(to)).map_err(drop)
            }
            _ => {
                let shared = host.frame(&payload).freeze();
                let sent = host.stack.udp_try_send_frame(id, shared.clone(), peer(to));
                sent.map_err(drop)
            }
        };
        prop_assert_eq!(sent, Ok(()));
        let sent = host.take_one();
        prop_assert_eq!(sent.body(), datagram(OWN, PEER, from, to, &payload));

        let mut other = Peer::new();
        let listener = bind(&mut other, ANY, to);
        // Addresses trade places; their sum stays.
        other.give(OWN, PROTOCOL_UDP, sent.body());
        prop_assert_eq!(receive(&mut other, listener), Ok((payload, peer(from))));
        host.finish();
        other.finish();
    }

    #[test]
    fn arbitrary_datagrams_leave_the_pool_full(
        datagrams in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 1..40,
        ),
    ) {
        let mut host = Peer::new();
        let id = bind(&mut host, ANY, 7);
        for mut bytes in datagrams {
            host.give(OWN, PROTOCOL_UDP, &bytes);
            if let Some(port) = bytes.get_mut(2..4) {
                port.copy_from_slice(&[0, 7]);
            }
            host.give(OWN, PROTOCOL_UDP, &bytes);
            let meta = RxMeta { checksum: RxChecksum::Verified, ..RxMeta::default() };
            host.give_with_options(OWN, PROTOCOL_UDP, &[], &bytes, meta);
            host.take();
        }
        host.stack.udp_close(id);
        host.finish();
    }
}
