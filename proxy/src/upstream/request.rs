//! One request to one endpoint: over a pooled connection, over a new one, or as an upgrade.

mod owned;
mod repeat;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, rc::Rc, time::Instant};

use ::http::{Request, Response, StatusCode, uri::Scheme};
use hyper::{body::Incoming, client::conn::TrySendError};
use repeat::{FailedAttempt, copy_to_repeat};
use tokio::sync::oneshot;

use super::{
    Cluster, ConnectionOwner, Endpoint, FailureKind, Protocol, ReceivedBody, ResponseBody,
    SendOptions, Upgraded, UpstreamError, UpstreamResponse,
    body::{SentBody, Upload},
    connect::{Attempt, Connected},
    connection_auth::{authenticates, challenges},
    connection_share::{ConnectionPermit, Room, ShareExhausted},
    convert::{for_http1, for_http2, leaves_connection_open},
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    failure::{is_stale_connection, kind_of, with_causes},
    handshake,
    interim::InterimResponses,
    lease::Lease,
    owner::Owner,
};
use crate::rt;

/// The parts of a request that are the same for all attempts.
pub(super) struct UpstreamRequest<'a> {
    pub(super) pool: &'a Rc<EndpointPool>,
    pub(super) cluster: &'a Cluster,
    pub(super) endpoint: &'a Endpoint,
    /// The client, as the owner of connections.
    client: &'a ConnectionOwner,
    /// The request body's; `None` for an empty one.
    upload: Option<Rc<Upload>>,
    /// Where interim responses go.
    pub(super) interim: Option<InterimResponses>,
}

