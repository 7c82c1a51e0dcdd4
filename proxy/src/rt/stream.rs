//! Connected sockets.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{self, Shutdown},
};

use super::{
    Buffer, Operation, POLLIN, POLLOUT, buffers::recycle, submit_poll, submit_send, timeout,
};

/// How long a closing connection's peer may take what we say last, and say what it has left.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may say.
const LINGER_BYTES: usize = 64 * 1024;
/// Read at a time.
const LINGER_CHUNK_BYTES: usize = 16 * 1024;

/// A connected stream socket (TCP or Unix).
///
/// The narrow seam TLS runs over: bytes are received into a caller's buffer, and what is put into
/// [`Stream::outgoing`] is sent by [`Stream::poll_flush`]. Dropping it closes the socket, whatever
/// was in flight.
pub struct Stream {
    socket: Rc<OwnedFd>,
    readable: Readable,
    outgoing: Buffer,
    sending: Option<Sending>,
}

enum Readable {
    /// A receive may give bytes at once.
    Perhaps,
    /// Nothing to be had before the ring says so.
    No,
    Waiting(Operation),
}

struct Sending {
    operation: Operation,
    /// Where in the buffer this send began, and where it is to end.
    from: usize,
    to: usize,
}

impl Stream {
    /// Takes a connected socket, which need not be non-blocking.
    pub fn new(socket: OwnedFd) -> Stream {
        Stream::over(Rc::new(socket))
    }

    fn over(socket: Rc<OwnedFd>) -> Stream {
        Stream { socket, readable: Readable::No, outgoing: Buffer::default(), sending: None }
    }

    /// Gives the socket back, for another thread's ring. Only while nothing is in flight on it and
    /// nothing waits to be sent; otherwise gives back the stream.
    pub fn into_socket(self) -> Result<OwnedFd, Box<Stream>> {
        let in_flight = self.sending.is_some() || matches!(self.readable, Readable::Waiting(_));
        if in_flight || !self.outgoing.is_empty() {
            return Err(Box::new(self));
        }
        let socket = Rc::clone(&self.socket);
        drop(self);
        // An operation that was given up would hold it still.
        Rc::try_unwrap(socket).map_err(|socket| Box::new(Stream::over(socket)))
    }

    /// Connects over TCP, without Nagle's delay.
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Stream> {
        let family = match address {
            SocketAddr::V4(_) => net::AddressFamily::INET,
            SocketAddr::V6(_) => net::AddressFamily::INET6,
        };
        let stream = Stream::connect(family, &address).await?;
        net::sockopt::set_tcp_nodelay(&stream.socket, true)?;
        Ok(stream)
    }

    /// Connects to a Unix socket.
    pub async fn connect_unix(path: &Path) -> io::Result<Stream> {
        let address = net::SocketAddrUnix::new(path)?;
        Stream::connect(net::AddressFamily::UNIX, &address).await
    }

    async fn connect(
        family: net::AddressFamily,
        address: &impl net::addr::SocketAddrArg,
    ) -> io::Result<Stream> {
        let flags = net::SocketFlags::CLOEXEC | net::SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, net::SocketType::STREAM, flags, None)?;
        let connected = net::connect(&socket, address);
        let mut stream = Stream::new(socket);
        match connected {
            Ok(()) => return Ok(stream),
            Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        // As the wait of the stream itself, so that giving up closes the socket.
        stream.readable = Readable::Waiting(submit_poll(&stream.socket, POLLOUT));
        poll_fn(|cx| stream.poll_readable(cx)).await?;
        stream.readable = Readable::No;
        net::sockopt::socket_error(&stream.socket)??;
        Ok(stream)
    }

