//! What a request is accounted for with: its connection's counts, metrics and access log.

mod log;
mod user;

use std::{borrow::Cow, net::IpAddr, rc::Rc, sync::Arc, time::Instant};

use http::{HeaderValue, Method, StatusCode, Version, request::Parts, uri::PathAndQuery};

pub(super) use user::AccountedUser;

use super::{
    connection::ClientConnection,
    request::RequestTarget,
    request_config::{CompiledRoute, LocalRequestConfig},
    response_flow::ResponseFlow,
    upload::UploadProgress,
};
use crate::{
    observe::{Blame, CapturedHeaders, HttpProtocol, RequestRefusal, RouteMetrics},
    policy::PolicyDecision,
    upstream::{ChosenEndpoint, EndpointAddress},
};

/// Envoy's flag for a client that went away.
const CLIENT_GONE: &str = "DC";

/// The response flag of a request that this process cut off: Envoy's "local reset".
const CUT_OFF: &str = "LR";

/// The account of one request. Dropping it ends the request on its connection and makes its record:
/// exactly one for each request, however it ended.
#[derive(Debug)]
pub(super) struct RequestAccount {
    pub(super) conn: Rc<ClientConnection>,
    pub(super) request_id: HeaderValue,
    /// The client's address; from `X-Forwarded-For` if the peer is a trusted proxy.
    pub(super) client: IpAddr,
    started: Instant,
    method: Method,
    version: Version,
    /// As the client wrote it, until the request is normalised.
    authority: Option<HeaderValue>,
    target: Option<PathAndQuery>,
    captured: CapturedHeaders,
    route: AccountedRoute,
    decision: Option<PolicyDecision>,
    /// Where the rule stands that refused the request.
    refusing_rule: Option<Box<str>>,
    user: AccountedUser,
    upstream: AccountedUpstream,
    upload: Option<Rc<UploadProgress>>,
    /// How often it was sent to an upstream.
    attempts: u8,
    status: u16,
    details: Cow<'static, str>,
    flags: &'static str,
    received: u64,
    sent: u64,
    recorded: bool,
}

/// The route that a request is counted for.
#[derive(Debug)]
enum AccountedRoute {
    /// The route at this index; `None` while it is not known, or if no route matches.
    Of(Rc<LocalRequestConfig>, Option<usize>),
    /// A tunnel's, which outlives its configuration.
    Released(Box<str>, Arc<RouteMetrics>),
}

/// Where a request was forwarded to.
#[derive(Debug)]
enum AccountedUpstream {
    None,
    /// The endpoint that was chosen, which the cluster may have lost since.
    Endpoint(ChosenEndpoint),
    /// A tunnel's, which outlives its configuration.
    Released(String),
}

impl RequestAccount {
    /// Opens the account of a request that has just come.
    pub(super) fn open(
        conn: &Rc<ClientConnection>,
        config: &Rc<LocalRequestConfig>,
        (request_id, client): (HeaderValue, IpAddr),
        parts: &Parts,
    ) -> RequestAccount {
        let observer = &conn.handler.observer;
        conn.state.begin_request();
        observer.metrics.requests.inc(protocol(parts.version));
        observer.metrics.requests_active.inc();
        RequestAccount {
            conn: Rc::clone(conn),
            request_id,
            client,
            started: Instant::now(),
            method: parts.method.clone(),
            version: parts.version,
            authority: match parts.uri.authority() {
                Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                None => parts.headers.get(http::header::HOST).cloned(),
            },
            target: parts.uri.path_and_query().cloned(),
            captured: observer.capture(&parts.headers),
            route: AccountedRoute::Of(Rc::clone(config), None),
            decision: None,
            refusing_rule: None,
            user: AccountedUser::Unknown,
            upstream: AccountedUpstream::None,
            upload: None,
            attempts: 0,
            // Until something else happens, the client going away is what happens.
            status: 0,
            details: Cow::Borrowed("downstream_remote_disconnect"),
            flags: CLIENT_GONE,
            received: 0,
            sent: 0,
            recorded: true,
        }
    }

    /// When the request began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Notes the normalised target.
    pub(super) fn set_target(&mut self, target: &RequestTarget) {
        self.authority = Some(target.authority.clone());
        self.target = Some(target.path_and_query.clone());
    }

    /// Notes the route, by its index.
    pub(super) fn set_route(&mut self, index: usize) {
        if let AccountedRoute::Of(_, route) = &mut self.route {
            *route = Some(index);
        }
    }

    /// Notes the decision of the route's policy.
    pub(super) fn set_decision(&mut self, decision: PolicyDecision) {
        self.decision = Some(decision);
    }

    /// Notes where the rule stands that refused the request.
    pub(super) fn set_refusing_rule(&mut self, place: String) {
        self.refusing_rule = Some(place.into());
    }

    #[cfg(test)]
    pub(super) fn decision(&self) -> Option<PolicyDecision> {
        self.decision
    }

    /// The endpoint that the request was sent to.
    pub(super) fn endpoint(&self) -> Option<&ChosenEndpoint> {
        match &self.upstream {
            AccountedUpstream::Endpoint(endpoint) => Some(endpoint),
            AccountedUpstream::None | AccountedUpstream::Released(_) => None,
        }
    }

