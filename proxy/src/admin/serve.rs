//! Accepting and serving the connections of one listener.

use std::{convert::Infallible, future, io, net::TcpListener, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsAcceptor;

use super::{
    access::Access,
    connections::{AdminConnections, HeadReceived},
    respond::{AdminRequest, AdminState, Pages, respond},
};

/// From accept, or from the end of the TLS handshake, to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// From accept to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// From accept to the end of the connection's only request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Between two tries to accept while no descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A listening socket with what is served on it.
#[derive(Debug)]
pub(super) struct AdminListener {
    pub(super) socket: TcpListener,
    pub(super) pages: Pages,
    pub(super) access: Arc<ArcSwap<Access>>,
    pub(super) state: AdminState,
    /// The most open connections. Another one takes the place of the oldest.
    pub(super) connections: usize,
}

impl AdminListener {
    /// Registers the socket with the runtime. The future serves it forever.
    pub(super) fn into_accept_loop(self) -> io::Result<impl Future<Output = ()> + Send> {
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        Ok(accept_loop(socket, Arc::new(self)))
    }
}

async fn accept_loop(socket: tokio::net::TcpListener, listener: Arc<AdminListener>) {
    let mut open = AdminConnections::new(listener.connections);
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept connections");
                time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        open.make_room();
        let (listener, head) = (listener.clone(), Arc::new(HeadReceived::default()));
        let arrived = Arc::clone(&head);
        let task = tokio::spawn(async move {
            // A client that is too slow, or not let in, needs no record.
            let _ = time::timeout(CONNECTION_TIMEOUT, serve(stream, &listener, &arrived)).await;
        });
        open.add(task, head);
    }
}

async fn serve(stream: TcpStream, listener: &AdminListener, head: &HeadReceived) {
    let access = listener.access.load_full();
    match &access.tls {
        None => serve_http(TokioIo::new(stream), &access, listener, head).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(config.clone()).accept(stream);
            match time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => serve_http(TokioIo::new(stream), &access, listener, head).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake on the metrics listener failed")
                }
                Err(_) => {}
            }
        }
    }
}

async fn serve_http<S: Read + Write + Unpin>(
    stream: S,
    access: &Access,
    listener: &AdminListener,
    head: &HeadReceived,
) {
    let service = service_fn(|request: Request<Incoming>| {
        head.set();
        future::ready(Ok::<_, Infallible>(answer(&request, access, listener)))
    });
    let serving = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service);
    let served = tokio::select! {
        served = serving => served,
        () = head_is_late(head) => return,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin listener failed");
    }
}

/// Waits until the time for a head is over; for ever once the head is there.
async fn head_is_late(head: &HeadReceived) {
    if time::timeout(HEAD_TIMEOUT, head.wait()).await.is_ok() {
        future::pending::<()>().await;
    }
}

fn answer(
    request: &Request<Incoming>,
    access: &Access,
    listener: &AdminListener,
) -> Response<String> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let request = AdminRequest { method, uri, headers };
    respond(&request, listener.pages, access, &listener.state)
}
