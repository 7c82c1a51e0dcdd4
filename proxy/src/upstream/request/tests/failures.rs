//! Failed connections and invalid responses, and the requests that are sent again.

use super::*;

#[test]
fn a_get_on_a_connection_closed_meanwhile_can_be_repeated() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let get = request(Method::GET, RequestBody::Empty);
        let copy = copy_to_repeat(&get);
        let carrier = world.take().unwrap();
        peer.finish(); // after it was taken: the pool has not noticed yet
        let Err(failed) = world.send(carrier, get).await else { panic!("no upstream answered") };
        assert_eq!(failed.error.kind, FailureKind::Closed);
        let again = failed.repeatable(copy, &mut false).unwrap();

        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(world.send(carrier, again).await.is_ok());
        assert_eq!(peer.received(), "GET / HTTP/1.1\r\nhost: app.example\r\n\r\n");
    });
}

#[test]
fn after_a_reset_only_idempotent_requests_are_repeated() {
    for (method, repeatable) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        run(async {
            let world = World::new();
            let peer = world.pool().await;
            let request = request(method.clone(), RequestBody::Empty);
            let copy = copy_to_repeat(&request);
            let mut sending = pin!(world.send(world.take().unwrap(), request));
            assert!(is_pending(sending.as_mut()).await);
            settle().await;
            assert!(!peer.received().is_empty(), "nothing was written");
            peer.break_off(ErrorKind::ConnectionReset);
            let Err(failed) = sending.await else { panic!("no upstream answered") };
            assert_eq!(failed.error.kind, FailureKind::Closed);
            assert_eq!(failed.repeatable(copy, &mut false).is_ok(), repeatable, "{method}");
        });
    }
}

#[test]
fn a_request_with_a_body_is_not_copied() {
    run(async {
        let (body, _client) = streaming().await;
        assert!(copy_to_repeat(&request(Method::PUT, body)).is_none());
    });
}

#[test]
fn an_unwritten_request_is_returned() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let (body, client) = streaming().await;
        let post = request(Method::POST, body);
        let carrier = world.take().unwrap();
        peer.finish();
        settle().await; // the driver has seen it, and ends
        let Err(failed) = world.send(carrier, post).await else { panic!("no upstream answered") };
        let again = failed.repeatable(None, &mut false).unwrap();

        let (carrier, peer) = world.connect().await;
        client.send("2\r\nab\r\n0\r\n\r\n");
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        world.send(carrier, again).await.unwrap();
        settle().await;
        assert!(peer.received().starts_with("POST / HTTP/1.1\r\n"));
    });
}

#[test]
fn an_answer_that_is_not_http_is_not_worth_a_repetition() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n"] {
        run(async {
            let world = World::new();
            let (carrier, peer) = world.connect().await;
            peer.answer(nonsense);
            let get = request(Method::GET, RequestBody::Empty);
            let copy = copy_to_repeat(&get);
            let Err(failed) = world.send(carrier, get).await else { panic!("{nonsense}") };
            assert_eq!(failed.error.kind, FailureKind::Protocol);
            assert!(failed.error.detail.starts_with("127.0.0.1:8000: "), "{}", failed.error);
            assert!(failed.repeatable(copy, &mut false).is_err());
        });
    }
}

#[test]
fn conflicting_lengths_are_refused() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab");
        let get = request(Method::GET, RequestBody::Empty);
        let Err(failed) = world.send(carrier, get).await else { panic!("accepted") };
        assert_eq!(failed.error.kind, FailureKind::Protocol);
    });
}

#[test]
fn protocols_are_not_switched_unasked() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        );
        let get = request(Method::GET, RequestBody::Empty);
        let Err(failed) = world.send(carrier, get).await else { panic!("accepted") };
        assert_eq!(failed.error.kind, FailureKind::Protocol);
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn bytes_that_nobody_asked_for_end_an_idle_connection() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad");
        settle().await;
        assert!(world.take().is_none());
        assert!(peer.is_closed());
    });
}

#[test]
fn surplus_response_bytes_never_reach_the_next_request() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad");
        let get = request(Method::GET, RequestBody::Empty);
        assert_eq!(read(world.send(carrier, get).await.unwrap()).await.unwrap().0, "ok");
        settle().await;
        assert!(world.take().is_none());
    });
}
