//! HTTP over a connected transport: hyper's client handles, and the futures that drive them.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    client::conn::{http1, http2},
    rt::{Executor, Write},
};
use tokio::sync::oneshot;

use super::{
    answer_io::{AnswerIo, WriteFailure},
    body::SentBody,
    frame_limit::UpstreamTraffic,
    head_limit::HeadAllowance,
    pool::{Limits, Pooled},
};
use crate::{rt, tls::ObservedRead};

/// The header fields that hyper reads by default, without an allocation.
pub(super) const HYPER_DEFAULT_HEADERS: u16 = 100;
/// The most bytes in a response's head, as for requests.
const MAX_HEAD_BYTES: u32 = 128 * 1024;
/// The flow-control window of a stream, in bytes: how much an upstream may send before we have
/// passed it on.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// The same for a whole connection: as much as all its streams may hold, so that clients that read
/// slowly never stop the others on their connection. Bounds what a connection holds (32 MiB).
const CONNECTION_WINDOW_BYTES: u32 = Limits::DEFAULT.max_streams as u32 * STREAM_WINDOW_BYTES;
/// Streams that may be open before the peer's SETTINGS have come (RFC 9113 section 6.5.2 asks peers
/// to allow at least as many).
const FIRST_MAX_STREAMS: usize = 100;
/// How long closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP/1.1 connection, one request at a time. Its driver ends soon after this is dropped.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<SentBody>,
    /// Boxed: a request holds and moves the size of its connection.
    pub(super) address: Option<Box<IpAddr>>,
    pub(super) head: Rc<HeadAllowance>,
    /// The upstream reads nothing any more.
    pub(super) write_failure: WriteFailure,
    _alive: oneshot::Sender<Infallible>,
}

/// An HTTP/2 connection. Its driver ends soon after this is dropped, which streams hold.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<SentBody>,
    pub(super) address: Option<IpAddr>,
    pub(super) traffic: Rc<UpstreamTraffic>,
    _alive: oneshot::Sender<Infallible>,
}

