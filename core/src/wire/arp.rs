//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::ETHERTYPE_IPV4;
use super::{ARP_MESSAGE, MacAddr};
use crate::DropReason;

const HARDWARE_ETHERNET: u16 = 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Message {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: MacAddr,
    sender_ip: [u8; 4],
    target_mac: MacAddr,
    target_ip: [u8; 4],
}

const _: () = assert!(size_of::<Message>() == ARP_MESSAGE);

/// What an ARP message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ArpOperation {
    /// Asks who has the target address.
    Request = 1,
    /// Says who has the sender address.
    Reply = 2,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpRepr {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's protocol address; unspecified in a probe (RFC 5227, 1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's hardware address; meaningless in a request.
    pub target_mac: MacAddr,
    /// The target's protocol address.
    pub target_ip: Ipv4Addr,
}

impl ArpRepr {
    /// Parses a message; padding behind it is ignored.
    ///
    /// # Errors
    /// [`DropReason::ArpTooShort`], [`DropReason::ArpUnsupported`] for other
    /// kinds of hardware or protocol, [`DropReason::ArpBadOperation`],
    /// [`DropReason::ArpBadSender`] when the sender's hardware address names no
    /// single station.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let Ok((message, _)) = Message::ref_from_prefix(bytes) else {
            return Err(DropReason::ArpTooShort);
        };
        let known = message.hardware.get() == HARDWARE_ETHERNET
            && message.protocol.get() == ETHERTYPE_IPV4
            && message.hardware_len == 6
            && message.protocol_len == 4;
        if !known {
            return Err(DropReason::ArpUnsupported);
        }
        let operation = match message.operation.get() {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return Err(DropReason::ArpBadOperation),
        };
        if !message.sender_mac.is_unicast() {
            return Err(DropReason::ArpBadSender);
        }
        Ok(Self {
            operation,
            sender_mac: message.sender_mac,
            sender_ip: message.sender_ip.into(),
            target_mac: message.target_mac,
            target_ip: message.target_ip.into(),
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; ARP_MESSAGE] {
        let message = Message {
            hardware: U16::new(HARDWARE_ETHERNET),
            protocol: U16::new(ETHERTYPE_IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(self.operation as u16),
            sender_mac: self.sender_mac,
            sender_ip: self.sender_ip.octets(),
            target_mac: self.target_mac,
            target_ip: self.target_ip.octets(),
        };
        super::bytes_of(&message)
    }

    /// Whether it asks without telling anybody about the sender (RFC 5227, 1.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == ArpOperation::Request && self.sender_ip.is_unspecified()
    }
}
