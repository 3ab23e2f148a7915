//! Event logs of single connections, switched on and off at run time.
//!
//! A connection with a log takes the full paths, in and out
//! (`flag::WATCHED`); there the stack looks at what its code did, from the
//! outside: at the segment that came, at the packets that its output put into
//! the burst, at its state before and after. So nothing but this file knows of
//! logs, and connections without one pay nothing.

use alloc::collections::VecDeque;
use core::fmt;

use pollwire_rings::{Instant, TxBurst, TxPacket};

use super::Stack;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::{Tcb, flag};
use crate::wire::tcp::{ACK, FIN, SYN};
use crate::{FlowId, Misuse};

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpEventKind {
    /// A segment was sent. `seq`: where it begins; `value`: the congestion
    /// window.
    Sent,
    /// The same, and it had been sent before, in whole or in part.
    SentAgain,
    /// A segment arrived. `seq`: where it begins; `value`: what is in order
    /// then.
    Received,
    /// An acknowledgement arrived, alone or with data. `seq`: up to where;
    /// `value`: the window that it offers, bytes; `len`: bytes selectively
    /// acknowledged beyond, 65535 at most.
    Acknowledged,
    /// The congestion window or the slow start threshold changed. `seq`: the
    /// threshold; `value`: the window; `len`: the smoothed round-trip time,
    /// milliseconds.
    Window,
    /// A timer fired: retransmission timeout, probe, or keepalive. `seq`: what
    /// is acknowledged; `value`: consecutive timeouts.
    Timer,
}

impl TcpEventKind {
    /// Its name in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::SentAgain => "sent-again",
            Self::Received => "received",
            Self::Acknowledged => "acknowledged",
            Self::Window => "window",
            Self::Timer => "timer",
        }
    }
}

/// An event, 16 bytes. Sequence numbers count from the first byte of the
/// stream: the SYN has -1, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpEvent {
    /// When, in microseconds since the log was switched on, modulo 2^32.
    pub micros: u32,
    /// What happened.
    pub kind: TcpEventKind,
    /// The segment's flags, as in its header.
    pub flags: u8,
    /// Payload bytes; up to 65535 when the device was asked to segment.
    pub len: u16,
    /// See [`TcpEventKind`].
    pub seq: u32,
    /// See [`TcpEventKind`].
    pub value: u32,
}

const _: () = assert!(size_of::<TcpEvent>() == 16);

/// One line, as `pollwire-perf plot` reads it: microseconds, kind, flags, bytes,
/// `seq`, `value`.
impl fmt::Display for TcpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            micros,
            kind,
            flags,
            len,
            seq,
            value,
        } = self;
        write!(f, "{micros} {} {flags} {len} {seq} {value}", kind.name())
    }
}

/// The log of one connection: its last events.
pub(crate) struct FlowLog {
    flow: FlowId,
    begun: Instant,
    events: VecDeque<TcpEvent>,
    most: usize,
    lost: u64,
}

impl FlowLog {
    fn push(&mut self, now: Instant, mut event: TcpEvent) {
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
        let micros = (now.nanos_since(self.begun) / 1000) as u32;
        event.micros = micros;
        if self.events.len() == self.most {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(event);
    }
}

/// What changes when something happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    cwnd: u32,
    ssthresh: u32,
    snd_nxt: SeqNum,
    backoff: u8,
}

impl Before {
    fn of(tcb: &Tcb<'_>) -> Self {
        Self {
            cwnd: tcb.hot.cwnd,
            ssthresh: tcb.cold.ssthresh,
            snd_nxt: tcb.hot.snd_nxt,
            backoff: tcb.hot.rtt.backoff,
        }
    }
}

const EMPTY: TcpEvent = TcpEvent {
    micros: 0,
    kind: TcpEventKind::Sent,
    flags: 0,
    len: 0,
    seq: 0,
    value: 0,
};

/// `at`, counted from the first byte of a stream that began with `syn`.
fn relative(at: SeqNum, syn: SeqNum) -> u32 {
    at.raw().wrapping_sub(syn.raw()).wrapping_sub(1)
}

