//! Forwarding an allowed request: connect, send, and the client's head of the response.

use std::{net::IpAddr, num::NonZeroU32, rc::Rc, time::Duration};

use http::{Request, Response, StatusCode, Version, request::Parts};

use super::{
    active_request::ActiveRequest,
    certificate::RequestCertificate,
    connection::ClientConnection,
    downstream_body::DownstreamBody,
    error::RequestFailure,
    headers::{self, InvalidResponse, ResponseRules, Upgrade, requested_upgrade},
    limit::Limit,
    reply::Reply,
    request::RequestTarget,
    request_config::{CompiledRoute, LocalRequestConfig},
    respond::announce_close,
    spec::ProxySpec,
    upload::UploadProgress,
    upstream_head::UpstreamHead,
};
use crate::{
    fields::trim_values,
    upstream::{
        ConnectOptions, InterimResponses, ReceivedBody, RequestBody, ResponseBody, SendFailure,
        SendOptions, SentBody, Upgraded, UpstreamResponse,
    },
};

/// How an allowed request is forwarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarding<'a> {
    pub(super) conn: &'a ClientConnection,
    pub(super) config: &'a Rc<LocalRequestConfig>,
    pub(super) route: &'a CompiledRoute,
    pub(super) proxy: &'a ProxySpec,
    pub(super) certificate: Option<RequestCertificate<'a>>,
    pub(super) target: &'a RequestTarget,
}

/// An upstream's response, with the client's head.
#[derive(Debug)]
pub(super) struct ForwardedResponse {
    pub(super) response: Response<ResponseBody>,
    /// The upstream's connection, if the response is a 101.
    pub(super) upgraded: Option<Upgraded>,
}

impl<'a> Forwarding<'a> {
    /// Sends the request to an upstream of its route; the future gives the reply. Not an `async fn`,
    /// which would keep room for the request twice.
    pub(super) fn send(
        self,
        active: &mut ActiveRequest,
        parts: Parts,
        interim: Option<InterimResponses>,
    ) -> Result<impl Future<Output = Result<UpstreamResponse, SendFailure>> + use<'a>, RequestFailure>
    {
        let upgrade = upgrade(&parts, self.route)?;
        let response_within_ms = self.route.spec.timeout.and_then(in_ms);
        let connecting = ConnectOptions { response_within_ms, ..ConnectOptions::default() };
        let options = self.options(&upgrade, interim, connecting);
        let cluster = self.route.cluster.as_ref();
        let cluster = cluster.ok_or(RequestFailure::Misconfigured("route_without_cluster"))?;
        let upstreams = &self.conn.handler.upstreams;
        let endpoint = upstreams.choose(cluster, client_hash(active.account.client));
        let endpoint = endpoint.ok_or_else(|| no_healthy_upstream(self.proxy))?;
        let version = parts.version;
        active.kept_head = self.kept_head(cluster, &parts, active.body.is_some());
        let head = self.head(active, endpoint.host(), parts, &upgrade)?;
        let (body, upload) = self.request_body(active, version);
        active.account.set_upstream(endpoint.clone(), upload.clone());
        active.timeouts.uploading(upload);
        let request = Request::from_parts(head, SentBody::new(body));
        Ok(upstreams.send(cluster, endpoint, request, &self.conn.owner, options))
    }

    /// Turns the upstream's reply, or the limit that was reached before it, into the response.
    pub(super) fn receive(
        self,
        active: &mut ActiveRequest,
        reply: Reply,
    ) -> Result<ForwardedResponse, RequestFailure> {
        let reply = match reply {
            Ok(reply) => reply.map_err(|failure| RequestFailure::Upstream(failure.error))?,
            Err(limit) => {
                let failure = too_late(limit);
                if matches!(failure, RequestFailure::ResponseTimeout)
                    && let Some(endpoint) = active.account.endpoint()
                {
                    let is_complete = !active.account.is_uploading();
                    self.conn.handler.upstreams.unanswered(endpoint, is_complete);
                }
                return Err(failure);
            }
        };
        let is_switching = reply.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        // Only a request that asked for it has its connection upgraded.
        if is_switching && reply.upgraded.is_none() {
            let what = InvalidResponse("switched protocols without being asked");
            return Err(RequestFailure::InvalidResponse(what));
        }
        if is_switching && reply.drops_request {
            let what = InvalidResponse("switched protocols before the end of the request");
            return Err(RequestFailure::InvalidResponse(what));
        }
        let response = self.response(active, reply.response);
        let mut response = response.map_err(RequestFailure::InvalidResponse)?;
        if reply.drops_request && active.negotiation.version < Version::HTTP_2 {
            // The client must not take the rest of its request for delivered.
            announce_close(response.headers_mut());
        }
        Ok(ForwardedResponse { response, upgraded: reply.upgraded.filter(|_| is_switching) })
    }

