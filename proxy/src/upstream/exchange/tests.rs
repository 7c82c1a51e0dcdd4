use std::{
    future::{Future, poll_fn},
    io::ErrorKind,
    pin::{Pin, pin},
    task::Poll,
};

use ::http::{HeaderMap, HeaderValue, Method, Version};
use bytes::Bytes;
use http_body::Body;
use proptest::prelude::*;

use super::*;
use crate::{
    observe::WorkerObserver,
    upstream::{
        RequestBody,
        meter::Meter,
        testing::{Io, Peer, connection, endpoint, run, settle, single},
    },
};

/// A worker with one upstream.
struct World {
    observer: Rc<WorkerObserver>,
    cluster: Arc<Cluster>,
    host: Rc<Host>,
}

impl World {
    fn new() -> World {
        let observer = Rc::new(WorkerObserver::detached(0));
        let cluster = single(endpoint("127.0.0.1:8000"));
        let metrics = cluster.endpoint(0).metrics.clone();
        let host = Rc::new(Host::new(Meter::new(observer.clone(), metrics), Instant::now()));
        World { observer, cluster, host }
    }

    /// A connection that is about to carry its first request.
    async fn connect(&self) -> (Carrier, Peer) {
        let (io, peer) = connection();
        let (http1, driver) = handshake::http1(io, None).await.unwrap();
        tokio::task::spawn_local(driver.run());
        (self.host.add_http1(http1, Instant::now()), peer)
    }

    /// A connection that idles in the pool after a first exchange.
    async fn pool(&self) -> Peer {
        let (carrier, peer) = self.connect().await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        let body = self.send(carrier, request(Method::GET, RequestBody::Empty)).await.unwrap();
        assert!(body.is_end_stream());
        settle().await;
        peer.received();
        assert_eq!(self.idle_and_active(), (1, 0));
        peer
    }

    async fn send(
        &self,
        carrier: Carrier,
        request: Request<SentBody>,
    ) -> Result<ResponseBody, Failed> {
        self.respond(carrier, request).await.map(Response::into_body)
    }

    async fn respond(
        &self,
        carrier: Carrier,
        request: Request<SentBody>,
    ) -> Result<Response<ResponseBody>, Failed> {
        let exchange = self.exchange(&request);
        let (response, lease) = exchange.send_over(carrier, request).await?;
        Ok(response.map(|incoming| ResponseBody::new(incoming, lease)))
    }

    fn exchange(&self, request: &Request<SentBody>) -> Exchange<'_> {
        Exchange::new(&self.host, &self.cluster, self.cluster.endpoint(0), request.body())
    }

    fn take(&self) -> Option<Carrier> {
        self.host.take(self.cluster.endpoint(0), Instant::now())
    }

    fn idle_and_active(&self) -> (u64, u64) {
        let cells = &self.observer.metrics.upstream;
        (cells.idle_connections.get(), cells.active_connections.get())
    }
}

fn request(method: Method, body: RequestBody) -> Request<SentBody> {
    let mut request = Request::new(SentBody::new(body));
    *request.method_mut() = method;
    request.headers_mut().insert("host", HeaderValue::from_static("app.example"));
    request
}

/// A client's body that goes on for as long as `Peer` sends chunks.
async fn streaming() -> (RequestBody, Peer) {
    let (io, client) = connection();
    let (mut http1, driver) = handshake::http1::<Io>(io, None).await.unwrap();
    tokio::task::spawn_local(driver.run());
    client.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let sent = http1.sender.send_request(request(Method::GET, RequestBody::Empty));
    let body = sent.await.unwrap().into_body();
    // The connection is the body's from here on.
    tokio::task::spawn_local(async move {
        std::future::pending::<()>().await;
        drop(http1);
    });
    (RequestBody::Client(Box::pin(body)), client)
}

/// Reads to the end.
async fn read(mut body: ResponseBody) -> Result<(String, Option<HeaderMap>), hyper::Error> {
    let (mut text, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => text.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((String::from_utf8(text).unwrap(), trailers))
}

async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

async fn first_chunk(body: &mut ResponseBody) -> Bytes {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

#[test]
fn a_connection_returns_to_the_pool_once_the_response_has_been_read() {
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
        // The last bytes end it: nobody need ask for the end itself.
        assert_eq!(first_chunk(&mut body).await, "cd");
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
        assert!(world.take().is_some());
        assert!(!peer.is_closed());
    });
}

