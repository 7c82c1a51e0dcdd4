//! The limits on open connections.

use std::net::SocketAddr;

use crate::{
    conn::{self, Admission},
    observe::{ConnectionRecord, RefusedReason},
};

/// Admits a new connection, or refuses it.
pub(super) fn admit(context: &conn::Context, peer: SocketAddr) -> Option<Admission> {
    // First, since a worker's limit is the same if it is not configured.
    if context.open.count_all() >= context.front().settings.max_connections {
        refuse(context, peer, RefusedReason::GlobalLimit);
        return None;
    }
    if is_full(context) {
        refuse(context, peer, RefusedReason::WorkerLimit);
        return None;
    }
    Some(context.open.admit())
}

/// Whether this worker has reached its limit.
pub(super) fn is_full(context: &conn::Context) -> bool {
    context.registry.len() >= context.front().settings.max_connections_per_worker
}

/// Counts and records a connection that is closed at once.
pub(super) fn refuse(context: &conn::Context, peer: SocketAddr, refused: RefusedReason) {
    context.observer.metrics.connections_refused.inc(refused);
    context.observer.log_connection(&ConnectionRecord {
        peer,
        sni: None,
        reason: match refused {
            RefusedReason::WorkerLimit => "portcullis.max_connections_per_worker is reached",
            RefusedReason::GlobalLimit => "portcullis.max_connections is reached",
        },
        alert: None,
        tls_version: None,
        client_certificate: None,
    });
}
