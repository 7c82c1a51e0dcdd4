//! Whether a request may use its route.

use http::{Method, header, request::Parts};

use super::{
    certificate::ClientCertificate,
    error::Failure,
    exchange::Exchange,
    facts::Facts,
    request::Normalised,
    site::{Site, SiteRoute},
};
use crate::{
    policy::{self, Identity, PolicyDecision, PolicyOutcome},
    tls::{ChainError, ClientTrust, Judged},
};

/// A client certificate as one request may rely on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) certificate: &'a ClientCertificate,
    /// By whom, and how, it was judged good now. What it says of its holder is worth nothing
    /// otherwise; that its key is the client's is proven in any case.
    pub(super) vouched: Option<(&'a ClientTrust, Judged)>,
}

/// Decides by the route's policy, and leaves the decision for the record. Gives what the client
/// certificate is worth here, where the route looks at it.
pub(super) fn admit<'a>(
    exchange: &mut Exchange,
    (conn, site): (&'a Facts, &Site),
    route: &'a SiteRoute,
    parts: &Parts,
    normal: &Normalised,
) -> Result<Option<Presented<'a>>, Failure> {
    if route.looks_at_certificate && site.is_misdirected(conn, &normal.host) {
        return Err(Failure::Misdirected);
    }
    let Found { certificate, judged, flaw } = client_certificate(exchange, conn, route);
    let identity = identity(site, conn, certificate);
    let request = policy::PolicyInput {
        method: parts.method.as_str(),
        path: normal.path(),
        source_ip: exchange.client,
        is_cors_preflight: is_cors_preflight(parts),
        client_certificate: certificate,
        identity,
    };
    let decision = route.spec.policy.evaluate(&request);
    exchange.decided(decision);
    match refusal(&decision, site, route, flaw) {
        Some(failure) => Err(failure),
        None => Ok(presented(conn, route, judged)),
    }
}

/// A client's certificate, or that there is none.
struct Found<'a> {
    certificate: policy::ClientCertificateStatus<'a>,
    /// How it was found good.
    judged: Option<Judged>,
    /// Why it is not.
    flaw: Option<ChainError>,
}

/// The certificate as the route's CA judges it now.
fn client_certificate<'a>(exchange: &Exchange, conn: &'a Facts, route: &SiteRoute) -> Found<'a> {
    use policy::ClientCertificateStatus as C;
    let unverified = |certificate| Found { certificate, judged: None, flaw: None };
    if !route.looks_at_certificate {
        return unverified(C::Unverified(None));
    }
    let (trust, certificate) = match (&route.spec.client_trust, conn.client_certificate.as_deref())
    {
        (None, certificate) => return unverified(C::Unverified(certificate.map(|it| it as _))),
        (Some(_), None) => return unverified(C::Missing),
        (Some(trust), Some(certificate)) => (trust, certificate),
    };
    match exchange.worker.now().map(|now| certificate.judge(trust, now)) {
        Some(Ok(judged)) => {
            Found { certificate: C::Trusted(certificate), judged: Some(judged), flaw: None }
        }
        Some(Err(flaw)) => {
            Found { certificate: C::Invalid(certificate), judged: None, flaw: Some(flaw) }
        }
        // Without a clock nothing holds.
        None => unverified(C::Invalid(certificate)),
    }
}

/// Who the user is by a trusted certificate, where the configuration takes it for that.
fn identity<'a>(
    site: &Site,
    conn: &'a Facts,
    certificate: policy::ClientCertificateStatus<'_>,
) -> Option<&'a Identity> {
    let kind = site.settings.certificate_identity?;
    match certificate {
        policy::ClientCertificateStatus::Trusted(_) => {
            conn.client_certificate.as_ref()?.identity(kind)
        }
        _ => None,
    }
}

fn presented<'a>(
    conn: &'a Facts,
    route: &'a SiteRoute,
    judged: Option<Judged>,
) -> Option<Presented<'a>> {
    let certificate = conn.client_certificate.as_ref().filter(|_| route.looks_at_certificate)?;
    Some(Presented { certificate, vouched: route.spec.client_trust.as_deref().zip(judged) })
}

fn refusal(
    decision: &PolicyDecision,
    site: &Site,
    route: &SiteRoute,
    flaw: Option<ChainError>,
) -> Option<Failure> {
    Some(match decision.outcome {
        PolicyOutcome::Allow => return None,
        PolicyOutcome::Deny => Failure::Denied,
        PolicyOutcome::ClientCertificateRequired => Failure::CertificateRequired,
        PolicyOutcome::ClientCertificateInvalid => Failure::CertificateInvalid(flaw),
        // A certificate is the way to sign in, and a good one without a name is no better.
        PolicyOutcome::NeedsSignIn if site.signs_in_by_certificate(route) => match flaw {
            Some(flaw) => Failure::CertificateInvalid(Some(flaw)),
            None => Failure::CertificateRequired,
        },
        PolicyOutcome::NeedsSignIn => Failure::SignInUnsupported,
    })
}

/// The Fetch standard's CORS-preflight request.
fn is_cors_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
