//! Criteria: conditions on a request.

use super::{
    address::IpRange,
    certificate::CertificateMatcher,
    claim::{ClaimPath, ListMatcher},
    matcher::StringMatcher,
    reason::Reason,
    request::{ClientCertificateStatus, Identity, PolicyInput},
};

/// One criterion.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Criterion {
    Accept,
    Reject,
    AuthenticatedUser,
    Text(Subject, StringMatcher),
    Claim(ClaimPath, ListMatcher),
    ClientCertificate(CertificateMatcher),
    InvalidClientCertificate {
        /// Not with CORS preflights, with which browsers send no certificate.
        but_preflights: bool,
    },
    SourceIp(Vec<IpRange>),
    CorsPreflight,
}

/// A text that a matcher is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Email,
    Domain,
    User,
    HttpMethod,
    HttpPath,
}

impl Criterion {
    /// Whether the criterion matches, and the reason.
    pub(super) fn evaluate(&self, request: &PolicyInput<'_>) -> (bool, Reason) {
        match self {
            Criterion::Accept => (true, Reason::Accept),
            Criterion::Reject => (false, Reason::Reject),
            Criterion::AuthenticatedUser => {
                let known = |identity: &Identity| !identity.user_id.is_empty();
                of_identity(request, known, Reason::UserOk, Reason::UserUnauthorized)
            }
            Criterion::Text(subject, matcher) => subject.evaluate(matcher, request),
            Criterion::Claim(path, matcher) => {
                let holds = |identity: &Identity| matcher.matches(path.values(&identity.claims));
                of_identity(request, holds, Reason::ClaimOk, Reason::ClaimUnauthorized)
            }
            Criterion::ClientCertificate(matcher) => {
                let holds = matcher.matches(request.client_certificate);
                let failed = Reason::ClientCertificateUnauthorized;
                one_of(holds, Reason::ClientCertificateOk, failed)
            }
            Criterion::InvalidClientCertificate { but_preflights: true }
                if request.is_cors_preflight =>
            {
                (false, Reason::CorsRequest)
            }
            Criterion::InvalidClientCertificate { .. } => invalid(request.client_certificate),
            Criterion::SourceIp(ranges) => {
                let address = request.source_ip.to_canonical();
                let holds = ranges.iter().any(|range| range.contains(address));
                one_of(holds, Reason::SourceIpOk, Reason::SourceIpUnauthorized)
            }
            Criterion::CorsPreflight => {
                one_of(request.is_cors_preflight, Reason::CorsRequest, Reason::NonCorsRequest)
            }
        }
    }

    /// Whether it depends on the client certificate.
    pub(super) fn needs_client_certificate(&self) -> bool {
        matches!(self, Criterion::ClientCertificate(_) | Criterion::InvalidClientCertificate { .. })
    }

    /// The claim that it reads.
    pub(super) fn claim(&self) -> Option<&ClaimPath> {
        match self {
            Criterion::Claim(path, _) => Some(path),
            _ => None,
        }
    }

    /// Whether it depends on the user.
    pub(super) fn needs_identity(&self) -> bool {
        match self {
            Criterion::AuthenticatedUser | Criterion::Claim(..) => true,
            Criterion::Text(subject, _) => subject.is_of_identity(),
            _ => false,
        }
    }
}

impl Subject {
    fn evaluate(self, matcher: &StringMatcher, request: &PolicyInput<'_>) -> (bool, Reason) {
        let (passed, failed) = self.reasons();
        match self {
            Subject::HttpMethod => one_of(matcher.matches(request.method), passed, failed),
            Subject::HttpPath => one_of(matcher.matches(request.path), passed, failed),
            Subject::Email => {
                of_identity(request, |identity| matcher.matches(&identity.email), passed, failed)
            }
            Subject::User => {
                of_identity(request, |identity| matcher.matches(&identity.user_id), passed, failed)
            }
            Subject::Domain => {
                let holds = |identity: &Identity| {
                    identity.email.domain().is_some_and(|domain| matcher.matches(domain))
                };
                of_identity(request, holds, passed, failed)
            }
        }
    }

    /// Whether it belongs to the user.
    pub(super) fn is_of_identity(self) -> bool {
        matches!(self, Subject::Email | Subject::Domain | Subject::User)
    }

    /// The reasons for a match and for none.
    fn reasons(self) -> (Reason, Reason) {
        match self {
            Subject::Email => (Reason::EmailOk, Reason::EmailUnauthorized),
            Subject::Domain => (Reason::DomainOk, Reason::DomainUnauthorized),
            Subject::User => (Reason::UserOk, Reason::UserUnauthorized),
            Subject::HttpMethod => (Reason::HttpMethodOk, Reason::HttpMethodUnauthorized),
            Subject::HttpPath => (Reason::HttpPathOk, Reason::HttpPathUnauthorized),
        }
    }
}

fn one_of(holds: bool, passed: Reason, failed: Reason) -> (bool, Reason) {
    if holds { (true, passed) } else { (false, failed) }
}

/// A criterion about the user never matches without a user. Pomerium compares an empty email address
/// and no claims instead: there `email: {not: …}` and `claim/…: {exclude: …}` allow users who have
/// not signed in.
fn of_identity(
    request: &PolicyInput<'_>,
    holds: impl FnOnce(&Identity) -> bool,
    passed: Reason,
    failed: Reason,
) -> (bool, Reason) {
    match request.identity {
        Some(identity) => one_of(holds(identity), passed, failed),
        None => (false, Reason::UserUnauthenticated),
    }
}

fn invalid(certificate: ClientCertificateStatus<'_>) -> (bool, Reason) {
    match certificate {
        ClientCertificateStatus::Unverified(_) | ClientCertificateStatus::Trusted(_) => {
            (false, Reason::ValidClientCertificate)
        }
        ClientCertificateStatus::Missing => (true, Reason::ClientCertificateRequired),
        ClientCertificateStatus::Invalid(_) => (true, Reason::InvalidClientCertificate),
    }
}
