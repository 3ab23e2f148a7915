//! The resolver over a stack's sockets.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use pollwire_core::{Net, Random};

use crate::service::{Binding, binding};
use crate::special::literal;
use crate::{
    Answer, Config, Counters, DnsError, Machine, Nameserver, Service, Services, candidates,
};

mod driver;
mod follow;
mod ip;
mod link;
mod nal;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use driver::{Owner, Pending};
pub(crate) use follow::announced;
pub use ip::{Addresses, IpStream};
#[cfg(feature = "tls")]
pub use tls::TlsTrust;

/// What servers over TLS take: nothing can be known of them without the feature.
#[cfg(feature = "tls")]
type Clients = tls::Clients;
#[cfg(not(feature = "tls"))]
type Clients = core::convert::Infallible;

/// A stub resolver over a stack's sockets. Copies are cheap and share cache,
/// connections and what is under way; dropping the last one ends all of it.
///
/// Dropping the future of a lookup cancels it.
#[derive(Clone)]
pub struct Resolver<'n> {
    owner: Rc<Owner<'n>>,
}

impl<'n> Resolver<'n> {
    /// A resolver that works as `config` says. Ids, ports and letters come from
    /// the stack's own generator. Servers over TLS are not asked: see
    /// `with_tls`, with the feature `tls`.
    #[must_use]
    pub fn new(net: Net<'n>, config: Config) -> Self {
        let machine = Machine::new(config, random(net));
        Self {
            owner: Rc::new(Owner::new(net, machine, None)),
        }
    }

