//! Uploads that are not complete when their response is.

use std::{num::NonZeroU32, time::Duration};

use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An upload of which a part was sent when the answer came. The answer has been read.
async fn answered_early(world: &World, answer: &str, limit: Option<Duration>) -> (Peer, Peer) {
    let (carrier, peer) = world.connect().await;
    let (body, client) = streaming().await;
    client.send("2\r\nab\r\n");
    peer.answer(answer);
    let (response, mut lease) = world.leased(carrier, request(Method::POST, body)).await.unwrap();
    let limit_ms = limit.map(|limit| u32::try_from(limit.as_millis()).unwrap());
    lease.limit_late_upload(limit_ms.and_then(NonZeroU32::new));
    assert_eq!(read(with_body(response, lease).into_body()).await.unwrap().0, "ok");
    settle().await;
    (peer, client)
}

#[test]
fn an_upload_goes_on_behind_its_response() {
    run(async {
        let world = World::new();
        let (peer, client) = answered_early(&world, ANSWER, None).await;
        assert_eq!(world.idle_and_active(), (0, 1));
        client.send("2\r\ncd\r\n");
        settle().await;
        assert!(peer.received().ends_with("2\r\ncd\r\n"));
        client.send("0\r\n\r\n");
        settle().await;
        assert!(peer.received().ends_with("0\r\n\r\n"));
        assert_eq!(world.idle_and_active(), (1, 0), "the connection is free again");
        assert!(!peer.is_closed());
    });
}

#[test]
fn an_upload_ends_with_the_response_of_an_upstream_that_closes() {
    for head in ["HTTP/1.1 413 Too Large\r\nconnection: close", "HTTP/1.0 200 OK"] {
        run(async {
            let world = World::new();
            let answer = format!("{head}\r\ncontent-length: 2\r\n\r\nok");
            let (peer, client) = answered_early(&world, &answer, None).await;
            client.send("2\r\ncd\r\n0\r\n\r\n");
            settle().await;
            assert!(peer.is_closed() && client.is_closed(), "{head}");
            assert_eq!(world.idle_and_active(), (0, 0));
            assert!(!peer.received().contains("cd"), "the rest of the upload was sent on");
        });
    }
}

#[test]
fn an_upload_whose_client_goes_ends_the_connection() {
    run(async {
        let world = World::new();
        let (peer, client) = answered_early(&world, ANSWER, None).await;
        client.finish();
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn an_upload_behind_its_response_has_a_limit() {
    run(async {
        tokio::time::pause();
        let world = World::new();
        let (peer, client) = answered_early(&world, ANSWER, Some(Duration::from_secs(9))).await;
        for _ in 0..4 {
            rt::sleep(Duration::from_secs(2)).await;
            client.send("2\r\ncd\r\n");
            settle().await;
            assert_eq!(peer.received().matches("cd").count(), 1);
        }
        rt::sleep(Duration::from_secs(2)).await;
        settle().await;
        assert!(client.is_closed() && peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
    });
}

#[test]
fn an_upload_that_stalls_behind_its_response_is_given_up() {
    run(async {
        tokio::time::pause();
        let world = World::new();
        let (_peer, client) = answered_early(&world, ANSWER, None).await;
        for _ in 0..4 {
            rt::sleep(Duration::from_secs(20)).await;
            client.send("2\r\ncd\r\n");
            settle().await;
            assert!(!client.is_closed(), "it moves on");
        }
        rt::sleep(Duration::from_secs(61)).await;
        settle().await;
        assert!(client.is_closed());
    });
}

#[test]
fn it_is_known_with_the_head_whether_the_rest_will_be_read() {
    for (answer, dropped) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
    ] {
        run(async {
            let world = World::new();
            for (last, complete) in [("", false), ("0\r\n\r\n", true)] {
                let (carrier, peer) = world.connect().await;
                let (body, client) = streaming().await;
                client.send(&format!("2\r\nab\r\n{last}"));
                let mut sending = pin!(world.leased(carrier, request(Method::POST, body)));
                assert!(is_pending(sending.as_mut()).await);
                settle().await;
                peer.send(answer);
                let (_, lease) = sending.await.unwrap();
                assert_eq!(lease.drops_request(), dropped && !complete, "{answer}");
            }
        });
    }
}
