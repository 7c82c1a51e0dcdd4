//! The only file that names the io_uring runtime: streams, timers, spawn, hyper adapters.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    task::{Context, Poll},
    time::Duration,
};

/// A connected stream socket (TCP or Unix) driven by this thread's ring.
///
/// The narrow seam TLS runs over: bytes are received into a caller's buffer once the socket is
/// readable, and sent from buffers that the kernel owns while a send is in flight. Dropping it
/// closes the socket, whatever was in flight.
#[derive(Debug)]
pub struct Stream {}

impl Stream {
    /// Connects over TCP.
    pub async fn connect_tcp(_address: SocketAddr) -> io::Result<Stream> {
        unimplemented!()
    }

    /// Connects to a Unix socket.
    pub async fn connect_unix(_path: &Path) -> io::Result<Stream> {
        unimplemented!()
    }
}

/// Runs a future on this worker's thread, beside the caller.
pub fn spawn(_future: impl Future<Output = ()> + 'static) {
    unimplemented!()
}

/// Waits.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Gives up on a future after a time. The future is dropped then, so it must be one that may be.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// A [`timeout`] passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Spawns hyper's own tasks on this worker's thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        spawn(async move {
            future.await;
        });
    }
}

/// Plain text over a [`Stream`], for hyper.
impl hyper::rt::Read for Stream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        unimplemented!()
    }
    fn poll_flush(self: std::pin::Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}
