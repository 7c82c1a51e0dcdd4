//! Requests that find the worker's share of connections in use.

use super::*;
use crate::upstream::{
    FailureKind,
    connection_share::{ConnectionPermit, NoRoom, Room, WantedConnection},
};

fn wanted(world: &World) -> WantedConnection<'_> {
    let limit = std::time::Duration::from_secs(10);
    WantedConnection { endpoint: &world.pool.connections, breaker: None, limit }
}

fn no_room(world: &World) -> NoRoom {
    world.pool.share.permit(wanted(world)).unwrap_err()
}

/// Takes the whole share, as connections elsewhere do.
fn occupy(world: &World) -> Vec<ConnectionPermit> {
    (0..LIMIT).map(|_| world.pool.share.permit(wanted(world)).unwrap()).collect()
}

fn get() -> Request<SentBody> {
    request(Method::GET, RequestBody::Empty)
}

#[test]
fn an_idle_connection_is_closed_to_make_room() {
    run(async {
        let world = World::new();
        let mut permits = occupy(&world);
        let peer = world.pool().await;
        let request = get();
        let exchange = world.exchange(&request);
        let mut waiting = pin!(exchange.permit());
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
        let _permits = occupy(&world);
        let (carrier, peer) = world.connect().await;
        let mut first = pin!(world.send(carrier, get()));
        assert!(is_pending(first.as_mut()).await);
        let request = get();
        let exchange = world.exchange(&request);
        let mut waiting = pin!(exchange.room(no_room(&world)));
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
        let _permits = occupy(&world);
        let request = get();
        let begun = tokio::time::Instant::now();
        let error = world.exchange(&request).permit().await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Overflow);
        assert!(error.detail.contains("all 2 connections to upstreams"), "{error}");
        assert!(begun.elapsed() <= std::time::Duration::from_secs(2));
    });
}

#[test]
fn no_more_requests_wait_than_the_share_has_connections() {
    run(async {
        let world = World::new();
        let _permits = occupy(&world);
        let wait = || world.pool.share.wait_for_room(wanted(&world), no_room(&world), || None);
        let mut waiting: Vec<_> = (0..LIMIT).map(|_| Box::pin(wait())).collect();
        for one in &mut waiting {
            assert!(is_pending(one.as_mut()).await);
        }
        let mut refused = pin!(wait());
        let refused = poll_fn(|cx| Poll::Ready(refused.as_mut().poll(cx))).await;
        assert!(matches!(refused, Poll::Ready(Err(_))), "at once");
        waiting.pop();
        let mut next = pin!(wait());
        assert!(is_pending(next.as_mut()).await, "one of them has given up");
    });
}
