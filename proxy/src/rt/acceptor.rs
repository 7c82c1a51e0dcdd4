//! Listening sockets.
//!
//! accept(2) reports three kinds of errors. Errors of one connection (the client has closed it, or
//! a firewall forbids it) do not concern the next connection and are skipped. A shortage of
//! descriptors or memory ends when connections end. Any other error means that the socket does not
//! listen.

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

use super::{Operation, POLLIN, Socket, submit_poll};

/// Accepts connections from a listening socket. Dropping it leaves the socket listening if there is
/// another handle of it.
pub(crate) struct Acceptor {
    socket: Rc<Socket>,
    waiting: Option<Operation>,
}

impl Acceptor {
    /// Takes a listening socket, which must be non-blocking.
    pub(crate) fn new(listener: OwnedFd) -> Acceptor {
        Acceptor { socket: Rc::new(Socket::new(listener)), waiting: None }
    }

    /// Stops listening, for every holder of the socket.
    pub(crate) fn close(self) {
        // It fails only if the socket does not listen any more.
        let _ = net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Waits for a connection. Dropping the future between two polls loses none: a connection is
    /// taken from the queue only in the poll that returns it.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<AcceptedSocket, AcceptError>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                // The result of the wait does not matter: accept reports any error.
                let _ = ready!(Pin::new(waiting).poll(cx));
                self.waiting = None;
            }
            match self.try_accept()? {
                Some(accepted) => return Poll::Ready(Ok(accepted)),
                None => self.waiting = Some(submit_poll(&self.socket, POLLIN)),
            }
        }
    }

    /// Takes a connection from the queue; `None` if it is empty.
    pub(crate) fn try_accept(&self) -> Result<Option<AcceptedSocket>, AcceptError> {
        loop {
            match self.accept() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) if is_of_one_connection(errno) => {}
                Err(errno) => return Err(AcceptError(errno)),
            }
        }
    }

    fn accept(&self) -> rustix::io::Result<AcceptedSocket> {
        let (socket, peer) = net::acceptfrom_with(&self.socket, net::SocketFlags::CLOEXEC)?;
        let peer = peer.and_then(|address| SocketAddr::try_from(address).ok());
        Ok(AcceptedSocket { socket, peer })
    }
}

/// The reason why no connection can be accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", io::Error::from(*.0))]
pub(crate) struct AcceptError(pub(crate) Errno);

impl AcceptError {
    /// Whether a later attempt can succeed: descriptors or memory have run out.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self.0, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    }
}

/// Errors that end one connection in the queue, network errors among them that Linux passes on from
/// its new socket: accept(2), "Error handling".
fn is_of_one_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
            | Errno::OPNOTSUPP
    )
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct AcceptedSocket {
    /// Its socket.
    pub socket: OwnedFd,
    /// The client's address; `None` if it is no IP address.
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
