//! Fragments of datagrams, in any order and of any shape.

use std::time::Duration;

use pollwire::rings::RxMeta;
use pollwire::{Error, Instant};

use super::frame::repair;
use super::host::Host;

/// The byte at offset `at` of datagram `ident`: a UDP header without a checksum,
/// then what depends on both.
fn byte(ident: u8, at: usize) -> u8 {
    let [high, low] = (8 + u16::from(ident) * 100).to_be_bytes();
    let header = [0x0f, 0xa0, 0, 7, high, low, 0, 0];
    let fill = || (at * 31 + at / 256) as u8 ^ ident;
    header.get(at).copied().unwrap_or_else(fill)
}

/// Feeds a stack with fragments: five bytes each say which datagram, where it
/// lies, how long it is, and how far time moves. Their contents agree, so that
/// whatever is delivered must be right.
pub fn fragments(mut data: &[u8]) {
    let mut host = Host::new(2);
    let any = std::net::SocketAddr::from(([0, 0, 0, 0], 7));
    let udp = host.stack.udp_bind(any).expect("a fresh stack binds");
    let mut now = Instant::from_secs(1);
    while let [ident, high, low, units, control, rest @ ..] = data {
        data = rest;
        let (ident, source) = (ident & 0x3f, 1 + (ident >> 6));
        // Mostly near the front, so that some of them meet.
        let reach = if control & 1 == 0 { 0x1f } else { 0x1fff };
        let unit = u16::from_be_bytes([*high, *low]) & reach;
        let odd = usize::from(control >> 5);
        let len = usize::from(units & 0x7f) * 8 + if units & 0x80 == 0 { 0 } else { odd };
        let flags = unit | u16::from(control & 2) << 12;
        let total = u16::try_from(20 + len).expect("short");
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
        frame.extend(total.to_be_bytes());
        frame.extend([0, ident]);
        frame.extend(flags.to_be_bytes());
        frame.extend([64, 17, 0, 0, 10, 0, 0, 10 + source, 10, 0, 0, 2]);
        let start = usize::from(unit) * 8;
        frame.extend((start..start + len).map(|at| byte(ident, at)));
        if flags & 0x3fff == 0 {
            // Not a fragment: its checksum counts.
            repair(&mut frame);
        } else {
            let check = pollwire::offload::Sum::of(&frame[14..34]).finish();
            frame[24..26].copy_from_slice(&check.to_be_bytes());
        }
        host.offer(&frame, RxMeta::default());
        host.input(now);
        drop(host.output(now));
        now += Duration::from_millis(1 << (control >> 2 & 7 << 1));
        host.stack.expire(now);
        let mut got = Vec::new();
        match host
            .stack
            .udp_try_recv_pieces(udp, |piece| got.extend_from_slice(&piece))
        {
            Ok(_) => {
                let right = (8..).zip(&got).all(|(at, &found)| found == byte(ident, at));
                assert!(right, "datagram {ident}: {got:?}");
            }
            Err(Error::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
    }
    host.stack.udp_close(udp);
    host.finish(now);
}
