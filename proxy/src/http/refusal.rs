//! What a client gets whose request its route's policy does not allow: the one place where the
//! outcome of a policy becomes an answer.

use super::{
    active_request::ActiveRequest,
    error::RequestFailure,
    request::RequestTarget,
    request_config::CompiledRoute,
    respond::{self, LocalAnswer},
};
use crate::{
    policy::{Decision, Outcome},
    tls::ChainError,
};

/// The refusal that a decision asks for; `None` lets the request in. `error` says why the client
/// certificate is invalid, if it is.
pub(super) fn refusal(
    decision: &Decision,
    active: &ActiveRequest,
    route: &CompiledRoute,
    target: &RequestTarget,
    error: Option<ChainError>,
) -> Option<LocalAnswer> {
    let failure = match decision.outcome {
        Outcome::Allow => return None,
        // Whatever the reason is: robots can neither sign in nor present a certificate.
        _ if target.path() == "/robots.txt" => {
            return Some(respond::robots(&active.negotiation).into());
        }
        Outcome::Deny => RequestFailure::Denied,
        Outcome::ClientCertificateRequired => RequestFailure::CertificateRequired,
        Outcome::ClientCertificateInvalid => RequestFailure::CertificateInvalid(error),
        Outcome::NeedsSignIn => sign_in(active, route, error),
    };
    Some(failure.into())
}

/// Where users sign in by certificate, one that is missing, invalid or without a name is the reason
/// that nobody is signed in.
fn sign_in(
    active: &ActiveRequest,
    route: &CompiledRoute,
    error: Option<ChainError>,
) -> RequestFailure {
    match error {
        _ if !active.config.signs_in_by_certificate(route) => RequestFailure::SignInUnsupported,
        Some(error) => RequestFailure::CertificateInvalid(Some(error)),
        None => RequestFailure::CertificateRequired,
    }
}
