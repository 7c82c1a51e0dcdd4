//! Connections on which an upstream may have authenticated one client.

use std::time::Duration;

use super::*;

const CHALLENGE: &str =
    "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: NTLM\r\ncontent-length: 0\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn get(authorization: Option<&'static str>) -> Request<SentBody> {
    let mut request = request(Method::GET, RequestBody::Empty);
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", HeaderValue::from_static(value));
    }
    request
}

/// Sends a request of a client over whichever connection it gets; the response has not been read.
async fn begin(
    world: &World,
    client: &ConnectionOwner,
    request: Request<SentBody>,
) -> ResponseBody {
    let World { cluster, endpoint, pool, .. } = world;
    let exchange = UpstreamRequest::new(pool, cluster, endpoint, client, request.body());
    exchange.run(request, &SendOptions::default()).await.unwrap().response.into_body()
}

/// The same, with the response read.
async fn send(world: &World, client: &ConnectionOwner, request: Request<SentBody>) {
    assert_eq!(read(begin(world, client, request).await).await.unwrap().0, "");
    settle().await;
}

/// Whether a request has arrived.
fn is_asked(peer: &Peer) -> bool {
    peer.received().starts_with("GET / ")
}

#[test]
fn a_challenged_connection_serves_its_client_alone() {
    run(async {
        let world = World::new();
        let (alice, bob) = (ConnectionOwner::default(), ConnectionOwner::default());
        let (other, peer) = (world.pool().await, world.pool().await);
        peer.answer(CHALLENGE);
        send(&world, &alice, get(None)).await;
        assert!(is_asked(&peer), "the connection that was used last");
        assert_eq!(world.idle_and_active(), (2, 0), "it is kept and counted");
        other.answer(EMPTY);
        send(&world, &bob, get(None)).await;
        assert!(is_asked(&other) && !is_asked(&peer));
        for authorization in [Some("NTLM x"), None] {
            peer.answer(EMPTY);
            send(&world, &alice, get(authorization)).await;
            assert!(is_asked(&peer) && !is_asked(&other), "{authorization:?}");
        }
    });
}

#[test]
fn a_connection_that_was_authenticated_serves_its_client_alone() {
    run(async {
        let world = World::new();
        let alice = ConnectionOwner::default();
        let peer = world.pool().await;
        peer.answer(EMPTY);
        send(&world, &alice, get(Some("Negotiate YII="))).await;
        assert_eq!(world.idle_and_active(), (1, 0));
        assert!(world.take().is_none());
        peer.answer(EMPTY);
        send(&world, &alice, get(None)).await;
        assert!(is_asked(&peer));
    });
}

#[test]
fn other_credentials_and_challenges_leave_a_connection_to_all() {
    run(async {
        let world = World::new();
        let alice = ConnectionOwner::default();
        let peer = world.pool().await;
        peer.answer(&CHALLENGE.replace("NTLM", "Basic realm=x"));
        send(&world, &alice, get(Some("Basic eDp5"))).await;
        assert!(world.take().is_some());
    });
}

#[test]
fn a_clients_connections_are_closed_when_it_goes() {
    run(async {
        let world = World::new();
        let alice = ConnectionOwner::default();
        let peer = world.pool().await;
        peer.answer(CHALLENGE);
        send(&world, &alice, get(None)).await;
        assert!(!peer.is_closed());
        drop(alice);
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn a_connection_whose_client_goes_first_is_not_kept() {
    run(async {
        let world = World::new();
        let alice = ConnectionOwner::default();
        let peer = world.pool().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
        let body = begin(&world, &alice, get(Some("NTLM x"))).await;
        drop(alice);
        peer.send("ok");
        read(body).await.unwrap();
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn nobody_waits_for_a_connection_of_another_client() {
    run(async {
        let world = World::new();
        world.pool.reuse.exchanged(Duration::from_secs(1));
        world.pool.reuse.connected(Duration::from_secs(2));
        let alice = ConnectionOwner::default();
        let peer = world.pool().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
        let held = begin(&world, &alice, get(Some("NTLM x"))).await;
        assert_eq!(world.idle_and_active(), (0, 1));
        assert_eq!(world.pool.reuse_wait(), None);
        drop(held);
        assert_eq!(world.idle_and_active(), (0, 0));
        // One that gets its owner on its way.
        let (busy, peer) = world.connect().await;
        assert!(world.pool.reuse_wait().is_some());
        peer.answer("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Negotiate\r\n\r\n");
        let (_, lease) = world.leased(busy, get(None)).await.unwrap();
        assert_eq!(world.pool.reuse_wait(), None);
        drop(lease);
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn a_client_whose_connection_was_closed_uses_one_of_all() {
    run(async {
        let world = World::new();
        let alice = ConnectionOwner::default();
        let (other, peer) = (world.pool().await, world.pool().await);
        peer.answer(CHALLENGE);
        send(&world, &alice, get(None)).await;
        peer.finish();
        settle().await;
        other.answer(EMPTY);
        send(&world, &alice, get(None)).await;
        assert!(is_asked(&other));
        assert!(world.take().is_some(), "it serves anybody");
    });
}
