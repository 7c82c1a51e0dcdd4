//! Between the hello and the handshake: whether the connection is served here.

use super::{Accepted, Connection, hello::Received};
use crate::{listener::Service, rt, steering::Choice};

/// What became of a connection whose hello was read.
pub(super) enum Steered {
    /// It is served here.
    Here(rt::Stream, Received),
    /// Another worker has it.
    HandedOver,
    /// It asks for a name that is not served.
    Refused(rt::Stream, Received),
}

/// Steers a connection; takes its permit along where it goes.
pub(super) fn steer(connection: &Connection, stream: rt::Stream, received: Received) -> Steered {
    let name = received.server_name.as_deref();
    let desk = &connection.context.desk;
    match desk.choose(&connection.front.steering, name, connection.peer) {
        Choice::Stay => Steered::Here(stream, received),
        Choice::Refuse => Steered::Refused(stream, received),
        Choice::HandTo(worker) => hand_to(connection, worker, stream, received),
    }
}

/// A connection that cannot leave is served here: its worker has ended, or its socket is in use.
fn hand_to(
    connection: &Connection,
    worker: u32,
    stream: rt::Stream,
    received: Received,
) -> Steered {
    let Some(held) = connection.permit.take() else { return Steered::Here(stream, received) };
    let socket = match stream.into_socket() {
        Ok(socket) => socket,
        Err(stream) => {
            connection.permit.set(Some(held));
            return Steered::Here(*stream, received);
        }
    };
    let accepted = Accepted {
        socket,
        peer: connection.peer,
        local: connection.local,
        service: Service::Routes,
        since: connection.since,
        admission: held.hand_over(),
        hello: Some(Box::new(received)),
    };
    match connection.context.desk.hand_to(worker, accepted) {
        Ok(()) => Steered::HandedOver,
        Err(Accepted { socket, admission, hello, .. }) => {
            connection.permit.set(Some(connection.context.open.take_over(admission)));
            Steered::Here(rt::Stream::new(socket), *hello.unwrap_or_default())
        }
    }
}
