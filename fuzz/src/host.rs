//! A stack whose device is the fuzzer.

use std::time::Duration;

use pollwire::rings::{Caps, RxBurst, RxMeta, TxBurst};
use pollwire::{Config, Instant, InterfaceIds, Stack};

/// Longer than any timer of the stack runs.
const ALL_TIMERS: Duration = Duration::from_secs(4000);

pub(super) struct Host {
    pub(super) stack: Stack,
    rx: RxBurst,
    tx: TxBurst,
}

impl Host {
    /// 10.0.0.`last`, with few frames and few flows, so that they run out.
    pub(super) fn new(last: u8) -> Self {
        let address = format!("10.0.0.{last}/24").parse().expect("a CIDR");
        Self::with_config(last, &Config::new(address, [last; 32]))
    }

    /// The same at fd00::`last` and fe80::ff:fe00:`last`, too, and listening to
    /// routers.
    pub(super) fn dual(last: u8) -> Self {
        let address = format!("10.0.0.{last}/24").parse().expect("a CIDR");
        let v6 = format!("fd00::{last:x}/64").parse().expect("a CIDR");
        let mut config = Config::new(address, [last; 32])
            .with_ipv6(v6)
            .with_slaac(InterfaceIds::Eui64);
        if let Some(v6) = &mut config.ipv6 {
            (v6.temporary, v6.dad_transmits) = (true, 0);
        }
        let mut host = Self::with_config(last, &config);
        host.stack.expire(Instant::ZERO);
        drop(host.output(Instant::ZERO));
        host
    }

    fn with_config(last: u8, config: &Config) -> Self {
        let caps = Caps::plain([2, 0, 0, 0, 0, last], 1500);
        let stack = Stack::on_heap::<128, 16, 2048>(config, caps);
        Self {
            stack,
            rx: RxBurst::new(),
            tx: TxBurst::new(),
        }
    }

    /// Offers a frame to the next [`input`](Self::input), as long as there is
    /// memory and room for it.
    pub(super) fn offer(&mut self, bytes: &[u8], meta: RxMeta) {
        if !self.rx.has_room(2) {
            return;
        }
        let Some(mut frame) = self.stack.pool().alloc() else {
            return;
        };
        let bytes = bytes.get(..1514).unwrap_or(bytes);
        frame.extend_from_slice(bytes);
        // A burst with room takes it.
        let _refused = self.rx.push(frame, meta);
    }

    pub(super) fn input(&mut self, now: Instant) {
        self.stack.input(now, &mut self.rx);
    }

    /// What the stack has to send, each packet in one piece.
    pub(super) fn output(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            let more = self.stack.output(now, &mut self.tx);
            for packet in self.tx.iter() {
                packets.push(
                    packet
                        .pieces
                        .iter()
                        .flat_map(|piece| piece.to_vec())
                        .collect(),
                );
            }
            self.tx.consume(usize::MAX);
            if !more {
                return packets;
            }
        }
    }

    /// Lets every timer fire, nobody answering; then nothing may be left.
    ///
    /// The caller has closed its sockets.
    pub(super) fn finish(mut self, mut now: Instant) {
        let end = now + ALL_TIMERS;
        loop {
            drop(self.output(now));
            let Some(next) = self.stack.deadline().filter(|&next| next <= end) else {
                break;
            };
            assert!(
                next > now || self.fires(now),
                "a deadline that does not pass"
            );
            now = now.max(next);
            self.stack.expire(now);
        }
        let pool = self.stack.pool();
        assert_eq!(self.stack.flows_in_use(), 0, "flows are left");
        assert_eq!(pool.available(), pool.capacity(), "frames are left");
    }

    /// Whether a deadline that is due goes away when it is served.
    fn fires(&mut self, now: Instant) -> bool {
        for _ in 0..100 {
            self.stack.expire(now);
            drop(self.output(now));
            if self.stack.deadline().is_none_or(|next| next > now) {
                return true;
            }
        }
        false
    }
}
