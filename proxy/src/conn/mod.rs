//! One client connection: hello, TLS, HTTP, close; exactly one record of how it ended.

mod activity;
mod close;
mod frames;
mod handshake;
mod hello;
mod http1;
mod http2;
mod leave;
mod link;
mod registry;
mod spec;
mod splice;
mod upgrade;

use std::{cell::RefCell, net::SocketAddr, os::fd::OwnedFd, rc::Rc, sync::Arc};

use rustls::ProtocolVersion;

use crate::{
    http,
    listener::Service,
    observe::{Cell, ClosedReason, ConnectionRecord, TlsVersion, WorkerObserver},
    rt,
    tls::{ServerTls, TlsStream, Transport},
};

pub use registry::Registry;
pub use spec::Settings;

/// What a configuration means to connections; part of a snapshot.
#[derive(Debug)]
pub struct Front {
    /// `None` takes plain HTTP (`insecure_server`).
    pub tls: Option<ServerTls>,
    /// Deadlines and limits.
    pub settings: Settings,
}

/// What a worker's connections share.
pub struct Context {
    front: RefCell<Arc<Front>>,
    /// For their requests.
    pub http: Rc<http::Context>,
    /// What they count and log into.
    pub observer: Rc<WorkerObserver>,
    /// Which of them are open.
    pub registry: Registry,
}

impl Context {
    /// For a worker that begins with this front.
    pub fn new(front: Arc<Front>, http: Rc<http::Context>, observer: Rc<WorkerObserver>) -> Self {
        Context { front: RefCell::new(front), http, observer, registry: Registry::default() }
    }

    /// The front for new connections.
    pub fn front(&self) -> Arc<Front> {
        self.front.borrow().clone()
    }

    /// Changes the front for connections to come.
    pub fn set_front(&self, front: Arc<Front>) {
        self.front.replace(front);
    }

    /// Lets every connection finish what it does; cuts off those that take too long.
    pub async fn drain(&self) {
        self.registry.drain();
        let limit = self.front().settings.drain_timeout;
        if rt::timeout(limit, self.registry.emptied()).await.is_err() {
            for _ in 0..self.registry.len() {
                self.observer.metrics.connections_closed.inc(ClosedReason::DrainTimeout);
            }
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub socket: OwnedFd,
    /// The client.
    pub peer: SocketAddr,
    /// The listener.
    pub local: SocketAddr,
    /// What it gets.
    pub service: Service,
}

/// Serves a connection from its first byte to its last.
pub async fn serve(context: &Rc<Context>, accepted: Accepted) {
    let entry = context.registry.enter();
    let metrics = &context.observer.metrics;
    let active = Active::new(&metrics.connections_active);
    let reason = serve_accepted(context, accepted, &entry).await;
    drop(active);
    metrics.connections_closed.inc(reason);
}

/// Counts a connection as active, also when its task panics.
struct Active<'a>(&'a Cell);

impl Active<'_> {
    fn new(active: &Cell) -> Active<'_> {
        active.inc();
        Active(active)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn serve_accepted(
    context: &Rc<Context>,
    accepted: Accepted,
    entry: &registry::Entry,
) -> ClosedReason {
    let front = context.front();
    let Accepted { socket, peer, local, service } = accepted;
    let stream = rt::Stream::new(socket);
    let connection = Connection { context, front: &front, entry, peer };
    match (service, &front.tls) {
        (Service::Redirect, _) => {
            let facts = Rc::new(http::Facts::new(peer, local));
            http1::redirect(connection, Transport::Plain(stream), facts).await
        }
        (Service::Routes, None) => {
            let facts = Rc::new(http::Facts::new(peer, local));
            http1::serve(connection, Transport::Plain(stream), facts).await
        }
        (Service::Routes, Some(tls)) => {
            // Boxed, as whatever else happens once in a connection: its task keeps the size of its
            // largest part for as long as it idles.
            let handshake = Box::pin(handshake::accept(&connection, stream, tls));
            let Some(stream) = handshake.await else {
                return ClosedReason::Handshake;
            };
            let facts = Rc::new(tls_facts(peer, local, &stream, tls));
            let is_http2 = stream.session().alpn_protocol() == Some(b"h2");
            let transport = Transport::Tls(Box::new(stream));
            if is_http2 {
                http2::serve(connection, transport, facts).await
            } else {
                http1::serve(connection, transport, facts).await
            }
        }
    }
}

/// What the parts of a connection's way have in common.
#[derive(Clone, Copy)]
struct Connection<'a> {
    context: &'a Rc<Context>,
    front: &'a Front,
    entry: &'a registry::Entry,
    peer: SocketAddr,
}

impl Connection<'_> {
    /// Leaves a record of a connection that failed before or beside its requests.
    fn record_failure(&self, facts: &http::Facts, reason: &str) {
        self.context.observer.log_connection(&ConnectionRecord {
            peer: self.peer,
            sni: facts.sni.as_deref().map(str::as_bytes),
            reason,
            alert: None,
            tls_version: facts.tls_version,
            client_certificate: None,
        });
    }
}

fn tls_facts(
    peer: SocketAddr,
    local: SocketAddr,
    stream: &TlsStream,
    tls: &ServerTls,
) -> http::Facts {
    let session = stream.session();
    let chain = session.peer_certificates().unwrap_or_default();
    let mut facts = http::Facts::new(peer, local);
    facts.tls_version = Some(tls_version(session.protocol_version()));
    facts.sni = stream.context().and_then(|context| context.server_name()).map(Into::into);
    facts.certificate_asked = tls.client_auth().asks(facts.sni.as_deref());
    facts.client_certificate = http::ClientCertificate::new(chain);
    facts
}

fn tls_version(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Unknown,
    }
}
