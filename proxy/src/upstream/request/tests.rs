mod bodies;
mod failures;
mod late_uploads;
mod owned;
mod shortage;
mod waiting;

use std::{
    future::{Future, poll_fn},
    io::ErrorKind,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use ::http::{HeaderMap, HeaderValue, Method, Version};
use bytes::Bytes;
use http_body::Body;

use super::*;
use crate::{
    observe::WorkerObserver,
    upstream::{
        ReceiveBodyError, RequestBody,
        connection_share::ConnectionShare,
        meter::Meter,
        testing::{Io, Peer, connection, endpoint, run, settle, single},
    },
};

/// The connections that a worker may have.
const LIMIT: usize = 2;

/// A worker with one upstream.
struct World {
    observer: Rc<WorkerObserver>,
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    pool: Rc<EndpointPool>,
    client: ConnectionOwner,
}

impl World {
    fn new() -> World {
        World::with("127.0.0.1:8000")
    }

    fn with(address: &str) -> World {
        let observer = Rc::new(WorkerObserver::detached(0));
        let cluster = single(endpoint(address));
        let endpoint = Arc::clone(cluster.current().endpoint(0));
        let metrics = endpoint.metrics.clone();
        let meter = Meter::new(observer.clone(), metrics);
        let share = ConnectionShare::new(LIMIT);
        let pool = Rc::new(EndpointPool::new(meter, &share, Instant::now()));
        share.track(&pool);
        pool.follow(endpoint.name());
        World { observer, cluster, endpoint, pool, client: ConnectionOwner::default() }
    }

    /// The counts of what all workers share.
    fn shared_counts(&self) -> [usize; 4] {
        let endpoint = &self.endpoint;
        [
            Arc::strong_count(&self.cluster),
            Arc::strong_count(endpoint),
            Arc::strong_count(&endpoint.metrics),
            endpoint.name().map_or(0, Arc::strong_count),
        ]
    }

    /// A connection that is about to carry its first request.
    async fn connect(&self) -> (PooledConnection, Peer) {
        let (io, peer) = connection();
        let (http1, driver) = handshake::http1(io, None, 100).await.unwrap();
        tokio::task::spawn_local(driver.run());
        (self.pool.add_http1(http1, Instant::now()), peer)
    }

    /// A connection that is idle in the pool after a first exchange.
    async fn pool(&self) -> Peer {
        let (idle, active) = self.idle_and_active();
        let (pooled, peer) = self.connect().await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n");
        let body = self.send(pooled, request(Method::GET, RequestBody::Empty)).await.unwrap();
        assert!(body.is_end_stream());
        settle().await;
        peer.received();
        assert_eq!(self.idle_and_active(), (idle + 1, active));
        peer
    }

    async fn send(
        &self,
        pooled: PooledConnection,
        request: Request<SentBody>,
    ) -> Result<ResponseBody, FailedAttempt> {
        self.respond(pooled, request).await.map(Response::into_body)
    }

    async fn respond(
        &self,
        pooled: PooledConnection,
        request: Request<SentBody>,
    ) -> Result<Response<ResponseBody>, FailedAttempt> {
        let (response, lease) = self.leased(pooled, request).await?;
        Ok(with_body(response, lease))
    }

    async fn leased(
        &self,
        pooled: PooledConnection,
        request: Request<SentBody>,
    ) -> Result<LeasedResponse, FailedAttempt> {
        self.exchange(&request).send_over(pooled, None, request).await
    }

    fn exchange(&self, request: &Request<SentBody>) -> UpstreamRequest<'_> {
        let World { cluster, endpoint, pool, client, .. } = self;
        UpstreamRequest::new(pool, cluster, endpoint, client, request.body())
    }

    fn take(&self) -> Option<PooledConnection> {
        self.pool.take(&self.endpoint, Instant::now())
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
    let (mut http1, driver) = handshake::http1::<Io>(io, None, 100).await.unwrap();
    tokio::task::spawn_local(driver.run());
    client.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let sent = http1.sender.send_request(request(Method::GET, RequestBody::Empty));
    let body = sent.await.unwrap().into_body();
    // The connection is the body's from here on.
    tokio::task::spawn_local(async move {
        std::future::pending::<()>().await;
        drop(http1);
    });
    (RequestBody::Client(Box::pin(ReceivedBody::new(body, Version::HTTP_11))), client)
}

/// Reads to the end.
async fn read(mut body: ResponseBody) -> Result<(String, Option<HeaderMap>), ReceiveBodyError> {
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
fn a_request_under_way_moves_no_count_that_workers_share() {
    run(async {
        let world = World::with("app.example");
        let before = world.shared_counts();
        let (pooled, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let body = world.send(pooled, get).await.unwrap();
        assert_eq!(world.shared_counts(), before, "while it holds its connection");
        drop(body);
        assert_eq!(world.shared_counts(), before);
    });
}

#[test]
fn interim_responses_are_passed_over() {
    run(async {
        let world = World::new();
        let (pooled, peer) = world.connect().await;
        peer.answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        peer.answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let response = world.respond(pooled, get).await.ok().unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        settle().await;
        assert_eq!(world.idle_and_active(), (1, 0));
    });
}

#[test]
fn interim_responses_without_end_are_a_protocol_failure() {
    run(async {
        let world = World::new();
        let (pooled, peer) = world.connect().await;
        peer.answer(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(20_000));
        let get = request(Method::GET, RequestBody::Empty);
        let failed = world.respond(pooled, get).await.err().unwrap();
        assert_eq!((failed.error.kind, failed.stale), (FailureKind::Protocol, false));
        assert!(failed.error.detail.contains("interim responses"), "{}", failed.error.detail);
        settle().await;
        assert!(peer.is_closed());
    });
}

#[test]
fn reason_phrase_and_header_case_are_kept_for_the_client() {
    run(async {
        let world = World::new();
        let (pooled, peer) = world.connect().await;
        peer.answer("HTTP/1.1 200 Fine\r\nX-CaSe: 1\r\ncontent-length: 0\r\n\r\n");
        let get = request(Method::GET, RequestBody::Empty);
        let response = world.respond(pooled, get).await.ok().unwrap();
        let reason = response.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Fine");
        assert_eq!(response.version(), Version::HTTP_11);
    });
}

#[test]
fn an_upgraded_connection_keeps_the_bytes_behind_the_101() {
    run(async {
        let (io, peer) = connection();
        let (mut http1, driver) = handshake::http1(io, None, 100).await.unwrap();
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
        assert_eq!(parts.received, "hello");
        assert!(!peer.is_closed());
    });
}

#[test]
fn a_connection_not_upgraded_is_closed_after_its_response() {
    run(async {
        let (io, peer) = connection();
        let (mut http1, driver) = handshake::http1(io, None, 100).await.unwrap();
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
    let first = InFlight::new(world.pool.clone(), None);
    let second = InFlight::new(world.pool.clone(), None);
    assert_eq!(world.pool.in_flight(), 2);
    drop((first, second));
    assert_eq!(world.pool.in_flight(), 0);
}

#[test]
fn a_worker_that_ends_leaves_no_connection_in_the_gauges() {
    run(async {
        let world = World::new();
        let peer = world.pool().await;
        let World { observer, pool, .. } = world;
        drop(pool);
        settle().await;
        assert_eq!(observer.metrics.upstream.idle_connections.get(), 0);
        assert!(peer.is_closed());
    });
}
