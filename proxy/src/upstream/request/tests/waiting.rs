//! Requests that find every connection busy.

use std::time::Duration;

use super::*;

/// Exchanges that take half as long as connecting, and both for longer than any test.
fn expect_quick_exchanges(world: &World) {
    world.pool.reuse.exchanged(Duration::from_secs(300));
    world.pool.reuse.connected(Duration::from_secs(600));
}

const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn a_connection_is_awaited_if_connecting_takes_longer() {
    run(async {
        let world = World::new();
        expect_quick_exchanges(&world);
        let (carrier, peer) = world.connect().await;
        let get = || request(Method::GET, RequestBody::Empty);
        let mut first = pin!(world.send(carrier, get()));
        let second_request = get();
        let exchange = world.exchange(&second_request);
        let mut second = pin!(exchange.forward(second_request, false));
        assert!(is_pending(first.as_mut()).await && is_pending(second.as_mut()).await);
        settle().await;
        assert!(is_pending(second.as_mut()).await);
        assert_eq!(world.idle_and_active(), (0, 1));

        peer.send(EMPTY);
        drop(first.await.ok().unwrap());
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let (response, _lease) = second.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(world.idle_and_active(), (0, 1));
    });
}

#[test]
fn one_request_waits_at_a_time() {
    run(async {
        let world = World::new();
        expect_quick_exchanges(&world);
        assert_eq!(world.pool.reuse_wait(), None, "no connection is busy");
        let (_carrier, _peer) = world.connect().await;
        let wait = world.pool.reuse_wait().unwrap();
        let endpoint = &world.endpoint;
        {
            let mut waiting = pin!(world.pool.take_freed(endpoint, wait));
            assert!(is_pending(waiting.as_mut()).await);
            assert_eq!(world.pool.reuse_wait(), None);
        }
        assert!(world.pool.reuse_wait().is_some(), "the one that waited has given up");
    });
}

#[test]
fn a_connection_that_closes_after_its_exchange_ends_the_wait() {
    run(async {
        let world = World::new();
        expect_quick_exchanges(&world);
        let (carrier, peer) = world.connect().await;
        let get = request(Method::GET, RequestBody::Empty);
        peer.answer("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        let wait = world.pool.reuse_wait().unwrap();
        let mut waiting = pin!(world.pool.take_freed(&world.endpoint, wait));
        assert!(is_pending(waiting.as_mut()).await);
        drop(world.send(carrier, get).await.ok().unwrap());
        assert!(waiting.await.is_none());
    });
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    run(async {
        let world = World::new();
        let (_carrier, _peer) = world.connect().await;
        let wait = Duration::from_millis(1);
        assert!(world.pool.take_freed(&world.endpoint, wait).await.is_none());
        assert_eq!(world.idle_and_active(), (0, 1));
    });
}
