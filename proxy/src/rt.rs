//! The only file that names the io_uring runtime. A worker's thread runs one [`Runtime`]: a ring,
//! timers and tasks; [`Stream`] and [`Acceptor`] are sockets driven by that ring.
//!
//! Sockets are waited for through the ring and read when they are readable, so that an idle
//! connection holds no buffer and a dropped wait loses no bytes and no accepted connection. Sends
//! go through the ring whole.

mod buffers;
mod hyper_io;

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use io_uring::{cqueue, opcode, squeue, types::Fd};
use rustix::{
    io::Errno,
    net::{self, Shutdown},
};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

pub use buffers::Buffer;
use buffers::recycle;
pub use hyper_io::LocalExecutor;

/// Submission entries of a ring. A full queue is submitted early, so this bounds a batch, not the
/// number of connections.
const RING_ENTRIES: u32 = 1024;
/// Completion entries: overflow costs the kernel an allocation each, so there is room.
const COMPLETION_ENTRIES: u32 = 8 * RING_ENTRIES;

/// How long a closing connection's peer may take what we say last, and say what it has left.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may say.
const LINGER_BYTES: usize = 64 * 1024;
/// Read at a time.
const LINGER_CHUNK_BYTES: usize = 16 * 1024;

/// A worker thread's event loop.
pub struct Runtime(tokio_uring::Runtime);

impl Runtime {
    /// Sets up the ring. Fails where the kernel has no io_uring or `kernel.io_uring_disabled`
    /// forbids it.
    pub fn new() -> io::Result<Runtime> {
        let mut ring = tokio_uring::uring_builder();
        // One thread submits, and completions wait for it to enter the kernel instead of
        // interrupting it. DEFER_TASKRUN would go further, but tokio-uring's submit never asks for
        // events, and hangs.
        ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
        ring.setup_cqsize(COMPLETION_ENTRIES);
        let mut builder = tokio_uring::builder();
        tokio_uring::Runtime::new(builder.entries(RING_ENTRIES).uring_builder(&ring)).map(Runtime)
    }

    /// Runs a future, and every task it spawns meanwhile, on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// Runs a future on this worker's thread, beside the caller. A panic in it ends it alone.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    tokio_uring::spawn(future);
}

/// Waits.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Lets every other task that is ready run first.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Gives up on a future after a time.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// A [`timeout`] passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// What an operation in flight keeps alive: the buffer the kernel reads, and the descriptor, which
/// must not be closed and reused by another socket before the entry is submitted.
type Held = (Vec<u8>, Rc<OwnedFd>);

/// Gives the result and the buffer back.
struct Finish;

impl OneshotOutputTransform for Finish {
    type Output = (io::Result<usize>, Vec<u8>);
    type StoredData = Held;

    fn transform_oneshot_output(self, held: Held, entry: cqueue::Entry) -> Self::Output {
        let result = usize::try_from(entry.result())
            .map_err(|_| io::Error::from_raw_os_error(-entry.result()));
        (result, held.0)
    }
}

type Operation = InFlightOneshot<Held, Finish>;

fn submit(entry: squeue::Entry, buffer: Vec<u8>, socket: &Rc<OwnedFd>) -> Operation {
    UnsubmittedOneshot::new((buffer, Rc::clone(socket)), Finish, entry).submit()
}

fn submit_poll(socket: &Rc<OwnedFd>, events: i16) -> Operation {
    let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events as u32).build();
    submit(entry, Vec::new(), socket)
}

/// Sends `buffer[from..to]`; the kernel goes on after a short send by itself where it can.
fn submit_send(socket: &Rc<OwnedFd>, buffer: Vec<u8>, from: usize, to: usize) -> Operation {
    let bytes = &buffer[from..to];
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let flags = net::RecvFlags::WAITALL.bits() | net::SendFlags::NOSIGNAL.bits();
    let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
        .flags(flags.cast_signed())
        .build();
    submit(entry, buffer, socket)
}

const POLLIN: i16 = rustix::event::PollFlags::IN.bits() as i16;
const POLLOUT: i16 = rustix::event::PollFlags::OUT.bits() as i16;

/// Accepts connections from a listening socket.
pub struct Acceptor {
    socket: Rc<OwnedFd>,
    waiting: Option<Operation>,
}

impl Acceptor {
    /// Takes a listening socket, which must be non-blocking.
    pub fn new(listener: OwnedFd) -> Acceptor {
        Acceptor { socket: Rc::new(listener), waiting: None }
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

impl Drop for Acceptor {
    fn drop(&mut self) {
        // As for a stream: the wait in flight would keep the socket listening.
        if self.waiting.is_some() {
            let _ = net::shutdown(&self.socket, Shutdown::Both);
        }
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
        Stream {
            socket: Rc::new(socket),
            readable: Readable::No,
            outgoing: Buffer::default(),
            sending: None,
        }
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

    /// Hands everything outgoing to the kernel. Ready means handed over, not sent: the buffer is
    /// the kernel's until the send completes, and a failure shows at the next call.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_sent(cx))?;
        let (storage, from, to) = self.outgoing.take_parts();
        let operation = submit_send(&self.socket, storage, from, to);
        self.sending = Some(Sending { operation, from, to });
        Poll::Ready(Ok(()))
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

    /// Says that no more will be sent. What was handed to the kernel still goes out.
    pub fn shutdown_write(&self) {
        // A peer that is gone already needs no FIN.
        let _ = net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closes in order: sends what is left, says that no more will come, and reads and drops what
    /// the peer still sends, since unread bytes would turn our FIN into a reset that destroys the
    /// last reply. Takes at most about a second.
    pub async fn close(mut self) {
        let _ = timeout(LINGER, self.drain()).await;
    }

    async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(self.poll_flush(cx))?;
            self.poll_sent(cx)
        })
        .await?;
        self.shutdown_write();
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

    /// The local address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = net::getsockname(&self.socket)?;
        SocketAddr::try_from(address).map_err(io::Error::from)
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