    /// Receives what there is, with room for `room` bytes or more. 0 is the end of what the peer
    /// sends. Takes storage for the buffer only once there is something to receive.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        let received = self.poll_recv_slice(cx, buffer.spare(room));
        if let Poll::Ready(Ok(n)) = received {
            buffer.advance(n);
        }
        buffer.release_if_empty();
        received
    }

    /// Receives what there is into `buffer`, which must not be empty.
    pub fn poll_recv_slice(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            if let Some(result) = self.receive(buffer) {
                return Poll::Ready(result);
            }
        }
    }

    /// One receive; `None` when it has to be tried again.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let room = buffer.len();
        match net::recv(&self.socket, buffer, net::RecvFlags::DONTWAIT) {
            Ok((_, received)) => {
                // A buffer filled to its end says that there is more; anything less, that there
                // is not.
                if received < room {
                    self.readable = Readable::No;
                }
                Some(Ok(received))
            }
            Err(Errno::WOULDBLOCK) => {
                self.readable = Readable::No;
                None
            }
            Err(Errno::INTR) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Whether the peer has sent bytes, or closed, since all that was there was received. Waits
    /// without a buffer.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.readable {
                Readable::Waiting(operation) => {
                    let (result, _) = ready!(Pin::new(operation).poll(cx));
                    self.readable = Readable::Perhaps;
                    result?;
                }
                Readable::No => {
                    self.readable = Readable::Waiting(submit_poll(&self.socket, POLLIN));
                }
                Readable::Perhaps => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What the next flush sends. Append to it; keep it below about 64 KiB by flushing.
    pub fn outgoing(&mut self) -> &mut Buffer {
        &mut self.outgoing
    }

    /// Hands everything outgoing to the kernel. Ready means handed over, not sent: what the socket
    /// does not take at once is the ring's until it has, and a failure of that shows at the next
    /// call.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_sent(cx))?;
        let (storage, from, to) = self.outgoing.take_parts();
        let from = match self.send_at_once(&storage[from..to]) {
            Ok(sent) => from + sent,
            Err(error) => {
                recycle(storage);
                return Poll::Ready(Err(error));
            }
        };
        if from < to {
            let operation = submit_send(&self.socket, storage, from, to);
            self.sending = Some(Sending { operation, from, to });
        } else {
            recycle(storage);
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes the socket takes now. Most often that is all, and no completion wakes for it.
    fn send_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        match net::send(&self.socket, bytes, net::SendFlags::DONTWAIT | net::SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the kernel may still be sending.
    pub fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Waits until no send is in flight.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(sending) = &mut self.sending {
            let (result, storage) = ready!(Pin::new(&mut sending.operation).poll(cx));
            let to = sending.to;
            let from = sending.from + *result.as_ref().unwrap_or(&0);
            self.sending = None;
            result?;
            if from < to {
                let operation = submit_send(&self.socket, storage, from, to);
                self.sending = Some(Sending { operation, from, to });
            } else {
                recycle(storage);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the peer with nothing kept for the time: the buffer of a send that is done goes back
    /// when it is, though nobody sends. Fails as a send that fails.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        self.outgoing.release_if_empty();
        self.poll_readable(cx)
    }

    /// Says that no more will be sent. What was handed to the kernel still goes out.
    pub fn shutdown_write(&self) {
        // A peer that is gone already needs no FIN.
        let _ = net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closes in order: sends what is left, says that no more will come, and reads and drops what
    /// the peer still sends, since unread bytes would turn our FIN into a reset that destroys the
    /// last reply. Takes at most about a second.
    pub async fn close(mut self) {
        let end = async {
            self.send_rest().await?;
            self.shutdown_write();
            self.drain().await
        };
        let _ = timeout(LINGER, end).await;
    }

    /// The same, but leaves it to the peer to close first. Chromium looks whether a connection has
    /// ended before it reads from it, and would show that instead of an alert that comes with FIN.
    pub async fn close_after_peer(mut self) {
        let end = async {
            self.send_rest().await?;
            self.drain().await
        };
        let _ = timeout(LINGER, end).await;
    }

    async fn send_rest(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(self.poll_flush(cx))?;
            self.poll_sent(cx)
        })
        .await
    }

    async fn drain(&mut self) -> io::Result<()> {
        let mut drained = 0;
        while drained < LINGER_BYTES {
            let mut buffer = Buffer::default();
            match poll_fn(|cx| self.poll_recv(cx, &mut buffer, LINGER_CHUNK_BYTES)).await? {
                0 => break,
                n => drained += n,
            }
        }
        Ok(())
    }

    /// Closes with a reset: whatever the peer has got must not look whole to it.
    pub fn abort(self) {
        // Without it the kernel would still send what it holds, and a FIN.
        let _ = net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An operation in flight holds the descriptor. Shut down, it completes at once, and the
        // descriptor closes; otherwise it would stay open until the peer acts.
        if self.sending.is_some() || matches!(self.readable, Readable::Waiting(_)) {
            let _ = net::shutdown(&self.socket, Shutdown::Both);
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
