//! The limits on open connections.

use std::net::SocketAddr;

use crate::{
    conn::{Admission, ConnectionServer},
    observe::{ConnectionRecord, RefusedReason},
};

/// Admits a new connection, or refuses it.
pub(super) fn admit(server: &ConnectionServer, peer: SocketAddr) -> Option<Admission> {
    // Checked first, since a worker's limit equals this one if it is not configured.
    if server.open.count_all() >= server.settings().max_connections {
        refuse(server, peer, RefusedReason::GlobalLimit);
        return None;
    }
    if is_full(server) {
        refuse(server, peer, RefusedReason::WorkerLimit);
        return None;
    }
    Some(server.open.admit())
}

/// Whether this worker has reached its limit.
pub(super) fn is_full(server: &ConnectionServer) -> bool {
    server.registry.len() >= server.settings().max_connections_per_worker
}

/// Counts and records a connection that is closed at once.
pub(super) fn refuse(server: &ConnectionServer, peer: SocketAddr, refused: RefusedReason) {
    server.observer.metrics.connections_refused.inc(refused);
    server.observer.log_connection(&ConnectionRecord {
        peer,
        sni: None,
        reason: match refused {
            RefusedReason::WorkerLimit => "portcullis.max_connections_per_worker is reached",
            RefusedReason::GlobalLimit => "portcullis.max_connections is reached",
            RefusedReason::UnknownPeer => "the kernel gave no IP address for the client",
        },
        alert: None,
        tls_version: None,
        client_certificate: None,
    });
}
