//! Listening sockets: one per worker and address, joined by `SO_REUSEPORT`.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::binding::{BindError, with_ipv4_fallback};

/// The addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenSpec {
    /// Addresses for clients; at least one. `:443` is `[::]:443`, which accepts IPv4 too.
    pub addresses: Vec<SocketAddr>,
    /// The address that answers plain HTTP with redirects to HTTPS.
    pub redirect_address: Option<SocketAddr>,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// The routes.
    Routes,
    /// A redirect to HTTPS.
    Redirect,
}

/// Which connections come to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerRole {
    /// Those of its worker.
    Worker,
    /// Those that a SYN catcher was sent and that got no SYN cookie.
    Catcher,
}

impl Service {
    /// The key of the configuration that names its addresses.
    fn key(self) -> &'static str {
        match self {
            Service::Routes => "address",
            Service::Redirect => "http_redirect_addr",
        }
    }
}

/// A bound socket of one worker.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Non-blocking.
    pub socket: OwnedFd,
    /// The address that it is bound to: without IPv6, `0.0.0.0` in the place of `[::]`.
    pub address: SocketAddr,
    /// What it serves.
    pub service: Service,
    /// Which connections come to it.
    pub role: ListenerRole,
}

impl Listener {
    /// Binds a catcher beside this socket of a worker, with the same options: the SYN-ACK that is
    /// made for the one must fit a connection of the other.
    pub(crate) fn bind_catcher(&self) -> Result<Listener, BindError> {
        let Listener { address, service, .. } = *self;
        let bound = SockRef::from(&self.socket).local_addr();
        let socket = bound.and_then(|bound| bind(bound.as_socket().unwrap_or(address)));
        let socket = socket.map_err(|error| BindError::new(service.key(), address, error))?;
        Ok(Listener { socket, address, service, role: ListenerRole::Catcher })
    }

    /// Starts listening. If another process listens on the address, the kernel now splits connections
    /// between the two.
    pub(crate) fn listen(&self) -> Result<(), BindError> {
        let listening = SockRef::from(&self.socket).listen(BACKLOG);
        listening.map_err(|error| BindError::new(self.service.key(), self.address, error))
    }

    /// Another handle on the same socket.
    pub(crate) fn try_clone(&self) -> io::Result<Listener> {
        let socket = self.socket.try_clone()?;
        Ok(Listener { socket, ..*self })
    }
}

/// Maximum number of connections that wait to be accepted; `net.core.somaxconn` may lower it.
const BACKLOG: i32 = 4096;

impl ListenSpec {
    /// Every address, in the order in which they are bound.
    pub(crate) fn all(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().copied().chain(self.redirect_address)
    }

    /// Binds the sockets of one worker, all or none. They do not listen yet, unless `kept` has one for
    /// the address.
    pub(crate) fn bind_with(
        &self,
        mut kept: impl FnMut(SocketAddr) -> Option<OwnedFd>,
    ) -> Result<Vec<Listener>, BindError> {
        let services = self.addresses.iter().map(|_| Service::Routes).chain([Service::Redirect]);
        self.all()
            .zip(services)
            .map(|(address, service)| {
                let bound = with_ipv4_fallback(address, |address| match kept(address) {
                    Some(socket) => Ok(socket),
                    None => bind(address),
                });
                let (socket, address) =
                    bound.map_err(|error| BindError::new(service.key(), address, error))?;
                Ok(Listener { socket, address, service, role: ListenerRole::Worker })
            })
            .collect()
    }
}

fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` accepts IPv4 too, whatever the value of net.ipv6.bindv6only.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit the option, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(address: &str) -> ListenSpec {
        ListenSpec { addresses: vec![address.parse().unwrap()], redirect_address: None }
    }

    #[test]
    fn several_workers_listen_on_one_address() {
        let first = spec("127.0.0.1:0").bind_with(|_| None).unwrap();
        let port = std::net::TcpListener::from(first.into_iter().next().unwrap().socket)
            .local_addr()
            .unwrap()
            .port();
        let one = spec(&format!("127.0.0.2:{port}")).bind_with(|_| None).unwrap();
        let other = spec(&format!("127.0.0.2:{port}")).bind_with(|_| None).unwrap();
        assert_eq!(one[0].address, other[0].address);
    }

    #[test]
    fn a_failure_names_the_address() {
        let error = spec("192.0.2.1:1").bind_with(|_| None).unwrap_err().to_string();
        assert!(error.starts_with("address: cannot listen on 192.0.2.1:1: "), "{error}");
    }
}
