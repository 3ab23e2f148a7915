//! DHCP messages.

use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

use arrayvec::ArrayVec;
use proptest::prelude::*;

use super::super::dhcp::*;
use super::super::*;
use crate::iface::Ipv4Cidr;

fn text() -> impl Strategy<Value = Text> {
    proptest::collection::vec(1_u8.., 0..40).prop_map(|bytes| bytes.into_iter().collect())
}

fn addresses() -> impl Strategy<Value = ArrayVec<Ipv4Addr, MAX_LIST>> {
    proptest::collection::vec(any::<[u8; 4]>(), 0..=MAX_LIST)
        .prop_map(|all| all.into_iter().map(Ipv4Addr::from).collect())
}

/// A route as an option can say it: no bits behind its significant bytes.
fn routes() -> impl Strategy<Value = ArrayVec<(Ipv4Cidr, Ipv4Addr), MAX_ROUTES>> {
    let route =
        (any::<[u8; 4]>(), 0_u8..=32, any::<[u8; 4]>()).prop_map(|(mut to, prefix, via)| {
            to[usize::from(prefix.div_ceil(8))..].fill(0);
            let to = Ipv4Cidr::new(to.into(), prefix).expect("a prefix");
            (to, Ipv4Addr::from(via))
        });
    proptest::collection::vec(route, 0..8).prop_map(|all| all.into_iter().collect())
}

fn message() -> impl Strategy<Value = DhcpMessage> {
    let kind = proptest::sample::select(vec![
        DhcpKind::Discover,
        DhcpKind::Offer,
        DhcpKind::Request,
        DhcpKind::Decline,
        DhcpKind::Ack,
        DhcpKind::Nak,
        DhcpKind::Release,
        DhcpKind::Inform,
    ]);
    let head = (
        kind,
        any::<u32>(),
        any::<u16>(),
        any::<bool>(),
        any::<[u8; 4]>(),
        any::<[u8; 4]>(),
        any::<[u8; 6]>(),
    );
    let options = (
        any::<Option<[u8; 4]>>(),
        any::<Option<[u8; 4]>>(),
        proptest::option::of(0_u8..=32),
        (addresses(), addresses(), routes()),
        (text(), text(), text()),
        any::<Option<u16>>(),
        any::<[Option<u32>; 3]>(),
    );
    (head, options).prop_map(|(head, options)| {
        let (kind, xid, secs, broadcast, client, yours, mac) = head;
        let (requested, server, prefix, lists, texts, mtu, times) = options;
        DhcpMessage {
            secs,
            broadcast,
            client: client.into(),
            yours: yours.into(),
            requested: requested.map(Ipv4Addr::from),
            server: server.map(Ipv4Addr::from),
            prefix,
            routers: lists.0,
            dns: lists.1,
            routes: lists.2,
            host_name: texts.0,
            domain: texts.1,
            text: texts.2,
            mtu,
            lease: times[0],
            renewal: times[1],
            rebinding: times[2],
            ..DhcpMessage::new(kind, xid, MacAddr(mac))
        }
    })
}

proptest! {
    #[test]
    fn parse_undoes_emit(message in message()) {
        let bytes = message.emit(1500);
        prop_assert!(bytes.len() >= 300);
        prop_assert_eq!(DhcpMessage::parse(&bytes), Some(message));
    }

    #[test]
    fn arbitrary_and_damaged_bytes_parse_or_do_not(
        message in message(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        cut: prop::sample::Index,
    ) {
        let mut bytes = message.emit(1500).to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Some(found) = DhcpMessage::parse(&bytes) {
            prop_assert_eq!(DhcpMessage::parse(&found.emit(1500)).map(|again| again.kind), Some(found.kind));
        }
    }
}

/// An ACK's header, and `options` behind it.
fn ack_with(options: &[u8]) -> Vec<u8> {
    let ack = DhcpMessage::new(DhcpKind::Ack, 7, MacAddr([2, 0, 0, 0, 0, 1]));
    let mut bytes = ack.emit(1500)[..240].to_vec();
    bytes.extend([53, 1, 5]);
    bytes.extend(options);
    bytes
}

#[test]
fn rfc_3396_split_options_are_put_together() {
    let bytes = ack_with(&[
        15, 3, b'f', b'o', b'o', 0, 0, 15, 4, b'.', b'n', b'e', b't', 255,
    ]);
    let parsed = DhcpMessage::parse(&bytes).expect("sound");
    assert_eq!(&parsed.domain[..], b"foo.net");
}

#[test]
fn rfc_2132_9_3_options_overflow_into_the_header() {
    let mut bytes = ack_with(&[52, 1, 3, 6, 4, 10, 0, 0, 1, 255]);
    // The server name at 44, the file at 108; the file is read first.
    bytes[108..114].copy_from_slice(&[6, 4, 10, 0, 0, 2]);
    bytes[114] = 255;
    bytes[44..50].copy_from_slice(&[6, 4, 10, 0, 0, 3]);
    let parsed = DhcpMessage::parse(&bytes).expect("sound");
    let last: Vec<u8> = parsed.dns.iter().map(|dns| dns.octets()[3]).collect();
    assert_eq!(last, [1, 2, 3]);
}

#[test]
fn rfc_3442_routes_are_read_to_the_first_that_cannot_be() {
    let good = [0, 10, 0, 0, 1, 25, 10, 17, 0, 128, 10, 0, 0, 2];
    for bad in [
        &[][..],
        &[33, 1, 2, 3, 4, 5, 1, 2, 3, 4],
        &[8],
        &[24, 1, 2, 3, 4],
    ] {
        let value = [&good[..], bad].concat();
        let option = [&[121, value.len() as u8][..], &value, &[255]].concat();
        let parsed = DhcpMessage::parse(&ack_with(&option)).expect("sound");
        let routes: Vec<_> = parsed
            .routes
            .iter()
            .map(|(to, via)| std::format!("{to} {via}"))
            .collect();
        assert_eq!(routes, ["0.0.0.0/0 10.0.0.1", "10.17.0.128/25 10.0.0.2"]);
    }
}

#[test]
fn what_is_no_dhcp_message_is_refused() {
    let good = ack_with(&[255]);
    assert!(DhcpMessage::parse(&good).is_some());
    // Operation, hardware, its length, the magic number, no kind, a strange one.
    for (at, value) in [
        (0, 1),
        (1, 6),
        (2, 8),
        (236, 0),
        (240, 0),
        (242, 9),
        (242, 0),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(DhcpMessage::parse(&bad), None, "byte {at}");
    }
    for len in 0..243 {
        assert_eq!(DhcpMessage::parse(&good[..len]), None);
    }
    // A mask with holes is none.
    let holes = DhcpMessage::parse(&ack_with(&[1, 4, 255, 0, 255, 0])).expect("sound");
    assert_eq!(holes.prefix, None);
}