    /// How a request is sent to one upstream.
    pub(super) fn options(
        &self,
        upgrade: &Upgrade,
        interim: Option<InterimResponses>,
        connecting: ConnectOptions,
    ) -> SendOptions {
        SendOptions {
            upgrade: matches!(upgrade, Upgrade::Allowed(_)),
            max_response_headers: self.config.settings.max_response_headers,
            interim,
            connecting,
            late_upload_limit_ms: self.config.settings.read_timeout.and_then(in_ms),
        }
    }

    pub(super) fn head(
        &self,
        active: &ActiveRequest,
        upstream: Option<&http::HeaderValue>,
        parts: Parts,
        upgrade: &Upgrade,
    ) -> Result<Parts, RequestFailure> {
        let head = UpstreamHead {
            config: self.config,
            route: self.route,
            proxy: self.proxy,
            upstream,
            peer: &self.conn.peer,
            certificate: self.certificate,
            assertion: active.assertion.as_deref(),
            tokens: active.account.session().and_then(|known| known.session.tokens.as_deref()),
            target: self.target,
            request_id: &active.account.request_id,
            client: active.account.client,
        };
        head.build(parts, upgrade)
    }

    fn request_body(
        &self,
        active: &mut ActiveRequest,
        version: Version,
    ) -> (RequestBody, Option<Rc<UploadProgress>>) {
        let Some(body) = active.body.take() else {
            return (RequestBody::Empty, None);
        };
        let body = ReceivedBody::new(body.into_incoming(), version);
        let conn = &active.account.conn;
        let (body, upload) = DownstreamBody::new(body, conn, self.config.clone(), self.route);
        (RequestBody::Client(Box::pin(body)), Some(upload))
    }

    /// Turns the upstream's head into the client's, in place.
    fn response(
        &self,
        active: &mut ActiveRequest,
        mut response: Response<ResponseBody>,
    ) -> Result<Response<ResponseBody>, InvalidResponse> {
        // The parser of HTTP/1 has looked at both.
        if response.version() == Version::HTTP_2 {
            let most = usize::from(self.config.settings.max_response_headers);
            if response.headers().len() > most {
                return Err(InvalidResponse("too many header fields"));
            }
            trim_values(response.headers_mut());
        }
        // The upstream's version is its connection's; hyper writes what the client speaks.
        *response.version_mut() = Version::HTTP_11;
        headers::strip_set_cookies(response.headers_mut(), &self.config.own_cookies);
        if self.route.spec.forwards_certificate() {
            headers::hide_variance(response.headers_mut());
        }
        let rules = ResponseRules {
            rewrite: &self.route.spec.response_headers.rewrite,
            set: &self.route.response_headers,
            request_id: &active.account.request_id,
        };
        let status = response.status();
        headers::forward_response(response.headers_mut(), status, rules)?;
        active.renew_cookies(response.headers_mut());
        active.account.set_status(response.status());
        active.account.conclude("via_upstream".into(), "");
        Ok(response)
    }
}

/// At least a millisecond, and `None` for more than seven weeks.
pub(super) fn in_ms(limit: Duration) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(limit.as_millis()).ok()?.max(1))
}

/// A request to upgrade may have content: the new protocol begins behind it (RFC 9110 section 7.8).
pub(super) fn upgrade(parts: &Parts, route: &CompiledRoute) -> Result<Upgrade, RequestFailure> {
    match requested_upgrade(parts, &route.spec.upgrades) {
        Upgrade::Refused => Err(RequestFailure::UpgradeRefused),
        upgrade => Ok(upgrade),
    }
}

fn too_late(limit: Limit) -> RequestFailure {
    match limit {
        Limit::Request => RequestFailure::RequestTimeout,
        Limit::Response | Limit::Idle | Limit::Unread => RequestFailure::ResponseTimeout,
        Limit::Stream => RequestFailure::StreamTimeout,
    }
}

/// FNV-1a of the client's address: the same on every worker and after every start, so that a client
/// keeps its upstream.
pub(super) fn client_hash(client: IpAddr) -> u64 {
    let hash = |octets: &[u8]| {
        octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    match client {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()),
    }
}

/// The next check of an endpoint may find it up again.
fn no_healthy_upstream(proxy: &ProxySpec) -> RequestFailure {
    let resilience = proxy.cluster.resilience.as_ref();
    let checks = resilience.into_iter().flat_map(|resilience| &resilience.checks);
    let next = checks.map(|check| check.intervals.unhealthy).min();
    let retry_after_s = next.map(|next| next.as_secs_f64().ceil().max(1.0) as u64);
    RequestFailure::NoHealthyUpstream { retry_after_s }
}
