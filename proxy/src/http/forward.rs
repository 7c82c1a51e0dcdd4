//! From the client's request to the upstream's, and from the upstream's response to the client's.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Response, Version, header, request::Parts};

use super::{
    access::Presented,
    error::Failure,
    exchange::Exchange,
    facts::Facts,
    headers::{self, Upgrade, forwarded},
    request::Normalised,
    request_id::REQUEST_ID,
    rewrite,
    site::{Site, SiteRoute},
    spec::ProxySpec,
};
use crate::upstream::ResponseBody;

/// What a forwarded request is made of.
#[derive(Debug)]
pub(super) struct Forward<'a> {
    pub(super) site: &'a Site,
    pub(super) route: &'a SiteRoute,
    pub(super) proxy: &'a ProxySpec,
    /// The chosen upstream's host, for the Host header; `None` leaves the client's.
    pub(super) upstream: Option<&'a HeaderValue>,
    pub(super) conn: &'a Facts,
    pub(super) certificate: Option<Presented<'a>>,
    pub(super) normal: &'a Normalised,
    pub(super) request_id: &'a HeaderValue,
    pub(super) client: IpAddr,
}

impl Forward<'_> {
    /// Makes the upstream's head of the client's, in place: its extensions keep the spelling of
    /// header names (HTTP/1).
    ///
    /// Everything of the client's that must go goes before anything of ours is added.
    pub(super) fn head(&self, mut parts: Parts, upgrade: &Upgrade) -> Result<Parts, Failure> {
        let target = rewrite::target(self.normal, &self.route.path, &self.proxy.path);
        parts.uri = target.map_err(Failure::Rejected)?.into();
        parts.version = Version::HTTP_11;
        parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        headers::strip_request(&mut parts.headers, self.route.reserved(self.site));
        self.address(&mut parts);
        if let Upgrade::Allowed(protocol) = upgrade {
            parts.headers.insert(header::UPGRADE, protocol.clone());
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        Ok(parts)
    }

    /// Says who asks for what, then does what the route's own rules want.
    fn address(&self, parts: &mut Parts) {
        let headers = &mut parts.headers;
        let host = rewrite::host(self.normal, headers, &self.proxy.host, self.upstream);
        let said = forwarded::Forwarded {
            peer: self.conn.peer_value(),
            client: &self.conn.address_value(self.client),
            secure: self.conn.is_secure(),
            original_host: host.is_some().then_some(&self.normal.authority),
        };
        forwarded::set(headers, self.site.settings.forwarded_for, &said);
        headers.insert(header::HOST, host.unwrap_or_else(|| self.normal.authority.clone()));
        headers.insert(REQUEST_ID, self.request_id.clone());
        self.tell_of_certificate(headers);
        self.route.request_rules.apply(headers, self.certificate);
    }

    /// Of one that nobody vouches for the upstream hears as little as of none.
    fn tell_of_certificate(&self, headers: &mut HeaderMap) {
        let wanted = self.proxy.client_certificate;
        if wanted.is_empty() {
            return;
        }
        if let Some(Presented { certificate, vouched: Some((trust, judged)) }) = self.certificate {
            for (name, value) in certificate.headers(wanted, trust, &judged).iter() {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Makes the client's head of the upstream's, in place.
pub(super) fn response(
    exchange: &mut Exchange,
    route: &SiteRoute,
    mut response: Response<ResponseBody>,
    switching: bool,
) -> Response<ResponseBody> {
    // The upstream's version is its connection's; hyper writes what the client speaks.
    *response.version_mut() = Version::HTTP_11;
    if route.spec.forwards_certificate() {
        headers::hide_variance(response.headers_mut());
    }
    let rewrite = &route.spec.response_headers.rewrite;
    let set = &route.response_headers;
    let forward =
        if switching { headers::forward_switching_protocols } else { headers::forward_response };
    forward(response.headers_mut(), rewrite, set, &exchange.request_id);
    exchange.answered(response.status());
    exchange.conclude("via_upstream".into(), "");
    response
}

#[cfg(test)]
mod tests;
