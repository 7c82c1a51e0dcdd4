//! How many connections there may be.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    conn::{ConnectionServer, Permit},
    observe::{ConnectionRecord, RefusedReason},
};

/// Counts a new connection in, or refuses it.
pub(super) fn permit(
    server: &ConnectionServer,
    open: &Arc<AtomicUsize>,
    peer: SocketAddr,
) -> Option<Permit> {
    // First, since a worker's limit is the same where it is not configured.
    if open.load(Relaxed) >= server.settings().max_connections {
        refuse(server, peer, RefusedReason::GlobalLimit);
        return None;
    }
    if is_full(server) {
        refuse(server, peer, RefusedReason::WorkerLimit);
        return None;
    }
    Some(Permit::new(open))
}

/// Whether this worker has as many connections as it may have.
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
