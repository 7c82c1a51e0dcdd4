//! Serving one connection.

use std::{cell::Cell, os::fd::OwnedFd, rc::Rc};

use super::{
    Accepted, ConnectionServer, ReceivedHello, Registration,
    connection::{OpenConnection, OpenGuard},
    establish::{Established, Establishing, establish},
    http1, http2,
};
use crate::{listener::Service, observe::ClosedReason};

/// Serves a connection until it is closed, or until its hello shows that it belongs to another worker.
/// Its registration is made when it is accepted, so that no drain misses it.
///
/// Not an `async fn`: that would keep room for its arguments twice, as captured and as destructured,
/// for as long as the connection idles.
pub(crate) fn serve(
    server: Rc<ConnectionServer>,
    accepted: Accepted,
    registration: Registration,
) -> impl Future<Output = ()> {
    let Accepted { socket, peer, service, since, admission, hello } = accepted;
    let open = OpenGuard::new(&server);
    server.publish_load();
    let settings = server.settings();
    let permit = Cell::new(Some(server.open.take_over(admission)));
    let socket_peer = peer;
    let connection =
        OpenConnection { server, settings, socket_peer, since, permit, registration, _open: open };
    async move {
        let reason = serve_accepted(&connection, service, socket, hello).await;
        let server = Rc::clone(&connection.server);
        drop(connection);
        if let Some(reason) = reason {
            server.observer.metrics.connections_closed.inc(reason);
        }
    }
}

/// Why the connection ended; `None` if another worker goes on with it.
async fn serve_accepted(
    connection: &OpenConnection,
    service: Service,
    socket: OwnedFd,
    hello: Option<Box<ReceivedHello>>,
) -> Option<ClosedReason> {
    let established = match establish(connection, service, socket, hello).await {
        Establishing::Done(established) => established,
        Establishing::Silent if connection.registration.is_evicted() => {
            return Some(ClosedReason::Evicted);
        }
        Establishing::Silent => return Some(ClosedReason::IdleTimeout),
        Establishing::Failed => return Some(ClosedReason::Handshake),
        Establishing::HandedOver => return None,
    };
    let Established { client, transport, is_http2, received } = established;
    Some(match is_http2 {
        // Boxed: larger than what an HTTP/1 connection idles with.
        true => Box::pin(http2::serve(connection, client, transport, received)).await,
        false => http1::serve(connection, client, transport, received).await,
    })
}
