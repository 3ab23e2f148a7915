//! Which certificate a server shows, by the name that the client asks for
//! (RFC 6066, 3).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates, by name. `*.example.org` stands for one label before
/// `.example.org`.
#[derive(Debug, Default)]
pub(super) struct ByName {
    pub(super) named: Vec<(String, Arc<CertifiedKey>)>,
    pub(super) default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let exact = self
            .named
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let any_label = || {
            let (_, parent) = name.split_once('.')?;
            self.named.iter().find(|(known, _)| {
                let known = known.strip_prefix("*.");
                known.is_some_and(|known| known.eq_ignore_ascii_case(parent))
            })
        };
        exact.or_else(any_label).map(|(_, key)| key)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = client_hello.server_name().and_then(|name| self.find(name));
        named.or(self.default.as_ref()).cloned()
    }
}
