//! Connected sockets.

use std::{
    any::Any,
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
    Buffer, Operation, POLLIN, POLLOUT, Socket, buffers::recycle, coop, submit_poll, submit_send,
    timeout,
};
use crate::sys::unacknowledged_bytes;

/// What a closing connection reads and drops of its peer.
struct Linger {
    /// How long, our last bytes included.
    total: Duration,
    /// How long the peer may send nothing.
    pause: Duration,
    bytes: usize,
}

/// For a peer that has no more to send than what crosses our last bytes.
const LINGER: Linger =
    Linger { total: Duration::from_secs(1), pause: Duration::from_secs(1), bytes: 64 * 1024 };
/// For a peer in the middle of a request. The times are nginx's `lingering_time` and
/// `lingering_timeout`.
const LONG_LINGER: Linger =
    Linger { total: Duration::from_secs(30), pause: Duration::from_secs(5), bytes: 16 << 20 };
/// Read at a time.
const LINGER_CHUNK_BYTES: usize = 16 * 1024;
/// What a system call costs, in bytes that are copied in the same time.
const CALL_COST_BYTES: usize = 1024;

/// A connected stream socket (TCP or Unix).
///
/// The narrow interface that TLS runs over: bytes are received into a caller's buffer, and the
/// bytes in [`Stream::outgoing`] are sent by [`Stream::poll_flush`]. A stream that has sent bytes
/// and is dropped before [`Stream::shutdown_write`] or [`Stream::close`] is reset: its peer must
/// not take the received part for the whole.
pub(crate) struct Stream {
    socket: Rc<Socket>,
    readable: Readable,
    outgoing: Buffer,
    sending: Option<Sending>,
    /// Bytes that the kernel has taken.
    sent: u64,
    at_drop: AtDrop,
}

/// How much of what was sent has reached the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SendProgress {
    /// Bytes that the peer has acknowledged.
    pub acknowledged: u64,
    /// Bytes that are still to be sent or acknowledged.
    pub waiting: u64,
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// Sends the remaining bytes and FIN, then reads and drops whatever the peer still sends:
    /// unread bytes would turn our FIN into a reset, which destroys the last response.
    Orderly,
    /// The same, for a peer that is still sending a request: reads on for longer (RFC 9112 section
    /// 9.6), since many clients read only once they have sent everything.
    Lingering,
    /// Sends the remaining bytes and lets the peer close first. Chromium checks for the end of a
    /// connection before it reads, and would report that end instead of an alert before the FIN.
    AfterPeer,
    /// Resets the connection: the peer must not take the received part for the whole.
    Reset,
}

/// How the connection ends when its stream is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtDrop {
    /// The connection is reset: bytes were sent, and the peer was not told that they are all.
    Reset,
    /// The socket closes with FIN: nothing was sent, or the peer was told the end.
    Close,
}

enum Readable {
    /// A receive may find bytes.
    Perhaps,
    /// A receive finds nothing until the ring reports the socket.
    No,
    Waiting(Operation),
}

struct Sending {
    operation: Operation,
    /// The range of the buffer that this send covers. Not `usize`: they stay with the connection
    /// while it is idle.
    from: u32,
    to: u32,
}

impl Sending {
    /// Sends `buffer[from..to]`.
    fn start(socket: &Rc<Socket>, buffer: Vec<u8>, from: usize, to: usize) -> Sending {
        let operation = submit_send(socket, buffer, from, to);
        // A buffer is far smaller.
        let [from, to] = [from, to].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        Sending { operation, from, to }
    }
}

impl Stream {
    /// Takes a connected socket, which need not be non-blocking.
    pub(crate) fn new(socket: OwnedFd) -> Stream {
        Stream::over(Rc::new(Socket::new(socket)))
    }

    /// The same for a socket that bytes have come to already, as far as is known: the first receive
    /// does not wait for the ring to say so.
    pub(crate) fn with_bytes(socket: OwnedFd) -> Stream {
        let mut stream = Stream::new(socket);
        stream.readable = Readable::Perhaps;
        stream
    }

    fn over(socket: Rc<Socket>) -> Stream {
        Stream {
            socket,
            readable: Readable::No,
            outgoing: Buffer::default(),
            sending: None,
            sent: 0,
            at_drop: AtDrop::Close,
        }
    }

