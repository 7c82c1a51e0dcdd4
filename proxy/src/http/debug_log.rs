//! What the log says at `debug` of how a request was treated: one line for each stage, each with the
//! request's ID. At other levels this costs a comparison for each stage.
//!
//! The lines name users and certificates as the access log does. No line has a query, a cookie or a
//! token.

use tracing::Level;

use super::{active_request::ActiveRequest, request::RequestTarget, request_config::CompiledRoute};
use crate::{
    policy::{ClientCertificateStatus, PolicyDecision, PolicyInput},
    route::Mismatch,
};

/// How many of the routes that were passed over are named.
const MOST_NAMED: usize = 8;

/// Which route a request has, and why not another one of its host.
#[inline]
pub(super) fn routed(
    active: &ActiveRequest,
    route: Option<&CompiledRoute>,
    target: &RequestTarget,
) {
    if tracing::enabled!(Level::DEBUG) {
        log_route(active, route, target);
    }
}

/// What the route's policy says.
#[inline]
pub(super) fn decided(
    active: &ActiveRequest,
    route: &CompiledRoute,
    input: &PolicyInput<'_>,
    decision: &PolicyDecision,
) {
    if tracing::enabled!(Level::DEBUG) {
        log_decision(active, route, input, decision);
    }
}

#[cold]
fn log_route(active: &ActiveRequest, route: Option<&CompiledRoute>, target: &RequestTarget) {
    let config = &active.config;
    let tried = config.tried(target);
    let over = tried.iter().filter_map(|tried| Some((tried.index, tried.mismatch?)));
    let passed_over: Vec<String> = over
        .take(MOST_NAMED)
        .map(|(index, mismatch)| format!("{} ({})", config.place(index), why(mismatch)))
        .collect();
    let peer = &active.account.conn.peer;
    tracing::debug!(
        "request-id" = id(active),
        peer = %peer.address,
        "tls-server-name" = peer.server_name(),
        host = &*target.host,
        port = target.port,
        path = target.path(),
        route = route.map(|route| &*route.spec.name),
        place = route.map(|route| config.place(route.index)),
        "passed-over" = passed_over.join(", "),
        "{}",
        if route.is_some() { "route chosen" } else { "no route matches" }
    );
}

#[cold]
fn log_decision(
    active: &ActiveRequest,
    route: &CompiledRoute,
    input: &PolicyInput<'_>,
    decision: &PolicyDecision,
) {
    let place = active.config.place(route.index);
    let (_, rules) = route.spec.policy.explain(input, &place);
    let matching = rules.iter().filter(|rule| rule.matches).map(|rule| &*rule.place);
    let matching: Vec<&str> = matching.take(MOST_NAMED).collect();
    tracing::debug!(
        "request-id" = id(active),
        route = &*route.spec.name,
        ip = %input.source_ip,
        user = input.identity.map(|user| &*user.user_id),
        email = input.identity.map(|user| &*user.email),
        certificate = certificate(input.client_certificate),
        outcome = ?decision.outcome,
        "matching-rules" = matching.join(", "),
        "allow-why" = %decision.allow.reasons,
        "deny-why" = %decision.deny.reasons,
        "policy evaluated"
    );
}

/// Why a route of a host was passed over.
pub(super) fn why(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::HostHasItsOwnRoutes => "other routes name this host exactly",
        Mismatch::Port => "another port",
        Mismatch::Path => "another path",
    }
}

fn id(active: &ActiveRequest) -> &str {
    active.account.request_id.to_str().unwrap_or_default()
}

fn certificate(status: ClientCertificateStatus<'_>) -> &'static str {
    match status {
        ClientCertificateStatus::Unverified(None) => "none",
        ClientCertificateStatus::Unverified(Some(_)) => "presented, verified by no CA",
        ClientCertificateStatus::Missing => "missing",
        ClientCertificateStatus::Invalid(_) => "invalid",
        ClientCertificateStatus::Trusted(_) => "valid",
    }
}
