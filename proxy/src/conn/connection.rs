//! One connection, from its accept to its close.

use std::{cell::Cell, net::SocketAddr, os::fd::OwnedFd, rc::Rc, time::Instant};

use super::{
    Admission, ConnectionServer, ConnectionSettings, ReceivedHello, Registration, permit::Permit,
};
use crate::{
    http::Peer,
    listener::Service,
    observe::{ConnectionRecord, Level},
};

/// What handling a request costs, in bytes that are copied in the same time. A client that sends many
/// at once gets no more of them handled in a poll than others have time for.
pub(super) const REQUEST_COST_BYTES: usize = 16 * 1024;

/// A connection that a worker has accepted, or another worker has handed to it.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Its socket.
    pub socket: OwnedFd,
    /// The address at the other end of the socket.
    pub peer: SocketAddr,
    /// The service of its listener.
    pub service: Service,
    /// When it was accepted.
    pub since: Instant,
    /// It is counted as open.
    pub admission: Admission,
    /// The hello, if another worker has read it.
    pub hello: Option<Box<ReceivedHello>>,
}

/// An open connection: what every stage of its way needs.
///
/// It knows the address at the other end of its socket and no more of the client: the [`Peer`] is made
/// once the first bytes have been read.
pub(super) struct OpenConnection {
    pub(super) server: Rc<ConnectionServer>,
    pub(super) settings: Rc<ConnectionSettings>,
    pub(super) socket_peer: SocketAddr,
    pub(super) since: Instant,
    /// Gone once another worker has the connection.
    pub(super) permit: Cell<Option<Permit>>,
    pub(super) registration: Registration,
    pub(super) _open: OpenGuard,
}

impl OpenConnection {
    /// Leaves a record of a connection that failed before or beside its requests.
    pub(super) fn record_failure(&self, peer: &Peer, reason: &str) {
        self.server.observer.log_connection(&ConnectionRecord {
            level: Level::Info,
            peer: peer.address,
            sni: peer.server_name().map(str::as_bytes),
            reason,
            alert: None,
            tls_version: peer.tls_version(),
            client_certificate: None,
        });
    }
}

/// Counts a connection as open, even if its task panics. To be dropped after its registration.
pub(super) struct OpenGuard(Rc<ConnectionServer>);

impl OpenGuard {
    pub(super) fn new(server: &Rc<ConnectionServer>) -> OpenGuard {
        server.observer.metrics.connections_active.inc();
        OpenGuard(Rc::clone(server))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.observer.metrics.connections_active.dec();
        self.0.publish_load();
    }
}
