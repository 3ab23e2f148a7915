use core::net::{IpAddr, Ipv4Addr};
use std::vec::Vec;

use pollwire_offload::checksum::Sum;
use pollwire_rings::{FramePool, Gso, GsoKind, TxBurst, TxChecksum, TxMeta};
use zerocopy::FromBytes;

use super::{IpFields, Outbox};
use crate::DropReason;
use crate::iface::tests::{Host, OUR_IP, ip, mac};
use crate::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::{Ipv4Header, MacAddr};

#[test]
fn rfc791_3_1_the_header_says_what_the_packet_is() {
    let mut host = Host::new();
    host.meet(9);
    let payload = host.packet(7).freeze();
    let (src, dst) = (IpAddr::V4(OUR_IP), IpAddr::V4(ip(9)));
    let frame = host.packet(5);
    let meta = TxMeta::default();
    host.stack
        .ip_send(
            host.now,
            src,
            dst,
            IpFields::of(PROTOCOL_UDP),
            frame,
            Some(payload),
            meta,
        )
        .unwrap();
    let sent = host.sent();
    let bytes = &sent[0].bytes;
    let header = Ipv4Header::ref_from_bytes(&bytes[14..34]).unwrap();
    assert_eq!((header.version(), header.header_len()), (4, 20));
    assert_eq!(header.total_len.get(), 36);
    // Atomic (RFC 6864): not to be fragmented, so the identification is free.
    assert_eq!(header.flags_fragment.get(), 0x4000);
    assert_eq!((header.ttl, header.protocol), (64, PROTOCOL_UDP));
    assert_eq!((header.source(), header.destination()), (OUR_IP, ip(9)));
    assert!(Sum::of(&bytes[14..34]).is_valid());
    assert_eq!(bytes[34..], [[5; 8], [7; 8]].concat());
    host.finish();
}

#[test]
fn rfc1112_6_4_groups_map_to_ethernet_groups() {
    let mut host = Host::new();
    host.send(Ipv4Addr::new(239, 129, 2, 3), 1).unwrap();
    let sent = host.sent();
    assert_eq!(sent[0].bytes[..6], [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
    assert_eq!(sent[0].bytes[22], 1, "time to live");
    host.finish();
}

#[test]
fn rfc1122_3_3_6_broadcasts_go_to_all_stations() {
    let mut host = Host::new();
    for dst in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 255, 255)] {
        host.send(dst, 1).unwrap();
        assert_eq!(host.sent_tags(MacAddr::BROADCAST), [1], "{dst}");
        assert_eq!(host.template(dst), None);
    }
    host.finish();
}

