//! A request from its head to its record.

use std::{borrow::Cow, net::IpAddr, rc::Rc, time::Instant};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version, request::Parts, uri::PathAndQuery,
};

use super::{
    client_body::Upload,
    facts::Facts,
    headers::forwarded::client_ip,
    request::Normalised,
    request_id::{REQUEST_ID, is_acceptable},
    respond::Asked,
    site::{Context, LocalSite, Site, SiteRoute},
    timeouts::Timeouts,
};
use crate::{
    observe::{CapturedHeaders, HttpProtocol, PolicyRecord, RequestRecord, RouteMetrics},
    policy::{Decision, Reason, Reasons},
    upstream::{Endpoint, EndpointAddress},
};

/// Envoy's flag for a client that went away.
const CLIENT_GONE: &str = "DC";

/// A request under way. Dropping it makes its record: one for each request, however it ended.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) worker: Rc<Context>,
    pub(super) conn: Rc<Facts>,
    pub(super) site: Rc<LocalSite>,
    pub(super) request_id: HeaderValue,
    /// The client's address, which a trusted proxy may have told.
    pub(super) client: IpAddr,
    pub(super) asked: Asked,
    pub(super) timeouts: Timeouts,
    method: Method,
    version: Version,
    /// As the client wrote it, until it is normalised.
    authority: Option<HeaderValue>,
    target: Option<PathAndQuery>,
    captured: CapturedHeaders,
    route: Option<usize>,
    decision: Option<Decision>,
    /// Its index in the route's cluster.
    endpoint: Option<usize>,
    upload: Option<Rc<Upload>>,
    status: u16,
    details: Cow<'static, str>,
    flags: &'static str,
    received: u64,
    sent: u64,
    recorded: bool,
    /// The client has what there was of the response, and has not asked for more.
    held: bool,
}

