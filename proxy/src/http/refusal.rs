//! The answers to requests that a policy does not allow: the one place where the outcome of a policy
//! becomes an answer.

use http::request::Parts;

use super::{
    active_request::ActiveRequest,
    error::RequestFailure,
    request::RequestTarget,
    request_config::CompiledRoute,
    respond::{self, LocalAnswer},
    sign_in::{denied_user, needs_sign_in},
};
use crate::{
    policy::{PolicyDecision, PolicyOutcome},
    tls::ChainError,
};

/// The refusal that a decision asks for; `None` lets the request in. `error` says why the client
/// certificate is invalid, if it is.
pub(super) fn refusal(
    decision: &PolicyDecision,
    active: &ActiveRequest,
    route: &CompiledRoute,
    (parts, target): (&Parts, &RequestTarget),
    error: Option<ChainError>,
) -> Option<LocalAnswer> {
    let failure = match decision.outcome {
        PolicyOutcome::Allow => return None,
        // For any reason: robots can neither sign in nor present a certificate.
        _ if target.path() == "/robots.txt" => {
            return Some(respond::robots(&active.negotiation).into());
        }
        PolicyOutcome::Deny => match denied_user(active) {
            Some(page) => return Some(page.into()),
            None => RequestFailure::Denied,
        },
        // One that was presented and counts as none has an error too.
        PolicyOutcome::ClientCertificateRequired if error.is_none() => {
            RequestFailure::CertificateRequired
        }
        PolicyOutcome::ClientCertificateRequired | PolicyOutcome::ClientCertificateInvalid => {
            RequestFailure::CertificateInvalid(error)
        }
        PolicyOutcome::NeedsSignIn if active.config.signs_people_in() => {
            let answer = needs_sign_in(active, (parts, target), Some(route));
            return Some(answer.map_or_else(LocalAnswer::from, LocalAnswer::from));
        }
        PolicyOutcome::NeedsSignIn if route.bearer.is_some() => RequestFailure::TokenRequired,
        PolicyOutcome::NeedsSignIn => sign_in(active, route, error),
    };
    Some(failure.into())
}

/// The answer if no user is signed in and nobody can sign in. On a route that knows users by their
/// certificate, the reason is a certificate that is missing, invalid or without a name.
fn sign_in(
    active: &ActiveRequest,
    route: &CompiledRoute,
    error: Option<ChainError>,
) -> RequestFailure {
    match error {
        _ if !active.config.signs_in_by_certificate(route) => RequestFailure::NobodySignsIn,
        Some(error) => RequestFailure::CertificateInvalid(Some(error)),
        None => RequestFailure::CertificateRequired,
    }
}
