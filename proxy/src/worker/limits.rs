//! The limits on open connections. At a limit, connections that idle make room for new ones.

use std::net::SocketAddr;

use crate::{
    conn::{Admission, ConnectionServer, ConnectionSettings},
    descriptors,
    observe::{ConnectionRecord, Level, RefusedReason},
};

/// How many connections may be closing to make room, in addition to this worker's part of those that
/// the budget of descriptors allows.
const MORE_EVICTED: usize = 4;

/// Admits a new connection, or refuses it.
pub(super) fn admit(server: &ConnectionServer, peer: SocketAddr) -> Option<Admission> {
    let settings = server.settings();
    // Checked first, since a worker's limit equals this one if it is not configured.
    let reached = || match is_full(server, &settings) {
        true => Some(RefusedReason::GlobalLimit),
        false => is_worker_full(server, &settings).then_some(RefusedReason::WorkerLimit),
    };
    match make_room(server, &settings, reached) {
        Ok(()) => Some(server.open.admit()),
        Err(reason) => {
            refuse(server, peer, reason);
            None
        }
    }
}

/// Makes room at this worker for a connection that was admitted by another.
pub(super) fn make_room_here(server: &ConnectionServer) -> Result<(), RefusedReason> {
    let settings = server.settings();
    let reached = || is_worker_full(server, &settings).then_some(RefusedReason::WorkerLimit);
    make_room(server, &settings, reached)
}

/// Tells one idle connection to go if the process is at its limit. Called now and then by every
/// worker, so that a client finds room at a worker none of whose own connections are idle.
pub(super) fn make_room_ahead(server: &ConnectionServer) {
    let settings = server.settings();
    if is_full(server, &settings) && may_evict(server, &settings) {
        server.registry.evict();
    }
}

/// Tells connections to go for as long as a limit is reached.
fn make_room(
    server: &ConnectionServer,
    settings: &ConnectionSettings,
    reached: impl Fn() -> Option<RefusedReason>,
) -> Result<(), RefusedReason> {
    while let Some(reason) = reached() {
        if !(may_evict(server, settings) && server.registry.evict()) {
            return Err(reason);
        }
    }
    Ok(())
}

fn is_full(server: &ConnectionServer, settings: &ConnectionSettings) -> bool {
    let staying = server.open.count_all().saturating_sub(server.registry.evicted());
    staying >= settings.max_connections
}

fn is_worker_full(server: &ConnectionServer, settings: &ConnectionSettings) -> bool {
    let staying = server.registry.len().saturating_sub(server.registry.evicted());
    staying >= settings.max_connections_per_worker
}

/// Whether another connection may be closing beside those that are.
fn may_evict(server: &ConnectionServer, settings: &ConnectionSettings) -> bool {
    let part = descriptors::closing(settings.max_connections) / server.open.workers().max(1);
    server.registry.evicted() < part + MORE_EVICTED
}

/// Counts and records a connection that is closed at once.
pub(super) fn refuse(server: &ConnectionServer, peer: SocketAddr, refused: RefusedReason) {
    server.observer.metrics.connections_refused.inc(refused);
    server.observer.log_connection(&ConnectionRecord {
        level: Level::Info,
        peer,
        sni: None,
        reason: match refused {
            RefusedReason::WorkerLimit => {
                "portcullis.max_connections_per_worker is reached, and no connection is idle"
            }
            RefusedReason::GlobalLimit => {
                "the limit of connections is reached (portcullis.max_connections, or the limit on \
                 open files), and no connection is idle"
            }
            RefusedReason::UnknownPeer => "the kernel gave no IP address for the client",
        },
        alert: None,
        tls_version: None,
        client_certificate: None,
    });
}
