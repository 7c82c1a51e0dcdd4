//! What happens to a request, and why, without a connection: for `portcullis explain`.
//!
//! Each step is the function that serves requests, or is made of the same parts. Nothing is resolved,
//! sent or kept, and the sessions of users are not known: who is signed in is an assumption.

mod action;
mod service;
mod verdict;
mod view;

use http::request::Parts;
use rustls_pki_types::UnixTime;

use self::verdict::refused_by;
pub(crate) use self::view::{
    ExplainedCertificate, ExplainedRoute, ExplainedVerdict, RequestExplanation,
};
use super::{
    access::{Presented, certificate_user, is_cors_preflight, is_misdirected, policy_input},
    access::{VerifiedNow, verify_certificate},
    debug_log::why,
    error::RequestFailure,
    headers::forwarded,
    peer::Peer,
    refusal::PolicyRefusal,
    request::{NormalizeError, RequestTarget, normalise},
    request_config::{CompiledRoute, RequestConfig},
};
use crate::{
    policy::{ClientCertificateStatus, Identity},
    tls::ChainError,
};

/// A request that nobody has sent.
#[derive(Debug)]
pub(crate) struct HypotheticalRequest {
    /// The client's end of its connection.
    pub peer: Peer,
    /// Its head, in origin-form.
    pub parts: Parts,
    /// The user who is signed in.
    pub user: Option<Identity>,
    /// The time to verify certificates at.
    pub now: UnixTime,
}

/// Says what happens to a request.
pub(crate) fn explain(
    config: &RequestConfig,
    mut request: HypotheticalRequest,
) -> RequestExplanation {
    let hops = config.settings.forwarded_for.trusted_hops;
    let client = forwarded::client_ip(&request.parts.headers, request.peer.ip(), hops);
    let mut explanation = RequestExplanation::of(client);
    let verdict = match normalise(&mut request.parts, &config.settings) {
        Ok(target) => {
            explanation.set_target(&target);
            let walk = Walk { config, request: &request, target: &target };
            walk.run(&mut explanation)
        }
        Err(NormalizeError::Redirect(target)) => {
            explanation.set_target(&target);
            Ok(action::to_itself(&target, request.is_secure(config)))
        }
        Err(NormalizeError::Invalid(fault)) => Err(RequestFailure::Rejected(fault)),
    };
    explanation.verdict = verdict.unwrap_or_else(|failure| refused_by(&failure));
    explanation
}

impl HypotheticalRequest {
    fn is_secure(&self, config: &RequestConfig) -> bool {
        let hops = config.settings.forwarded_for.trusted_hops;
        forwarded::is_secure(&self.parts.headers, self.peer.is_secure(), hops)
    }
}

/// The way of a request whose target is normal.
struct Walk<'a> {
    config: &'a RequestConfig,
    request: &'a HypotheticalRequest,
    target: &'a RequestTarget,
}

impl Walk<'_> {
    fn run(
        &self,
        explanation: &mut RequestExplanation,
    ) -> Result<ExplainedVerdict, RequestFailure> {
        if let Some(service) = self.config.service(self.target) {
            return self.own_answer(service, explanation.client);
        }
        explanation.routes = self.routes();
        let Some(route) = self.config.find(self.target) else {
            let service = self.config.service_without_route(self.target);
            let service = service.ok_or(RequestFailure::NoRoute)?;
            return self.own_answer(service, explanation.client);
        };
        match self.admit(route, explanation)? {
            Some(refused) => Ok(refused),
            None => self.action(route),
        }
    }

    /// The routes that were looked at, the one that matches last.
    fn routes(&self) -> Vec<ExplainedRoute> {
        let explained = self.config.tried(self.target).into_iter().filter_map(|tried| {
            let route = self.config.routes.get(tried.index)?;
            Some(ExplainedRoute {
                place: self.config.place(tried.index),
                name: route.spec.name.to_string(),
                from: route.matcher().to_string(),
                matches: tried.mismatch.is_none(),
                why_not: tried.mismatch.map(why),
            })
        });
        explained.collect()
    }

    /// The answer to a request that may not use its route; `None` if it may.
    fn admit(
        &self,
        route: &CompiledRoute,
        explanation: &mut RequestExplanation,
    ) -> Result<Option<ExplainedVerdict>, RequestFailure> {
        let HypotheticalRequest { peer, parts, now, .. } = self.request;
        let (config, target) = (self.config, self.target);
        if route.looks_at_certificate && is_misdirected(config, peer, &target.host) {
            return Err(RequestFailure::Misdirected);
        }
        let VerifiedNow { certificate, error, .. } = verify_certificate(peer, route, || Some(*now));
        explanation.certificate = Some(explained_certificate(certificate, error.as_ref(), route));
        let user = self.request.user.as_ref().filter(|_| self.takes_sessions(route));
        let by_certificate = || certificate_user(config, peer, certificate);
        let identity = user.or_else(|| by_certificate().map(|user| user.asserted.identity));
        explanation.set_user(identity);
        explanation.user_ignored = self.user_ignored(route);
        let presented = Presented { certificate, identity, is_preflight: is_cors_preflight(parts) };
        let input = policy_input(parts, target, explanation.client, presented);
        let (decision, rules) = route.spec.policy.explain(&input, &config.place(route.index));
        explanation.policy = rules;
        let refusal = PolicyRefusal::of(&decision, config, route, target.path(), error);
        Ok(refusal.map(|refusal| {
            let verdict = verdict::refused(&refusal, parts);
            let place = config.place(route.index);
            let rule = route.spec.policy.refusing_rule(&input, &place);
            ExplainedVerdict { policy_rule: Some(rule), ..verdict }
        }))
    }

    fn user_ignored(&self, route: &CompiledRoute) -> Option<&'static str> {
        self.request.user.as_ref()?;
        match (route.looks_at_identity, self.takes_sessions(route)) {
            (true, true) => None,
            (true, false) => Some("nobody can sign in with this configuration"),
            (false, _) => Some("nothing on this route depends on the user"),
        }
    }

    /// Whether a signed-in user, or one with a bearer token, counts on a route.
    fn takes_sessions(&self, route: &CompiledRoute) -> bool {
        route.looks_at_identity && (self.config.signs_people_in() || route.bearer.is_some())
    }
}

fn explained_certificate(
    status: ClientCertificateStatus<'_>,
    error: Option<&ChainError>,
    route: &CompiledRoute,
) -> ExplainedCertificate {
    let state = match status {
        _ if !route.looks_at_certificate => "not looked at by this route",
        ClientCertificateStatus::Unverified(None) => "none, and the route has no client CA",
        ClientCertificateStatus::Unverified(Some(_)) => {
            "presented, and the route has no client CA to verify it"
        }
        ClientCertificateStatus::Missing => "missing",
        ClientCertificateStatus::Invalid(_) => "invalid",
        ClientCertificateStatus::Trusted(_) => "valid",
    };
    let origin = route.spec.client_trust.as_ref().filter(|_| route.looks_at_certificate);
    ExplainedCertificate {
        state,
        why: error.map(ChainError::to_string),
        verified_by: origin.map(|trust| trust.anchors().origin.clone()),
    }
}
