//! An IPv4 address with the prefix of its subnet.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An IPv4 address and the length of its subnet's prefix, as in `10.0.0.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Cidr {
    /// `None` when `prefix` exceeds 32.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix <= 32 {
            Some(Self { address, prefix })
        } else {
            None
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Bits that all hosts of the subnet share, 0 to 32.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    const fn mask(&self) -> u32 {
        match u32::MAX.checked_shl(32 - self.prefix as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }

    /// Whether `address` lies in the subnet.
    #[must_use]
    pub const fn contains(&self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// Whether both name the same subnet.
    #[must_use]
    pub const fn is_same_subnet(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.contains(other.address)
    }

    /// The subnet's broadcast address; `None` for prefixes 31 (RFC 3021) and
    /// 32, which have none.
    #[must_use]
    pub const fn broadcast(&self) -> Option<Ipv4Addr> {
        if self.prefix > 30 {
            return None;
        }
        Some(Ipv4Addr::from_bits(self.address.to_bits() | !self.mask()))
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why text is no [`Ipv4Cidr`] or [`Ipv6Cidr`](super::Ipv6Cidr).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseCidrError {
    /// No `/` between address and prefix length.
    NoPrefix,
    /// What stands before the `/` is no address of that version.
    Address,
    /// What stands behind the `/` is no number from 0 to 32, or to 128.
    Prefix,
}

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrefix => "prefix length missing: write 10.0.0.2/24 or fd00::2/64",
            Self::Address => "not an address: write 10.0.0.2/24 or fd00::2/64",
            Self::Prefix => "the prefix length must be a number from 0 to 32, or to 128 for IPv6",
        })
    }
}

impl core::error::Error for ParseCidrError {}

impl FromStr for Ipv4Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (address, prefix) = text.split_once('/').ok_or(ParseCidrError::NoPrefix)?;
        let address = address.parse().map_err(|_| ParseCidrError::Address)?;
        // `parse` would take a sign.
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseCidrError::Prefix);
        }
        let prefix = prefix.parse().map_err(|_| ParseCidrError::Prefix)?;
        Self::new(address, prefix).ok_or(ParseCidrError::Prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn display_undoes_parse() {
        for text in [
            "10.0.0.2/24",
            "0.0.0.0/0",
            "192.168.1.1/32",
            "172.16.0.1/31",
        ] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn bad_text_is_refused_by_name() {
        let parse = |text: &str| text.parse::<Ipv4Cidr>().unwrap_err();
        assert_eq!(parse("10.0.0.2"), ParseCidrError::NoPrefix);
        assert_eq!(parse("10.0.0/24"), ParseCidrError::Address);
        for text in [
            "10.0.0.2/33",
            "10.0.0.2/",
            "10.0.0.2/+8",
            "10.0.0.2/256",
            "10.0.0.2/8/9",
        ] {
            assert_eq!(parse(text), ParseCidrError::Prefix, "{text}");
        }
    }

    #[test]
    fn rfc4632_prefix_bounds_the_subnet() {
        let net = cidr("10.1.2.3/23");
        assert!(net.contains(Ipv4Addr::new(10, 1, 3, 255)));
        assert!(!net.contains(Ipv4Addr::new(10, 1, 4, 0)));
        assert_eq!(net.broadcast(), Some(Ipv4Addr::new(10, 1, 3, 255)));
        assert!(cidr("1.2.3.4/0").contains(Ipv4Addr::new(200, 0, 0, 1)));
        assert!(!cidr("1.2.3.4/32").contains(Ipv4Addr::new(1, 2, 3, 5)));
    }

    #[test]
    fn rfc3021_short_subnets_have_no_broadcast() {
        assert_eq!(cidr("10.0.0.0/31").broadcast(), None);
        assert_eq!(cidr("10.0.0.1/32").broadcast(), None);
        assert_eq!(
            cidr("10.0.0.1/30").broadcast(),
            Some(Ipv4Addr::new(10, 0, 0, 3))
        );
    }
}
