//! HTTP over a connected transport: hyper's client halves, and the futures that drive them.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
};

use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use tokio::sync::oneshot;

use super::{body::SentBody, pool::Pooled};
use crate::rt::LocalExecutor;

/// The most bytes in a response's head, as for requests.
const MAX_HEAD_BYTES: u32 = 128 * 1024;
/// What an HTTP/2 upstream may send before we have passed it on: enough for 1 MiB a round trip and
/// stream, and for some slow clients beside fast ones on one connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams that may be open before the peer's SETTINGS have come (RFC 9113 section 6.5.2 asks peers
/// to allow at least as many).
const FIRST_MAX_STREAMS: usize = 100;

/// An HTTP/1.1 connection, one request at a time.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<SentBody>,
    pub(super) address: Option<IpAddr>,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<SentBody>,
    pub(super) address: Option<IpAddr>,
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

/// Speaks HTTP/1.1. The connection must be driven: by polling it, or by [`drive_until_upgrade`].
pub(super) async fn http1<T>(
    io: T,
) -> hyper::Result<(http1::SendRequest<SentBody>, http1::Connection<T, SentBody>)>
where
    T: Read + Write + Unpin,
{
    // 100 header fields, hyper's default: they are parsed on the stack.
    http1::Builder::new()
        .preserve_header_case(true) // passed on to clients, who may look
        .max_header_size(MAX_HEAD_BYTES as usize)
        .handshake(io)
        .await
}

/// What [`http2`] makes.
pub(super) struct Http2Parts<D> {
    pub(super) sender: http2::SendRequest<SentBody>,
    /// Streams that the peer allows, kept up to date by the driver.
    pub(super) max_streams: Rc<Cell<usize>>,
    pub(super) driver: D,
}

/// Speaks HTTP/2.
pub(super) async fn http2<T>(io: T) -> hyper::Result<Http2Parts<impl Future<Output = ()>>>
where
    T: Read + Write + Unpin + 'static,
{
    let (sender, mut connection) = http2::Builder::new(LocalExecutor)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES)
        .handshake(io)
        .await?;
    let max_streams = Rc::new(Cell::new(FIRST_MAX_STREAMS));
    let limit = max_streams.clone();
    let driver = poll_fn(move |cx| {
        let driven = Pin::new(&mut connection).poll(cx);
        limit.set(connection.current_max_send_streams());
        // Each request has been told of an error; on an idle connection there is nobody to tell.
        driven.map(drop)
    });
    Ok(Http2Parts { sender, max_streams, driver })
}

/// Drives an HTTP/1.1 connection until it is over or has switched protocols, and hands it on.
/// Nobody waits for it where the upstream did not switch: it is closed then.
pub(super) async fn drive_until_upgrade<T>(
    connection: http1::Connection<T, SentBody>,
    parts: oneshot::Sender<http1::Parts<T>>,
) where
    T: Read + Write + Unpin,
{
    let Ok(done) = connection.without_shutdown().await else { return };
    if let Err(unwanted) = parts.send(done) {
        let mut io = unwanted.io;
        let _ = poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
    }
}