impl Exchange {
    /// Begins with a request's head as it came.
    pub(super) fn begin(worker: &Rc<Context>, conn: &Rc<Facts>, parts: &Parts) -> Box<Exchange> {
        let started = Instant::now();
        let site = worker.site();
        conn.in_flight.set(conn.in_flight.get() + 1);
        conn.requests.set(conn.requests.get() + 1);
        let metrics = &worker.observer.metrics;
        metrics.requests.inc(protocol(parts.version));
        metrics.requests_active.inc();
        let hops = site.settings.forwarded_for.trusted_hops;
        let authority = match parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => parts.headers.get(http::header::HOST).cloned(),
        };
        Box::new(Exchange {
            client: client_ip(&parts.headers, conn.peer_ip(), hops),
            request_id: request_id(worker, &site, &parts.headers),
            asked: Asked::new(&parts.method, parts.version, &parts.headers),
            timeouts: Timeouts::new(started, &site.settings, conn.timer.take()),
            method: parts.method.clone(),
            version: parts.version,
            authority,
            target: parts.uri.path_and_query().cloned(),
            captured: worker.observer.capture(&parts.headers),
            route: None,
            decision: None,
            endpoint: None,
            upload: None,
            // Until something else happens, the client going away is what happens.
            status: 0,
            details: Cow::Borrowed("downstream_remote_disconnect"),
            flags: CLIENT_GONE,
            received: 0,
            sent: 0,
            recorded: true,
            held: false,
            worker: worker.clone(),
            conn: conn.clone(),
            site,
        })
    }

    /// The request has been normalised.
    pub(super) fn normalised(&mut self, normal: &Normalised) {
        self.authority = Some(normal.authority.clone());
        self.target = Some(normal.target.clone());
    }

    /// Its route is known.
    pub(super) fn routed(&mut self, index: usize, route: &SiteRoute) {
        self.route = Some(index);
        self.timeouts.routed(&route.spec);
    }

    /// What its route's policy said.
    pub(super) fn decided(&mut self, decision: Decision) {
        self.decision = Some(decision);
    }

    #[cfg(test)]
    pub(super) fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// Its upstream is known, and its body where it has one.
    pub(super) fn forwarded(&mut self, endpoint: usize, upload: Option<Rc<Upload>>) {
        self.endpoint = Some(endpoint);
        self.timeouts.uploading(upload.clone());
        self.upload = upload;
    }

    /// It gets a response of this status.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// How it ended, in Envoy's words.
    pub(super) fn conclude(&mut self, details: Cow<'static, str>, flags: &'static str) {
        self.details = details;
        self.flags = flags;
    }

    /// The client went away before the end of the response.
    pub(super) fn abandoned(&mut self) {
        self.conclude(Cow::Borrowed("downstream_remote_disconnect"), CLIENT_GONE);
    }

    /// Not to be recorded: a health check.
    pub(super) fn unrecorded(&mut self) {
        self.recorded = false;
    }

    /// The client's connection has room for more of the response.
    pub(super) fn asked_for_data(&mut self, now: Instant) {
        if std::mem::take(&mut self.held) {
            self.conn.demand.release();
        }
        self.conn.demand.ask(now);
    }

    /// The client's connection has been given some of the response.
    pub(super) fn gave_data(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.held, true) {
            self.conn.demand.hold(now);
        }
    }

    pub(super) fn add_received(&mut self, bytes: u64) {
        self.received += bytes;
    }

    pub(super) fn add_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    fn site_route(&self) -> Option<&SiteRoute> {
        self.site.routes.get(self.route?)
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        let cluster = self.site_route()?.cluster.as_ref()?;
        Some(cluster.endpoint(self.endpoint?))
    }

    fn metrics(&self) -> &RouteMetrics {
        self.site_route().map_or(&self.site.unrouted, |route| &route.metrics)
    }

    /// Set on its response.
    pub(super) fn response_headers(&self) -> &[(http::HeaderName, HeaderValue)] {
        let of_route = self.site_route().map(|route| &route.response_headers);
        of_route.unwrap_or(&self.site.response_headers)
    }

    fn log(&self, received: u64, duration: std::time::Duration) {
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let route = self.site_route().map_or("", |route| &route.spec.name);
        let upstream_address = self
            .endpoint()
            .map_or_else(String::new, |endpoint| address_text(&endpoint.spec.address));
        let certificate = self.conn.client_certificate.as_ref();
        let decision = self.decision.filter(is_worth_a_word);
        let [allow_why, deny_why] = [decision.map(|it| it.allow), decision.map(|it| it.deny)]
            .map(|result| result.map_or_else(Vec::new, |result| names(result.reasons)));
        self.worker.observer.log_request(&RequestRecord {
            client: self.client,
            method: self.method.as_str(),
            authority: &text(&self.authority),
            path: self.target.as_ref().map_or("", PathAndQuery::path),
            query: self.target.as_ref().and_then(PathAndQuery::query),
            headers: &self.captured,
            request_id: self.request_id.to_str().unwrap_or_default(),
            status: self.status,
            response_code_details: &self.details,
            response_flags: self.flags,
            route,
            upstream_cluster: if self.endpoint.is_some() { route } else { "" },
            upstream_address: &upstream_address,
            bytes_received: received,
            bytes_sent: self.sent,
            duration,
            protocol: protocol(self.version),
            tls_version: self.conn.tls_version,
            client_certificate: certificate.and_then(|certificate| certificate.summary()),
            policy: decision.map(|decision| PolicyRecord {
                served: decision.is_allowed(),
                allow: decision.allow.value,
                allow_why: &allow_why,
                deny: decision.deny.value,
                deny_why: &deny_why,
            }),
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let observer = &self.worker.observer;
        self.conn.in_flight.set(self.conn.in_flight.get().saturating_sub(1));
        if self.held {
            self.conn.demand.release();
        }
        if self.version < Version::HTTP_2 {
            // A stream of HTTP/2 has a task of its own, which its timer would keep alive.
            self.conn.timer.replace(self.timeouts.leave_timer());
        }
        if self.flags == CLIENT_GONE {
            self.conn.abandoned.set(self.conn.abandoned.get() + 1);
        }
        observer.metrics.requests_active.dec();
        if !self.recorded {
            return;
        }
        let duration = self.timeouts.started().elapsed();
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

/// That everybody may use a route, if only with a good certificate, is not told with each of its
/// requests.
fn is_worth_a_word(decision: &Decision) -> bool {
    let usual = Reasons::from(Reason::Accept).union(Reason::ValidClientCertificate.into());
    let reasons = decision.allow.reasons.union(decision.deny.reasons);
    !decision.is_allowed() || reasons.union(usual) != usual
}

fn names(reasons: Reasons) -> Vec<&'static str> {
    reasons.iter().map(Reason::name).collect()
}

/// A trusted proxy's id, or a new one.
fn request_id(worker: &Context, site: &Site, headers: &HeaderMap) -> HeaderValue {
    let trusted = site.settings.forwarded_for.trusted_hops > 0;
    let theirs = headers.get(REQUEST_ID).filter(|id| trusted && is_acceptable(id));
    let mut id = theirs.cloned().unwrap_or_else(|| worker.ids.next());
    // Kept out of HPACK's dynamic table (RFC 7541 section 7.1.3): a value that never comes again
    // would push out those that do, and each response would be compared with all before it.
    id.set_sensitive(true);
    id
}

fn protocol(version: Version) -> HttpProtocol {
    if version == Version::HTTP_2 { HttpProtocol::H2 } else { HttpProtocol::H1 }
}

fn address_text(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Name(name, port) => format!("{name}:{port}"),
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}