#[test]
fn chunked_responses_and_their_trailers_leave_the_connection_usable() {
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
fn http10_and_close_delimited_responses_are_read_to_their_end_and_not_pooled() {
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
fn a_body_that_ends_without_close_notify_is_an_error_where_only_the_end_delimits_it() {
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
fn an_upload_still_under_way_when_the_response_is_complete_is_given_up() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        let (body, client) = streaming().await;
        client.send("2\r\nab\r\n");
        peer.answer("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno");
        let post = request(Method::POST, body);
        assert_eq!(read(world.send(carrier, post).await.unwrap()).await.unwrap().0, "no");
        client.send("2\r\ncd\r\n0\r\n\r\n");
        settle().await;
        assert!(peer.is_closed());
        assert_eq!(world.idle_and_active(), (0, 0));
        assert!(!peer.received().contains("cd"), "the rest of the upload was sent on");
    });
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

#[test]
fn a_get_on_a_connection_closed_meanwhile_can_be_repeated() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let get = request(Method::GET, RequestBody::Empty);
        let copy = copy_to_repeat(&get);
        let carrier = world.take().unwrap();
        peer.finish(); // after it was taken: nobody has noticed yet
        let Err(failed) = world.send(carrier, get).await else { panic!("no upstream answered") };
        assert_eq!(failed.error.kind, FailureKind::Closed);
        let again = failed.repeatable(copy).unwrap();

        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(world.send(carrier, again).await.is_ok());
        assert_eq!(peer.received(), "GET / HTTP/1.1\r\nhost: app.example\r\n\r\n");
    });
}

#[test]
fn a_reset_after_the_request_was_written_allows_what_is_idempotent_alone() {
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
            assert_eq!(failed.repeatable(copy).is_ok(), repeatable, "{method}");
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
fn a_request_that_was_never_written_is_given_back_whatever_it_is() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let (body, client) = streaming().await;
        let post = request(Method::POST, body);
        let carrier = world.take().unwrap();
        peer.finish();
        settle().await; // the driver has seen it, and ends
        let Err(failed) = world.send(carrier, post).await else { panic!("no upstream answered") };
        let again = failed.repeatable(None).unwrap();

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
            assert!(failed.repeatable(copy).is_err());
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
fn interim_responses_are_passed_over() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        peer.answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let response = world.respond(carrier, get).await.ok().unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
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
fn a_response_to_more_than_was_asked_never_reaches_the_next_request() {
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

#[test]
fn the_reason_phrase_and_the_case_of_header_names_are_kept_for_the_client() {
    run(async {
        let world = World::new();
        let (carrier, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 Fine\r\nX-CaSe: 1\r\ncontent-length: 0\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let response = world.respond(carrier, get).await.ok().unwrap();
        let reason = response.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Fine");
        assert_eq!(response.version(), Version::HTTP_11);
    });
}

#[test]
fn an_upgraded_connection_is_handed_on_with_what_came_behind_the_101() {
    run(async {
        let (io, peer) = connection();
        let (mut http1, driver) = handshake::http1(io, None).await.unwrap();
        let (parts, switched) = oneshot::channel();
        tokio::task::spawn_local(driver.run_until_upgrade(parts));
        peer.answer("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\r\nhello");
        let mut request = request(Method::GET, RequestBody::Empty);
        request.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
        for_http1(&mut request, "up", true);
        let response = http1.sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(peer.received().contains("connection: upgrade\r\n"));
        let parts = switched.await.unwrap();
        assert_eq!(parts.read_buf, "hello");
        assert!(!peer.is_closed());
    });
}

#[test]
fn a_connection_that_was_not_upgraded_is_closed_after_its_response() {
    run(async {
        let (io, peer) = connection();
        let (mut http1, driver) = handshake::http1(io, None).await.unwrap();
        let (parts, switched) = oneshot::channel();
        tokio::task::spawn_local(driver.run_until_upgrade(parts));
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        http1.sender.send_request(get).await.unwrap();
        drop((switched, http1));
        settle().await;
        assert!(peer.is_closed());
    });
}

#[test]
fn requests_are_counted_while_they_last() {
    let world = World::new();
    let first = InFlight::new(world.host.clone());
    let second = InFlight::new(world.host.clone());
    assert_eq!(world.host.in_flight(), 2);
    drop((first, second));
    assert_eq!(world.host.in_flight(), 0);
}

#[test]
fn a_worker_that_ends_leaves_no_connection_in_the_gauges() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let World { observer, host, .. } = world;
        drop(host);
        settle().await;
        assert_eq!(observer.metrics.upstream.idle_connections.get(), 0);
        assert!(peer.is_closed());
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
            let (host, cluster) = (world.host.clone(), world.cluster.clone());
            let reading = tokio::task::spawn_local(async move {
                let exchange = Exchange::new(&host, &cluster, cluster.endpoint(0), get.body());
                let (response, lease) = exchange.send_over(carrier, get).await.unwrap();
                read(ResponseBody::new(response.into_body(), lease)).await.unwrap().0
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
