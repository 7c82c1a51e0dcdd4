//! Accepting and serving the connections of one listener.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time};
use tokio_rustls::TlsAcceptor;

use super::{
    access::Access,
    respond::{AdminRequest, AdminState, Pages, respond},
    session_orders,
};

/// The most open connections of one listener; it closes others at once.
const MAX_CONNECTIONS: usize = 64;

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
}

impl AdminListener {
    /// Registers the socket with the runtime. The future serves it forever.
    pub(super) fn into_accept_loop(self) -> io::Result<impl Future<Output = ()> + Send> {
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        Ok(accept_loop(socket, Arc::new(self)))
    }
}

async fn accept_loop(socket: tokio::net::TcpListener, listener: Arc<AdminListener>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept connections");
                time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let listener = listener.clone();
        tokio::spawn(async move {
            // A client that is too slow, or not let in, needs no record.
            let _ = time::timeout(CONNECTION_TIMEOUT, serve(stream, peer, &listener)).await;
            drop(slot);
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, listener: &AdminListener) {
    let access = listener.access.load_full();
    match &access.tls {
        None => serve_http(TokioIo::new(stream), peer, &access, listener).await,
        Some(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            match acceptor.accept(stream).await {
                Ok(stream) => serve_http(TokioIo::new(stream), peer, &access, listener).await,
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake on the metrics listener failed")
                }
            }
        }
    }
}

async fn serve_http<S: Read + Write + Unpin>(
    stream: S,
    peer: SocketAddr,
    access: &Access,
    listener: &AdminListener,
) {
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request, peer, access, listener).await)
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin listener failed");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    access: &Access,
    listener: &AdminListener,
) -> Response<String> {
    let (parts, body) = request.into_parts();
    let request = AdminRequest {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        peer,
    };
    if listener.pages == Pages::All
        && let Some(response) =
            session_orders::respond(&request, body, &listener.state.sessions).await
    {
        return response;
    }
    respond(&request, listener.pages, access.password.as_ref(), &listener.state)
}
