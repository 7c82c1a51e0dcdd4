//! Accepting and serving the connections of one listener.

use std::{
    convert::Infallible,
    future, io,
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
    respond::{Asked, Scope, Shown, respond},
};

/// The most open connections of one listener; more are closed at once.
const MAX_CONNECTIONS: usize = 64;

/// From accept to the end of the one request that a connection carries.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Between two tries to accept where there are no descriptors left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A bound socket with what is served on it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) scope: Scope,
    pub(super) access: Arc<ArcSwap<Access>>,
    pub(super) shown: Shown,
}

impl Listener {
    /// Gives the socket to the runtime, and the loop that serves it for ever.
    pub(super) fn into_accept_loop(self) -> io::Result<impl Future<Output = ()> + Send> {
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        Ok(accept_loop(socket, Arc::new(self)))
    }
}

async fn accept_loop(socket: tokio::net::TcpListener, listener: Arc<Listener>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin listener cannot accept");
                time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let listener = listener.clone();
        tokio::spawn(async move {
            // Whoever is late, or not let in, is simply gone.
            let _ = time::timeout(CONNECTION_TIMEOUT, serve(stream, peer, &listener)).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, listener: &Listener) {
    let access = listener.access.load_full();
    match &access.tls {
        None => serve_http(TokioIo::new(stream), peer, &access, listener).await,
        Some(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            match acceptor.accept(stream).await {
                Ok(stream) => serve_http(TokioIo::new(stream), peer, &access, listener).await,
                Err(error) => tracing::debug!(%error, "TLS handshake on the metrics listener"),
            }
        }
    }
}

async fn serve_http<S: Read + Write + Unpin>(
    stream: S,
    peer: SocketAddr,
    access: &Access,
    listener: &Listener,
) {
    let service = service_fn(|request: Request<Incoming>| {
        future::ready(Ok::<_, Infallible>(answer(&request, peer, access, listener)))
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection of the admin listener");
    }
}

fn answer(
    request: &Request<Incoming>,
    peer: SocketAddr,
    access: &Access,
    listener: &Listener,
) -> Response<String> {
    let asked = Asked {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        peer,
    };
    respond(&asked, listener.scope, access.password.as_ref(), &listener.shown)
}
