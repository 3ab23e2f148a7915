//! Frames through the whole input path.

use std::time::Duration;

use pollwire::rings::{RxChecksum, RxMeta};
use pollwire::{Instant, ListenOptions};

use super::frame::repair;
use super::host::Host;

/// Feeds a stack with frames from `data`: a byte of control, a length, the frame.
///
/// The control byte says what the device says of the frame, whether its
/// checksums are made good, and how far time moves after it.
pub fn input(mut data: &[u8]) {
    let mut host = Host::dual(2);
    let stack = &mut host.stack;
    let any = |port| std::net::SocketAddr::from(([0, 0, 0, 0], port));
    let listener = stack
        .tcp_listen(any(80), ListenOptions::DEFAULT)
        .expect("a fresh stack listens");
    let udp = stack.udp_bind(any(7)).expect("a fresh stack binds");
    let mut now = Instant::from_secs(1);
    let mut flows = Vec::new();
    while let [control, high, low, rest @ ..] = data {
        let len = usize::from(u16::from_be_bytes([*high, *low]) % 1600).min(rest.len());
        let (frame, next) = rest.split_at(len);
        data = next;
        let mut frame = frame.to_vec();
        if control & 1 == 0 {
            repair(&mut frame);
        }
        let meta = RxMeta {
            checksum: match control >> 1 & 3 {
                0 | 1 => RxChecksum::Unknown,
                2 => RxChecksum::Verified,
                _ => RxChecksum::Partial,
            },
            continues: control & 0x18 == 0x18,
            ..RxMeta::default()
        };
        host.offer(&frame, meta);
        if control & 0x20 == 0 {
            host.input(now);
            drop(host.output(now));
            now += Duration::from_millis(1 << (control >> 6 << 2));
            host.stack.expire(now);
            flows.extend(host.stack.tcp_try_accept(listener));
            if let Some(&flow) = flows.first() {
                // A frame, an end, or nothing yet: any will do.
                let _got = host.stack.tcp_try_recv(flow);
            }
        }
    }
    host.input(now);
    for flow in flows {
        host.stack.tcp_abort(flow);
    }
    while let Ok(flow) = host.stack.tcp_try_accept(listener) {
        host.stack.tcp_abort(flow);
    }
    host.stack.tcp_close_listener(listener);
    host.stack.udp_close(udp);
    host.finish(now);
}