    /// Keeps a permit until the socket is closed.
    pub(crate) fn hold(&self, permit: Box<dyn Any>) {
        self.socket.hold(permit);
    }

    /// Returns the socket, for another thread's ring; returns the stream itself while an operation
    /// is in flight or bytes wait to be sent.
    pub(crate) fn into_socket(self) -> Result<OwnedFd, Box<Stream>> {
        let in_flight = self.sending.is_some() || matches!(self.readable, Readable::Waiting(_));
        if in_flight || !self.outgoing.is_empty() {
            return Err(Box::new(self));
        }
        let socket = Rc::clone(&self.socket);
        drop(self);
        // An operation whose future was dropped would still hold it.
        let socket = Rc::try_unwrap(socket).map_err(|socket| Box::new(Stream::over(socket)))?;
        Ok(socket.into_descriptor())
    }

    /// Connects over TCP, without Nagle's delay.
    pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<Stream> {
        let family = match address {
            SocketAddr::V4(_) => net::AddressFamily::INET,
            SocketAddr::V6(_) => net::AddressFamily::INET6,
        };
        let stream = Stream::connect(family, &address).await?;
        net::sockopt::set_tcp_nodelay(&stream.socket, true)?;
        Ok(stream)
    }

    /// Connects to a Unix socket.
    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Stream> {
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
        // It is the stream's own wait, so that the socket closes if this future is dropped.
        stream.readable = Readable::Waiting(submit_poll(&stream.socket, POLLOUT));
        poll_fn(|cx| stream.poll_readable(cx)).await?;
        stream.readable = Readable::No;
        net::sockopt::socket_error(&stream.socket)??;
        Ok(stream)
    }

