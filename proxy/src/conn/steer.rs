//! Between the hello and the handshake: which worker serves the connection.

use std::net::SocketAddr;

use super::{Accepted, ReceivedHello, connection::OpenConnection};
use crate::{
    listener::Service,
    rt,
    steering::{Choice, SteeringRules},
};

/// What became of a connection whose hello was read.
pub(super) enum Steered {
    /// This worker serves it.
    Here(rt::Stream, ReceivedHello),
    /// Another worker has it.
    HandedOver,
    /// Its SNI matches no route, and unknown names are refused.
    Refused(rt::Stream, ReceivedHello),
}

/// Steers a connection. If another worker gets it, that worker gets its permit too.
pub(super) fn steer(
    connection: &OpenConnection,
    address: SocketAddr,
    rules: &SteeringRules,
    stream: rt::Stream,
    hello: ReceivedHello,
) -> Steered {
    let name = hello.server_name.as_deref();
    match connection.server.steering.choose(rules, name, address) {
        Choice::Stay => Steered::Here(stream, hello),
        Choice::Refuse => Steered::Refused(stream, hello),
        Choice::HandTo(worker) => hand_to(connection, worker, stream, hello),
    }
}

/// Serves the connection here if it cannot be handed over: the other worker has ended, or the socket
/// is in use.
fn hand_to(
    connection: &OpenConnection,
    worker: u32,
    stream: rt::Stream,
    hello: ReceivedHello,
) -> Steered {
    let Some(permit) = connection.permit.take() else { return Steered::Here(stream, hello) };
    let socket = match stream.into_socket() {
        Ok(socket) => socket,
        Err(stream) => {
            connection.permit.set(Some(permit));
            return Steered::Here(*stream, hello);
        }
    };
    let accepted = Accepted {
        socket,
        peer: connection.socket_peer,
        service: Service::Routes,
        since: connection.since,
        admission: permit.hand_over(),
        hello: Some(Box::new(hello)),
    };
    match connection.server.steering.hand_to(worker, accepted) {
        Ok(()) => Steered::HandedOver,
        Err(Accepted { socket, admission, hello, .. }) => {
            connection.permit.set(Some(connection.server.open.take_over(admission)));
            Steered::Here(rt::Stream::new(socket), *hello.unwrap_or_default())
        }
    }
}