impl<'a> UpstreamRequest<'a> {
    pub(super) fn new(
        pool: &'a Rc<EndpointPool>,
        cluster: &'a Cluster,
        endpoint: &'a Endpoint,
        client: &'a ConnectionOwner,
        body: &SentBody,
    ) -> UpstreamRequest<'a> {
        UpstreamRequest { pool, cluster, endpoint, client, upload: body.upload(), interim: None }
    }

    /// Sends the request and waits for the response's head.
    pub(super) async fn run(
        &self,
        request: Request<SentBody>,
        options: &SendOptions,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let in_flight = InFlight::new(self.pool.clone());
        let authenticates = authenticates(request.headers());
        // The futures of rare requests are boxed: they are large.
        let (response, mut lease, upgraded) = if options.upgrade {
            Box::pin(self.upgrade(request)).await?
        } else if authenticates || self.client.get().is_some() {
            let sending = Box::pin(self.forward_for_owner(request, authenticates));
            let (response, lease) = sending.await?;
            (response, lease, None)
        } else {
            let (response, lease) = self.forward(request).await?;
            (response, lease, None)
        };
        lease.in_flight = Some(in_flight);
        lease.limit_late_upload(options.late_upload_limit_ms);
        let drops_request = lease.drops_request();
        let response = with_body(response, lease);
        Ok(UpstreamResponse { response, upgraded, drops_request })
    }

    /// Sends it over a pooled connection if there is one, and again over a new one if the pooled
    /// one was closed and the request may be sent twice. Not an `async fn`, which would keep room for the
    /// request twice.
    fn forward<'s>(
        &'s self,
        mut request: Request<SentBody>,
    ) -> impl Future<Output = Result<LeasedResponse, UpstreamError>> + use<'s, 'a> {
        let now = Instant::now();
        async move {
            let pooled = match self.pool.take(self.endpoint, now) {
                Some(idle) => Some(idle),
                None => match self.pool.reuse_wait() {
                    Some(wait) => Box::pin(self.pool.take_freed(self.endpoint, wait)).await,
                    None => None,
                },
            };
            if let Some(pooled) = pooled {
                self.pool.meter.sent_over_pooled();
                let copy = copy_to_repeat(&request);
                match self.send_over(pooled, None, request).await {
                    Ok(response) => return Ok(response),
                    Err(failed) => request = failed.repeatable(copy)?,
                }
                self.pool.meter.retrying();
            }
            // Boxed, so that a request that finds a connection does not need its memory.
            let fresh = Box::pin(self.new_connection()).await?;
            self.send_over(fresh, None, request).await.map_err(|failed| failed.error)
        }
    }

    /// `owner` is the client that the connection serves alone.
    async fn send_over(
        &self,
        connection: PooledConnection,
        owner: Option<&Rc<Owner>>,
        mut request: Request<SentBody>,
    ) -> Result<LeasedResponse, FailedAttempt> {
        let authority = &self.endpoint.spec.authority;
        let mut lease = Lease::new(self.pool.clone(), connection, owner);
        let sent = match lease.connection() {
            Some(PooledConnection::Http1 { connection, .. }) => {
                for_http1(&mut request, authority, false);
                if let Some(interim) = &self.interim {
                    interim.receive(&mut request);
                }
                connection.head.begin();
                connection.sender.try_send_request(request).await
            }
            Some(PooledConnection::Http2(shared)) => {
                for_http2(&mut request, authority, self.scheme());
                shared.connection.traffic.begin_request();
                shared.connection.sender.clone().try_send_request(request).await
            }
            None => return Err(self.closed("the connection is gone").into()),
        };
        let response = sent.map_err(|error| self.failed(error, &lease))?;
        if response.status().is_informational() {
            let detail = format!("status {} instead of a response", response.status());
            return Err(self.protocol(&detail).into());
        }
        if challenges(response.status(), response.headers()) {
            lease.own(self.client.at(self.pool));
        }
        let stays_open = match lease.connection() {
            Some(PooledConnection::Http1 { connection, .. }) => {
                leaves_connection_open(&response) && !connection.write_failure.has_happened()
            }
            Some(PooledConnection::Http2(_)) => true,
            None => false,
        };
        lease.response_started(stays_open, self.upload.clone());
        Ok((response, lease))
    }

    /// A new connection, established by this request or by another one that shares it.
    async fn new_connection(&self) -> Result<PooledConnection, UpstreamError> {
        self.in_connect_timeout(async |deadline, stage| {
            stage.replace("waiting for another request's connection".to_owned());
            let _turn = self.pool.wait_for_turn(self.endpoint).await;
            if let Some(shared) = self.pool.join(self.endpoint, Instant::now()) {
                self.pool.meter.sent_over_pooled();
                return Ok(shared);
            }
            let permit = match self.room(stage).await? {
                Room::Permit(permit) => permit,
                Room::Pooled(pooled) => {
                    self.pool.meter.sent_over_pooled();
                    return Ok(pooled);
                }
            };
            let begun = Instant::now();
            let connected = self.attempt(false, deadline, stage).run(permit).await?;
            self.pool.reuse.connected(begun.elapsed());
            self.pool.meter.sent_over_fresh();
            self.speak(connected, false).await
        })
        .await
    }

    /// A permit to connect, or a connection that became free while none was left.
    async fn room(&self, stage: &RefCell<String>) -> Result<Room, UpstreamError> {
        self.room_for(stage, || self.pool.take(self.endpoint, Instant::now())).await
    }

    /// A permit to connect.
    async fn permit(&self, stage: &RefCell<String>) -> Result<ConnectionPermit, UpstreamError> {
        match self.room_for(stage, || None).await? {
            Room::Permit(permit) => Ok(permit),
            Room::Pooled(_) => Err(self.closed("a pooled connection instead of a permit")),
        }
    }

    async fn room_for(
        &self,
        stage: &RefCell<String>,
        take: impl Fn() -> Option<PooledConnection>,
    ) -> Result<Room, UpstreamError> {
        stage.replace("waiting for another connection to be closed".to_owned());
        self.pool.share.room(take).await.map_err(|ShareExhausted { most }| {
            let detail = format!(
                "{}: all {most} connections to upstreams that this worker may have are in use; a \
                 higher limit on open files allows more",
                self.endpoint
            );
            UpstreamError { kind: FailureKind::Overflow, detail }
        })
    }

    /// Speaks HTTP over a new connection. One that is owned serves one client alone.
    async fn speak(
        &self,
        connected: Connected,
        is_owned: bool,
    ) -> Result<PooledConnection, UpstreamError> {
        let Connected { transport, address, http2 } = connected;
        let now = Instant::now();
        if http2 {
            let speaking = handshake::http2(transport, address).await;
            let parts = speaking.map_err(|error| self.broken(&error))?;
            let (connection, driver) = match is_owned {
                true => self.pool.add_owned_http2(parts, now),
                false => self.pool.add_http2(parts, now),
            };
            rt::spawn(driver);
            Ok(connection)
        } else {
            let most = self.pool.max_response_headers.get();
            let speaking = handshake::http1(transport, address, most).await;
            let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
            rt::spawn(driver.run());
            Ok(match is_owned {
                true => self.pool.add_owned_http1(connection, now),
                false => self.pool.add_http1(connection, now),
            })
        }
    }

    /// Sends an upgrade over its own HTTP/1.1 connection, which leaves HTTP if the upstream agrees.
    async fn upgrade(
        &self,
        mut request: Request<SentBody>,
    ) -> Result<UpgradeResponse, UpstreamError> {
        if self.endpoint.spec.protocol == Protocol::Http2PriorKnowledge {
            return Err(self.protocol("it supports only HTTP/2, which has no upgrade"));
        }
        let connected = self
            .in_connect_timeout(async |deadline, stage| {
                let permit = self.permit(stage).await?;
                self.attempt(true, deadline, stage).run(permit).await
            })
            .await?;
        let most = self.pool.max_response_headers.get();
        let speaking = handshake::http1(connected.transport, connected.address, most).await;
        let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
        let (parts, switched) = oneshot::channel();
        rt::spawn(driver.run_until_upgrade(parts));
        self.pool.meter.sent_over_fresh();
        let connection = self.pool.add_http1(connection, Instant::now());
        let mut lease = Lease::new(self.pool.clone(), connection, None);

        for_http1(&mut request, &self.endpoint.spec.authority, true);
        let Some(PooledConnection::Http1 { connection, .. }) = lease.connection() else {
            return Err(self.closed("the connection is gone"));
        };
        let sent = connection.sender.try_send_request(request).await;
        let response = sent.map_err(|error| self.failed(error, &lease).error)?;
        lease.response_started(false, self.upload.clone());
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                let switched = switched.await.map_err(|_| self.closed("closed after its 101"))?;
                let upgraded = Upgraded { transport: switched.io, received: switched.received };
                Ok((response, lease, Some(upgraded)))
            }
            status if status.is_informational() => {
                Err(self.protocol(&format!("status {status} instead of a response")))
            }
            _ => Ok((response, lease, None)),
        }
    }

    fn attempt<'s>(
        &'s self,
        http1_only: bool,
        deadline: Instant,
        stage: &'s RefCell<String>,
    ) -> Attempt<'s> {
        Attempt { pool: self.pool, endpoint: self.endpoint, http1_only, deadline, stage }
    }

    /// One timeout for all steps of connecting.
    async fn in_connect_timeout<T>(
        &self,
        connect: impl AsyncFnOnce(Instant, &RefCell<String>) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let limit = self.cluster.connect_timeout;
        let stage = RefCell::default();
        let connect = connect(Instant::now() + limit, &stage);
        rt::timeout(limit, connect).await.unwrap_or_else(|_| {
            let detail =
                format!("no connection to {} in {limit:?}: {}", self.endpoint, stage.borrow());
            Err(UpstreamError { kind: FailureKind::ConnectTimeout, detail })
        })
    }

    fn failed(&self, mut error: TrySendError<Request<SentBody>>, lease: &Lease) -> FailedAttempt {
        let unsent = error.take_message();
        let error = error.into_error();
        if lease.is_flooded() {
            let error = self.protocol("too many HTTP/2 control frames or interim responses");
            return error.into();
        }
        let stale = is_stale_connection(&error);
        if stale {
            lease.retire();
        }
        FailedAttempt { error: self.broken(&error), unsent, stale }
    }

    fn broken(&self, error: &hyper::Error) -> UpstreamError {
        let client = self.upload.as_ref().and_then(|upload| upload.progress.failure());
        match client {
            Some(why) => {
                let detail = format!("the client's request body failed: {why}");
                UpstreamError { kind: FailureKind::RequestBody, detail }
            }
            None => {
                let detail = format!("{}: {}", self.endpoint, with_causes(error));
                UpstreamError { kind: kind_of(error), detail }
            }
        }
    }

    fn protocol(&self, what: &str) -> UpstreamError {
        let detail = format!("{}: {what}", self.endpoint);
        UpstreamError { kind: FailureKind::Protocol, detail }
    }

    fn closed(&self, what: &str) -> UpstreamError {
        let detail = format!("{}: {what}", self.endpoint);
        UpstreamError { kind: FailureKind::Closed, detail }
    }

    fn scheme(&self) -> Scheme {
        if self.endpoint.spec.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

fn with_body(response: Response<Incoming>, lease: Lease) -> Response<ResponseBody> {
    let version = response.version();
    response.map(|incoming| ResponseBody::new(ReceivedBody::new(incoming, version), lease))
}

type LeasedResponse = (Response<Incoming>, Lease);
type UpgradeResponse = (Response<Incoming>, Lease, Option<Upgraded>);
