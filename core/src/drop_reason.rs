//! Why a packet was dropped: one name, one counter each.

crate::counters::named! {
    /// Why the stack dropped a packet. The fault is the packet's, or the lack of
    /// memory for it; it is never an error of the program's.
    #[non_exhaustive]
    pub enum DropReason {
        /// Shorter than an Ethernet header.
        EthernetTooShort = "ethernet-too-short",
        /// For another station's Ethernet address.
        EthernetNotForUs = "ethernet-not-for-us",
        /// From a group address: no station sends that.
        EthernetBadSource = "ethernet-bad-source",
        /// An EtherType that this stack does not speak.
        EthernetUnknownType = "ethernet-unknown-type",
        /// Tagged for a VLAN that this interface is not in (IEEE 802.1Q).
        VlanNotOurs = "vlan-not-ours",
        /// Without a VLAN's identifier, to an interface that is in one.
        VlanMissing = "vlan-missing",
        /// In more pieces than can be taken.
        TooManyPieces = "too-many-pieces",
        /// The device announced a piece that did not come.
        PieceMissing = "piece-missing",

        /// ARP: shorter than its message.
        ArpTooShort = "arp-too-short",
        /// ARP: not for IPv4 over Ethernet.
        ArpUnsupported = "arp-unsupported",
        /// ARP: neither request nor reply.
        ArpBadOperation = "arp-bad-operation",
        /// ARP: a sender address that no host can have.
        ArpBadSender = "arp-bad-sender",
        /// ARP: from an address that lies in none of our subnets.
        ArpOffLink = "arp-off-link",
        /// ARP: about another host, and nobody we know.
        ArpNotForUs = "arp-not-for-us",
        /// ARP: another host uses our address (RFC 5227, 2.4).
        ArpConflict = "arp-conflict",

        /// IPv4: shorter than its header.
        Ipv4TooShort = "ipv4-too-short",
        /// IPv4: the version is not 4.
        Ipv4BadVersion = "ipv4-bad-version",
        /// IPv4: a header length below 20 or beyond the packet.
        Ipv4BadHeaderLength = "ipv4-bad-header-length",
        /// IPv4: a total length below the header's or beyond the frame.
        Ipv4BadTotalLength = "ipv4-bad-total-length",
        /// IPv4: wrong header checksum.
        Ipv4BadChecksum = "ipv4-bad-checksum",
        /// IPv4: a source that no host can have (RFC 1122, 3.2.1.3).
        Ipv4BadSource = "ipv4-bad-source",
        /// IPv4: from one of our own addresses.
        Ipv4OwnSource = "ipv4-own-source",
        /// IPv4: not addressed to this host.
        Ipv4NotForUs = "ipv4-not-for-us",
        /// IPv4: unicast within a link-layer broadcast (RFC 1122, 3.3.6).
        Ipv4UnicastInBroadcast = "ipv4-unicast-in-broadcast",
        /// IPv4: options that cannot be walked.
        Ipv4BadOptions = "ipv4-bad-options",
        /// IPv4: source-routed; this host refuses such packets.
        Ipv4SourceRoute = "ipv4-source-route",
        /// IPv4: a protocol that nobody here speaks.
        Ipv4UnknownProtocol = "ipv4-unknown-protocol",

        /// Fragment: empty, or not the last and no multiple of eight bytes.
        FragmentBadLength = "fragment-bad-length",
        /// Fragment: reaches beyond the longest datagram that can be.
        FragmentTooLong = "fragment-too-long",
        /// Fragment: came before.
        FragmentDuplicate = "fragment-duplicate",
        /// Fragment: of a datagram whose fragments overlap (RFC 5722).
        FragmentOverlap = "fragment-overlap",
        /// Fragment: of a datagram whose fragments contradict each other about
        /// ECN (RFC 3168, 5.3).
        FragmentBadEcn = "fragment-bad-ecn",
        /// Fragment: no room for it, or it gave way to others.
        FragmentNoRoom = "fragment-no-room",
        /// Fragment: others of its datagram did not come in time.
        FragmentTimedOut = "fragment-timed-out",

        /// IPv6: shorter than its header.
        Ipv6TooShort = "ipv6-too-short",
        /// IPv6: the version is not 6.
        Ipv6BadVersion = "ipv6-bad-version",
        /// IPv6: a payload length beyond the frame.
        Ipv6BadLength = "ipv6-bad-length",
        /// IPv6: a source that no host can have, or an unspecified one where
        /// there must be one (RFC 4291, 2.5.2 and 2.7).
        Ipv6BadSource = "ipv6-bad-source",
        /// IPv6: from one of our own addresses.
        Ipv6OwnSource = "ipv6-own-source",
        /// IPv6: not addressed to this host.
        Ipv6NotForUs = "ipv6-not-for-us",
        /// IPv6: for an address that is not known to be unique yet (RFC 4862,
        /// 2).
        Ipv6Tentative = "ipv6-tentative",
        /// IPv6: unicast within a link-layer multicast.
        Ipv6UnicastInMulticast = "ipv6-unicast-in-multicast",
        /// IPv6: an extension header that cannot be walked.
        Ipv6BadExtension = "ipv6-bad-extension",
        /// IPv6: more extension headers or options than are looked at.
        Ipv6ExtensionLimit = "ipv6-extension-limit",
        /// IPv6: a routing header with segments left (RFC 5095).
        Ipv6RoutingHeader = "ipv6-routing-header",
        /// IPv6: an option whose type wants the packet discarded (RFC 8200,
        /// 4.2).
        Ipv6UnknownOption = "ipv6-unknown-option",
        /// IPv6: nothing behind the headers.
        Ipv6NoNextHeader = "ipv6-no-next-header",
        /// IPv6: a protocol that nobody here speaks.
        Ipv6UnknownProtocol = "ipv6-unknown-protocol",

        /// NDP: a hop limit other than 255: forwarded, so not a neighbour's.
        NdpBadHopLimit = "ndp-bad-hop-limit",
        /// NDP: too short, a code, or options that do not add up.
        NdpMalformed = "ndp-malformed",
        /// NDP: addresses that such a message cannot have.
        NdpBadAddress = "ndp-bad-address",
        /// NDP: about an address of another host, and nobody we know.
        NdpNotForUs = "ndp-not-for-us",
        /// NDP: from another host that tries our address (RFC 4862, 5.4).
        NdpDuplicate = "ndp-duplicate",
        /// NDP: a message for routers.
        NdpForRouters = "ndp-for-routers",
        /// NDP: a router's word where routers are configured by hand.
        NdpUnwanted = "ndp-unwanted",
        /// NDP: a redirect that did not come from the hop in use (RFC 4861,
        /// 8.1).
        NdpBadRedirect = "ndp-bad-redirect",

        /// MLD: not a neighbouring router's: another source than a link-local
        /// address, a hop limit other than 1, or no router alert.
        MldNotFromRouter = "mld-not-from-router",
        /// MLD: a query of no known length.
        MldMalformed = "mld-malformed",

        /// ICMP: shorter than its header.
        IcmpTooShort = "icmp-too-short",
        /// ICMP: wrong checksum.
        IcmpBadChecksum = "icmp-bad-checksum",
        /// ICMP: an echo request sent to a group; unanswered (RFC 1122, 3.2.2.6).
        IcmpEchoToGroup = "icmp-echo-to-group",
        /// ICMP: an error message that quotes too little or nonsense.
        IcmpBadQuote = "icmp-bad-quote",
        /// ICMP: an error message about nothing that this host sent.
        IcmpNoFlow = "icmp-no-flow",
        /// ICMP: a redirect whose new gateway, or destination, cannot be: not a
        /// host's address, our own, the old one, or not on the same subnet (RFC
        /// 1122, 3.2.2.2).
        IcmpBadRedirect = "icmp-bad-redirect",
        /// ICMP: a redirect from another host than the gateway in use for that
        /// destination (RFC 1122, 3.2.2.2).
        IcmpRedirectNotFromHop = "icmp-redirect-not-from-hop",
        /// ICMP: a message that this host has no use for.
        IcmpIgnored = "icmp-ignored",

        /// UDP: shorter than its header.
        UdpTooShort = "udp-too-short",
        /// UDP: a length below the header's or beyond the packet.
        UdpBadLength = "udp-bad-length",
        /// UDP: wrong checksum.
        UdpBadChecksum = "udp-bad-checksum",
        /// UDP: destination port 0.
        UdpBadPort = "udp-bad-port",
        /// UDP: nobody listens on that port.
        UdpNoSocket = "udp-no-socket",
        /// UDP: not from the peer that the socket is connected to.
        UdpNotFromPeer = "udp-not-from-peer",
        /// UDP: in more frames than the receiver takes.
        UdpInPieces = "udp-in-pieces",
        /// UDP: frames are scarce, and the socket has datagrams waiting.
        UdpNoMemory = "udp-no-memory",
        /// UDP: the socket's queue is full.
        UdpQueueFull = "udp-queue-full",
        /// UDP: several datagrams coalesced into one packet, which this stack
        /// never asks for.
        UdpCoalesced = "udp-coalesced",

        /// IGMP: a wrong checksum, or not from this link.
        IgmpMalformed = "igmp-malformed",
        /// IGMP: no question; what other hosts tell is of no use here.
        IgmpIgnored = "igmp-ignored",
        /// DHCP or DHCPv6: no message, or one that lacks what it must have.
        DhcpMalformed = "dhcp-malformed",
        /// DHCP or DHCPv6: not the answer to what this host asked.
        DhcpUnexpected = "dhcp-unexpected",

        /// TCP: shorter than its header.
        TcpTooShort = "tcp-too-short",
        /// TCP: a data offset below 5 or beyond the packet.
        TcpBadOffset = "tcp-bad-offset",
        /// TCP: wrong checksum.
        TcpBadChecksum = "tcp-bad-checksum",
        /// TCP: sent to a group.
        TcpNotUnicast = "tcp-not-unicast",
        /// TCP: nobody listens on that port.
        TcpNoListener = "tcp-no-listener",
        /// TCP: for no connection of ours.
        TcpNoFlow = "tcp-no-flow",
        /// TCP: too many handshakes are under way.
        TcpSynQueueFull = "tcp-syn-queue-full",
        /// TCP: no SYN cookie of this host's, or an old one (RFC 4987, 3.6).
        TcpBadCookie = "tcp-bad-cookie",
        /// TCP: too many connections wait to be accepted.
        TcpAcceptQueueFull = "tcp-accept-queue-full",
        /// TCP: all flows are in use.
        TcpNoFlowFree = "tcp-no-flow-free",
        /// TCP: no memory to keep it.
        TcpNoMemory = "tcp-no-memory",
        /// TCP: outside of the receive window.
        TcpOutOfWindow = "tcp-out-of-window",
        /// TCP: nothing in it that had not come before.
        TcpDuplicate = "tcp-duplicate",
        /// TCP: acknowledges what was never sent.
        TcpBadAck = "tcp-bad-ack",
        /// TCP: no ACK where one must be.
        TcpNoAck = "tcp-no-ack",
        /// TCP: neither SYN nor RST where one must be.
        TcpNoSyn = "tcp-no-syn",
        /// TCP: a SYN within an open connection (RFC 5961, 4).
        TcpUnexpectedSyn = "tcp-unexpected-syn",
        /// TCP: a RST outside of the window (RFC 5961, 3).
        TcpRstOutOfWindow = "tcp-rst-out-of-window",
        /// TCP: a RST within the window that was challenged (RFC 5961, 3).
        TcpRstChallenged = "tcp-rst-challenged",
        /// TCP: a RST in TIME-WAIT, which ends nothing (RFC 1337).
        TcpRstInTimeWait = "tcp-rst-in-time-wait",
        /// TCP: an old timestamp (RFC 7323, 5).
        TcpPaws = "tcp-paws",
        /// TCP: the timestamp that was agreed upon is missing (RFC 7323, 3.2).
        TcpNoTimestamp = "tcp-no-timestamp",
        /// TCP: data behind the peer's FIN.
        TcpAfterFin = "tcp-after-fin",

        /// Sending: no route to the destination.
        NoRoute = "no-route",
        /// Sending: too little room for headers in the frame.
        SendNoHeadroom = "send-no-headroom",
        /// Sending: longer than the link carries.
        SendTooLong = "send-too-long",
        /// Sending: no frame left for headers or a message of our own.
        SendNoFrame = "send-no-frame",
        /// Sending: the queue towards the device is full.
        OutboxFull = "outbox-full",
        /// Sending: too many packets wait for this neighbour.
        NeighborQueueFull = "neighbor-queue-full",
        /// Sending: all neighbour entries are in use.
        NeighborCacheFull = "neighbor-cache-full",
        /// Sending: the neighbour did not answer.
        NeighborUnreachable = "neighbor-unreachable",
    }
}
