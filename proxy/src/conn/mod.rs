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
mod permit;
mod registry;
mod spec;
mod splice;
mod steer;
mod upgrade;

use std::{cell::RefCell, net::SocketAddr, os::fd::OwnedFd, rc::Rc, sync::Arc, time::Instant};

use rustls::ProtocolVersion;

use crate::{
    http,
    listener::Service,
    observe::{ClosedReason, ConnectionRecord, TlsVersion, WorkerObserver},
    rt, steering,
    tls::{ServerTls, TlsStream, Transport},
};

pub use hello::Received;
pub use permit::Permit;
pub use registry::{Entry, Registry};
pub use spec::Settings;

/// What a configuration means to connections; part of a snapshot.
#[derive(Debug)]
pub struct Front {
    /// `None` takes plain HTTP (`insecure_server`).
    pub tls: Option<ServerTls>,
    /// Deadlines and limits.
    pub settings: Settings,
    /// Where names belong.
    pub steering: Arc<steering::Rules>,
}

/// This worker's place among the others.
pub type Desk = steering::Desk<Accepted>;

/// What a worker's connections share.
pub struct Context {
    front: RefCell<Arc<Front>>,
    /// For their requests.
    pub http: Rc<http::Context>,
    /// What they count and log into.
    pub observer: Rc<WorkerObserver>,
    /// Which of them are open.
    pub registry: Registry,
    /// Which of them go to another worker.
    pub desk: Rc<Desk>,
}

impl Context {
    /// For a worker that begins with this front.
    pub fn new(
        front: Arc<Front>,
        http: Rc<http::Context>,
        observer: Rc<WorkerObserver>,
        desk: Rc<Desk>,
    ) -> Self {
        let front = RefCell::new(front);
        Context { front, http, observer, registry: Registry::default(), desk }
    }

    /// The front for new connections.
    pub fn front(&self) -> Arc<Front> {
        self.front.borrow().clone()
    }

    /// Changes the front for connections to come.
    pub fn set_front(&self, front: Arc<Front>) {
        self.front.replace(front);
    }

    /// Tells the other workers what this one carries.
    pub fn publish_load(&self) {
        let limit = self.front.borrow().settings.max_connections_per_worker;
        self.desk.set_open(self.registry.len(), limit);
    }

    /// Waits for every connection to finish what it does, which it was told to; cuts off those that
    /// take too long.
    pub async fn drain(&self, deadline: Instant) {
        if rt::timeout_at(deadline, self.registry.emptied()).await.is_err() {
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
    /// When it was accepted.
    pub since: Instant,
    /// For as long as it is open.
    pub permit: Permit,
    /// What another worker, which handed it over, has read of it.
    pub hello: Option<Received>,
}

/// Serves a connection from its first byte to its last, or to the hello that says that it belongs
/// to another worker. Its entry is made when it is accepted, so that no drain overlooks it.
pub async fn serve(context: &Rc<Context>, accepted: Accepted, entry: Entry) {
    let open = Open::new(context);
    context.publish_load();
    let reason = serve_accepted(context, accepted, &entry).await;
    drop(entry);
    drop(open);
    if let Some(reason) = reason {
        context.observer.metrics.connections_closed.inc(reason);
    }
}

/// Counts a connection as open, also when its task panics. To be dropped after its entry.
struct Open<'a>(&'a Context);

impl Open<'_> {
    fn new(context: &Context) -> Open<'_> {
        context.observer.metrics.connections_active.inc();
        Open(context)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.observer.metrics.connections_active.dec();
        self.0.publish_load();
    }
}

/// How it ended; `None` when another worker goes on with it.
async fn serve_accepted(
    context: &Rc<Context>,
    accepted: Accepted,
    entry: &Entry,
) -> Option<ClosedReason> {
    let front = context.front();
    let Accepted { socket, peer, local, service, since, permit, hello } = accepted;
    let mut permit = Some(permit);
    let stream = rt::Stream::new(socket);
    let connection = Connection { context, front: &front, entry, peer, local, since };
    let reason = match (service, &front.tls) {
        (Service::Redirect, _) => {
            let facts = Rc::new(http::Facts::new(peer, local));
            http1::redirect(connection, Transport::Plain(stream), facts).await
        }
        (Service::Routes, None) => {
            context.desk.settle();
            let facts = Rc::new(http::Facts::new(peer, local));
            http1::serve(connection, Transport::Plain(stream), facts).await
        }
        (Service::Routes, Some(tls)) => {
            // Boxed, as whatever else happens once in a connection: its task keeps the size of its
            // largest part for as long as it idles.
            let handshake =
                Box::pin(handshake::accept(&connection, stream, hello, &mut permit, tls));
            let stream = match handshake.await {
                handshake::Outcome::Done(stream) => stream,
                handshake::Outcome::Failed => return Some(ClosedReason::Handshake),
                handshake::Outcome::HandedOver => return None,
            };
            let facts = Rc::new(tls_facts(peer, local, &stream, tls));
            let is_http2 = stream.session().alpn_protocol() == Some(b"h2");
            let transport = Transport::Tls(stream);
            if is_http2 {
                http2::serve(connection, transport, facts).await
            } else {
                http1::serve(connection, transport, facts).await
            }
        }
    };
    Some(reason)
}

/// What the parts of a connection's way have in common.
#[derive(Clone, Copy)]
struct Connection<'a> {
    context: &'a Rc<Context>,
    front: &'a Front,
    entry: &'a Entry,
    peer: SocketAddr,
    local: SocketAddr,
    since: Instant,
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