#[test]
fn what_cannot_be_sent_is_refused_by_name() {
    let mut host = Host::new();
    assert_eq!(
        host.send(Ipv4Addr::UNSPECIFIED, 1),
        Err(DropReason::NoRoute)
    );
    assert_eq!(
        host.send(Ipv4Addr::new(240, 0, 0, 1), 1),
        Err(DropReason::NoRoute)
    );
    let mut frame = host.packet(1);
    assert!(frame.set_len(1481));
    // Any other protocol leaves in fragments; TCP does not.
    let (src, dst, meta) = (OUR_IP.into(), ip(9).into(), TxMeta::default());
    let too_long = host.stack.ip_send(
        host.now,
        src,
        dst,
        IpFields::of(PROTOCOL_TCP),
        frame,
        None,
        meta,
    );
    assert_eq!(too_long, Err(DropReason::SendTooLong));
    let mut frame = host.packet(1);
    frame.reset(10);
    let cramped = host.send_frame(Ipv4Addr::BROADCAST, frame, TxMeta::default());
    assert_eq!(cramped, Err(DropReason::SendNoHeadroom));
    let v6 = IpAddr::V6(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let frame = host.packet(1);
    let sent = host.stack.ip_send(
        host.now,
        v6,
        v6,
        IpFields::of(17),
        frame,
        None,
        TxMeta::default(),
    );
    assert_eq!(sent, Err(DropReason::NoRoute));
    assert_eq!(host.dropped(DropReason::NoRoute), 3, "each counted once");
    assert_eq!(host.stack.counters().dropped_total(), 5);
    assert!(host.sent().is_empty());
    host.finish();
}

#[test]
fn offload_requests_move_along_with_the_headers() {
    let mut host = Host::new();
    host.meet(9);
    let gso = |header_len| {
        Some(Gso {
            kind: GsoKind::TcpV4,
            size: 4,
            header_len,
        })
    };
    let asked = TxMeta {
        checksum: TxChecksum::Partial {
            start: 0,
            offset: 6,
        },
        gso: gso(4),
    };
    let moved = TxMeta {
        checksum: TxChecksum::Partial {
            start: 34,
            offset: 6,
        },
        gso: gso(38),
    };
    let frame = host.packet(1);
    host.send_frame(ip(9), frame, asked).unwrap();
    assert_eq!(host.sent()[0].meta, moved);
    // The same for one that had to wait.
    let frame = host.packet(2);
    host.send_frame(ip(10), frame, asked).unwrap();
    host.sent();
    host.answer(10);
    assert_eq!(host.sent()[0].meta, moved);
    host.finish();
}

#[test]
fn a_full_outbox_refuses_and_keeps_order() {
    let pool = FramePool::on_heap::<1024, 512>();
    let mut outbox = Outbox::new();
    let frame = |tag: u16| {
        let mut frame = pool.alloc().unwrap();
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.freeze()
    };
    let mut taken = 0;
    while outbox
        .push(frame(taken), Some(frame(taken)), TxMeta::default())
        .is_ok()
    {
        taken += 1;
    }
    assert_eq!((taken, outbox.is_full()), (256, true));
    let mut seen = Vec::new();
    let mut burst = TxBurst::new();
    loop {
        let more = outbox.drain_into(&mut burst);
        seen.extend(burst.iter().map(|packet| {
            assert_eq!(packet.pieces.len(), 2);
            u16::from_be_bytes([packet.pieces[0][0], packet.pieces[0][1]])
        }));
        burst.consume(usize::MAX);
        if !more {
            break;
        }
    }
    assert!(seen.iter().copied().eq(0..256));
    assert!(outbox.is_empty());
    assert_eq!(pool.available(), 1024);
}

#[test]
fn rfc1122_3_3_4_3_the_source_lies_in_the_next_hops_subnet() {
    let mut config = crate::Config::new("10.0.0.1/24".parse().unwrap(), [1; 32]);
    config.ipv4.push("192.168.7.1/24".parse().unwrap());
    config.ipv4.push("192.168.7.129/25".parse().unwrap());
    config.ipv4_gateway = Some(Ipv4Addr::new(192, 168, 7, 254));
    let host = Host::at_boot(&config);
    let source = |dst: [u8; 4]| host.stack.iface.source_for(IpAddr::from(dst));
    assert_eq!(source([10, 0, 0, 9]), Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(
        source([192, 168, 7, 9]),
        Some(IpAddr::from([192, 168, 7, 1]))
    );
    // The longest prefix that holds it.
    assert_eq!(
        source([192, 168, 7, 200]),
        Some(IpAddr::from([192, 168, 7, 129]))
    );
    // Off the link: as seen from the gateway.
    assert_eq!(source([8, 8, 8, 8]), Some(IpAddr::from([192, 168, 7, 129])));
    assert_eq!(source([10, 0, 0, 255]), Some(IpAddr::from([10, 0, 0, 1])));
    // To ourselves, the address itself.
    assert_eq!(source([127, 0, 0, 9]), Some(IpAddr::from([127, 0, 0, 1])));
    assert_eq!(
        source([192, 168, 7, 1]),
        Some(IpAddr::from([192, 168, 7, 1]))
    );
    host.finish();
}

#[test]
fn rfc4632_a_gateway_outside_of_every_subnet_is_a_neighbour() {
    let mut host = Host::at_boot(
        &crate::Config::new("10.0.0.1/32".parse().unwrap(), [1; 32]).with_gateway(ip(9)),
    );
    host.send(Ipv4Addr::new(1, 1, 1, 1), 1).unwrap();
    host.sent();
    host.answer(9);
    assert_eq!(host.sent_tags(mac(9)), [1]);
    host.finish();
}
