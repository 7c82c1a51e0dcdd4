//! The answers to requests that a policy does not allow: the one place where the outcome of a policy
//! becomes an answer.

use http::request::Parts;

use super::{
    active_request::ActiveRequest,
    error::RequestFailure,
    request::RequestTarget,
    request_config::{CompiledRoute, RequestConfig},
    respond::{self, LocalAnswer},
    sign_in::{denied_user, needs_sign_in},
};
use crate::{
    policy::{PolicyDecision, PolicyOutcome},
    tls::ChainError,
};

/// What a client gets that a policy does not let in.
#[derive(Debug)]
pub(super) enum PolicyRefusal {
    /// `robots.txt`, which keeps robots out.
    Robots,
    /// 403, to a user who is known perhaps.
    Denied,
    /// A sign-in, or 401.
    SignIn,
    /// This.
    Failure(RequestFailure),
}

impl PolicyRefusal {
    /// The refusal that a decision asks for; `None` lets the request in. `error` says why the client
    /// certificate is invalid, if it is.
    pub(super) fn of(
        decision: &PolicyDecision,
        config: &RequestConfig,
        route: &CompiledRoute,
        path: &str,
        error: Option<ChainError>,
    ) -> Option<PolicyRefusal> {
        let failure = match decision.outcome {
            PolicyOutcome::Allow => return None,
            // For any reason: robots can neither sign in nor present a certificate.
            _ if path == "/robots.txt" => return Some(PolicyRefusal::Robots),
            PolicyOutcome::Deny => return Some(PolicyRefusal::Denied),
            // One that was presented and counts as none has an error too.
            PolicyOutcome::ClientCertificateRequired if error.is_none() => {
                RequestFailure::CertificateRequired
            }
            PolicyOutcome::ClientCertificateRequired | PolicyOutcome::ClientCertificateInvalid => {
                RequestFailure::CertificateInvalid(error)
            }
            PolicyOutcome::NeedsSignIn if config.signs_people_in() => {
                return Some(PolicyRefusal::SignIn);
            }
            PolicyOutcome::NeedsSignIn if route.bearer.is_some() => RequestFailure::TokenRequired,
            PolicyOutcome::NeedsSignIn => nobody_signs_in(config, route, error),
        };
        Some(PolicyRefusal::Failure(failure))
    }
}

/// The answer that a decision asks for; `None` lets the request in. `error` says why the client
/// certificate is invalid, if it is.
pub(super) fn refusal(
    decision: &PolicyDecision,
    active: &ActiveRequest,
    route: &CompiledRoute,
    (parts, target): (&Parts, &RequestTarget),
    error: Option<ChainError>,
) -> Option<LocalAnswer> {
    let refusal = PolicyRefusal::of(decision, &active.config, route, target.path(), error)?;
    Some(match refusal {
        PolicyRefusal::Robots => respond::robots(&active.negotiation).into(),
        PolicyRefusal::Denied => {
            denied_user(active).map_or_else(|| RequestFailure::Denied.into(), LocalAnswer::from)
        }
        PolicyRefusal::SignIn => {
            let answer = needs_sign_in(active, (parts, target), Some(route));
            answer.map_or_else(LocalAnswer::from, LocalAnswer::from)
        }
        PolicyRefusal::Failure(failure) => failure.into(),
    })
}

/// The answer if no user is signed in and nobody can sign in. On a route that knows users by their
/// certificate, the reason is a certificate that is missing, invalid or without a name.
fn nobody_signs_in(
    config: &RequestConfig,
    route: &CompiledRoute,
    error: Option<ChainError>,
) -> RequestFailure {
    match error {
        _ if !config.signs_in_by_certificate(route) => RequestFailure::NobodySignsIn,
        Some(error) => RequestFailure::CertificateInvalid(Some(error)),
        None => RequestFailure::CertificateRequired,
    }
}
