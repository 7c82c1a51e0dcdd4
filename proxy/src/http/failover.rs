//! Sending a request to another upstream: no connection could be made to the first one, or the route
//! wants it for other failures too. It happens before anything of a response has reached the client.

use std::{
    future::poll_fn,
    num::{NonZeroU16, NonZeroU32},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode, header, request::Parts};

use super::{
    active_request::ActiveRequest,
    forward::{Forwarding, client_hash, in_ms, upgrade},
    headers::Upgrade,
    interim::InterimRelay,
    limit::Limit,
    reply::Reply,
    spec::HostRewrite,
};
use crate::{
    observe::UpstreamRetry,
    upstream::{
        ChosenEndpoint, Cluster, ConnectOptions, FailureKind, RequestBody, RetryPermit,
        SendOptions, SentBody, Tried,
    },
};

/// How many endpoints may get a request that broke their connections. One that makes a server crash must
/// not go from each to the next.
const MOST_BROKEN: u8 = 2;

/// What has become of a request so far.
#[derive(Debug, Default)]
struct Attempts {
    /// The endpoints that it was sent to, or that no connection could be made to.
    tried: Tried,
    /// Those that no connection could be made to.
    unconnected: Tried,
    count: u32,
    /// How often it was sent again after it had reached an endpoint.
    repeated: u8,
    /// The endpoints that it was sent to over connections that broke before an answer.
    broken: u8,
    /// The time that connecting took.
    spent: Duration,
}

/// One more attempt.
struct NextAttempt {
    endpoint: ChosenEndpoint,
    request: Request<SentBody>,
    options: SendOptions,
    permit: RetryPermit,
}

