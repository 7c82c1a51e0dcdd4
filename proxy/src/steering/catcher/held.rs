//! Half-open connections of our own, which keep the request queue of a catcher full.
//!
//! The handshake of each is completed on the client's side. The catcher defers it until data comes
//! (`TCP_DEFER_ACCEPT`), so that its request stays in the queue.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::stop::StopOrder;
use crate::sys::TcpStates;

/// How long a handshake within this host may take. One that takes longer is blocked, by a firewall
/// for instance.
const HANDSHAKE: Duration = Duration::from_millis(500);

/// Segment sizes that a cookie keeps, so that the program sends the SYN to the catcher, and that fit
/// into any loopback interface.
const MSS_IPV4: u32 = 1300;
const MSS_IPV6: u32 = 1220;

/// Connections that were made together.
#[derive(Debug, Default)]
pub(super) struct HeldBatch(Vec<Held>);

#[derive(Debug)]
struct Held {
    socket: Socket,
    /// The client's side.
    from: SocketAddr,
    to: SocketAddr,
}

impl HeldBatch {
    /// Makes so many connections, or fewer if handshakes do not complete in time.
    ///
    /// # Errors
    /// `Interrupted` if the order to stop is given meanwhile; others if there are no descriptors or
    /// ports left.
    pub(super) fn connect(to: SocketAddr, count: usize, stop: &StopOrder) -> io::Result<HeldBatch> {
        let mut batch = HeldBatch(Vec::with_capacity(count));
        for _ in 0..count {
            batch.0.push(Held::connect(to)?);
        }
        batch.wait(stop)?;
        Ok(batch)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops those that are no longer in a listener's queue; returns how many these were.
    pub(super) fn drop_lost(&mut self, states: &TcpStates) -> io::Result<usize> {
        let before = self.len();
        let mut failed = None;
        self.0.retain(|held| match states.is_half_open(held.to, held.from) {
            Ok(is_half_open) => is_half_open,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        failed.map_or(Ok(before - self.len()), Err)
    }

    /// Waits for the handshakes, and drops connections whose handshake fails or takes too long.
    fn wait(&mut self, stop: &StopOrder) -> io::Result<()> {
        let deadline = Instant::now() + HANDSHAKE;
        let mut pending: Vec<Held> = std::mem::take(&mut self.0);
        while !pending.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let sockets = pending.iter().map(|held| PollFd::new(&held.socket, PollFlags::OUT));
            let done = stop.poll(sockets, left)?;
            if !done.contains(&true) {
                return Ok(()); // the others are blocked
            }
            let mut done = done.into_iter();
            let (settled, waiting): (Vec<_>, Vec<_>) =
                pending.into_iter().partition(|_| done.next() == Some(true));
            pending = waiting;
            self.0.extend(settled.into_iter().filter(Held::is_connected));
        }
        Ok(())
    }
}

impl Held {
    fn connect(to: SocketAddr) -> io::Result<Held> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
        // A reset, which removes the request. A FIN would complete the connection.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_mss(if to.is_ipv4() { MSS_IPV4 } else { MSS_IPV6 })?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Held { socket, from, to })
    }

    fn is_connected(&self) -> bool {
        matches!(self.socket.take_error(), Ok(None)) && self.socket.peer_addr().is_ok()
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::sys::defer_accept;

    fn deferring(address: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(address).unwrap();
        defer_accept(&listener, 60).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn connect(to: SocketAddr, count: usize) -> io::Result<HeldBatch> {
        HeldBatch::connect(to, count, &StopOrder::new().unwrap())
    }

    #[test]
    fn held_connections_stay_in_the_queue_and_leave_it_when_dropped() {
        let states = TcpStates::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (listener, to) = deferring(address);
            let mut held = connect(to, 20).unwrap();
            assert_eq!((held.len(), held.drop_lost(&states).unwrap()), (20, 0), "{address}");
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "a request only");
            let sides: Vec<_> = held.0.iter().map(|held| (held.to, held.from)).collect();
            drop(held);
            for (to, from) in sides {
                assert!(!states.is_half_open(to, from).unwrap());
            }
        }
    }

    #[test]
    fn a_lost_connection_is_found() {
        let (_listener, to) = deferring("127.0.0.1:0");
        let mut held = connect(to, 3).unwrap();
        rustix::net::connect_unspec(&held.0[1].socket).unwrap(); // sends a reset
        assert_eq!(held.drop_lost(&TcpStates::open().unwrap()).unwrap(), 1);
        assert_eq!(held.len(), 2);
    }

    #[test]
    fn no_connection_is_held_where_nobody_listens() {
        let (listener, to) = deferring("127.0.0.1:0");
        drop(listener);
        assert!(connect(to, 3).map_or(true, |held| held.len() == 0));
    }
}
