//! The only file that names the io_uring runtime. A worker's thread runs one [`Runtime`]: a ring,
//! timers and tasks; [`Stream`] and [`Acceptor`] are sockets driven by that ring.
//!
//! Sockets are waited for through the ring and read when they are readable, so that an idle
//! connection holds no buffer and a dropped wait loses no bytes and no accepted connection. The
//! ring sends the bytes that a socket does not take at once.

mod acceptor;
mod buffers;
mod coop;
mod hyper_io;
mod memory;
mod socket;
mod stream;
mod task;

use std::{
    future::{Future, poll_fn},
    io,
    os::fd::AsRawFd,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use io_uring::{cqueue, opcode, squeue, types::Fd};
use rustix::net;
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

pub(crate) use acceptor::AcceptError;
pub(crate) use acceptor::{AcceptedSocket, Acceptor};
pub(crate) use buffers::Buffer;
#[cfg(test)]
pub(crate) use coop::allowance_left;
pub(crate) use coop::{spend, yield_now};
pub(crate) use memory::{MemoryStream, poll_to_end};
use socket::Socket;
pub(crate) use stream::CloseMode;
pub(crate) use stream::{SendProgress, Stream};
pub(crate) use task::tasks;

/// Submission entries of a ring. A full queue is submitted early, so this bounds a batch, not the
/// number of connections.
const RING_ENTRIES: u32 = 1024;
/// Completion entries. Each overflow costs the kernel an allocation, so there is ample room.
const COMPLETION_ENTRIES: u32 = 8 * RING_ENTRIES;

/// A worker thread's event loop.
pub(crate) struct Runtime(tokio_uring::Runtime);

impl Runtime {
    /// Sets up the ring. Fails if the kernel has no io_uring or `kernel.io_uring_disabled`
    /// forbids it.
    pub(crate) fn new() -> io::Result<Runtime> {
        let mut ring = tokio_uring::uring_builder();
        // One thread submits (Linux 6.0), and completions wait for it to enter the kernel instead of
        // interrupting it. DEFER_TASKRUN would save more, but tokio-uring's submit never requests
        // events and hangs with it.
        ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
        ring.setup_cqsize(COMPLETION_ENTRIES);
        let mut builder = tokio_uring::builder();
        tokio_uring::Runtime::new(builder.entries(RING_ENTRIES).uring_builder(&ring)).map(Runtime)
    }

    /// Runs a future, and every task that it spawns, on this thread.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        self.0.block_on(poll_fn(|cx| {
            coop::refill();
            future.as_mut().poll(cx)
        }))
    }
}

/// Spawns a future on this worker's thread. A panic ends only that future.
pub(crate) fn spawn(future: impl Future + 'static) {
    tokio_uring::spawn(task::Task::new(future));
}

/// Sleeps for a duration.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Limits a future to a duration.
pub(crate) async fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// Limits a future by a deadline.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    tokio::time::timeout_at(deadline.into(), future).await.map_err(|_| Elapsed)
}

/// A [`timeout`] passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// An operation in flight keeps these alive: the buffer that the kernel reads, and the descriptor,
/// which must not be closed and reused by another socket before the entry is submitted.
type Held = (Vec<u8>, Rc<Socket>);

/// Returns the result and the buffer.
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

fn submit(entry: squeue::Entry, buffer: Vec<u8>, socket: &Rc<Socket>) -> Operation {
    UnsubmittedOneshot::new((buffer, Rc::clone(socket)), Finish, entry).submit()
}

fn submit_poll(socket: &Rc<Socket>, events: i16) -> Operation {
    let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events as u32).build();
    submit(entry, Vec::new(), socket)
}

/// Sends `buffer[from..to]`; after a short send the kernel continues by itself if it can.
fn submit_send(socket: &Rc<Socket>, buffer: Vec<u8>, from: usize, to: usize) -> Operation {
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