impl Pooled for Http1 {
    fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Pooled for Http2 {
    fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Speaks HTTP/1.1, and reads responses of at most so many header fields. Nothing moves until the
/// driver runs.
pub(super) async fn http1<T>(
    io: T,
    address: Option<IpAddr>,
    max_headers: u16,
) -> hyper::Result<(Http1, Http1Driver<T>)>
where
    T: ObservedRead + Write + Unpin,
{
    let head = Rc::new(HeadAllowance::new());
    let io = AnswerIo::new(io, &head);
    let write_failure = io.failure();
    let mut builder = http1::Builder::new();
    builder
        .preserve_header_case(true) // passed on to clients, who may look
        // The space is removed (RFC 9112 section 5.1).
        .allow_spaces_after_header_name_in_responses(true)
        .max_header_size(MAX_HEAD_BYTES as usize);
    if max_headers != HYPER_DEFAULT_HEADERS {
        builder.max_headers(max_headers.into());
    }
    let (sender, connection) = builder.handshake(io).await?;
    let (alive, released) = oneshot::channel();
    let address = address.map(Box::new);
    let http1 = Http1 { sender, address, head, write_failure, _alive: alive };
    Ok((http1, Http1Driver { connection, released }))
}

/// The driver of an [`Http1`].
#[derive(Debug)]
pub(super) struct Http1Driver<T: ObservedRead + Write + Unpin> {
    connection: http1::Connection<AnswerIo<T, HeadAllowance>, SentBody>,
    /// Resolves once the [`Http1`] is dropped.
    released: oneshot::Receiver<Infallible>,
}

impl<T: ObservedRead + Write + Unpin> Http1Driver<T> {
    /// Moves bytes until the connection ends.
    pub(super) async fn run(self) {
        // Each request has already received the error, and an idle connection has no request.
        let _ = unless_released(self.connection, self.released).await;
    }

    /// The same, but returns the connection once the upstream has switched protocols. If it did not
    /// switch, the connection is closed.
    pub(super) async fn run_until_upgrade(self, parts: oneshot::Sender<SwitchedIo<T>>) {
        let connection = pin!(self.connection.without_shutdown());
        let Some(Ok(done)) = unless_released(connection, self.released).await else { return };
        let switched = SwitchedIo { io: done.io.into_inner(), received: done.read_buf };
        if let Err(mut unwanted) = parts.send(switched) {
            let close = poll_fn(|cx| Pin::new(&mut unwanted.io).poll_shutdown(cx));
            let _ = rt::timeout(CLOSE_TIMEOUT, close).await;
        }
    }
}

/// A connection that has left HTTP.
#[derive(Debug)]
pub(super) struct SwitchedIo<T> {
    pub(super) io: T,
    /// Bytes that arrived behind the 101.
    pub(super) received: Bytes,
}

/// Gives a released connection some time to close in order, then drops it: an upstream that stops
/// reading would keep it open for ever.
async fn unless_released<F: Future + Unpin>(
    mut connection: F,
    released: oneshot::Receiver<Infallible>,
) -> Option<F::Output> {
    let mut overdue = pin!(async {
        let _ = released.await;
        rt::sleep(CLOSE_TIMEOUT).await;
    });
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => overdue.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// The result of [`http2`].
pub(super) struct Http2Parts<D> {
    pub(super) connection: Http2,
    /// Streams that the peer allows, kept up to date by the driver.
    pub(super) max_streams: Rc<Cell<usize>>,
    pub(super) driver: D,
}

/// Speaks HTTP/2.
pub(super) async fn http2<T>(
    io: T,
    address: Option<IpAddr>,
) -> hyper::Result<Http2Parts<impl Future<Output = ()>>>
where
    T: ObservedRead + Write + Unpin + 'static,
{
    let traffic = Rc::new(UpstreamTraffic::new(Instant::now()));
    let (alive, released) = oneshot::channel();
    let executor = Http2Executor { released: Rc::new(Cell::new(Some(released))) };
    let (sender, mut connection) = http2::Builder::new(executor)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES)
        .handshake(AnswerIo::new(io, &traffic))
        .await?;
    let max_streams = Rc::new(Cell::new(FIRST_MAX_STREAMS));
    let limit = max_streams.clone();
    let driver = poll_fn(move |cx| {
        let driven = Pin::new(&mut connection).poll(cx);
        limit.set(connection.current_max_send_streams());
        // Each request has already received the error, and an idle connection has no request.
        driven.map(drop)
    });
    let connection = Http2 { sender, address, traffic, _alive: alive };
    Ok(Http2Parts { connection, max_streams, driver })
}

/// Spawns hyper's tasks for one connection: first the task that moves its bytes, which ends soon after
/// the connection is released, then those of streams.
#[derive(Clone)]
struct Http2Executor {
    /// Resolves once the [`Http2`] is dropped; gone with the first task.
    released: Rc<Cell<Option<oneshot::Receiver<Infallible>>>>,
}

impl<F> Executor<F> for Http2Executor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        match self.released.take() {
            Some(released) => rt::spawn(async move {
                unless_released(Box::pin(future), released).await;
            }),
            None => rt::spawn(future),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, task::Context};

    use hyper::rt::{Read, ReadBufCursor};

    use super::*;

    /// A connection to a peer that sends nothing and at some point stops reading. It is open as
    /// long as the flag is shared.
    struct Stuck(Rc<Cell<bool>>);

    impl Stuck {
        fn ready<T>(&self, value: T) -> Poll<io::Result<T>> {
            if self.0.get() { Poll::Pending } else { Poll::Ready(Ok(value)) }
        }
    }

    impl Read for Stuck {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl ObservedRead for Stuck {
        fn poll_read_observed(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: ReadBufCursor<'_>,
            _observe: &mut dyn FnMut(&[u8]),
        ) -> Poll<io::Result<()>> {
            self.poll_read(cx, buf)
        }
    }

    impl Write for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.ready(buf.len())
        }
        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.ready(())
        }
        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.ready(())
        }
    }

    fn paused(test: impl Future<Output = ()>) {
        crate::upstream::testing::run(async {
            tokio::time::pause();
            test.await;
        });
    }

    async fn closes_in_time<C>(connection: C, stuck: &Rc<Cell<bool>>) {
        let is_open = || Rc::strong_count(stuck) > 1;
        stuck.set(true);
        rt::sleep(CLOSE_TIMEOUT * 3).await;
        assert!(is_open());
        drop(connection);
        rt::sleep(CLOSE_TIMEOUT / 2).await;
        assert!(is_open());
        rt::sleep(CLOSE_TIMEOUT).await;
        assert!(!is_open());
    }

    #[test]
    fn a_released_http1_connection_ends_if_its_peer_stops_reading() {
        paused(async {
            let stuck = Rc::default();
            let (connection, driver) = http1(Stuck(Rc::clone(&stuck)), None, 100).await.unwrap();
            rt::spawn(driver.run());
            closes_in_time(connection, &stuck).await;
        });
    }

    #[test]
    fn a_released_http2_connection_ends_if_its_peer_stops_reading() {
        paused(async {
            let stuck = Rc::default();
            let parts = http2(Stuck(Rc::clone(&stuck)), None).await.unwrap();
            rt::spawn(parts.driver);
            closes_in_time(parts.connection, &stuck).await;
        });
    }
}