    /// Notes the endpoint and the progress of the body.
    pub(super) fn set_upstream(
        &mut self,
        endpoint: ChosenEndpoint,
        upload: Option<Rc<UploadProgress>>,
    ) {
        self.set_endpoint(endpoint);
        self.upload = upload;
    }

    /// Notes the endpoint of the next attempt.
    pub(super) fn set_endpoint(&mut self, endpoint: ChosenEndpoint) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.log_endpoint(&endpoint);
        }
        self.upstream = AccountedUpstream::Endpoint(endpoint);
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Whether it has a body for the upstream.
    pub(super) fn has_upload(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether the body was sent to an upstream and was not complete yet.
    pub(super) fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.is_complete())
    }

    /// Notes the status of the response.
    pub(super) fn set_status(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// Counts that the request is answered with an error of ours.
    pub(super) fn count_failure(&self, blame: Blame) {
        self.conn.handler.observer.metrics.failures.inc(blame);
    }

    /// Counts that the request is refused.
    pub(super) fn count_refusal(&self, reason: RequestRefusal) {
        let observer = &self.conn.handler.observer;
        observer.metrics.refusals.inc(reason);
        self.metrics().refuse(observer.worker, reason);
    }

    /// Notes how the request ended, in Envoy's response code details and flags.
    pub(super) fn conclude(&mut self, details: Cow<'static, str>, flags: &'static str) {
        self.details = details;
        self.flags = flags;
    }

    /// Notes that the client went away before the end of the response.
    pub(super) fn set_abandoned(&mut self) {
        self.conclude(Cow::Borrowed("downstream_remote_disconnect"), CLIENT_GONE);
    }

    /// Makes no record of the request: it is a health check.
    pub(super) fn omit_record(&mut self) {
        self.recorded = false;
    }

    /// Tells the connection what its response does.
    pub(super) fn flow(&self) -> &ResponseFlow {
        &self.conn.state.flow
    }

    /// Counts bytes from the client, besides those of the request's body.
    pub(super) fn add_received(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// Counts bytes to the client.
    pub(super) fn add_sent(&mut self, bytes: u64) -> u64 {
        self.sent += bytes;
        self.sent
    }

    /// Keeps the route's name and counters and the upstream's address instead of the configuration
    /// that they are part of. For a tunnel, which may outlive many configurations.
    pub(super) fn release_config(&mut self) {
        if let AccountedUpstream::Endpoint(_) = &self.upstream {
            self.upstream = AccountedUpstream::Released(self.upstream_address().into_owned());
        }
        if let AccountedRoute::Of(config, route) = &self.route {
            let route = route.and_then(|index| config.routes.get(index));
            let metrics = route.map_or(&config.unrouted, |route| &route.metrics);
            let name = route.map_or("", |route| &route.spec.name);
            self.route = AccountedRoute::Released(name.into(), Arc::clone(metrics));
        }
    }

    fn metrics(&self) -> &RouteMetrics {
        match &self.route {
            AccountedRoute::Of(config, _) => {
                self.route().map_or(&config.unrouted, |route| &route.metrics)
            }
            AccountedRoute::Released(_, metrics) => metrics,
        }
    }

    fn route(&self) -> Option<&CompiledRoute> {
        match &self.route {
            AccountedRoute::Of(config, index) => config.routes.get((*index)?),
            AccountedRoute::Released(..) => None,
        }
    }

    fn upstream_address(&self) -> Cow<'_, str> {
        match &self.upstream {
            AccountedUpstream::None => Cow::Borrowed(""),
            AccountedUpstream::Released(address) => Cow::Borrowed(address),
            AccountedUpstream::Endpoint(endpoint) => address_text(&endpoint.spec.address).into(),
        }
    }

    fn route_name(&self) -> &str {
        match &self.route {
            AccountedRoute::Of(..) => self.route().map_or("", |route| &route.spec.name),
            AccountedRoute::Released(name, _) => name,
        }
    }
}

impl AccountedUpstream {
    fn is_some(&self) -> bool {
        !matches!(self, AccountedUpstream::None)
    }
}

impl Drop for RequestAccount {
    fn drop(&mut self) {
        if self.flags == CLIENT_GONE && self.conn.handler.observer.cuts_off() {
            self.conclude(Cow::Borrowed("drain_timeout"), CUT_OFF);
        }
        let observer = &self.conn.handler.observer;
        self.conn.state.end_request(self.flags == CLIENT_GONE);
        observer.metrics.requests_active.dec();
        if !self.recorded {
            return;
        }
        let duration = self.started.elapsed();
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let uploaded = self.upload.as_ref().map_or(0, |upload| upload.received());
        let received = self.received + uploaded;
        observer.metrics.request_duration.record_us(duration_us);
        self.metrics().record(observer.worker, self.status, duration_us, received, self.sent);
        if observer.logs_requests() {
            self.log(received, duration);
        }
    }
}

fn protocol(version: Version) -> HttpProtocol {
    if version == Version::HTTP_2 { HttpProtocol::H2 } else { HttpProtocol::H1 }
}

pub(super) fn address_text(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Name(name, port) => format!("{name}:{port}"),
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}
