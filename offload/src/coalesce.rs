//! The rule by which consecutive TCP segments of one flow may be handed up as
//! one (generic receive offload). It only joins what could be cut again into
//! exactly the same packets, so nobody above can tell the difference.
//!
//! ```
//! use pollwire_offload::coalesce::{Coalesce, TcpView, coalesce};
//!
//! let first = TcpView { seq: 1000, ack: 7, window: 512, flags: 0x10, len: 1460, options: &[], ip_mark: 0 };
//! let second = TcpView { seq: 2460, ..first };
//! assert_eq!(coalesce(&first, 1460, &second), Coalesce::Join);
//! ```

use crate::segment::{ACK, CWR, FIN, PSH, RST, SYN, URG};

/// What decides about a segment: fields of its headers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpView<'a> {
    /// Sequence number of the first payload byte.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// The window field as sent.
    pub window: u16,
    /// The flags byte.
    pub flags: u8,
    /// Payload length in bytes.
    pub len: usize,
    /// The TCP options, padding included.
    pub options: &'a [u8],
    /// What must agree in the IP header: type of service, time to live, don't
    /// fragment or flow label, packed by the caller as it likes.
    pub ip_mark: u64,
}

/// The verdict about two consecutive segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesce {
    /// Join them; a third may follow.
    Join,
    /// Join them and hand the result up: it ends a burst.
    JoinLast,
    /// Hand up what is held, and hold the next one instead.
    Flush,
}

/// The most payload that one joined segment may carry, so that an IPv4 total
/// length with the largest headers still fits 16 bits.
pub const MAX_JOINED: usize = 65535 - 60 - 60;

/// Whether `next` may be joined to `held`, whose `len` counts all that was
/// joined to it so far. `mss` is the payload length of the first segment in
/// `held`: all but the last must have it.
///
/// The caller has made sure that both belong to the same flow, are no
/// fragments and have valid checksums.
#[inline]
#[must_use]
pub fn coalesce(held: &TcpView<'_>, mss: usize, next: &TcpView<'_>) -> Coalesce {
    const PLAIN: u8 = FIN | SYN | RST | PSH | URG | CWR;
    let joins = mss != 0
        // What ends a burst, or stands out in any way, has nothing behind it.
        && held.flags & PLAIN == 0
        && held.flags & ACK != 0
        // The next one may end the burst, and otherwise looks the same.
        && held.flags | PSH | FIN == next.flags | PSH | FIN
        // Without payload it is an acknowledgment: each one counts (RFC 5681
        // section 2 tells duplicates by it).
        && next.len != 0
        && next.len <= mss
        && held.len.is_multiple_of(mss)
        && held.len.saturating_add(next.len) <= MAX_JOINED
        && next.seq == held.seq.wrapping_add(held.len as u32)
        && next.ack == held.ack
        && next.window == held.window
        && next.ip_mark == held.ip_mark
        && next.options == held.options;
    if !joins {
        Coalesce::Flush
    } else if next.flags & (PSH | FIN) != 0 || next.len < mss {
        Coalesce::JoinLast
    } else {
        Coalesce::Join
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: TcpView<'static> = TcpView {
        seq: u32::MAX - 99,
        ack: 5,
        window: 100,
        flags: ACK,
        len: 200,
        options: &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        ip_mark: 9,
    };
    const NEXT: TcpView<'static> = TcpView {
        seq: 100,
        len: 100,
        ..HELD
    };

    #[test]
    fn joins_across_the_sequence_wrap() {
        assert_eq!(coalesce(&HELD, 100, &NEXT), Coalesce::Join);
    }

    #[test]
    fn ends_with_a_push_a_fin_or_a_short_segment() {
        for flags in [ACK | PSH, ACK | FIN, ACK | PSH | FIN] {
            let next = TcpView { flags, ..NEXT };
            assert_eq!(coalesce(&HELD, 100, &next), Coalesce::JoinLast);
        }
        let next = TcpView { len: 99, ..NEXT };
        assert_eq!(coalesce(&HELD, 100, &next), Coalesce::JoinLast);
    }

    #[test]
    fn any_difference_flushes() {
        let other = [
            TcpView { seq: 101, ..NEXT },
            TcpView { seq: 99, ..NEXT },
            TcpView { ack: 6, ..NEXT },
            TcpView {
                window: 101,
                ..NEXT
            },
            TcpView { len: 0, ..NEXT },
            TcpView { len: 101, ..NEXT },
            TcpView {
                options: &[],
                ..NEXT
            },
            TcpView { ip_mark: 8, ..NEXT },
        ];
        for next in other {
            assert_eq!(coalesce(&HELD, 100, &next), Coalesce::Flush, "{next:?}");
        }
        for flag in [SYN, RST, URG, CWR, 0x40] {
            let next = TcpView {
                flags: ACK | flag,
                ..NEXT
            };
            assert_eq!(coalesce(&HELD, 100, &next), Coalesce::Flush, "{flag:#x}");
        }
        for flags in [0, ACK | PSH, ACK | FIN, ACK | SYN, ACK | CWR] {
            let held = TcpView { flags, ..HELD };
            assert_eq!(coalesce(&held, 100, &NEXT), Coalesce::Flush, "{flags:#x}");
        }
    }

    #[test]
    fn only_whole_segments_stand_before_the_last() {
        let held = TcpView { len: 150, ..HELD };
        let next = TcpView { seq: 50, ..NEXT };
        assert_eq!(coalesce(&held, 100, &next), Coalesce::Flush);
        assert_eq!(coalesce(&HELD, 0, &NEXT), Coalesce::Flush);
    }

    #[test]
    fn stays_within_one_ip_packet() {
        let len = MAX_JOINED / 100 * 100;
        let held = TcpView { len, ..HELD };
        let seq = held.seq.wrapping_add(len as u32);
        let next = TcpView { seq, ..NEXT };
        assert_eq!(coalesce(&held, 100, &next), Coalesce::Flush);
    }
}