    /// The handle that it was made from.
    #[must_use]
    pub fn net(&self) -> Net<'n> {
        self.owner.net()
    }

    /// What it counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.owner.with(|machine| machine.counters().clone())
    }

    /// Answers in the cache, and about how many bytes they take.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        self.owner.with(|machine| machine.cached())
    }

    /// Forgets all answers.
    pub fn clear_cache(&self) {
        self.owner.with(Machine::clear_cache);
    }

    /// The nameservers in use.
    #[must_use]
    pub fn servers(&self) -> Vec<Nameserver> {
        self.owner.with(|machine| machine.config().servers.clone())
    }

    /// Asks other servers from now on, as DHCP or a router announced them; what
    /// is under way begins anew.
    pub fn set_servers(&self, servers: Vec<Nameserver>) {
        let now = self.net().now();
        self.owner.with(|machine| machine.set_servers(now, servers));
        self.owner.pump();
    }

    /// Changes the domains that short names are tried in.
    pub fn set_search(&self, search: Vec<Name>) {
        self.owner.with(|machine| machine.set_search(search));
    }

    /// The names to try for `text`: a static host as it is, others as the search
    /// list says.
    fn candidates(&self, text: &str) -> Result<Vec<Name>, DnsError> {
        self.owner.with(|machine| {
            let config = machine.config();
            if let Ok(mut name) = Name::from_utf8(text)
                && config.hosts.addresses_of(&name).is_some()
            {
                name.set_fqdn(true);
                return Ok(Vec::from([name]));
            }
            candidates(text, &config.search, config.ndots)
        })
    }

    fn start(&self, name: &Name, record_type: RecordType) -> Pending<'n> {
        Pending::new(self.owner.clone(), name, record_type)
    }

    /// The records of one type at `name`, which may be international and is
    /// completed from the search list.
    ///
    /// # Errors
    /// [`DnsError`]: why there is nothing.
    pub async fn lookup(&self, name: &str, record_type: RecordType) -> Result<Answer, DnsError> {
        let mut last = DnsError::BadName;
        for name in self.candidates(name)? {
            match self.lookup_name(&name, record_type).await {
                Err(error) if may_try_next(error) => last = worse(last, error),
                done => return done,
            }
        }
        Err(last)
    }

    /// The records of one type at `name`, which is taken to be absolute.
    ///
    /// # Errors
    /// [`DnsError`]: why there is nothing.
    pub async fn lookup_name(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Answer, DnsError> {
        self.start(name, record_type).await
    }

    /// The names of `address`: its PTR records.
    ///
    /// # Errors
    /// [`DnsError`]: why there are none.
    pub async fn reverse(&self, address: IpAddr) -> Result<Answer, DnsError> {
        self.lookup_name(&Name::from(address), RecordType::PTR)
            .await
    }

    /// Where the service `name` is to be had: its SVCB or HTTPS records
    /// (`record_type`), those of its aliases followed (RFC 9460, 3). Ways of equal
    /// priority come in random order (2.4.1).
    ///
    /// # Errors
    /// [`DnsError`]: why there are none. [`DnsError::NoRecords`], too, when the
    /// records say that there is no such service; [`DnsError::BadAnswer`] when
    /// they contradict themselves.
    pub async fn services(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Services, DnsError> {
        let mut services = Services {
            owner: name.clone(),
            aliased: false,
            list: Vec::new(),
        };
        for _ in 0..=SERVICE_ALIASES {
            let answer = self.lookup_name(&services.owner, record_type).await;
            match answer.as_ref().map(binding) {
                Ok(Ok(Binding::Alias(target))) => {
                    services.owner = target;
                    services.aliased = true;
                }
                Ok(Ok(Binding::Services(list))) => {
                    if let Ok(answer) = &answer {
                        services.owner = answer.canonical_name().clone();
                    }
                    services.list = list;
                    self.shuffle(&mut services.list);
                    return Ok(services);
                }
                // The alias itself is known, and its addresses may serve.
                Err(DnsError::NoRecords) if services.aliased => return Ok(services),
                Ok(Err(error)) | Err(&error) => return Err(error),
            }
        }
        Err(DnsError::AliasLoop)
    }

    /// The name whose HTTPS records are about `host` at `port`; `None` when there
    /// can be none, `host` being an address.
    ///
    /// RFC 9460, 9.1: `_PORT._https.` comes before the name, unless the port is
    /// 443. Of a search list this is the first name;
    /// [`https_services`](Self::https_services) tries them all.
    #[must_use]
    pub fn https_name(&self, host: &str, port: u16) -> Option<Name> {
        if literal(host).is_some() {
            return None;
        }
        https_owner(self.candidates(host).ok()?.into_iter().next()?, port)
    }

    /// Where the HTTPS service of `host` at `port` is to be had, as
    /// [`services`](Self::services) says it, and the name that was asked; `None`
    /// when there can be none, `host` being an address.
    ///
    /// Of a search list, that name is meant which has HTTPS records or addresses,
    /// the first that has any: the one whose addresses
    /// [`stream_ip`](Self::stream_ip) gives. Both ask the same questions, and each
    /// is asked once.
    pub async fn https_services(
        &self,
        host: &str,
        port: u16,
    ) -> Option<(Name, Result<Services, DnsError>)> {
        if literal(host).is_some() {
            return None;
        }
        let mut names = self.candidates(host).ok()?.into_iter().peekable();
        while let Some(name) = names.next() {
            let owner = https_owner(name.clone(), port)?;
            let services = self.services(&owner, RecordType::HTTPS).await;
            let this = names.peek().is_none()
                || !services.as_ref().is_err_and(|error| may_try_next(*error))
                || self.is_host(&name).await;
            if this {
                return Some((owner, services));
            }
        }
        None
    }

    /// Whether a search list need not be followed beyond `name`: it has addresses,
    /// or nobody can say.
    async fn is_host(&self, name: &Name) -> bool {
        let types = [RecordType::AAAA, RecordType::A];
        // Both at once.
        let pending = types.map(|record_type| self.start(name, record_type));
        for answer in pending {
            if !answer.await.is_err_and(may_try_next) {
                return true;
            }
        }
        false
    }

    /// Puts those of equal priority into random order.
    fn shuffle(&self, list: &mut [Service]) {
        let net = self.net();
        for group in list.chunk_by_mut(|one, next| one.priority == next.priority) {
            for end in (1..group.len()).rev() {
                let mut bytes = [0; 8];
                net.random(&mut bytes);
                let any = u64::from_le_bytes(bytes) % (end as u64 + 1);
                group.swap(end, usize::try_from(any).unwrap_or(end));
            }
        }
    }

    /// All addresses of `host`: a literal, or a name of which A and AAAA records
    /// are asked for at once.
    ///
    /// # Errors
    /// [`DnsError`]: why there are none.
    pub async fn lookup_ip(&self, host: &str) -> Result<Addresses, DnsError> {
        let mut stream = self.stream_ip(host)?;
        let mut addresses = Addresses::default();
        while let Some((record_type, result)) = stream.next().await {
            addresses.put(record_type, result);
        }
        addresses.or_error()
    }

    /// The addresses of `host` as they arrive: A and AAAA records are asked for
    /// at once, and told of each by itself. Made for Happy Eyeballs.
    ///
    /// # Errors
    /// [`DnsError::BadName`].
    pub fn stream_ip(&self, host: &str) -> Result<IpStream<'n>, DnsError> {
        IpStream::new(self.clone(), host)
    }
}

/// Where the HTTPS records about `host` at `port` are.
fn https_owner(host: Name, port: u16) -> Option<Name> {
    if port == 443 {
        return Some(host);
    }
    let name = host.prepend_label("_https").ok()?;
    name.prepend_label(alloc::format!("_{port}")).ok()
}

/// Aliases of services followed at most. RFC 9460, 3: clients "MUST impose a
/// limit on the total number of SVCB aliases they will follow".
const SERVICE_ALIASES: usize = 8;

/// A generator seeded from the stack's own.
fn random(net: Net<'_>) -> Random {
    let mut seed = [0; 32];
    net.random(&mut seed);
    Random::new(seed)
}

/// Whether the next name of a search list may do better.
fn may_try_next(error: DnsError) -> bool {
    error.is_answer() || matches!(error, DnsError::Failed { .. })
}

/// Which of two errors to tell: that a name exists tells more than that another
/// does not, and a failure more than both.
fn worse(one: DnsError, other: DnsError) -> DnsError {
    let rank = |error: DnsError| match error {
        DnsError::BadName => 0,
        DnsError::NoSuchName => 1,
        DnsError::NoRecords => 2,
        _ => 3,
    };
    if rank(one) > rank(other) { one } else { other }
}

impl core::fmt::Debug for Resolver<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Resolver")
            .field("servers", &self.servers())
            .finish_non_exhaustive()
    }
}
