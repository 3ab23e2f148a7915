//! Counters of everything that happens, and of every drop by its name.

use core::fmt;

use pollwire_perf::CounterSet;

use crate::DropReason;

/// Declares a fieldless enum that can be counted by: `ALL` lists its variants
/// in order, `name` is what is printed.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum $enum { $($(#[$doc])* $variant,)+ }

        impl $enum {
            /// All of them, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, in kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl ::pollwire_perf::Named for $enum {
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }

        impl ::core::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// What a stack counts beside drops.
    #[non_exhaustive]
    pub enum Counter {
        /// Packets received, from the device.
        FramesIn = "frames-in",
        /// Bytes received, Ethernet headers included.
        BytesIn = "bytes-in",
        /// Payload bytes that the stack copied.
        CopiedBytes = "copied-bytes",
        /// Times that no frame was free when the stack needed one.
        NoFrame = "no-frame",

        /// ARP messages received.
        ArpIn = "arp-in",
        /// ARP requests sent, probes and announcements included.
        ArpRequestsOut = "arp-requests-out",
        /// ARP replies sent.
        ArpRepliesOut = "arp-replies-out",
        /// Times that another host claimed one of our addresses (RFC 5227).
        ArpConflicts = "arp-conflicts",
        /// Neighbours that did not answer.
        NeighborsFailed = "neighbors-failed",

        /// IPv4 packets that were sound and for this host.
        Ipv4In = "ipv4-in",
        /// IPv4 packets sent, those that TCP writes itself not counted.
        Ipv4Out = "ipv4-out",
        /// Datagrams sent in fragments.
        Fragmented = "fragmented",
        /// Datagrams put together from fragments.
        Reassembled = "reassembled",

        /// IPv6 packets that were sound and for this host.
        Ipv6In = "ipv6-in",
        /// IPv6 packets sent, those that TCP writes itself not counted.
        Ipv6Out = "ipv6-out",
        /// Neighbour discovery messages received.
        NdpIn = "ndp-in",
        /// Neighbour solicitations sent, those of DAD included.
        NdpSolicitationsOut = "ndp-solicitations-out",
        /// Neighbour advertisements sent.
        NdpAdvertisementsOut = "ndp-advertisements-out",
        /// Router solicitations sent.
        NdpRouterSolicitationsOut = "ndp-router-solicitations-out",
        /// Router advertisements taken.
        NdpRouterAdvertisementsIn = "ndp-router-advertisements-in",
        /// Multicast listener reports sent.
        MldReportsOut = "mld-reports-out",
        /// Addresses that another host turned out to have (RFC 4862, 5.4).
        NdpDuplicates = "ndp-duplicates",
        /// Redirects followed, over IPv6.
        NdpRedirects = "ndp-redirects",
        /// Packet Too Big messages that lowered a path's MTU.
        PathMtuLowered = "path-mtu-lowered",

        /// Echo requests answered.
        IcmpEchoReplies = "icmp-echo-replies",
        /// Error messages sent.
        IcmpErrorsOut = "icmp-errors-out",
        /// Error messages not sent because of the rate limit (RFC 1812, 4.3.2.8).
        IcmpErrorsLimited = "icmp-errors-limited",
        /// Error messages received that concerned a socket.
        IcmpErrorsIn = "icmp-errors-in",

        /// Redirects taken, over IPv4 (RFC 1122, 3.2.2.2).
        IcmpRedirects = "icmp-redirects",

        /// Messages from DHCP and DHCPv6 servers that were expected.
        DhcpIn = "dhcp-in",
        /// Messages to DHCP and DHCPv6 servers.
        DhcpOut = "dhcp-out",

        /// Questions of routers about groups (RFC 3376).
        IgmpQueriesIn = "igmp-queries-in",
        /// What was told to routers about groups.
        IgmpReportsOut = "igmp-reports-out",

        /// UDP datagrams given to a socket.
        UdpIn = "udp-in",
        /// UDP datagrams sent.
        UdpOut = "udp-out",

        /// TCP segments received intact.
        TcpSegmentsIn = "tcp-segments-in",
        /// TCP segments sent; a packet that the device segments counts once.
        TcpSegmentsOut = "tcp-segments-out",
        /// Bytes that peers acknowledged.
        TcpBytesAcked = "tcp-bytes-acked",
        /// Segments sent again.
        TcpRetransmits = "tcp-retransmits",
        /// Retransmission timeouts.
        TcpTimeouts = "tcp-timeouts",
        /// Times that duplicate ACKs or SACK showed a loss.
        TcpFastRecoveries = "tcp-fast-recoveries",
        /// Retransmissions that were lost in their turn (RFC 8985).
        TcpLostRetransmits = "tcp-lost-retransmits",
        /// Times that RACK's reordering timer fired (RFC 8985, 6.2).
        TcpReorderTimeouts = "tcp-reorder-timeouts",
        /// Data segments received with a mark of congestion (RFC 3168).
        TcpEcnMarks = "tcp-ecn-marks",
        /// Times that a peer's echo of a mark shrank the window.
        TcpEcnReductions = "tcp-ecn-reductions",
        /// Tail loss probes (RFC 8985, 7).
        TcpLossProbes = "tcp-loss-probes",
        /// Peers' reports of duplicates that they received (D-SACK, RFC 2883).
        TcpDsacksIn = "tcp-dsacks-in",
        /// Times that a peer threw away what it had acknowledged selectively (RFC
        /// 2018, 8).
        TcpReneges = "tcp-reneges",
        /// Losses, and segments out of order, of connections for which no record
        /// of such trouble was free.
        TcpNoEpisode = "tcp-no-episode",
        /// Duplicates that were received and reported.
        TcpDsacksOut = "tcp-dsacks-out",
        /// Losses that were none, as a timestamp's echo showed (RFC 3522).
        TcpUndoneByTimestamp = "tcp-undone-by-timestamp",
        /// The same, as the peer's reports of duplicates showed (RFC 3708).
        TcpUndoneByDsack = "tcp-undone-by-dsack",
        /// Timeouts that came too early, as F-RTO showed (RFC 5682).
        TcpUndoneByFrto = "tcp-undone-by-frto",
        /// Segments that came out of order and were kept.
        TcpOutOfOrder = "tcp-out-of-order",
        /// Connections that were opened, from either side.
        TcpEstablished = "tcp-established",
        /// Resets sent.
        TcpResetsOut = "tcp-resets-out",
        /// Challenge ACKs sent (RFC 5961).
        TcpChallengeAcks = "tcp-challenge-acks",
        /// Connections reset because too many went on without a handle.
        TcpOrphansReset = "tcp-orphans-reset",
        /// Times that a flow's segments were made shorter for its path.
        TcpSegmentSizeLowered = "tcp-segment-size-lowered",
        /// Times that a probe found that they may be longer again.
        TcpSegmentSizeRaised = "tcp-segment-size-raised",
        /// Probes of longer segments (RFC 4821).
        TcpMtuProbes = "tcp-mtu-probes",
        /// Paths that swallow long segments.
        TcpBlackHoles = "tcp-black-holes",
        /// Probes of a closed window.
        TcpWindowProbes = "tcp-window-probes",
        /// Keepalive probes.
        TcpKeepaliveProbes = "tcp-keepalive-probes",
        /// SYN cookies sent (RFC 4987, 3.6).
        TcpCookiesSent = "tcp-cookies-sent",
        /// Connections opened by a SYN cookie that came back.
        TcpCookiesTaken = "tcp-cookies-taken",
        /// Connections taken out of TIME-WAIT early to make room.
        TcpTimeWaitRecycled = "tcp-time-wait-recycled",
    }
}

