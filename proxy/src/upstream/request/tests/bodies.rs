//! Bodies of requests and responses, and whether their connection is reused.

use proptest::prelude::*;

use super::*;

#[test]
fn a_read_response_returns_its_connection_to_the_pool() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        assert_eq!(world.idle_and_active(), (0, 1));
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
        let get = request(Method::GET, RequestBody::Empty);
        let mut body = world.send(carrier, get).await.unwrap();
        assert_eq!(peer.received(), "GET / HTTP/1.1\r\nhost: app.example\r\n\r\n");
        assert_eq!(first_chunk(&mut body).await, "ab");
        settle().await;
        assert_eq!(world.idle_and_active(), (0, 1));
        peer.send("cd");
        // The last bytes end it: no further poll is needed.
        assert_eq!(first_chunk(&mut body).await, "cd");
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
        assert!(world.take().is_some());
        assert!(!peer.is_closed());
    });
}

#[test]
fn chunked_responses_with_trailers_allow_reuse() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
        peer.send("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let (text, trailers) = read(world.send(carrier, get).await.unwrap()).await.unwrap();
        assert_eq!(text, "abc");
        assert_eq!(trailers.unwrap()["x-sum"], "7");
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
    });
}

#[test]
fn a_response_dropped_before_its_end_closes_the_connection() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
        let get = request(Method::GET, RequestBody::Empty);
        let mut body = world.send(carrier, get).await.unwrap();
        first_chunk(&mut body).await;
        drop(body);
        settle().await;
        assert_eq!(world.idle_and_active(), (0, 0));
        assert!(world.take().is_none());
        assert!(peer.is_closed());
    });
}

#[test]
fn a_request_given_up_before_its_response_closes_the_connection() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        {
            let get = request(Method::GET, RequestBody::Empty);
            let mut sending = pin!(world.send(carrier, get));
            assert!(is_pending(sending.as_mut()).await);
            settle().await;
        }
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn http10_and_close_delimited_responses_are_not_pooled() {
    for head in [
        "HTTP/1.0 200 ok\r\ncontent-type: text/html\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
    ] {
        run(async {
            let world = World::new();
            let (carrier, peer) = world.connect().await;
            peer.answer(head);
            peer.send("page");
            peer.finish();
            let get = request(Method::GET, RequestBody::Empty);
            let (text, _) = read(world.send(carrier, get).await.unwrap()).await.unwrap();
            assert_eq!(text, "page");
            settle().await;
            assert_eq!(world.idle_and_active(), (0, 0), "{head}");
            assert!(peer.is_closed());
        });
    }
}

#[test]
fn http10_with_keep_alive_is_not_pooled_either() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab");
        let get = request(Method::GET, RequestBody::Empty);
        assert_eq!(read(world.send(carrier, get).await.unwrap()).await.unwrap().0, "ab");
        settle().await;
        assert!(peer.is_closed());
    });
}

#[test]
fn an_unframed_body_without_close_notify_is_an_error() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.0 200 ok\r\n\r\npart of a page");
        peer.break_off(ErrorKind::UnexpectedEof);
        let get = request(Method::GET, RequestBody::Empty);
        let body = world.send(carrier, get).await.unwrap();
        assert!(read(body).await.is_err());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn a_body_of_known_length_may_end_without_close_notify() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab");
        peer.break_off(ErrorKind::UnexpectedEof);
        let get = request(Method::GET, RequestBody::Empty);
        assert_eq!(read(world.send(carrier, get).await.unwrap()).await.unwrap().0, "ab");
        settle().await;
        assert!(world.take().is_none());
    });
}

#[test]
fn a_body_cut_short_is_an_error() {
    for head in ["content-length: 9", "transfer-encoding: chunked"] {
        run(async {
            let world = World::new();
            let (carrier, peer) = world.connect().await;
            peer.answer(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\nab"));
            peer.finish();
            let get = request(Method::GET, RequestBody::Empty);
            assert!(read(world.send(carrier, get).await.unwrap()).await.is_err(), "{head}");
        });
    }
}

#[test]
fn an_upload_that_ended_first_leaves_the_connection_usable() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        let (body, client) = streaming().await;
        client.send("2\r\nab\r\n0\r\n\r\n");
        let post = request(Method::POST, body);
        let mut sending = pin!(world.send(carrier, post));
        assert!(is_pending(sending.as_mut()).await);
        settle().await;
        assert!(peer.received().ends_with("chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"));
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(read(sending.await.unwrap()).await.unwrap().0, "ok");
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
        assert!(world.take().is_some());
    });
}

#[test]
fn a_failing_upload_is_the_clients_fault() {
    run(async {
        let world = World::new();
        let (carrier, _peer) = world.connect().await;
        let (body, client) = streaming().await;
        client.send("2\r\nab\r\n");
        client.finish();
        let Err(failed) = world.send(carrier, request(Method::POST, body)).await else {
            panic!("a response to half a request")
        };
        assert_eq!(failed.error.kind, FailureKind::RequestBody);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_responses_are_cut_into_reads_they_mean_the_same(
        case in 0..4usize,
        cuts in prop::collection::vec(1..40usize, 0..12),
    ) {
        // The response, its body, and whether the connection may serve again.
        let (response, expected, reusable) = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, more than promised", "hello", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", false),
        ][case];
        run(async {
            let world = World::new();
            let (carrier, peer) = world.connect().await;
            let get = request(Method::GET, RequestBody::Empty);
            let (pool, cluster) = (world.pool.clone(), world.cluster.clone());
            let endpoint = world.endpoint.clone();
            let reading = tokio::task::spawn_local(async move {
                let client = ConnectionOwner::default();
                let exchange =
                    UpstreamRequest::new(&pool, &cluster, &endpoint, &client, get.body());
                let (response, lease) = exchange.send_over(carrier, None, get).await.unwrap();
                read(with_body(response, lease).into_body()).await.unwrap().0
            });
            settle().await;
            let mut rest = response;
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                peer.send(now);
                settle().await;
                rest = later;
            }
            peer.send(rest);
            assert_eq!(reading.await.unwrap(), expected);
            settle().await;
            assert_eq!(world.take().is_some(), reusable);
        });
    }
}
