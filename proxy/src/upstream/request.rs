//! One request to one endpoint: over a pooled connection, over a new one, or as an upgrade.

mod connecting;
mod owned;
mod repeat;
#[cfg(test)]
mod tests;

use std::{fmt, rc::Rc, time::Instant};

use ::http::{Request, Response, StatusCode, uri::Scheme};
use hyper::{body::Incoming, client::conn::TrySendError};
use repeat::{FailedAttempt, copy_to_repeat};
use tokio::sync::oneshot;

use super::{
    CircuitPermit, Cluster, ConnectOptions, ConnectionOwner, Endpoint, FailureKind, Protocol,
    ReceivedBody, ResponseBody, SendOptions, Upgraded, UpstreamError, UpstreamResponse,
    body::{SentBody, Upload},
    connection_auth::{authenticates, challenges},
    convert::{for_http1, for_http2, leaves_connection_open},
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    failure::{exchange_text, is_stale_connection, is_unprocessed, kind_of},
    handshake::{self, SwitchedIo},
    interim::InterimResponses,
    lease::Lease,
    owner::Owner,
};
use crate::{
    observe::{CircuitLimit, UpstreamRetry},
    rt,
};

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
    pub(super) connecting: ConnectOptions,
}

impl<'a> UpstreamRequest<'a> {
    pub(super) fn new(
        pool: &'a Rc<EndpointPool>,
        cluster: &'a Cluster,
        endpoint: &'a Endpoint,
        client: &'a ConnectionOwner,
        body: &SentBody,
    ) -> UpstreamRequest<'a> {
        UpstreamRequest {
            pool,
            cluster,
            endpoint,
            client,
            upload: body.upload(),
            interim: None,
            connecting: ConnectOptions::default(),
        }
    }

    /// Sends the request and waits for the response's head.
    pub(super) async fn run(
        &self,
        request: Request<SentBody>,
        options: &SendOptions,
    ) -> Result<UpstreamResponse, Box<FailedAttempt>> {
        let circuit = self.admit(CircuitLimit::MaxRequests)?;
        let mut in_flight = InFlight::new(self.pool.clone(), circuit);
        let authenticates = authenticates(request.headers());
        // The futures of rare requests are boxed: they are large.
        let (response, mut lease, mut upgraded) = if options.upgrade {
            Box::pin(self.upgrade(request)).await?
        } else if authenticates || self.client.get().is_some() {
            let sending = Box::pin(self.forward_for_owner(request, authenticates));
            let (response, lease) = sending.await?;
            (response, lease, None)
        } else {
            let (response, lease) = self.forward(request, false).await?;
            (response, lease, None)
        };
        if let Some(upgraded) = &mut upgraded {
            upgraded.circuit = in_flight.circuit.take();
        }
        lease.in_flight = Some(in_flight);
        lease.limit_late_upload(options.late_upload_limit_ms);
        let drops_request = lease.drops_request();
        let response = with_body(response, lease);
        Ok(UpstreamResponse { response, upgraded, drops_request })
    }

    /// Sends it over a pooled connection if there is one, and again over a new one if the pooled
    /// one was closed and the request may be sent twice. `was_sent` says that it went over another
    /// connection before, and may have been processed. Not an `async fn`, which would keep room for the request twice.
    fn forward<'s>(
        &'s self,
        mut request: Request<SentBody>,
        mut was_sent: bool,
    ) -> impl Future<Output = Result<LeasedResponse, Box<FailedAttempt>>> + use<'s, 'a> {
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
                    Err(failed) => request = failed.repeatable(copy, &mut was_sent)?,
                }
                self.pool.meter.retrying(UpstreamRetry::StaleConnection);
            }
            // Boxed, so that a request that finds a connection does not need its memory.
            let fresh = match Box::pin(self.new_connection()).await {
                Ok(fresh) => fresh,
                Err(failed) => return Err(failed.after(request, was_sent)),
            };
            let sent = self.send_over(fresh, None, request).await;
            sent.map_err(|failed| Box::new(failed.after(was_sent)))
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

    /// Sends an upgrade over its own HTTP/1.1 connection, which leaves HTTP if the upstream agrees.
    async fn upgrade(
        &self,
        mut request: Request<SentBody>,
    ) -> Result<UpgradeResponse, Box<FailedAttempt>> {
        if self.endpoint.spec.protocol == Protocol::Http2PriorKnowledge {
            return Err(self.protocol("it supports only HTTP/2, which has no upgrade").into());
        }
        let connected = match self.new_transport(true).await {
            Ok(connected) => connected,
            Err(failed) => return Err(failed.with(request)),
        };
        let most = self.pool.max_response_headers.get();
        let speaking = handshake::http1(connected.transport, connected.address, most).await;
        let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
        let (parts, switched) = oneshot::channel();
        rt::spawn(driver.run_until_upgrade(parts));
        let connection = self.pool.add_http1(connection, Instant::now());
        let mut lease = Lease::new(self.pool.clone(), connection, None);

        for_http1(&mut request, &self.endpoint.spec.authority, true);
        let Some(PooledConnection::Http1 { connection, .. }) = lease.connection() else {
            return Err(self.closed("the connection is gone").into());
        };
        let sent = connection.sender.try_send_request(request).await;
        let response = sent.map_err(|error| Box::new(self.failed(error, &lease)))?;
        lease.response_started(false, self.upload.clone());
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                let switched = switched.await.map_err(|_| self.closed("closed after its 101"))?;
                let SwitchedIo { io: transport, received } = switched;
                Ok((response, lease, Some(Upgraded { transport, received, circuit: None })))
            }
            status if status.is_informational() => {
                Err(self.protocol(&format!("status {status} instead of a response")).into())
            }
            _ => Ok((response, lease, None)),
        }
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
        FailedAttempt {
            unsent,
            stale,
            unprocessed: is_unprocessed(&error),
            ..self.broken(&error).into()
        }
    }

    fn broken(&self, error: &hyper::Error) -> UpstreamError {
        let client = self.upload.as_ref().and_then(|upload| upload.progress.failure());
        match client {
            Some(why) => {
                let detail = format!("the client's request body failed: {why}");
                UpstreamError { kind: FailureKind::RequestBody, detail }
            }
            None => {
                let text = exchange_text(error, |error| self.pool.certificate_refusal(error));
                let detail = format!("{}: {text}", self.endpoint);
                UpstreamError { kind: kind_of(error), detail }
            }
        }
    }

    /// Counts one more against a limit of the cluster; `None` if it has no such limit.
    fn admit(&self, limit: CircuitLimit) -> Result<Option<CircuitPermit>, UpstreamError> {
        let Some(breaker) = self.cluster.breaker() else { return Ok(None) };
        breaker.admit(limit).map_err(|open| self.overflow(limit, &open))
    }

    fn overflow(&self, limit: CircuitLimit, why: &dyn fmt::Display) -> UpstreamError {
        self.pool.meter.circuit_open(limit);
        let detail = format!("{}: {why}", self.endpoint);
        UpstreamError { kind: FailureKind::Overflow, detail }
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
