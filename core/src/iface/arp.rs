//! ARP (RFC 826) with announcements and conflict detection (RFC 5227).
//!
//! [`claim`](super::claim) says when addresses are probed for, announced and
//! defended.

use core::net::{IpAddr, Ipv4Addr};

use pollwire_rings::{FrameBuf, Instant, TxMeta};

use super::claim::{self, Conflict};
use super::neighbor::{Due, Heard};
use super::{NetEvent, Origin, Pending};
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4};
use crate::wire::{
    ARP_MESSAGE, ArpOperation, ArpRepr, ETHERNET_HEADER, EthernetHeader, MacAddr, UnicastV4,
};
use crate::{Counter, DropReason, Stack};

impl Stack {
    /// Takes an ARP message. `frame` begins with its Ethernet header.
    pub(crate) fn arp_input(&mut self, now: Instant, frame: FrameBuf) -> Result<(), DropReason> {
        self.counters.inc(Counter::ArpIn);
        let message = ArpRepr::parse(frame.get(ETHERNET_HEADER..).unwrap_or_default())?;
        self.check_sender(now, &message)?;
        let to_us = frame.first_chunk::<6>() == Some(&self.iface.mac().0);
        let about_us = self.iface.is_local(IpAddr::V4(message.target_ip));
        let asks_us = about_us && message.operation == ArpOperation::Request;
        let heard = if message.is_probe() {
            Heard::Unknown
        } else if about_us && to_us && message.operation == ArpOperation::Reply {
            self.iface
                .neighbors
                .answered(now, message.sender_ip, message.sender_mac)
        } else {
            self.iface
                .neighbors
                .told(now, message.sender_ip, message.sender_mac)
        };
        match heard {
            Heard::Resolved => {
                if self.iface.redirects.lead_to(message.sender_ip) {
                    self.iface.invalidate();
                }
                self.send_pending(message.sender_ip, message.sender_mac);
                self.neighbor_resolved(IpAddr::V4(message.sender_ip));
            }
            Heard::Unknown if asks_us && !message.is_probe() => {
                self.iface
                    .neighbors
                    .learn(now, message.sender_ip, message.sender_mac);
            }
            Heard::Unknown if !asks_us => return Err(DropReason::ArpNotForUs),
            Heard::Known | Heard::Unknown => {}
        }
        if asks_us {
            self.arp_reply(&message, frame)
        } else {
            Ok(())
        }
    }

    /// Refuses senders that cannot be, and sees to those that claim to be us.
    fn check_sender(&mut self, now: Instant, message: &ArpRepr) -> Result<(), DropReason> {
        let sender = message.sender_ip;
        // Our own broadcast may come back from a bridge.
        if message.sender_mac == self.iface.mac() {
            return Err(DropReason::ArpBadSender);
        }
        // RFC 5227, 2.1.1: while probing, "the host MUST treat this address as
        // being in use by some other host" when it is a sender's, and SHOULD
        // when another probes for it.
        let used = if message.is_probe() {
            message.target_ip
        } else {
            sender
        };
        if self.iface.claims.is_probed(used) {
            self.on_conflict(now, used, message.sender_mac);
            return Err(DropReason::ArpConflict);
        }
        if message.is_probe() {
            return Ok(());
        }
        if self.iface.address_index(sender).is_some() {
            self.on_conflict(now, sender, message.sender_mac);
            return Err(DropReason::ArpConflict);
        }
        if UnicastV4::new(sender).is_none() || self.iface.is_broadcast(sender) {
            return Err(DropReason::ArpBadSender);
        }
        if self.iface.is_on_link(sender) {
            Ok(())
        } else {
            Err(DropReason::ArpOffLink)
        }
    }

    /// RFC 5227, 2.4: another station uses one of our addresses, or one that we
    /// were about to.
    fn on_conflict(&mut self, now: Instant, address: Ipv4Addr, mac: MacAddr) {
        self.counters.inc(Counter::ArpConflicts);
        match self.iface.claims.conflict(now, address) {
            Conflict::Bear => {}
            Conflict::Defend => {
                log::warn!("{mac} uses our address {address}");
                self.arp_announce(address);
            }
            Conflict::Yield(origin) => {
                log::error!("{mac} has the address {address}: it is not used here");
                self.drop_ipv4_address(address);
                self.events.push(NetEvent::AddressDuplicate(address.into()));
                if origin == Origin::Dhcp {
                    self.dhcp_conflict(now);
                }
            }
        }
    }

