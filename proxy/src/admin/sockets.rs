//! The administrative addresses, bound before anything is served there.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::AdminSpec;
use crate::binding::{BindError, with_ipv4_fallback};

/// Connections waiting to be accepted.
const BACKLOG: i32 = 128;

/// The bound addresses: no other process can take them, and no client can connect yet.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(super) admin: Option<Bound>,
    pub(super) metrics: Option<Bound>,
}

impl Sockets {
    /// Binds the addresses. With `shared`, another process of the same user may listen there: the one
    /// that this process replaces.
    ///
    /// Fails if an address is taken.
    pub(crate) fn bind(spec: &AdminSpec, shared: bool) -> Result<Sockets, BindError> {
        let admin =
            spec.address.map(|address| Bound::new("portcullis.admin_address", address, shared));
        let metrics = spec.metrics.as_ref().map(|metrics| metrics.address);
        let metrics = metrics.map(|address| Bound::new("metrics_address", address, shared));
        Ok(Sockets { admin: admin.transpose()?, metrics: metrics.transpose()? })
    }
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Bound {
    socket: Socket,
    key: &'static str,
    address: SocketAddr,
}

impl Bound {
    /// `key` names the address in the configuration.
    fn new(key: &'static str, address: SocketAddr, shared: bool) -> Result<Bound, BindError> {
        let bind = |address: SocketAddr| {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
            // A restart must not wait for the old connections' TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(shared)?;
            socket.bind(&address.into())?;
            // Lets a later process share the address, if that process asks for it.
            socket.set_reuse_port(true)?;
            Ok(socket)
        };
        let (socket, address) = with_ipv4_fallback(address, bind)
            .map_err(|error| BindError::new(key, address, error))?;
        Ok(Bound { socket, key, address })
    }

    pub(super) fn listen(self) -> Result<TcpListener, BindError> {
        let listening = self.socket.listen(BACKLOG);
        listening.map_err(|error| BindError::new(self.key, self.address, error))?;
        Ok(self.socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: SocketAddr, shared: bool) -> Result<Bound, BindError> {
        Bound::new("metrics_address", address, shared)
    }

    #[test]
    fn an_address_is_shared_only_with_a_process_that_asks_for_it() {
        let first = bound(([127, 0, 0, 1], 0).into(), false).unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let error = bound(address, false).unwrap_err();
        let start =
            format!("metrics_address: cannot listen on {address}: the address is in use by");
        assert!(error.to_string().starts_with(&start), "{error}");
        let second = bound(address, true).unwrap().listen().unwrap();
        bound(address, true).unwrap().listen().unwrap();
        drop(first);
        assert!(bound(address, false).is_err());
        drop(second);
    }

    #[test]
    fn no_client_connects_before_it_listens() {
        let bound = bound(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = bound.socket.local_addr().unwrap().as_socket().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let _listens = bound.listen().unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }
}
