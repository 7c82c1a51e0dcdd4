//! The administrative addresses, bound before anything is served there.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::AdminSpec;

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
    pub(crate) fn bind(spec: &AdminSpec, shared: bool) -> io::Result<Sockets> {
        let bind = |address| Bound::new(address, shared);
        let metrics = spec.metrics.as_ref().map(|metrics| bind(metrics.address));
        Ok(Sockets { admin: spec.address.map(bind).transpose()?, metrics: metrics.transpose()? })
    }
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Bound {
    socket: Socket,
    address: SocketAddr,
}

impl Bound {
    fn new(address: SocketAddr, shared: bool) -> io::Result<Bound> {
        let bind = || {
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
        let socket = bind().map_err(|error| named(address, &error))?;
        Ok(Bound { socket, address })
    }

    pub(super) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG).map_err(|error| named(self.address, &error))?;
        Ok(self.socket.into())
    }
}

fn named(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shared_only_with_a_process_that_asks_for_it() {
        let first = Bound::new(([127, 0, 0, 1], 0).into(), false).unwrap().listen().unwrap();
        let address = first.local_addr().unwrap();
        let error = Bound::new(address, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&address.to_string()), "{error}");
        let second = Bound::new(address, true).unwrap().listen().unwrap();
        Bound::new(address, true).unwrap().listen().unwrap();
        drop(first);
        assert!(Bound::new(address, false).is_err());
        drop(second);
    }

    #[test]
    fn no_client_connects_before_it_listens() {
        let bound = Bound::new(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = bound.socket.local_addr().unwrap().as_socket().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let _listens = bound.listen().unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }
}
