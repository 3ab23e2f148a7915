//! What applications call: listeners.

use core::net::{IpAddr, SocketAddr};
use core::task::Waker;

use super::api::{EPHEMERAL, PORT_TRIES, keep_waker};
use super::listen::{ListenOptions, Listener, ListenerStats};
use super::options::TcpOptions;
use super::table::{FlowId, ListenerId};
use super::tcb::flag;
use crate::flow::canonical;
use crate::{ConnError, Error, Misuse, Stack};

impl Stack {
    /// Opens a listener. Port 0 chooses one; an unspecified address listens on
    /// every address of this host.
    ///
    /// # Errors
    /// [`Misuse::AddressInUse`], [`Misuse::AddressNotLocal`],
    /// [`Misuse::NoPortFree`].
    pub fn tcp_listen(
        &mut self,
        local: SocketAddr,
        options: ListenOptions,
    ) -> Result<ListenerId, Misuse> {
        let local = canonical(local);
        let address = (!local.ip().is_unspecified()).then_some(local.ip());
        if let Some(address) = address
            && !self.is_local(address)
        {
            return Err(Misuse::AddressNotLocal);
        }
        let port = match local.port() {
            0 => self.free_listen_port(address)?,
            port if self.listen_conflict(address, port) => return Err(Misuse::AddressInUse),
            port => port,
        };
        let mut listener = Listener::new(address, port, options);
        let index = match self.tcp.listeners.iter().position(|old| !old.open) {
            Some(index) => index,
            None => self.tcp.listeners.len(),
        };
        match self.tcp.listeners.get_mut(index) {
            Some(old) => {
                listener.generation = old.generation.wrapping_add(1);
                *old = listener;
            }
            None => self.tcp.listeners.push(listener),
        }
        let generation = self
            .tcp
            .listeners
            .get(index)
            .map_or(0, |new| new.generation);
        Ok(ListenerId {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            generation,
        })
    }

    fn listen_conflict(&self, address: Option<IpAddr>, port: u16) -> bool {
        self.tcp.listeners.iter().any(|other| {
            other.open && other.port == port && (other.address == address || address.is_none())
        })
    }

    fn free_listen_port(&mut self, address: Option<IpAddr>) -> Result<u16, Misuse> {
        for _ in 0..PORT_TRIES {
            let port = self.random_port();
            if !self.listen_conflict(address, port) {
                return Ok(port);
            }
        }
        Err(Misuse::NoPortFree)
    }

    pub(super) fn random_port(&mut self) -> u16 {
        let span = u32::from(EPHEMERAL.1 - EPHEMERAL.0) + 1;
        let offset = self.random.below(span);
        EPHEMERAL.0 + u16::try_from(offset).unwrap_or(0)
    }

    fn listener(&mut self, id: ListenerId) -> Result<&mut Listener, Misuse> {
        match self.tcp.listeners.get_mut(id.index as usize) {
            Some(listener) if listener.open && listener.generation == id.generation => Ok(listener),
            _ => Err(Misuse::StaleHandle),
        }
    }

    /// Where a listener listens; the address is unspecified for all.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_listener_addr(&mut self, id: ListenerId) -> Result<SocketAddr, Misuse> {
        let listener = self.listener(id)?;
        let any = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
        Ok(SocketAddr::new(
            listener.address.unwrap_or(any),
            listener.port,
        ))
    }

    /// What a listener has seen since it was opened.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_listener_stats(&mut self, id: ListenerId) -> Result<ListenerStats, Misuse> {
        self.listener(id).map(|listener| listener.stats())
    }

    /// Takes the oldest connection that waits to be accepted.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when none waits; [`Misuse::StaleHandle`].
    pub fn tcp_try_accept(&mut self, id: ListenerId) -> Result<FlowId, Error> {
        let index = self
            .listener(id)?
            .accepted
            .pop_front()
            .ok_or(Error::WouldBlock)?;
        let tcb = self.tcp.tcb(index).ok_or(Misuse::StaleHandle)?;
        tcb.cold.listener = 0;
        tcb.hot.clear(flag::EMBRYO);
        tcb.hot.set(flag::OWNED);
        self.tcp
            .handle(index)
            .ok_or(Error::Misuse(Misuse::StaleHandle))
    }

    /// Changes the options of connections to come: of those whose SYN is yet to
    /// arrive.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_set_listen_options(
        &mut self,
        id: ListenerId,
        options: TcpOptions,
    ) -> Result<(), Misuse> {
        self.listener(id)?.options.tcp = options;
        Ok(())
    }

    /// Whether a connection waits to be accepted.
    ///
    /// # Errors
    /// [`Misuse::StaleHandle`].
    pub fn tcp_can_accept(&mut self, id: ListenerId) -> Result<bool, Misuse> {
        self.listener(id).map(|found| !found.accepted.is_empty())
    }

    /// Has `waker` woken when a connection waits to be accepted.
    pub fn tcp_wake_on_accept(&mut self, id: ListenerId, waker: &Waker) {
        if let Ok(listener) = self.listener(id) {
            keep_waker(&mut listener.waker, waker);
        }
    }

    /// Closes a listener. Connections that nobody accepted are reset.
    pub fn tcp_close_listener(&mut self, id: ListenerId) {
        let Ok(listener) = self.listener(id) else {
            return;
        };
        listener.open = false;
        let waker = listener.waker.take();
        while let Some(index) = self
            .tcp
            .listeners
            .get_mut(id.index as usize)
            .and_then(|old| old.accepted.pop_front())
        {
            self.reset_and_end(index, ConnError::Aborted);
        }
        // The slot may serve another listener soon: no handshake of this one
        // may reach that.
        if let Ok(listener) = u16::try_from(id.index) {
            self.reset_handshakes(listener);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
