//! IP: what it says to the protocols above, and the way out.

mod icmp;
mod meta;
mod outbox;
mod output;
#[cfg(test)]
mod tests;

pub(crate) use icmp::Icmp;
pub(crate) use meta::IpMeta;
pub(crate) use outbox::Outbox;
pub(crate) use output::header;