    /// Receives into a buffer with room for `room` bytes or more. 0 means that the peer sends no
    /// more. The buffer gets storage only once the socket is readable.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        ready!(coop::poll_may_receive(cx));
        let received = self.poll_recv_slice(cx, buffer.spare(room));
        if let Poll::Ready(Ok(n)) = received {
            buffer.advance(n);
        }
        buffer.release_if_empty();
        received
    }

    /// Receives into `buffer`, which must not be empty.
    pub(crate) fn poll_recv_slice(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            ready!(coop::poll_may_receive(cx));
            if let Some(result) = self.receive(buffer) {
                return Poll::Ready(result);
            }
        }
    }

    /// One receive; `None` if it has to be tried again.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let room = buffer.len();
        coop::spend(CALL_COST_BYTES);
        match net::recv(&self.socket, buffer, net::RecvFlags::DONTWAIT) {
            Ok((_, received)) => {
                coop::spend(received);
                // A full buffer means that there may be more; a shorter receive means that there is
                // not.
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

    /// Waits, without a buffer, until the peer has sent bytes or has closed. Ready at once while a
    /// receive may still find bytes.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Ready once the peer sends no more, or the connection has failed. Takes no byte: one that comes
    /// stays to be received, and ends the wait without waking the task.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_readable(cx))?;
            ready!(coop::poll_may_receive(cx));
            coop::spend(CALL_COST_BYTES);
            let flags = net::RecvFlags::PEEK | net::RecvFlags::DONTWAIT;
            match net::recv(&self.socket, &mut [0_u8], flags) {
                Ok((_, 0)) => return Poll::Ready(Ok(())),
                Ok(_) => return Poll::Pending,
                Err(Errno::WOULDBLOCK) => self.readable = Readable::No,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The bytes that the next flush sends. Append to it; keep it below about 64 KiB by flushing.
    pub(crate) fn outgoing(&mut self) -> &mut Buffer {
        &mut self.outgoing
    }

    /// Hands the outgoing bytes to the kernel. Ready means handed over, not sent: the ring sends
    /// the bytes that the socket does not take at once, and the next call returns an error if that
    /// fails.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_sent(cx))?;
        ready!(coop::poll_may_send(cx));
        let (storage, from, to) = self.outgoing.take_parts();
        self.at_drop = AtDrop::Reset;
        let from = match self.send_at_once(&storage[from..to]) {
            Ok(sent) => {
                self.sent += sent as u64;
                from + sent
            }
            Err(error) => {
                recycle(storage);
                return Poll::Ready(Err(error));
            }
        };
        if from < to {
            self.sending = Some(Sending::start(&self.socket, storage, from, to));
        } else {
            recycle(storage);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much as the socket takes now. Usually that is all, and no completion has to wake
    /// the task.
    fn send_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        coop::spend(CALL_COST_BYTES + bytes.len());
        match net::send(&self.socket, bytes, net::SendFlags::DONTWAIT | net::SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the kernel may still be sending.
    #[cfg(test)]
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Waits until no send is in flight.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(sending) = &mut self.sending {
            let (result, storage) = ready!(Pin::new(&mut sending.operation).poll(cx));
            let to = sending.to as usize;
            let sent = *result.as_ref().unwrap_or(&0);
            let from = sending.from as usize + sent;
            self.sent += sent as u64;
            self.sending = None;
            result?;
            if from < to {
                self.sending = Some(Sending::start(&self.socket, storage, from, to));
            } else {
                recycle(storage);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How much of what was sent has reached the peer. A slow peer may leave the socket full for minutes,
    /// and read all the time: the kernel reports room only once a third of its buffer is free.
    pub(crate) fn send_progress(&self) -> SendProgress {
        let in_kernel = unacknowledged_bytes(&self.socket).unwrap_or(0);
        let sending =
            self.sending.as_ref().map_or(0, |sending| u64::from(sending.to - sending.from));
        SendProgress {
            acknowledged: self.sent.saturating_sub(in_kernel),
            waiting: in_kernel + sending + self.outgoing.len() as u64,
        }
    }

    /// Waits until readable and holds no buffer meanwhile: the buffer of a send in flight goes back
    /// as soon as the send is done. Fails if that send failed.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        self.outgoing.release_if_empty();
        self.poll_readable(cx)
    }

    /// Sends FIN behind what was handed to the kernel.
    pub(crate) fn shutdown_write(&mut self) {
        if self.sent > 0 && self.at_drop == AtDrop::Close {
            // It was sent behind the last byte.
            return;
        }
        self.at_drop = AtDrop::Close;
        // A peer that is gone needs no FIN.
        let _ = net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closes the connection. Takes at most about a second, longer if it lingers, and no time for a
    /// reset. A peer that does not read our last bytes in that time is reset.
    pub(crate) async fn close(mut self, mode: CloseMode) {
        let linger = match mode {
            CloseMode::Reset => {
                self.at_drop = AtDrop::Reset;
                return;
            }
            CloseMode::Lingering => &LONG_LINGER,
            CloseMode::Orderly | CloseMode::AfterPeer => &LINGER,
        };
        let farewell = async {
            self.send_rest().await?;
            match mode {
                CloseMode::AfterPeer => self.at_drop = AtDrop::Close,
                _ => self.shutdown_write(),
            }
            self.drain(linger).await
        };
        let _ = timeout(linger.total, farewell).await;
    }

    async fn send_rest(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(self.poll_flush(cx))?;
            self.poll_sent(cx)
        })
        .await
    }

    async fn drain(&mut self, linger: &Linger) -> io::Result<()> {
        let mut drained = 0;
        while drained < linger.bytes {
            let mut buffer = Buffer::default();
            let received = poll_fn(|cx| self.poll_recv(cx, &mut buffer, LINGER_CHUNK_BYTES));
            match timeout(linger.pause, received).await {
                Ok(Ok(n)) if n > 0 => drained += n,
                Ok(end) => return end.map(drop),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sends a reset now. `close` alone would not: an operation in flight keeps the socket open, and
    /// `shutdown`, which ends the operation, sends FIN first.
    fn reset(&self) {
        // For a socket that cannot be disconnected: otherwise it would send its queue and FIN.
        let _ = net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        // RFC 9293's ABORT (tcp_disconnect): in every state in which the peer has not been told an
        // end, the kernel sends RST at once, drops its queues and wakes whatever polls the socket.
        // A Unix socket refuses: it has no reset.
        if net::connect_unspec(&self.socket).is_err() {
            self.release();
        }
    }

    /// Makes an operation in flight complete. It would hold the socket until the peer acts.
    fn release(&self) {
        if self.sending.is_some() || matches!(self.readable, Readable::Waiting(_)) {
            let _ = net::shutdown(&self.socket, Shutdown::Both);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self.at_drop {
            AtDrop::Reset => self.reset(),
            AtDrop::Close => self.release(),
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
