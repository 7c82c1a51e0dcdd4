//! One request to one endpoint: over a pooled connection, over a new one, or as an upgrade.

mod repeat;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use ::http::{Request, Response, StatusCode, uri::Scheme};
use hyper::{body::Incoming, client::conn::TrySendError};
use repeat::{Failed, copy_to_repeat};
use tokio::sync::oneshot;

use super::{
    Cluster, Endpoint, FailureKind, Protocol, Reply, ResponseBody, SendOptions, Upgraded,
    UpstreamError,
    body::SentBody,
    connect::{Attempt, Connected},
    convert::{for_http1, for_http2, leaves_connection_open},
    failure::{is_stale_connection, kind_of, with_causes},
    handshake,
    host::{Carrier, Host, InFlight},
    lease::Lease,
    progress::Progress,
};
use crate::rt;

/// What stays the same through all attempts of one request.
pub(super) struct Exchange<'a> {
    pub(super) host: &'a Rc<Host>,
    pub(super) cluster: &'a Cluster,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        host: &'a Rc<Host>,
        cluster: &'a Cluster,
        endpoint: &'a Arc<Endpoint>,
        body: &SentBody,
    ) -> Exchange<'a> {
        let progress = body.progress();
        Exchange { host, cluster, endpoint, progress }
    }

    /// Sends the request and waits for the response's head.
    pub(super) async fn run(
        &self,
        request: Request<SentBody>,
        options: SendOptions,
    ) -> Result<Reply, UpstreamError> {
        let in_flight = InFlight::new(self.host.clone());
        let (response, mut lease, upgraded) = if options.upgrade {
            // Rare, and its future is large.
            Box::pin(self.upgrade(request)).await?
        } else {
            let (response, lease) = self.forward(request).await?;
            (response, lease, None)
        };
        lease.in_flight = Some(in_flight);
        let response = response.map(|incoming| ResponseBody::new(incoming, lease));
        Ok(Reply { response, upgraded })
    }

    /// Over a pooled connection where there is one, and once more over a new one where the pooled
    /// one turns out to have been closed and nothing speaks against it.
    async fn forward(&self, mut request: Request<SentBody>) -> Result<Answer, UpstreamError> {
        let pooled = match self.host.take(self.endpoint, Instant::now()) {
            Some(idle) => Some(idle),
            None => match self.host.patience() {
                Some(wait) => Box::pin(self.host.take_freed(self.endpoint, wait)).await,
                None => None,
            },
        };
        if let Some(pooled) = pooled {
            self.host.meter.sent_over_pooled();
            let copy = copy_to_repeat(&request);
            match self.send_over(pooled, request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => request = failed.repeatable(copy)?,
            }
            self.host.meter.retrying();
        }
        // Boxed, since a request that finds a connection need not pay for it.
        let fresh = Box::pin(self.new_connection()).await?;
        self.send_over(fresh, request).await.map_err(|failed| failed.error)
    }

    async fn send_over(
        &self,
        carrier: Carrier,
        mut request: Request<SentBody>,
    ) -> Result<Answer, Failed> {
        let authority = &self.endpoint.spec.authority;
        let mut lease = self.lease(carrier);
        let sent = match lease.carrier() {
            Some(Carrier::Http1 { connection, .. }) => {
                for_http1(&mut request, authority, false);
                connection.sender.try_send_request(request).await
            }
            Some(Carrier::Http2(member)) => {
                for_http2(&mut request, authority, self.scheme());
                member.connection.sender.clone().try_send_request(request).await
            }
            None => return Err(self.closed("the connection is gone").into()),
        };
        let response = sent.map_err(|error| self.failed(error, &lease))?;
        if response.status().is_informational() {
            let detail = format!("status {} instead of a response", response.status());
            return Err(self.protocol(&detail).into());
        }
        lease.answered(leaves_connection_open(&response), self.progress.clone());
        Ok((response, lease))
    }

    /// A connection that was just made, by us or by another request that it can be shared with.
    async fn new_connection(&self) -> Result<Carrier, UpstreamError> {
        self.in_connect_timeout(async |deadline, stage| {
            stage.replace("waiting for another request's connection".to_owned());
            let _turn = self.host.wait_for_turn(self.endpoint).await;
            if let Some(shared) = self.host.join(self.endpoint, Instant::now()) {
                self.host.meter.sent_over_pooled();
                return Ok(shared);
            }
            let begun = Instant::now();
            let connected = self.attempt(false, deadline, stage).run().await?;
            self.host.patience.connected(begun.elapsed());
            self.host.meter.sent_over_fresh();
            self.speak(connected).await
        })
        .await
    }

    async fn speak(&self, connected: Connected) -> Result<Carrier, UpstreamError> {
        let Connected { transport, address, http2 } = connected;
        let now = Instant::now();
        if http2 {
            let speaking = handshake::http2(transport, address).await;
            let parts = speaking.map_err(|error| self.broken(&error))?;
            let (carrier, driver) = self.host.add_http2(parts, now);
            rt::spawn(driver);
            Ok(carrier)
        } else {
            let speaking = handshake::http1(transport, address).await;
            let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
            rt::spawn(driver.run());
            Ok(self.host.add_http1(connection, now))
        }
    }

    /// Over an HTTP/1.1 connection of its own, which leaves HTTP where the upstream agrees.
    async fn upgrade(
        &self,
        mut request: Request<SentBody>,
    ) -> Result<UpgradeAnswer, UpstreamError> {
        if self.endpoint.spec.protocol == Protocol::Http2PriorKnowledge {
            return Err(self.protocol("it speaks HTTP/2 alone, which knows no upgrade"));
        }
        let connected = self
            .in_connect_timeout(async |deadline, stage| {
                self.attempt(true, deadline, stage).run().await
            })
            .await?;
        let speaking = handshake::http1(connected.transport, connected.address).await;
        let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
        let (parts, switched) = oneshot::channel();
        rt::spawn(driver.run_until_upgrade(parts));
        self.host.meter.sent_over_fresh();
        let mut lease = self.lease(self.host.add_http1(connection, Instant::now()));

        for_http1(&mut request, &self.endpoint.spec.authority, true);
        let Some(Carrier::Http1 { connection, .. }) = lease.carrier() else {
            return Err(self.closed("the connection is gone"));
        };
        let sent = connection.sender.try_send_request(request).await;
        let response = sent.map_err(|error| self.failed(error, &lease).error)?;
        lease.answered(false, self.progress.clone());
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
        Attempt { host: self.host, endpoint: self.endpoint, http1_only, deadline, stage }
    }

    /// One timeout for everything it takes to have a connection.
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

    fn failed(&self, mut error: TrySendError<Request<SentBody>>, lease: &Lease) -> Failed {
        let unsent = error.take_message();
        let error = error.into_error();
        let stale = is_stale_connection(&error);
        if stale {
            lease.retire();
        }
        Failed { error: self.broken(&error), unsent, stale }
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

    fn lease(&self, carrier: Carrier) -> Lease {
        Lease::new(self.host.clone(), self.endpoint, carrier)
    }

    fn scheme(&self) -> Scheme {
        if self.endpoint.spec.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

type Answer = (Response<Incoming>, Lease);
type UpgradeAnswer = (Response<Incoming>, Lease, Option<Upgraded>);
