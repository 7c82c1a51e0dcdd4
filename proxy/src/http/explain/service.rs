//! Paths that the proxy answers itself, whatever the routes say.

use std::net::IpAddr;

use http::Method;

use super::{HypotheticalRequest, Walk, view::ExplainedVerdict};
use crate::http::{access::demand_certificate, error::RequestFailure, local_service::LocalService};

impl Walk<'_> {
    /// The answer of a service of ours.
    pub(super) fn own_answer(
        &self,
        service: LocalService,
        client: IpAddr,
    ) -> Result<ExplainedVerdict, RequestFailure> {
        let HypotheticalRequest { peer, parts, now, .. } = self.request;
        let (status, summary) = match service {
            LocalService::HealthCheck => match parts.method {
                Method::GET | Method::HEAD => (Some(200), "a health check"),
                _ => return Ok(method_not_allowed()),
            },
            LocalService::Discovery => (None, "where sign-in and its keys are"),
            LocalService::Jwks => (None, "the public keys of assertions"),
            LocalService::SignIn(path) => {
                if !path.needs_no_certificate() {
                    let asked = (client, Some(*now));
                    demand_certificate(self.config, peer, asked, (parts, self.target))?;
                }
                if !self.config.serves_sign_in(path, &self.target.host) {
                    return Err(RequestFailure::NoRoute);
                }
                (None, "a page or a step of sign-in")
            }
            LocalService::BackchannelLogout => (None, "takes logout tokens of the provider"),
            LocalService::HttpsRedirect => (Some(301), "a redirect to HTTPS"),
            LocalService::Reserved => return Err(RequestFailure::NoRoute),
        };
        Ok(ExplainedVerdict {
            served: true,
            status,
            summary: format!("portcullis answers this path itself: {summary}"),
            details: Some("direct_response".to_owned()),
            ..ExplainedVerdict::default()
        })
    }
}

fn method_not_allowed() -> ExplainedVerdict {
    ExplainedVerdict {
        status: Some(405),
        summary: "a health check is asked for by GET or HEAD".to_owned(),
        details: Some("direct_response".to_owned()),
        ..ExplainedVerdict::default()
    }
}
