//! `embedded-nal-async`'s `Dns`, for clients that resolve through it.

use core::net::IpAddr;

use embedded_nal_async::{AddrType, Dns};
use hickory_proto::rr::RData;

use super::Resolver;
use crate::{Answer, DnsError};

impl Dns for Resolver<'_> {
    type Error = DnsError;

    async fn get_host_by_name(&self, host: &str, addr_type: AddrType) -> Result<IpAddr, DnsError> {
        let of = |answer: Result<Answer, DnsError>| answer.ok()?.addresses().next();
        let found = self.lookup_ip(host).await?;
        let address = match addr_type {
            AddrType::IPv4 => of(found.v4),
            AddrType::IPv6 => of(found.v6),
            AddrType::Either => found.iter().next(),
        };
        address.ok_or(DnsError::NoRecords)
    }

    /// The name is in ASCII, without the dot at its end.
    async fn get_host_by_address(
        &self,
        addr: IpAddr,
        result: &mut [u8],
    ) -> Result<usize, DnsError> {
        let answer = self.reverse(addr).await?;
        let name = answer.data().find_map(|data| match data {
            RData::PTR(name) => Some(name.0.to_ascii()),
            _ => None,
        });
        let name = name.ok_or(DnsError::NoRecords)?;
        let bytes = name.strip_suffix('.').unwrap_or(&name).as_bytes();
        let room = result.get_mut(..bytes.len()).ok_or(DnsError::BadName)?;
        room.copy_from_slice(bytes);
        Ok(bytes.len())
    }
}
