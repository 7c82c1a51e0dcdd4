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
    policy::{self, Decision, Identity, Outcome},
    tls::ChainError,
};

/// A client certificate as one request may rely on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) certificate: &'a ClientCertificate,
    /// The route's CA vouches for it now. What it says of its holder is worth nothing otherwise;
    /// that its key is the client's is proven in any case.
    pub(super) is_trusted: bool,
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
    let (certificate, flaw) = client_certificate(exchange, conn, route);
    let identity = identity(site, conn, certificate);
    let request = policy::Request {
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
        None => Ok(presented(conn, route, certificate)),
    }
}

/// The certificate as the route's CA judges it now, and why it is not good.
fn client_certificate<'a>(
    exchange: &Exchange,
    conn: &'a Facts,
    route: &SiteRoute,
) -> (policy::ClientCertificate<'a>, Option<ChainError>) {
    use policy::ClientCertificate as Judged;
    if !route.looks_at_certificate {
        return (Judged::Unjudged(None), None);
    }
    match (&route.spec.client_trust, &conn.client_certificate) {
        (None, certificate) => {
            (Judged::Unjudged(certificate.as_ref().map(|certificate| certificate as _)), None)
        }
        (Some(_), None) => (Judged::Missing, None),
        (Some(trust), Some(certificate)) => match exchange.worker.now() {
            Some(now) => match certificate.judge(trust, now) {
                Ok(()) => (Judged::Trusted(certificate), None),
                Err(flaw) => (Judged::Invalid(certificate), Some(flaw)),
            },
            // Without a clock nothing holds.
            None => (Judged::Invalid(certificate), None),
        },
    }
}

/// Who the user is by a trusted certificate, where the configuration takes it for that.
fn identity<'a>(
    site: &Site,
    conn: &'a Facts,
    certificate: policy::ClientCertificate<'_>,
) -> Option<&'a Identity> {
    let kind = site.settings.certificate_identity?;
    match certificate {
        policy::ClientCertificate::Trusted(_) => conn.client_certificate.as_ref()?.identity(kind),
        _ => None,
    }
}

fn presented<'a>(
    conn: &'a Facts,
    route: &SiteRoute,
    judged: policy::ClientCertificate<'_>,
) -> Option<Presented<'a>> {
    let certificate = conn.client_certificate.as_ref().filter(|_| route.looks_at_certificate)?;
    let is_trusted = matches!(judged, policy::ClientCertificate::Trusted(_));
    Some(Presented { certificate, is_trusted })
}

fn refusal(
    decision: &Decision,
    site: &Site,
    route: &SiteRoute,
    flaw: Option<ChainError>,
) -> Option<Failure> {
    Some(match decision.outcome {
        Outcome::Allow => return None,
        Outcome::Deny => Failure::Denied,
        Outcome::ClientCertificateRequired => Failure::CertificateRequired,
        Outcome::ClientCertificateInvalid => Failure::CertificateInvalid(flaw),
        // A certificate is the way to sign in, and a good one without a name is no better.
        Outcome::NeedsSignIn if site.signs_in_by_certificate(route) => match flaw {
            Some(flaw) => Failure::CertificateInvalid(Some(flaw)),
            None => Failure::CertificateRequired,
        },
        Outcome::NeedsSignIn => Failure::SignInUnsupported,
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
