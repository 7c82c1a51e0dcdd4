//! What a route does with a request that may use it.

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{
    Walk,
    verdict::refused_by,
    view::{ExplainedEndpoint, ExplainedUpstream, ExplainedVerdict},
};
use crate::{
    http::{
        account::address_text,
        error::RequestFailure,
        forward::upgrade,
        headers, max_forwards, redirect,
        request::RequestTarget,
        request_config::CompiledRoute,
        rewrite,
        spec::{ActionSpec, ProxySpec},
    },
    upstream::EndpointSpec,
};

/// A redirect to the normal form of the request's own target.
pub(super) fn to_itself(target: &RequestTarget, secure: bool) -> ExplainedVerdict {
    let location = redirect::to_itself(target, secure);
    let summary = "the path has escaped slashes: a redirect to the path without them";
    redirected(StatusCode::TEMPORARY_REDIRECT, summary, location)
}

impl Walk<'_> {
    /// The answer to a request that may use its route.
    pub(super) fn action(&self, route: &CompiledRoute) -> Result<ExplainedVerdict, RequestFailure> {
        match &route.spec.action {
            ActionSpec::Proxy(proxy) => self.forwarded(route, proxy),
            ActionSpec::Respond { status, .. } => Ok(ExplainedVerdict {
                served: true,
                status: Some(status.as_u16()),
                summary: "the response that the route has".to_owned(),
                details: Some("direct_response".to_owned()),
                ..ExplainedVerdict::default()
            }),
            ActionSpec::Redirect(spec) => {
                let secure = self.request.is_secure(self.config);
                let location = redirect::location(spec, self.target, &route.path, secure);
                Ok(redirected(spec.status, "the redirect that the route has", location))
            }
        }
    }

    fn forwarded(
        &self,
        route: &CompiledRoute,
        proxy: &ProxySpec,
    ) -> Result<ExplainedVerdict, RequestFailure> {
        let parts = &self.request.parts;
        if max_forwards::is_last(parts).map_err(RequestFailure::Rejected)? {
            let is_trace = parts.method == Method::TRACE;
            return Ok(ExplainedVerdict {
                served: !is_trace,
                status: Some(if is_trace { 405 } else { 204 }),
                summary: "Max-Forwards is 0: portcullis answers".to_owned(),
                details: Some("direct_response".to_owned()),
                ..ExplainedVerdict::default()
            });
        }
        upgrade(parts, route)?;
        let path = rewrite::target(self.target, &route.path, &proxy.path);
        let path = path.map_err(RequestFailure::Rejected)?.to_string();
        let mut headers = parts.headers.clone();
        headers::strip_request(&mut headers, route.reserved(self.config));
        let endpoints = proxy.cluster.endpoints.iter();
        let endpoints = endpoints.map(|endpoint| self.endpoint(proxy, endpoint, &headers));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        Ok(ExplainedVerdict {
            served: true,
            status: None,
            summary: format!("forwarded to an upstream as {} {path}", parts.method),
            upstream: Some(ExplainedUpstream { path, endpoints }),
            ..ExplainedVerdict::default()
        })
    }

    fn endpoint(
        &self,
        proxy: &ProxySpec,
        endpoint: &EndpointSpec,
        headers: &HeaderMap,
    ) -> Result<ExplainedEndpoint, RequestFailure> {
        let own = HeaderValue::from_str(&endpoint.authority).ok();
        let host = rewrite::host(self.target, headers, &proxy.host, own.as_ref());
        let host = host.map_err(RequestFailure::Rejected)?;
        let host = host.as_ref().unwrap_or(&self.target.authority);
        Ok(ExplainedEndpoint {
            address: address_text(&endpoint.address),
            host: String::from_utf8_lossy(host.as_bytes()).into_owned(),
            tls_server_name: endpoint.tls.as_ref().map(|tls| tls.sni.to_string()),
        })
    }
}

fn redirected(
    status: StatusCode,
    summary: &str,
    location: Option<HeaderValue>,
) -> ExplainedVerdict {
    let Some(location) = location else {
        return refused_by(&RequestFailure::Misconfigured("bad_location"));
    };
    ExplainedVerdict {
        served: true,
        status: Some(status.as_u16()),
        summary: summary.to_owned(),
        details: Some("direct_response".to_owned()),
        location: Some(String::from_utf8_lossy(location.as_bytes()).into_owned()),
        ..ExplainedVerdict::default()
    }
}
