//! The kernel's state of one TCP connection: sock_diag(7).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use rustix::net::netlink::SOCK_DIAG;

use super::netlink::Netlink;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
const ANY_COOKIE: [u8; 8] = [0xff; 8];
/// `TCP_SYN_RECV` of `net/tcp_states.h`: the listener has a request, and no socket yet.
const SYN_RECEIVED: u8 = 3;

/// Looks up single connections of this network namespace.
#[derive(Debug)]
pub(crate) struct TcpStates(Netlink);

impl TcpStates {
    /// Fails if the kernel lacks the interface, or if the process may not use it.
    pub(crate) fn open() -> io::Result<TcpStates> {
        let states = TcpStates(Netlink::open(Some(SOCK_DIAG))?);
        states.prove()?;
        Ok(states)
    }

    /// Fails if the kernel does not know a socket that is there: its part for TCP (`tcp_diag`) may be
    /// a module that cannot be loaded, and then the answer is the same as for no socket.
    fn prove(&self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.0.ask(SOCK_DIAG_BY_FAMILY, &request(listener.local_addr()?, nobody))?;
        Ok(())
    }

    /// Whether a listener at `local` has a request of the client `remote`, which has completed no
    /// handshake.
    pub(crate) fn is_half_open(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
        match self.0.ask(SOCK_DIAG_BY_FAMILY, &request(local, remote)) {
            // `struct inet_diag_msg` begins with family and state.
            Ok(answer) => Ok(answer.get(1) == Some(&SYN_RECEIVED)),
            // No socket at all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// `struct inet_diag_req_v2`.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let (family, interface) = match local {
        SocketAddr::V4(_) => (INET, 0),
        SocketAddr::V6(local) => (INET6, local.scope_id()),
    };
    let mut request = vec![family, TCP, 0, 0];
    request.extend([0xff; 4]); // any state
    request.extend(local.port().to_be_bytes());
    request.extend(remote.port().to_be_bytes());
    request.extend(sixteen(local.ip()));
    request.extend(sixteen(remote.ip()));
    request.extend(interface.to_ne_bytes());
    request.extend(ANY_COOKIE);
    request
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::sys::defer_accept;

    fn state_of(address: &str, deferred: bool) -> bool {
        let listener = TcpListener::bind(address).unwrap();
        if deferred {
            defer_accept(&listener, 60).unwrap();
        }
        let local = listener.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let states = TcpStates::open().unwrap();
        states.is_half_open(local, client.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn only_a_request_without_a_socket_is_half_open() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            assert!(state_of(address, true), "{address}");
            assert!(!state_of(address, false), "{address}");
        }
    }

    #[test]
    fn a_connection_that_does_not_exist_is_not_half_open() {
        let states = TcpStates::open().unwrap();
        let (local, remote) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        assert!(!states.is_half_open(local, remote).unwrap());
    }
}
