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
/// How many more may be closing so that the next client finds room. Without it, a flood at one worker
/// would leave none for the client of another.
const AHEAD: usize = 1;

/// Admits a new connection, or refuses it.
pub(super) fn admit(server: &ConnectionServer, peer: SocketAddr) -> Option<Admission> {
    let settings = server.settings();
    // Checked first, since a worker's limit equals this one if it is not configured.
    let reached = || match is_full(server, &settings) {
        true => Some(RefusedReason::GlobalLimit),
        false => is_worker_full(server, &settings).then_some(RefusedReason::WorkerLimit),
    };
    match make_room(server, &settings, reached) {
        Ok(()) => {
            let admission = server.open.admit();
            // The next client may arrive at a worker none of whose connections idles.
            make_room_ahead(server);
            Some(admission)
        }
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

/// Tells one idle connection to go if the process is at its limit, so that the next client finds room at
/// whatever worker it arrives. Called by a worker that has admitted a connection, and now and then by
/// every worker.
pub(super) fn make_room_ahead(server: &ConnectionServer) {
    let settings = server.settings();
    if is_full(server, &settings) && may_evict(server, &settings, AHEAD) {
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
        if !(may_evict(server, settings, 0) && server.registry.evict()) {
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

/// Whether another connection may be closing beside those that are, and beside this many more.
fn may_evict(server: &ConnectionServer, settings: &ConnectionSettings, more: usize) -> bool {
    let part = descriptors::closing(settings.max_connections) / server.open.workers().max(1);
    server.registry.evicted() < part + MORE_EVICTED + more
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
