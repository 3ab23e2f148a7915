//! An IPv6 address with the prefix of its subnet.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use super::ParseCidrError;

/// An IPv6 address and the length of its subnet's prefix, as in `fd00::2/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Cidr {
    address: Ipv6Addr,
    prefix: u8,
}

impl Ipv6Cidr {
    /// `None` when `prefix` exceeds 128.
    #[must_use]
    pub const fn new(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        if prefix <= 128 {
            Some(Self { address, prefix })
        } else {
            None
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Bits that all hosts of the subnet share, 0 to 128.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    const fn mask(&self) -> u128 {
        match u128::MAX.checked_shl(128 - self.prefix as u32) {
            Some(mask) => mask,
            None => 0,
        }
    }

    /// Whether `address` lies in the subnet.
    #[must_use]
    pub const fn contains(&self, address: Ipv6Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The subnet itself: the address without the bits that are a host's.
    #[must_use]
    pub const fn network(&self) -> Self {
        Self {
            address: Ipv6Addr::from_bits(self.address.to_bits() & self.mask()),
            prefix: self.prefix,
        }
    }
}

impl fmt::Display for Ipv6Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv6Cidr {
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

    fn cidr(text: &str) -> Ipv6Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn display_undoes_parse() {
        for text in ["fd00::2/64", "::/0", "2001:db8::1/128"] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn bad_text_is_refused_by_name() {
        let parse = |text: &str| text.parse::<Ipv6Cidr>().unwrap_err();
        assert_eq!(parse("fd00::2"), ParseCidrError::NoPrefix);
        assert_eq!(parse("10.0.0.2/24"), ParseCidrError::Address);
        for text in ["fd00::/129", "fd00::/", "fd00::/+8", "fd00::/256"] {
            assert_eq!(parse(text), ParseCidrError::Prefix, "{text}");
        }
    }

    #[test]
    fn rfc4291_2_3_the_prefix_bounds_the_subnet() {
        let net = cidr("2001:db8:0:8000::5/49");
        assert!(net.contains("2001:db8:0:ffff::1".parse().unwrap()));
        assert!(!net.contains("2001:db8:0:7fff::1".parse().unwrap()));
        assert_eq!(net.network(), cidr("2001:db8:0:8000::/49"));
        assert!(cidr("::1/0").contains("ff::".parse().unwrap()));
        assert!(!cidr("fe80::1/128").contains("fe80::2".parse().unwrap()));
    }
}
