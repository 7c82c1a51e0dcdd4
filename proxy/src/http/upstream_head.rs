//! The head of the request that an upstream gets.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

use super::{
    certificate::RequestCertificate,
    error::RequestFailure,
    headers::{self, Upgrade, forwarded, rules::AboutClient},
    max_forwards,
    peer::Peer,
    request::{InvalidRequest, RequestTarget},
    request_config::{CompiledRoute, RequestConfig},
    request_id::REQUEST_ID,
    rewrite,
    spec::ProxySpec,
};
use crate::identity::{memory::KeptAssertion, provider_tokens::ProviderTokens};

const ASSERTION: HeaderName = HeaderName::from_static("x-pomerium-jwt-assertion");

/// Everything that the head of a forwarded request depends on, besides the client's own head.
#[derive(Debug)]
pub(super) struct UpstreamHead<'a> {
    pub(super) config: &'a RequestConfig,
    pub(super) route: &'a CompiledRoute,
    pub(super) proxy: &'a ProxySpec,
    /// The chosen upstream's host, for the Host header; `None` keeps the client's.
    pub(super) upstream: Option<&'a HeaderValue>,
    pub(super) peer: &'a Peer,
    pub(super) certificate: Option<RequestCertificate<'a>>,
    /// What the upstream may be told of the user.
    pub(super) assertion: Option<&'a KeptAssertion>,
    /// The identity provider's tokens of the user's session.
    pub(super) tokens: Option<&'a ProviderTokens>,
    pub(super) target: &'a RequestTarget,
    pub(super) request_id: &'a HeaderValue,
    pub(super) client: IpAddr,
}

impl UpstreamHead<'_> {
    /// Builds it from the client's head, in place: its extensions keep the spelling of header names
    /// (HTTP/1).
    ///
    /// Removes everything that must not pass before it adds anything of ours.
    pub(super) fn build(
        &self,
        mut parts: Parts,
        upgrade: &Upgrade,
    ) -> Result<Parts, RequestFailure> {
        let target = rewrite::target(self.target, &self.route.path, &self.proxy.path);
        parts.uri = target.map_err(RequestFailure::Rejected)?.into();
        parts.version = Version::HTTP_11;
        parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        headers::strip_request(&mut parts.headers, self.route.reserved(self.config));
        max_forwards::count(&parts.method, &mut parts.headers);
        self.set_headers(&mut parts.headers).map_err(RequestFailure::Rejected)?;
        if let Upgrade::Allowed(protocol) = upgrade {
            parts.headers.insert(header::UPGRADE, protocol.clone());
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        Ok(parts)
    }

    /// Sets the headers that name the client and the target, then applies the route's own rules.
    fn set_headers(&self, headers: &mut HeaderMap) -> Result<(), InvalidRequest> {
        let host = rewrite::host(self.target, headers, &self.proxy.host, self.upstream)?;
        let client = forwarded::ForwardedClient {
            peer: self.peer.ip_value(),
            client: &self.peer.value_of(self.client),
            secure: self.peer.is_secure(),
            original_host: host.is_some().then_some(&self.target.authority),
        };
        forwarded::set(headers, self.config.settings.forwarded_for, &client);
        headers.insert(header::HOST, host.unwrap_or_else(|| self.target.authority.clone()));
        headers.insert(REQUEST_ID, self.request_id.clone());
        self.set_certificate(headers);
        let assertion = self.assertion.map(|kept| &kept.assertion);
        self.set_identity(headers);
        let about = AboutClient { certificate: self.certificate, assertion, tokens: self.tokens };
        self.route.request_rules.apply(headers, about);
        Ok(())
    }

    /// Says who the request is from. What the client said of that was removed.
    fn set_identity(&self, headers: &mut HeaderMap) {
        let Some(kept) = self.assertion.filter(|_| self.route.spec.pass_identity_headers) else {
            return;
        };
        for (name, value) in &kept.claims {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(ASSERTION, kept.assertion.clone());
    }

    /// An untrusted certificate is treated as absent: nothing is forwarded.
    fn set_certificate(&self, headers: &mut HeaderMap) {
        let wanted = self.proxy.client_certificate;
        if wanted.is_empty() {
            return;
        }
        let Some(RequestCertificate { certificate, trusted_by: Some((trust, judged)) }) =
            self.certificate
        else {
            return;
        };
        for (name, value) in certificate.headers(wanted, trust, &judged).iter() {
            headers.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests;
