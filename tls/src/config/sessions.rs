//! Sessions that a client may resume: a bounded memory, oldest out first.

use alloc::collections::VecDeque;
use core::fmt;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;
use spin::Mutex;

/// Tickets that are kept per server. RFC 8446, C.4: "clients SHOULD NOT reuse a
/// ticket for multiple connections".
const TICKETS: usize = 4;

struct Server {
    name: ServerName<'static>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

/// What is known of the servers that were last connected to.
pub(super) struct Sessions {
    servers: Mutex<VecDeque<Server>>,
    most: usize,
}

impl Sessions {
    /// Remembers `most` servers.
    pub(super) fn new(most: usize) -> Self {
        Self {
            servers: Mutex::new(VecDeque::new()),
            most,
        }
    }

    fn find<T>(&self, name: &ServerName<'_>, look: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let mut servers = self.servers.lock();
        let server = servers.iter_mut().find(|server| server.name == *name)?;
        Some(look(server))
    }

    /// Changes what is known of a server, which becomes the newest.
    fn update(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server)) {
        let mut servers = self.servers.lock();
        let place = servers.iter().position(|server| server.name == name);
        let mut server = place
            .and_then(|place| servers.remove(place))
            .unwrap_or(Server {
                name,
                group: None,
                tls12: None,
                tls13: VecDeque::new(),
            });
        change(&mut server);
        if servers.len() >= self.most {
            servers.pop_front();
        }
        servers.push_back(server);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.servers.lock().len())
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.update(server_name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.find(server_name, |server| server.group)?
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.update(server_name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.find(server_name, |server| server.tls12.clone())?
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.find(server_name, |server| server.tls12 = None);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.update(server_name, |server| {
            if server.tls13.len() >= TICKETS {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.find(server_name, |server| server.tls13.pop_back())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_server_is_forgotten_first() {
        let sessions = Sessions::new(2);
        let name = |text: &'static str| ServerName::try_from(text).expect("a name");
        sessions.set_kx_hint(name("a.example"), NamedGroup::X25519);
        sessions.set_kx_hint(name("b.example"), NamedGroup::X25519);
        sessions.set_kx_hint(name("a.example"), NamedGroup::secp256r1);
        sessions.set_kx_hint(name("c.example"), NamedGroup::X25519);
        let group = |text| sessions.kx_hint(&name(text));
        assert_eq!(group("a.example"), Some(NamedGroup::secp256r1));
        assert_eq!(group("b.example"), None);
        assert_eq!(group("c.example"), Some(NamedGroup::X25519));
    }
}