impl Forwarding<'_> {
    /// The client's head, if another upstream may need more of it than a request that was not sent: the
    /// request may have been sent before, or what a header says depends on the upstream's host.
    pub(super) fn kept_head(
        &self,
        cluster: &Cluster,
        parts: &Parts,
        has_body: bool,
    ) -> Option<Box<Parts>> {
        let may_be_sent = cluster.retry().is_budgeted() && !has_body;
        let is_needed = may_be_sent
            || self.route.reads_host && matches!(self.proxy.host, HostRewrite::Upstream);
        is_needed.then(|| Box::new(parts.clone()))
    }

    /// Keeps a reply that makes the request go to another upstream, and gives back any other one.
    pub(super) fn keep_if_failed(self, active: &mut ActiveRequest, reply: Reply) -> Reply {
        if self.retry_reason(active, &reply).is_none() {
            return reply;
        }
        active.failed = Some(Box::new(reply));
        Err(Limit::Response)
    }

    /// Why the request should be sent again; `None` if the reply is for the client.
    fn retry_reason(&self, active: &ActiveRequest, reply: &Reply) -> Option<UpstreamRetry> {
        let reason = match reply {
            Ok(Err(failure)) => failure.again.as_ref()?.reason,
            Ok(Ok(reply)) if is_gateway_error(reply.response.status()) => {
                let head = active.kept_head.as_ref().filter(|_| reply.upgraded.is_none())?;
                may_meet_gateway_again(&head.method).then_some(UpstreamRetry::Gateway)?
            }
            _ => return None,
        };
        let is_repeatable = active.kept_head.is_some() && !active.account.has_upload();
        let is_possible = reason == UpstreamRetry::Connect || is_repeatable;
        self.route.cluster.as_ref()?.retry().allows(reason).then_some(reason)?;
        is_possible.then_some(reason)
    }

    /// Sends it to other upstreams, until a reply is for the client.
    pub(super) async fn send_again(
        self,
        active: &mut ActiveRequest,
        interim: &InterimRelay,
    ) -> Reply {
        let mut attempts = Attempts::default();
        let mut reply = active.failed.take().map_or(Err(Limit::Response), |failed| *failed);
        let Some(cluster) = self.route.cluster.as_ref() else { return reply };
        while let Some(reason) = self.retry_reason(active, &reply) {
            attempts.failed(active, &reply, reason);
            let next = self.next_attempt(active, cluster, &mut attempts, reason, &mut reply);
            let Some(NextAttempt { endpoint, request, mut options, permit }) = next else { break };
            // Closes the connection of a response that nobody reads.
            drop(reply);
            options.interim = interim.source();
            active.account.set_endpoint(endpoint.clone());
            let upstreams = &self.conn.handler.upstreams;
            let owner = &self.conn.owner;
            let mut sending = pin!(upstreams.send(cluster, endpoint, request, owner, options));
            let mut kept = None;
            let relaying = poll_fn(|cx| interim.poll(sending.as_mut(), &mut kept, cx));
            reply = active.timeouts.within(pin!(relaying)).await;
            drop(permit);
        }
        attempts.explain(&mut reply);
        reply
    }

    /// `None` leaves the reply as it is: there is no other endpoint, no time, or no budget.
    fn next_attempt(
        &self,
        active: &ActiveRequest,
        cluster: &Arc<Cluster>,
        attempts: &mut Attempts,
        reason: UpstreamRetry,
        reply: &mut Reply,
    ) -> Option<NextAttempt> {
        if attempts.broken >= MOST_BROKEN {
            return None;
        }
        let left = cluster.connect_timeout().checked_sub(attempts.spent)?;
        let within_ms = NonZeroU32::new(u32::try_from(left.as_millis()).ok()?)?;
        let upstreams = &self.conn.handler.upstreams;
        let hash = client_hash(active.account.client);
        let mut chosen = upstreams.choose_other(cluster, hash, &attempts.tried);
        if reason != UpstreamRetry::Connect {
            if attempts.repeated >= cluster.retry().attempts {
                return None;
            }
            attempts.repeated += 1;
            // An endpoint that can be reached may do better the second time.
            chosen =
                chosen.or_else(|| upstreams.choose_other(cluster, hash, &attempts.unconnected));
        }
        let (endpoint, untried) = chosen?;
        let permit = upstreams.may_retry(cluster, reason)?;
        let (request, upgrade) = self.request_for(active, &endpoint, reply)?;
        let response_within_ms = active.timeouts.left(Instant::now()).and_then(in_ms);
        let untried = u16::try_from(untried).ok().and_then(NonZeroU16::new);
        let within_ms = Some(within_ms);
        let connecting = ConnectOptions { within_ms, response_within_ms, untried };
        let options = self.options(&upgrade, None, connecting);
        Some(NextAttempt { endpoint, request, options, permit })
    }

    /// The request for another endpoint: the one that was not sent, or one that is made again from the
    /// client's head.
    fn request_for(
        &self,
        active: &ActiveRequest,
        endpoint: &ChosenEndpoint,
        reply: &mut Reply,
    ) -> Option<(Request<SentBody>, Upgrade)> {
        let unsent = match reply {
            Ok(Err(failure)) => failure.again.as_mut().and_then(|again| again.unsent.take()),
            _ => None,
        };
        match (&active.kept_head, unsent) {
            (Some(kept), unsent) => {
                let upgrade = upgrade(kept, self.route).ok()?;
                let head = self.head(active, endpoint.host(), (**kept).clone(), &upgrade).ok()?;
                let body = unsent.map(Request::into_body);
                let body = body.unwrap_or_else(|| SentBody::new(RequestBody::Empty));
                Some((Request::from_parts(head, body), upgrade))
            }
            (None, Some(mut unsent)) => {
                if matches!(self.proxy.host, HostRewrite::Upstream) {
                    let host = endpoint.host().unwrap_or(&self.target.authority).clone();
                    unsent.headers_mut().insert(header::HOST, host);
                }
                let upgrade = unsent.headers().get(header::UPGRADE).cloned();
                Some((unsent, upgrade.map_or(Upgrade::None, Upgrade::Allowed)))
            }
            (None, None) => None,
        }
    }
}

impl Attempts {
    /// Counts the attempt that the reply ends.
    fn failed(&mut self, active: &ActiveRequest, reply: &Reply, reason: UpstreamRetry) {
        self.count += 1;
        if let Ok(Err(failure)) = reply
            && let Some(again) = &failure.again
        {
            self.spent += again.spent;
            self.broken += u8::from(again.was_sent);
        }
        if let Some(endpoint) = active.account.endpoint() {
            self.tried.add(endpoint);
            if reason == UpstreamRetry::Connect {
                self.unconnected.add(endpoint);
            }
        }
    }

    /// Says in the log that more than the last endpoint failed, and which of the failures was decisive.
    fn explain(&self, reply: &mut Reply) {
        let (Ok(Err(failure)), 2..) = (reply, self.count) else { return };
        if self.broken >= MOST_BROKEN {
            failure.error.kind = FailureKind::Closed;
        }
        let detail = &mut failure.error.detail;
        detail.push_str(&format!("; {} endpoints were tried", self.count));
    }
}

/// Whether a request may be repeated after an answer: it changes nothing, whatever the first one did.
fn may_meet_gateway_again(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
