//! How many connections there may be.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    conn::{self, Permit},
    observe::{ConnectionRecord, RefusedReason},
};

/// Counts a new connection in, or refuses it.
pub(super) fn permit(
    context: &conn::Context,
    open: &Arc<AtomicUsize>,
    peer: SocketAddr,
) -> Option<Permit> {
    // First, since a worker's limit is the same where it is not configured.
    if open.load(Relaxed) >= context.front().settings.max_connections {
        refuse(context, peer, RefusedReason::GlobalLimit);
        return None;
    }
    if is_full(context) {
        refuse(context, peer, RefusedReason::WorkerLimit);
        return None;
    }
    Some(Permit::new(open))
}

/// Whether this worker has as many connections as it may have.
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
