//! Names with addresses that are known without asking.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use hickory_proto::rr::Name;

/// Static hosts. Parses the format of `/etc/hosts`: an address and its names
/// per line, `#` begins a comment.
///
/// ```
/// let hosts: pollwire_dns::Hosts = "192.0.2.7 printer printer.lan # upstairs".parse()?;
/// let mut names = hosts.names_of("192.0.2.7".parse().expect("an address"));
/// assert_eq!(names.next().map(ToString::to_string).as_deref(), Some("printer."));
/// # Ok::<(), pollwire_dns::HostsError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    addresses: BTreeMap<Name, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, Vec<Name>>,
}

/// The line of a hosts text that could not be read, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostsError {
    /// The line's number.
    pub line: usize,
}

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: expected an address and host names", self.line)
    }
}

impl core::error::Error for HostsError {}

impl Hosts {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// Adds one more address of `name`.
    pub fn insert(&mut self, name: &Name, address: IpAddr) {
        let name = absolute(name);
        let addresses = self.addresses.entry(name.clone()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        let names = self.names.entry(address).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// The addresses of `name`; `None` when it is not among the hosts.
    #[must_use]
    pub fn addresses_of(&self, name: &Name) -> Option<&[IpAddr]> {
        self.addresses.get(&absolute(name)).map(Vec::as_slice)
    }

    /// The names of `address`, in the order in which they were added.
    pub fn names_of(&self, address: IpAddr) -> core::slice::Iter<'_, Name> {
        self.names
            .get(&address)
            .map_or(&[][..], Vec::as_slice)
            .iter()
    }
}

/// `name`, absolute and in lower case: as tables are keyed.
pub(crate) fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

impl FromStr for Hosts {
    type Err = HostsError;

    fn from_str(text: &str) -> Result<Self, HostsError> {
        let mut hosts = Self::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.split('#').next().unwrap_or_default();
            let mut words = content.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            let address = address.parse().map_err(|_| HostsError { line })?;
            let mut any = false;
            for word in words {
                let name = Name::from_ascii(word).map_err(|_| HostsError { line })?;
                hosts.insert(&name, address);
                any = true;
            }
            if !any {
                return Err(HostsError { line });
            }
        }
        Ok(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_names_the_bad_line() {
        let hosts: Hosts = "# all\n\n192.0.2.1 a B.example\n2001:db8::1 a\n192.0.2.1 a\n"
            .parse()
            .expect("fine");
        let a = Name::from_ascii("A.").expect("a name");
        assert_eq!(hosts.addresses_of(&a).map(<[_]>::len), Some(2));
        assert_eq!(hosts.names_of([192, 0, 2, 1].into()).count(), 2);
        assert_eq!(hosts.names_of([192, 0, 2, 2].into()).count(), 0);
        for (text, line) in [("a b", 1), ("192.0.2.1 a\n192.0.2.1", 2), ("::1 a..b", 1)] {
            assert_eq!(text.parse::<Hosts>().err(), Some(HostsError { line }));
        }
    }
}
