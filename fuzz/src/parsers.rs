//! The wire parsers: no panic, and what they read survives writing.

use pollwire::wire::ArpRepr;
use pollwire::wire::dhcp::DhcpMessage;
use pollwire::wire::ipv4::walk_options;
use pollwire::wire::ipv6::{skip_extensions, walk_extensions};
use pollwire::wire::ndp::{NdpMessage, NdpOption, read_names};
use pollwire::wire::tcp::TcpOptions;

/// Reads `data` in every way that the stack reads bytes of the wire.
pub fn parsers(data: &[u8]) {
    if let Ok(arp) = ArpRepr::parse(data) {
        assert_eq!(ArpRepr::parse(&arp.emit()), Ok(arp));
    }
    if let Some(message) = DhcpMessage::parse(data) {
        assert_eq!(DhcpMessage::parse(&message.emit(1500)), Some(message));
    }
    // An option block is forty bytes at most.
    let options = data.get(..40).unwrap_or(data);
    if let Some(found) = TcpOptions::parse(options) {
        let written = found.emit();
        assert!(written.len() <= 40 && written.len() % 4 == 0);
        let mut again = TcpOptions::parse(&written).expect("what was written");
        // Padding may leave room for fewer blocks than came.
        assert!(found.sack_blocks.starts_with(&again.sack_blocks));
        again.sack_blocks = found.sack_blocks.clone();
        assert_eq!(again, found);
    }
    let _found = walk_options(options);
    if let Some(NdpMessage::RouterAdvertisement(_, options)) = NdpMessage::parse(data) {
        for option in options.iter() {
            if let NdpOption::DnsSearch(_, names) = option {
                let names = read_names(names, 8);
                assert!(names.iter().all(|name| name.len() <= 253));
            }
        }
    }
    if let Some(&next) = data.get(6)
        && data.len() >= 40
        && let Ok(found) = walk_extensions(data, next, 40, 6)
    {
        assert!(found.at <= data.len() && data[found.announced_at] == found.next_header);
        if found.fragment.is_none() {
            let skipped = skip_extensions(data, next);
            assert_eq!(skipped, Some((found.next_header, found.at)));
        }
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(cidr) = text.parse::<pollwire::Ipv4Cidr>()
    {
        assert_eq!(cidr.to_string().parse(), Ok(cidr));
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(cidr) = text.parse::<pollwire::Ipv6Cidr>()
    {
        assert_eq!(cidr.to_string().parse(), Ok(cidr));
    }
}
