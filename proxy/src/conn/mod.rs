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

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use rustls::ProtocolVersion;

use crate::{
    http,
    listener::Service,
    observe::{ClosedReason, ConnectionRecord, TlsVersion, WorkerObserver},
    rt, steering,
    tls::{ServerTls, TlsStream, Transport},
};

pub use hello::Received;
use permit::Permit;
pub use permit::{Admission, OpenConnections, WorkerConnections};
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
    /// How many are open.
    pub open: WorkerConnections,
}

impl Context {
    /// For a worker that begins with this front.
    pub fn new(
        front: Arc<Front>,
        http: Rc<http::Context>,
        observer: Rc<WorkerObserver>,
        desk: Rc<Desk>,
        open: WorkerConnections,
    ) -> Self {
        let front = RefCell::new(front);
        Context { front, http, observer, registry: Registry::default(), desk, open }
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
    /// It is counted as open.
    pub admission: Admission,
    /// What another worker, which handed it over, has read of it.
    pub hello: Option<Box<Received>>,
}

/// Serves a connection from its first byte to its last, or to the hello that says that it belongs
/// to another worker. Its entry is made when it is accepted, so that no drain overlooks it.
///
/// Not an `async fn`, which would keep room for what it is given twice, as captured and as taken
/// apart, for as long as the connection idles.
pub fn serve(context: Rc<Context>, accepted: Accepted, entry: Entry) -> impl Future<Output = ()> {
    let Accepted { socket, peer, local, service, since, admission, hello } = accepted;
    let open = Open::new(&context);
    context.publish_load();
    let front = context.front();
    let permit = Cell::new(Some(context.open.take_over(admission)));
    let connection = Connection { context, front, peer, local, since, permit, entry, _open: open };
    async move {
        let reason = serve_accepted(&connection, service, socket, hello).await;
        let context = Rc::clone(&connection.context);
        drop(connection);
        if let Some(reason) = reason {
            context.observer.metrics.connections_closed.inc(reason);
        }
    }
}

/// Counts a connection as open, also when its task panics. To be dropped after its entry.
struct Open(Rc<Context>);

impl Open {
    fn new(context: &Rc<Context>) -> Open {
        context.observer.metrics.connections_active.inc();
        Open(Rc::clone(context))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.observer.metrics.connections_active.dec();
        self.0.publish_load();
    }
}

/// How it ended; `None` when another worker goes on with it.
async fn serve_accepted(
    connection: &Connection,
    service: Service,
    socket: OwnedFd,
    hello: Option<Box<Received>>,
) -> Option<ClosedReason> {
    let reason = match (service, &connection.front.tls) {
        (Service::Redirect, _) => {
            let facts = Rc::new(http::Facts::new(connection.peer, connection.local));
            http1::redirect(connection, plain(socket), facts).await
        }
        (Service::Routes, None) => {
            connection.context.desk.settle();
            let facts = Rc::new(http::Facts::new(connection.peer, connection.local));
            http1::serve(connection, plain(socket), facts).await
        }
        (Service::Routes, Some(tls)) => {
            // Boxed, as whatever else happens once in a connection: its task keeps the size of its
            // largest part for as long as it idles.
            let stream = rt::Stream::new(socket);
            let stream = match Box::pin(handshake::accept(connection, stream, hello, tls)).await {
                handshake::Outcome::Done(stream) => stream,
                handshake::Outcome::Failed => return Some(ClosedReason::Handshake),
                handshake::Outcome::HandedOver => return None,
            };
            let facts = Rc::new(tls_facts(connection, &stream, tls));
            let is_http2 = stream.session().alpn_protocol() == Some(b"h2");
            let transport = Transport::Tls(stream);
            if is_http2 {
                // Boxed: larger than what an HTTP/1 connection idles with.
                Box::pin(http2::serve(connection, transport, facts)).await
            } else {
                http1::serve(connection, transport, facts).await
            }
        }
    };
    Some(reason)
}

fn plain(socket: OwnedFd) -> Transport {
    Transport::Plain(Box::new(rt::Stream::new(socket)))
}

/// What the parts of a connection's way have in common.
struct Connection {
    context: Rc<Context>,
    front: Arc<Front>,
    peer: SocketAddr,
    local: SocketAddr,
    since: Instant,
    /// Until another worker has it.
    permit: Cell<Option<Permit>>,
    entry: Entry,
    _open: Open,
}

impl Connection {
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

fn tls_facts(connection: &Connection, stream: &TlsStream, tls: &ServerTls) -> http::Facts {
    let session = stream.session();
    let chain = session.peer_certificates().unwrap_or_default();
    let mut facts = http::Facts::new(connection.peer, connection.local);
    facts.tls_version = Some(tls_version(session.protocol_version()));
    facts.sni = stream.context().and_then(|context| context.server_name()).map(Into::into);
    facts.certificate_asked = tls.client_auth().asks(facts.sni.as_deref());
    facts.client_certificate = http::ClientCertificate::shown(chain, facts.sni.as_deref());
    facts
}

fn tls_version(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Unknown,
    }
}
