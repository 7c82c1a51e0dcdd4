//! Requests that find the worker's share of connections in use.

use super::*;
use crate::upstream::FailureKind;

/// Takes the whole share, as connections elsewhere do.
async fn occupy(world: &World) -> Vec<ConnectionPermit> {
    let mut permits = Vec::new();
    for _ in 0..LIMIT {
        match world.pool.share.room(|| None).await {
            Ok(Room::Permit(permit)) => permits.push(permit),
            other => panic!("{other:?}"),
        }
    }
    permits
}

fn get() -> Request<SentBody> {
    request(Method::GET, RequestBody::Empty)
}

#[test]
fn an_idle_connection_is_closed_to_make_room() {
    run(async {
        let world = World::new();
        let mut permits = occupy(&world).await;
        let peer = world.pool().await;
        let (request, stage) = (get(), RefCell::default());
        let exchange = world.exchange(&request);
        let mut waiting = pin!(exchange.permit(&stage));
        assert!(is_pending(waiting.as_mut()).await);
        settle().await;
        assert!(peer.is_closed(), "the idle connection is closed");
        assert_eq!(world.idle_and_active(), (0, 0));
        // Its socket would have held this.
        permits.pop();
        drop(waiting.await.unwrap());
    });
}

#[test]
fn a_connection_that_becomes_idle_is_taken_by_a_waiting_request() {
    run(async {
        let world = World::new();
        let _permits = occupy(&world).await;
        let (carrier, peer) = world.connect().await;
        let mut first = pin!(world.send(carrier, get()));
        assert!(is_pending(first.as_mut()).await);
        let (request, stage) = (get(), RefCell::default());
        let exchange = world.exchange(&request);
        let mut waiting = pin!(exchange.room(&stage));
        assert!(is_pending(waiting.as_mut()).await);
        settle().await;
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        drop(first.await.ok().unwrap());
        assert!(matches!(waiting.await, Ok(Room::Pooled(_))));
    });
}

#[test]
fn a_request_without_room_fails_after_a_while_and_says_why() {
    run(async {
        tokio::time::pause();
        let world = World::new();
        let _permits = occupy(&world).await;
        let (request, stage) = (get(), RefCell::default());
        let begun = tokio::time::Instant::now();
        let error = world.exchange(&request).permit(&stage).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Overflow);
        assert!(error.detail.contains("all 2 connections to upstreams"), "{error}");
        assert!(begun.elapsed() <= std::time::Duration::from_secs(2));
    });
}

#[test]
fn no_more_requests_wait_than_the_share_has_connections() {
    run(async {
        let world = World::new();
        let _permits = occupy(&world).await;
        let mut waiting: Vec<_> =
            (0..LIMIT).map(|_| Box::pin(world.pool.share.room(|| None))).collect();
        for one in &mut waiting {
            assert!(is_pending(one.as_mut()).await);
        }
        let mut refused = pin!(world.pool.share.room(|| None));
        let refused = poll_fn(|cx| Poll::Ready(refused.as_mut().poll(cx))).await;
        assert!(matches!(refused, Poll::Ready(Err(_))), "at once");
        waiting.pop();
        let mut next = pin!(world.pool.share.room(|| None));
        assert!(is_pending(next.as_mut()).await, "one of them has given up");
    });
}
