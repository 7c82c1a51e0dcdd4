//! Listening sockets.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    net::{self, Shutdown},
};

use super::{Operation, POLLIN, submit_poll};

/// Accepts connections from a listening socket. Dropping it leaves the socket listening where
/// somebody else has it too.
pub struct Acceptor {
    socket: Rc<OwnedFd>,
    waiting: Option<Operation>,
}

impl Acceptor {
    /// Takes a listening socket, which must be non-blocking.
    pub fn new(listener: OwnedFd) -> Acceptor {
        Acceptor { socket: Rc::new(listener), waiting: None }
    }

    /// Stops listening, for every holder of the socket.
    pub fn close(self) {
        // A refusal means that nobody listens there any more.
        let _ = net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Waits for a connection. Dropping the future between two polls loses none: a connection is
    /// taken from the queue only in the poll that returns it.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let (result, _) = ready!(Pin::new(waiting).poll(cx));
                self.waiting = None;
                result?;
            }
            match self.accept() {
                Ok(connection) => return Poll::Ready(Ok(connection)),
                Err(Errno::WOULDBLOCK) => {
                    self.waiting = Some(submit_poll(&self.socket, POLLIN));
                }
                // The client gave up meanwhile.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Takes a connection that waits already.
    pub fn try_accept(&self) -> Option<Connection> {
        loop {
            match self.accept() {
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                accepted => return accepted.ok(),
            }
        }
    }

    fn accept(&self) -> rustix::io::Result<Connection> {
        let (socket, peer) = net::acceptfrom_with(&self.socket, net::SocketFlags::CLOEXEC)?;
        let peer = peer.and_then(|address| SocketAddr::try_from(address).ok());
        Ok(Connection { socket, peer })
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Its socket.
    pub socket: OwnedFd,
    /// The other side, where it has an IP address.
    pub peer: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::rt::Runtime;

    /// An acceptor that waits on a listening socket, and another handle on that.
    fn waiting() -> (Acceptor, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut acceptor = Acceptor::new(listener.try_clone().unwrap().into());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(acceptor.poll_accept(&mut cx).is_pending());
        (acceptor, listener)
    }

    #[test]
    fn a_socket_whose_worker_ends_goes_on_listening_for_the_next() {
        let (listener, connected) = Runtime::new().unwrap().block_on(async {
            let (acceptor, listener) = waiting();
            let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(acceptor);
            (listener, connected)
        });
        Runtime::new().unwrap().block_on(async {
            let address = listener.local_addr().unwrap();
            let mut next = Acceptor::new(listener.into());
            let accepted = std::future::poll_fn(|cx| next.poll_accept(cx)).await.unwrap();
            assert_eq!(accepted.peer, Some(connected.local_addr().unwrap()));
            TcpStream::connect(address).unwrap();
        });
    }

    #[test]
    fn a_socket_that_is_closed_takes_no_connection_for_anybody() {
        Runtime::new().unwrap().block_on(async {
            let (acceptor, listener) = waiting();
            acceptor.close();
            assert!(TcpStream::connect(listener.local_addr().unwrap()).is_err());
        });
    }
}