impl Stack {
    /// Switches the event log of a connection on, with room for the last
    /// `events` of its events, 16 bytes each; 0 switches it off. What it held is
    /// gone. It ends with the handle.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_log(&mut self, id: FlowId, events: usize) -> Result<(), Misuse> {
        self.tcp_state(id)?;
        self.logs.retain(|log| log.flow != id);
        let begun = self.now();
        if events > 0 {
            self.logs.push(FlowLog {
                flow: id,
                begun,
                events: VecDeque::with_capacity(events),
                most: events,
                lost: 0,
            });
        }
        if let Some(mut tcb) = self.tcp.tcb(id.index) {
            tcb.watch_log(events > 0);
        }
        Ok(())
    }

    /// The events of a connection's log, oldest first, and how many older ones
    /// there was no room for. Empty when it is off.
    pub fn tcp_events(&self, id: FlowId) -> (impl Iterator<Item = TcpEvent> + '_, u64) {
        let log = self.logs.iter().find(|log| log.flow == id);
        let lost = log.map_or(0, |log| log.lost);
        (
            log.into_iter().flat_map(|log| log.events.iter().copied()),
            lost,
        )
    }

    /// Where a log of flow `index` is on: what it looks like now.
    #[inline]
    pub(super) fn before(&mut self, index: u32) -> Option<Before> {
        if self.logs.is_empty() {
            return None;
        }
        self.watched(index)
    }

    #[cold]
    fn watched(&mut self, index: u32) -> Option<Before> {
        self.log_of(index)?;
        self.tcp.tcb(index).map(|tcb| Before::of(&tcb))
    }

    fn log_of(&mut self, index: u32) -> Option<&mut FlowLog> {
        let id = self.tcp.handle(index)?;
        self.logs.iter_mut().find(|log| log.flow == id)
    }

    fn log(&mut self, now: Instant, index: u32, event: TcpEvent) {
        if let Some(log) = self.log_of(index) {
            log.push(now, event);
        }
    }

    /// Notes a segment that came, and what it did.
    #[cold]
    pub(super) fn log_segment(&mut self, now: Instant, index: u32, seg: &Segment, was: Before) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        let (iss, irs) = (tcb.cold.iss, tcb.cold.irs);
        let sacked = u16::try_from(tcb.hot.sacked).unwrap_or(u16::MAX);
        let shift = if seg.has(SYN) { 0 } else { tcb.hot.snd_scale };
        let in_order = relative(tcb.hot.rcv_nxt, irs);
        let event = TcpEvent {
            flags: seg.flags,
            ..EMPTY
        };
        if seg.len > 0 || seg.has(SYN | FIN) {
            let received = TcpEvent {
                kind: TcpEventKind::Received,
                len: u16::try_from(seg.len).unwrap_or(u16::MAX),
                seq: relative(seg.seq, irs),
                value: in_order,
                ..event
            };
            self.log(now, index, received);
        }
        if seg.has(ACK) {
            let acknowledged = TcpEvent {
                kind: TcpEventKind::Acknowledged,
                len: sacked,
                seq: relative(seg.ack, iss),
                value: u32::from(seg.window) << shift,
                ..event
            };
            self.log(now, index, acknowledged);
        }
        self.log_window(now, index, was);
    }

    /// Notes the packets that stand in `tx` from number `first` on: output put
    /// them there.
    #[cold]
    pub(super) fn log_output(
        &mut self,
        now: Instant,
        index: u32,
        tx: &TxBurst,
        first: usize,
        was: Before,
    ) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        let (iss, cwnd) = (tcb.cold.iss, tcb.hot.cwnd);
        for packet in tx.iter().skip(first) {
            let Some((seq, flags, len)) = parse(&packet) else {
                continue;
            };
            let counts = len > 0 || flags & (SYN | FIN) != 0;
            let again = counts && seq.before(was.snd_nxt);
            let event = TcpEvent {
                kind: if again {
                    TcpEventKind::SentAgain
                } else {
                    TcpEventKind::Sent
                },
                flags,
                len,
                seq: relative(seq, iss),
                value: cwnd,
                ..EMPTY
            };
            self.log(now, index, event);
        }
        self.log_window(now, index, was);
    }

    /// Notes that the flow's timer fired, unless it only put itself off or sent
    /// a delayed ACK.
    #[cold]
    pub(super) fn log_timer(&mut self, now: Instant, index: u32, was: Before) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        let probes = tcb.hot.has(flag::SEND_PROBE | flag::WINDOW_PROBE);
        if !probes && tcb.hot.rtt.backoff == was.backoff {
            return;
        }
        let event = TcpEvent {
            kind: TcpEventKind::Timer,
            seq: relative(tcb.hot.snd_una, tcb.cold.iss),
            value: u32::from(tcb.hot.rtt.backoff),
            ..EMPTY
        };
        self.log(now, index, event);
        self.log_window(now, index, was);
    }

    fn log_window(&mut self, now: Instant, index: u32, was: Before) {
        let Some(tcb) = self.tcp.tcb(index) else {
            return;
        };
        let is = Before::of(&tcb);
        if (is.cwnd, is.ssthresh) == (was.cwnd, was.ssthresh) {
            return;
        }
        let event = TcpEvent {
            kind: TcpEventKind::Window,
            len: u16::try_from(tcb.hot.rtt.srtt_us / 1000).unwrap_or(u16::MAX),
            seq: is.ssthresh,
            value: is.cwnd,
            ..EMPTY
        };
        self.log(now, index, event);
    }

    /// The log of a connection ends with it.
    pub(crate) fn end_log(&mut self, id: FlowId) {
        self.logs.retain(|log| log.flow != id);
    }
}

/// Sequence number, flags and payload bytes of a packet of TCP over Ethernet.
fn parse(packet: &TxPacket<'_>) -> Option<(SeqNum, u8, u16)> {
    let head = packet.pieces.first()?;
    let ip = if head.get(12..14)? == [8, 0] { 20 } else { 40 };
    let tcp = head.get(14 + ip..)?;
    let fixed = tcp.first_chunk::<20>()?;
    let [_, _, _, _, a, b, c, d, _, _, _, _, offset, flags, ..] = *fixed;
    let headers = 14 + ip + usize::from(offset >> 4) * 4;
    let len = u16::try_from(packet.len().saturating_sub(headers)).unwrap_or(u16::MAX);
    Some((SeqNum::new(u32::from_be_bytes([a, b, c, d])), flags, len))
}
