//! From an accepted socket to a connection that speaks HTTP.

use std::{os::fd::OwnedFd, rc::Rc};

use super::{
    ReceivedHello,
    cleartext::{SpokenVersion, spoken_version},
    connection::OpenConnection,
    handshake,
    handshake::Handshaken,
};
use crate::{
    http::{ClientConnection, Peer},
    listener::Service,
    rt::{self, CloseMode},
    tls::Transport,
};

/// A connection that speaks HTTP from here on.
pub(super) struct Established {
    pub(super) client: Rc<ClientConnection>,
    pub(super) transport: Transport,
    pub(super) is_http2: bool,
    /// The first bytes of HTTP, if they were received before.
    pub(super) received: Box<[u8]>,
}

/// What became of an accepted socket.
pub(super) enum Establishing {
    Done(Established),
    /// The client said nothing for too long.
    Silent,
    /// The handshake failed; the client has been told, and there is a record.
    Failed,
    /// Another worker goes on with it.
    HandedOver,
}

/// Does what must come before HTTP: reads the hello, steers, does the handshake. Then everything of
/// the peer is known.
pub(super) async fn establish(
    connection: &OpenConnection,
    service: Service,
    socket: OwnedFd,
    hello: Option<Box<ReceivedHello>>,
) -> Establishing {
    let server = &connection.server;
    let has_bytes = service == Service::Routes && hello.is_none();
    let stream = match has_bytes && server.steering.come_with_hello() {
        true => rt::Stream::with_bytes(socket),
        false => rt::Stream::new(socket),
    };
    // A PROXY header would be read here, and would name another address.
    let address = connection.socket_peer;
    if service == Service::Redirect {
        let peer = Peer::new(address, None);
        let client = ClientConnection::redirecting(&server.requests, peer);
        return Establishing::Done(Established::plain(client, stream, SpokenVersion::default()));
    }
    let Some(tls) = server.tls() else {
        server.steering.settle();
        return Box::pin(establish_plain(connection, stream)).await;
    };
    // Boxed, like everything else that happens once in a connection: its task keeps the size of its
    // largest part for as long as it idles.
    match Box::pin(handshake::accept(connection, address, stream, hello, tls)).await {
        Handshaken::Done(stream, tls) => {
            let peer = Peer::new(address, Some(tls));
            let client = ClientConnection::new(&server.requests, peer);
            let is_http2 = stream.session().alpn_protocol() == Some(b"h2");
            let transport = Transport::Tls(stream);
            Establishing::Done(Established {
                client,
                transport,
                is_http2,
                received: Box::default(),
            })
        }
        Handshaken::Failed => Establishing::Failed,
        Handshaken::HandedOver => Establishing::HandedOver,
    }
}

/// Finds out which HTTP version the client speaks without TLS.
async fn establish_plain(connection: &OpenConnection, mut stream: rt::Stream) -> Establishing {
    let Some(version) = spoken_version(connection, &mut stream).await else {
        stream.close(CloseMode::Orderly).await;
        return Establishing::Silent;
    };
    let peer = Peer::new(connection.socket_peer, None);
    let client = ClientConnection::new(&connection.server.requests, peer);
    Establishing::Done(Established::plain(client, stream, version))
}

impl Established {
    fn plain(
        client: Rc<ClientConnection>,
        stream: rt::Stream,
        version: SpokenVersion,
    ) -> Established {
        let SpokenVersion { is_http2, received } = version;
        Established { client, transport: Transport::Plain(Box::new(stream)), is_http2, received }
    }
}
