//! One request to one endpoint: over a pooled connection, over a new one, or as an upgrade.

mod repeat;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, rc::Rc, time::Instant};

use ::http::{Request, Response, StatusCode, uri::Scheme};
use hyper::{body::Incoming, client::conn::TrySendError};
use repeat::{FailedAttempt, copy_to_repeat};
use tokio::sync::oneshot;

use super::{
    Cluster, Endpoint, FailureKind, Protocol, ResponseBody, SendOptions, Upgraded, UpstreamError,
    UpstreamResponse,
    body::SentBody,
    connect::{Attempt, Connected},
    convert::{for_http1, for_http2, leaves_connection_open},
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    failure::{is_stale_connection, kind_of, with_causes},
    handshake,
    lease::Lease,
    progress::Progress,
};
use crate::rt;

/// The parts of a request that are the same for all attempts.
pub(super) struct UpstreamRequest<'a> {
    pub(super) pool: &'a Rc<EndpointPool>,
    pub(super) cluster: &'a Cluster,
    pub(super) endpoint: &'a Endpoint,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
}

impl<'a> UpstreamRequest<'a> {
    pub(super) fn new(
        pool: &'a Rc<EndpointPool>,
        cluster: &'a Cluster,
        endpoint: &'a Endpoint,
        body: &SentBody,
    ) -> UpstreamRequest<'a> {
        let progress = body.progress();
        UpstreamRequest { pool, cluster, endpoint, progress }
    }

    /// Sends the request and waits for the response's head.
    pub(super) async fn run(
        &self,
        request: Request<SentBody>,
        options: SendOptions,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let in_flight = InFlight::new(self.pool.clone());
        let (response, mut lease, upgraded) = if options.upgrade {
            // Rare, and its future is large.
            Box::pin(self.upgrade(request)).await?
        } else {
            let (response, lease) = self.forward(request).await?;
            (response, lease, None)
        };
        lease.in_flight = Some(in_flight);
        let response = response.map(|incoming| ResponseBody::new(incoming, lease));
        Ok(UpstreamResponse { response, upgraded })
    }

    /// Sends it over a pooled connection if there is one, and again over a new one if the pooled
    /// one was closed and the request may be sent twice.
    async fn forward(
        &self,
        mut request: Request<SentBody>,
    ) -> Result<LeasedResponse, UpstreamError> {
        let pooled = match self.pool.take(self.endpoint, Instant::now()) {
            Some(idle) => Some(idle),
            None => match self.pool.reuse_wait() {
                Some(wait) => Box::pin(self.pool.take_freed(self.endpoint, wait)).await,
                None => None,
            },
        };
        if let Some(pooled) = pooled {
            self.pool.meter.sent_over_pooled();
            let copy = copy_to_repeat(&request);
            match self.send_over(pooled, request).await {
                Ok(response) => return Ok(response),
                Err(failed) => request = failed.repeatable(copy)?,
            }
            self.pool.meter.retrying();
        }
        // Boxed, so that a request that finds a connection does not need its memory.
        let fresh = Box::pin(self.new_connection()).await?;
        self.send_over(fresh, request).await.map_err(|failed| failed.error)
    }

    async fn send_over(
        &self,
        connection: PooledConnection,
        mut request: Request<SentBody>,
    ) -> Result<LeasedResponse, FailedAttempt> {
        let authority = &self.endpoint.spec.authority;
        let mut lease = self.lease(connection);
        let sent = match lease.connection() {
            Some(PooledConnection::Http1 { connection, .. }) => {
                for_http1(&mut request, authority, false);
                connection.sender.try_send_request(request).await
            }
            Some(PooledConnection::Http2(shared)) => {
                for_http2(&mut request, authority, self.scheme());
                shared.connection.sender.clone().try_send_request(request).await
            }
            None => return Err(self.closed("the connection is gone").into()),
        };
        let response = sent.map_err(|error| self.failed(error, &lease))?;
        if response.status().is_informational() {
            let detail = format!("status {} instead of a response", response.status());
            return Err(self.protocol(&detail).into());
        }
        lease.response_started(leaves_connection_open(&response), self.progress.clone());
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
            let begun = Instant::now();
            let connected = self.attempt(false, deadline, stage).run().await?;
            self.pool.reuse.connected(begun.elapsed());
            self.pool.meter.sent_over_fresh();
            self.speak(connected).await
        })
        .await
    }

    async fn speak(&self, connected: Connected) -> Result<PooledConnection, UpstreamError> {
        let Connected { transport, address, http2 } = connected;
        let now = Instant::now();
        if http2 {
            let speaking = handshake::http2(transport, address).await;
            let parts = speaking.map_err(|error| self.broken(&error))?;
            let (connection, driver) = self.pool.add_http2(parts, now);
            rt::spawn(driver);
            Ok(connection)
        } else {
            let most = self.pool.max_response_headers.get();
            let speaking = handshake::http1(transport, address, most).await;
            let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
            rt::spawn(driver.run());
            Ok(self.pool.add_http1(connection, now))
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
                self.attempt(true, deadline, stage).run().await
            })
            .await?;
        let most = self.pool.max_response_headers.get();
        let speaking = handshake::http1(connected.transport, connected.address, most).await;
        let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
        let (parts, switched) = oneshot::channel();
        rt::spawn(driver.run_until_upgrade(parts));
        self.pool.meter.sent_over_fresh();
        let mut lease = self.lease(self.pool.add_http1(connection, Instant::now()));

        for_http1(&mut request, &self.endpoint.spec.authority, true);
        let Some(PooledConnection::Http1 { connection, .. }) = lease.connection() else {
            return Err(self.closed("the connection is gone"));
        };
        let sent = connection.sender.try_send_request(request).await;
        let response = sent.map_err(|error| self.failed(error, &lease).error)?;
        lease.response_started(false, self.progress.clone());
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                let parts = switched.await.map_err(|_| self.closed("closed after its 101"))?;
                let upgraded = Upgraded { transport: parts.io, received: parts.read_buf };
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
        let stale = is_stale_connection(&error);
        if stale {
            lease.retire();
        }
        FailedAttempt { error: self.broken(&error), unsent, stale }
    }

    fn broken(&self, error: &hyper::Error) -> UpstreamError {
        let client = self.progress.as_ref().and_then(|progress| progress.failure());
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

    fn lease(&self, connection: PooledConnection) -> Lease {
        Lease::new(self.pool.clone(), connection)
    }

    fn scheme(&self) -> Scheme {
        if self.endpoint.spec.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

type LeasedResponse = (Response<Incoming>, Lease);
type UpgradeResponse = (Response<Incoming>, Lease, Option<Upgraded>);
