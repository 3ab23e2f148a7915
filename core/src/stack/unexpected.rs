//! A segment of the last flow that is not what that expects: one that opens or
//! closes the connection, most often. What stands before its TCP header is known
//! to be in order, so it goes to the flow at once.

use pollwire_rings::{FrameBuf, Instant, RxChecksum, RxFrame, RxMeta};

use super::Stack;
use super::expected::is_intact;
use crate::tcp::header::{is_v4, tcp_at};
use crate::tcp::segment::Segment;
use crate::tcp::tcb::TcpState;
use crate::{Counter, DropReason};

impl Stack {
    /// Takes a packet that begins as the last flow's do, or gives it back.
    #[inline(never)]
    pub(super) fn input_unexpected<const N: usize>(
        &mut self,
        now: Instant,
        piece: RxFrame,
    ) -> Option<RxFrame> {
        let index = self.tcp.last;
        let open = self
            .tcp
            .hot(index)
            .is_some_and(|hot| hot.state != TcpState::Closed);
        let Some(end) = ip_end::<N>(&piece.frame) else {
            return Some(piece);
        };
        if piece.meta.continues || !open {
            return Some(piece);
        }
        let RxFrame { mut frame, meta } = piece;
        self.counters.inc(Counter::FramesIn);
        self.counters.add(Counter::BytesIn, frame.len() as u64);
        self.counters.inc(if is_v4(N) {
            Counter::Ipv4In
        } else {
            Counter::Ipv6In
        });
        frame.truncate(end);
        frame.trim_front(tcp_at(N));
        if let Err(reason) = self.on_last_flow(now, index, frame, meta) {
            self.counters.drop(reason);
        }
        None
    }

    /// Takes a segment for flow `index`. `frame` begins with its TCP header.
    #[inline]
    fn on_last_flow(
        &mut self,
        now: Instant,
        index: u32,
        frame: FrameBuf,
        meta: RxMeta,
    ) -> Result<(), DropReason> {
        let seg = Segment::parse(&frame, frame.len())?;
        let intact = meta.checksum != RxChecksum::Unknown
            || self
                .tcp
                .tcb(index)
                .is_some_and(|tcb| is_intact(&frame, &tcb));
        if !intact {
            return Err(DropReason::TcpBadChecksum);
        }
        self.counters.inc(Counter::TcpSegmentsIn);
        self.on_flow_segment(now, index, &seg, frame)
    }
}

/// Where the packet ends, by its IP header; `None` if that is not in the frame.
#[inline]
fn ip_end<const N: usize>(frame: &FrameBuf) -> Option<usize> {
    let head = frame.first_chunk::<N>()?;
    let half = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
    // The total length, or the payload's.
    let end = if is_v4(N) {
        14 + half(16)
    } else {
        54 + half(18)
    };
    (end >= tcp_at(N) && end <= frame.len()).then_some(end)
}