    /// Turns a request into its reply, in the same frame.
    fn arp_reply(&mut self, request: &ArpRepr, mut frame: FrameBuf) -> Result<(), DropReason> {
        let reply = ArpRepr {
            operation: ArpOperation::Reply,
            sender_mac: self.iface.mac(),
            sender_ip: request.target_ip,
            target_mac: request.sender_mac,
            target_ip: request.sender_ip,
        };
        frame.truncate(0);
        self.arp_emit(&reply, request.sender_mac, frame)?;
        self.counters.inc(Counter::ArpRepliesOut);
        Ok(())
    }

    /// RFC 5227, 3: a request by broadcast with our address in both places.
    fn arp_announce(&mut self, own: Ipv4Addr) {
        self.arp_request(own, own, MacAddr::BROADCAST);
    }

    /// Asks for a neighbour: all stations, or the one that had the address.
    pub(crate) fn arp_ask(&mut self, neighbor: Ipv4Addr, mac: MacAddr) {
        if let Some(IpAddr::V4(own)) = self.iface.source_for(IpAddr::V4(neighbor)) {
            self.arp_request(own, neighbor, mac);
        }
    }

    fn arp_request(&mut self, own: Ipv4Addr, target: Ipv4Addr, mac: MacAddr) {
        let request = ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: self.iface.mac(),
            sender_ip: own,
            target_mac: MacAddr::ZERO,
            target_ip: target,
        };
        let sent = match self.pool.alloc() {
            Some(frame) => self.arp_emit(&request, mac, frame),
            None => Err(DropReason::SendNoFrame),
        };
        match sent {
            Ok(()) => self.counters.inc(Counter::ArpRequestsOut),
            Err(reason) => self.counters.drop(reason),
        }
    }

    fn arp_emit(
        &mut self,
        message: &ArpRepr,
        to: MacAddr,
        mut frame: FrameBuf,
    ) -> Result<(), DropReason> {
        let ethernet = EthernetHeader::new(to, self.iface.mac(), ETHERTYPE_ARP);
        if frame.extend_from_slice(&message.emit()) != ARP_MESSAGE {
            return Err(DropReason::SendNoHeadroom);
        }
        let mut packet = Pending {
            frame,
            payload: None,
            meta: TxMeta::default(),
        };
        self.put_link_header(ethernet, &mut packet)?;
        self.outbox
            .push(packet.frame.freeze(), None, TxMeta::default())
            .map_err(|_| DropReason::OutboxFull)
    }

    /// Sends what waited for a neighbour.
    fn send_pending(&mut self, neighbor: Ipv4Addr, mac: MacAddr) {
        while let Some(packet) = self.iface.pending.pop(IpAddr::V4(neighbor)) {
            if let Err(reason) = self.link_send(mac, ETHERTYPE_IPV4, packet) {
                self.counters.drop(reason);
            }
        }
    }

    /// Drops what waited for a neighbour.
    pub(crate) fn drop_pending(&mut self, neighbor: IpAddr, reason: DropReason) {
        while let Some(Pending { .. }) = self.iface.pending.pop(neighbor) {
            self.counters.drop(reason);
        }
    }

    /// Does what is due for neighbours and for our own addresses.
    #[inline(never)]
    pub(crate) fn iface_expire(&mut self, now: Instant) {
        if self.iface.v6.deadline() <= now {
            self.ipv6_expire(now);
        }
        self.igmp_expire(now);
        while let Some(due) = self.iface.claims.next_due(now, &mut self.random) {
            match due {
                claim::Due::Probe(address) => {
                    self.arp_request(Ipv4Addr::UNSPECIFIED, address, MacAddr::BROADCAST);
                }
                claim::Due::Use(own) => self.ipv4_address_up(own),
                claim::Due::Announce(own) => self.arp_announce(own.address()),
            }
        }
        for due in self.iface.neighbors.expire(now) {
            match due {
                Due::Ask(neighbor) => self.arp_ask(neighbor, MacAddr::BROADCAST),
                Due::Poll(neighbor, mac) => self.arp_ask(neighbor, mac),
                Due::Failed(neighbor) => {
                    self.counters.inc(Counter::NeighborsFailed);
                    self.iface.redirects.forget_hop(neighbor);
                    let address = IpAddr::V4(neighbor);
                    self.drop_pending(address, DropReason::NeighborUnreachable);
                    self.neighbor_failed(address);
                }
            }
        }
        if self.iface.redirects.expire(now) {
            self.iface.invalidate();
        }
        let redirects = self.iface.redirects.deadline();
        self.iface.neighbors.note_due(redirects);
    }
}
