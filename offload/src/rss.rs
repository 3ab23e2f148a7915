//! The Toeplitz hash of receive-side scaling, as network cards compute it, so
//! that software can predict or reproduce a card's choice of queue.
//!
//! ```
//! use pollwire_offload::rss::Toeplitz;
//!
//! // A vector of Microsoft's "Verifying the RSS Hash Calculation".
//! let rss = Toeplitz::MICROSOFT;
//! assert_eq!(rss.ports_v4([66, 9, 149, 187], [161, 142, 100, 80], 2794, 1766), 0x51cc_c178);
//! ```

/// A Toeplitz hash with its 40-byte key.
///
/// The hash is linear: it spreads load, but resists no attacker who knows the
/// key. A flow table needs a keyed hash of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toeplitz {
    key: [u8; 40],
}

impl Toeplitz {
    /// The key that Microsoft's documentation and most drivers use.
    pub const MICROSOFT: Toeplitz = Toeplitz::new([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// Repeats 0x6d5a, which gives both directions of a flow the same hash.
    pub const SYMMETRIC: Toeplitz = {
        let mut key = [0x6d; 40];
        let mut i = 1;
        while i < key.len() {
            key[i] = 0x5a;
            i += 2;
        }
        Toeplitz::new(key)
    };

    /// A hash with the given key.
    #[must_use]
    pub const fn new(key: [u8; 40]) -> Toeplitz {
        Toeplitz { key }
    }

    /// The hash of arbitrary input. The key suffices for 36 bytes (IPv6
    /// addresses and ports); what lies behind does not count.
    #[must_use]
    pub fn hash(&self, input: &[u8]) -> u32 {
        // The key bits under the current input byte: 32 for each of its 8 bits.
        let (start, rest) = self.key.split_at(4);
        let mut window = start
            .iter()
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let mut hash = 0;
        for (byte, key) in input.iter().zip(rest) {
            window = window << 8 | u64::from(*key);
            for bit in 0..8 {
                if byte << bit & 0x80 != 0 {
                    hash ^= (window >> (8 - bit)) as u32;
                }
            }
        }
        hash
    }

    /// The hash over IPv4 addresses only.
    #[must_use]
    pub fn addresses_v4(&self, src: [u8; 4], dst: [u8; 4]) -> u32 {
        let mut input = [0; 8];
        input[..4].copy_from_slice(&src);
        input[4..].copy_from_slice(&dst);
        self.hash(&input)
    }

    /// The hash over IPv4 addresses and TCP or UDP ports.
    #[must_use]
    pub fn ports_v4(&self, src: [u8; 4], dst: [u8; 4], src_port: u16, dst_port: u16) -> u32 {
        let mut input = [0; 12];
        input[..4].copy_from_slice(&src);
        input[4..8].copy_from_slice(&dst);
        input[8..10].copy_from_slice(&src_port.to_be_bytes());
        input[10..].copy_from_slice(&dst_port.to_be_bytes());
        self.hash(&input)
    }

    /// The hash over IPv6 addresses only.
    #[must_use]
    pub fn addresses_v6(&self, src: [u8; 16], dst: [u8; 16]) -> u32 {
        let mut input = [0; 32];
        input[..16].copy_from_slice(&src);
        input[16..].copy_from_slice(&dst);
        self.hash(&input)
    }

    /// The hash over IPv6 addresses and TCP or UDP ports.
    #[must_use]
    pub fn ports_v6(&self, src: [u8; 16], dst: [u8; 16], src_port: u16, dst_port: u16) -> u32 {
        let mut input = [0; 36];
        input[..16].copy_from_slice(&src);
        input[16..32].copy_from_slice(&dst);
        input[32..34].copy_from_slice(&src_port.to_be_bytes());
        input[34..].copy_from_slice(&dst_port.to_be_bytes());
        self.hash(&input)
    }
}

#[cfg(test)]
mod tests {
    use super::Toeplitz;
    use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

    extern crate std;
    use std::{format, string::String};

    /// Destination, source, hash of the addresses, hash with the ports: from
    /// Microsoft's "Verifying the RSS Hash Calculation".
    const V4: [(&str, &str, u32, u32); 5] = [
        (
            "161.142.100.80:1766",
            "66.9.149.187:2794",
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "65.69.140.83:4739",
            "199.92.111.2:14230",
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "12.22.207.184:38024",
            "24.19.198.95:12898",
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "209.142.163.6:2217",
            "38.27.205.30:48228",
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "202.188.127.2:1303",
            "153.39.163.191:44251",
            0x5d18_09c5,
            0x10e8_28a2,
        ),
    ];

    const V6: [(&str, u16, &str, u16, u32, u32); 3] = [
        (
            "3ffe:2501:200:3::1",
            1766,
            "3ffe:2501:200:1fff::7",
            2794,
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "ff02::1",
            4739,
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "fe80::200:f8ff:fe21:67cf",
            38024,
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    #[test]
    fn microsoft_vectors() {
        let rss = Toeplitz::MICROSOFT;
        for (dst, src, addresses, ports) in V4 {
            let (dst, src): (SocketAddrV4, SocketAddrV4) =
                (dst.parse().unwrap(), src.parse().unwrap());
            let (d, s): (Ipv4Addr, Ipv4Addr) = (*dst.ip(), *src.ip());
            assert_eq!(rss.addresses_v4(s.octets(), d.octets()), addresses);
            let hash = rss.ports_v4(s.octets(), d.octets(), src.port(), dst.port());
            assert_eq!(hash, ports);
        }
        for (dst, dst_port, src, src_port, addresses, ports) in V6 {
            let parse = |a: &str, p: u16| -> SocketAddrV6 {
                let text: String = format!("[{a}]:{p}");
                text.parse().unwrap()
            };
            let (dst, src) = (parse(dst, dst_port), parse(src, src_port));
            let (d, s): (Ipv6Addr, Ipv6Addr) = (*dst.ip(), *src.ip());
            assert_eq!(rss.addresses_v6(s.octets(), d.octets()), addresses);
            let hash = rss.ports_v6(s.octets(), d.octets(), src.port(), dst.port());
            assert_eq!(hash, ports);
        }
    }

    #[test]
    fn symmetric_key_ignores_direction() {
        let (a, b) = ([10, 0, 0, 1], [192, 168, 7, 9]);
        let rss = Toeplitz::SYMMETRIC;
        assert_eq!(rss.ports_v4(a, b, 80, 50000), rss.ports_v4(b, a, 50000, 80));
        assert_ne!(rss.ports_v4(a, b, 80, 50000), rss.ports_v4(a, b, 80, 50001));
    }

    #[test]
    fn long_input_is_cut() {
        let rss = Toeplitz::MICROSOFT;
        assert_eq!(rss.hash(&[0xab; 100]), rss.hash(&[0xab; 36]));
        assert_eq!(rss.hash(&[]), 0);
    }
}