const COUNTERS: usize = Counter::ALL.len();
const REASONS: usize = DropReason::ALL.len();

/// All counters of a stack. They wrap after 2^64 events.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    counts: CounterSet<COUNTERS>,
    drops: CounterSet<REASONS>,
}

impl Counters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: CounterSet::new(),
            drops: CounterSet::new(),
        }
    }

    /// Adds one to `counter`.
    #[inline]
    pub fn inc(&mut self, counter: Counter) {
        self.counts.inc(counter);
    }

    /// Adds `count` to `counter`.
    #[inline]
    pub fn add(&mut self, counter: Counter, count: u64) {
        self.counts.add(counter, count);
    }

    /// Counts a drop.
    #[inline]
    pub fn drop(&mut self, reason: DropReason) {
        self.drops.inc(reason);
    }

    /// Counts `count` drops.
    pub(crate) fn drop_many(&mut self, reason: DropReason, count: u64) {
        self.drops.add(reason, count);
    }

    /// What `counter` stands at.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(counter)
    }

    /// Packets dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason)
    }

    /// Packets dropped for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.total()
    }

    /// All counters, drops aside.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        self.counts.iter()
    }

    /// All drops by reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.drops.iter()
    }
}

/// One line per counter that is not zero; drops carry the prefix `drop.`.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (counter, count) in self.iter().filter(|&(_, count)| count > 0) {
            writeln!(f, "{counter} {count}")?;
        }
        for (reason, count) in self.drops().filter(|&(_, count)| count > 0) {
            writeln!(f, "drop.{reason} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn counts_each_under_its_own_name() {
        let mut counters = Counters::new();
        for (at, &counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter as usize, at);
            counters.add(counter, at as u64 + 1);
        }
        for (at, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, at);
            counters.drop(reason);
        }
        assert!(
            counters
                .iter()
                .enumerate()
                .all(|(at, (_, count))| count == at as u64 + 1)
        );
        assert!(counters.drops().all(|(_, count)| count == 1));
        assert_eq!(counters.dropped_total(), DropReason::ALL.len() as u64);
    }

    #[test]
    fn display_shows_what_is_not_zero() {
        let mut counters = Counters::new();
        assert_eq!(counters.to_string(), "");
        counters.add(Counter::CopiedBytes, 12);
        counters.drop(DropReason::TcpBadChecksum);
        assert_eq!(
            counters.to_string(),
            "copied-bytes 12\ndrop.tcp-bad-checksum 1\n"
        );
    }
}
