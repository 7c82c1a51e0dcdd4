//! Whether a request may use its route.

use std::{net::IpAddr, rc::Rc};

use http::{Method, header, request::Parts};
use rustls_pki_types::UnixTime;

use super::{
    account::AccountedUser,
    active_request::ActiveRequest,
    bearer::{BearerRefusal, token_user},
    certificate::{PeerCertificate, RequestCertificate},
    debug_log,
    error::RequestFailure,
    peer::Peer,
    program_token::{PresentedProgramToken, has_bearer_besides},
    refusal::refusal,
    request::RequestTarget,
    request_config::{CompiledRoute, RequestConfig},
    respond::LocalAnswer,
    session::{Credentials, SessionNeeds, session},
};
use crate::{
    identity::{
        bearer::memory::KnownToken,
        config::AssertedUser,
        memory::{KeptAssertion, KnownSession},
        session::Session,
    },
    policy::{self, LeafCertificate as _, PolicyOutcome},
    tls::{ChainError, VerifiedChain},
};

/// Evaluates the route's policy, and notes the decision for the record. Gives the client certificate
/// as the request may rely on it, if the route looks at it.
///
/// Waits only for a session that must be checked at the provider before it counts, and for keys that a
/// bearer token is verified with.
pub(super) async fn admit<'a>(
    active: &mut ActiveRequest,
    peer: &'a Peer,
    route: &'a CompiledRoute,
    parts: &Parts,
    target: &RequestTarget,
) -> Result<Option<RequestCertificate<'a>>, LocalAnswer> {
    if route.looks_at_certificate && is_misdirected(&active.config, peer, &target.host) {
        return Err(RequestFailure::Misdirected.into());
    }
    let caller = Caller::of(active, route, parts, &target.host).await;
    let VerifiedNow { certificate, judged, error } =
        verify_certificate(peer, route, || active.account.conn.handler.now());
    let user = match &caller {
        Caller::Session(known) => Some(RequestUser::of_session(known)),
        Caller::Token(known) => Some(RequestUser::of_token(known)),
        Caller::Refused(_) | Caller::Nobody => None,
        Caller::Unknown => certificate_user(&active.config, peer, certificate),
    };
    match (&caller, active.config.settings.certificate_identity) {
        // A session is noted already.
        (Caller::Token(known), _) => {
            active.account.set_user(AccountedUser::Token(Rc::clone(known)))
        }
        (Caller::Unknown, Some(kind)) if user.is_some() => {
            active.account.set_user(AccountedUser::Certificate(kind));
        }
        _ => {}
    }
    let identity = user.map(|user| user.asserted.identity);
    let presented = Presented { certificate, identity, is_preflight: is_cors_preflight(parts) };
    let input = policy_input(parts, target, active.account.client, presented);
    let decision = route.spec.policy.evaluate(&input);
    active.account.set_decision(decision);
    debug_log::decided(active, route, &input, &decision);
    if !decision.is_allowed() {
        note_refusing_rule(active, route, &input);
    }
    if let Some(refusal) = caller.refusal(&decision, active) {
        return Err(refusal);
    }
    if let Some(refusal) = refusal(&decision, active, route, (parts, target), error) {
        return Err(refusal);
    }
    if let Some(user) = user.filter(|_| route.asserts_identity) {
        active.assertion = assertion(active, &user, route, &target.host);
    }
    Ok(request_certificate(peer, route, judged))
}

/// Refuses a path of ours to clients without the certificate that the route behind it demands. Whether
/// a user is signed in does not matter.
pub(super) fn demand_certificate(
    config: &RequestConfig,
    peer: &Peer,
    (client, now): (IpAddr, Option<UnixTime>),
    (parts, target): (&Parts, &RequestTarget),
) -> Result<(), RequestFailure> {
    let Some(route) = config.find(target).filter(|route| route.looks_at_certificate) else {
        return Ok(());
    };
    if is_misdirected(config, peer, &target.host) {
        return Err(RequestFailure::Misdirected);
    }
    let VerifiedNow { certificate, error, .. } = verify_certificate(peer, route, || now);
    // A preflight is not exempt here: the exemption is for requests to the route itself.
    let presented = Presented { certificate, identity: None, is_preflight: false };
    let input = policy_input(parts, target, client, presented);
    match route.spec.policy.evaluate(&input).outcome {
        PolicyOutcome::ClientCertificateRequired if error.is_none() => {
            Err(RequestFailure::CertificateRequired)
        }
        PolicyOutcome::ClientCertificateRequired | PolicyOutcome::ClientCertificateInvalid => {
            Err(RequestFailure::CertificateInvalid(error))
        }
        PolicyOutcome::Allow | PolicyOutcome::Deny | PolicyOutcome::NeedsSignIn => Ok(()),
    }
}

/// What a policy looks at besides the request line.
pub(super) struct Presented<'a> {
    pub(super) certificate: policy::ClientCertificateStatus<'a>,
    pub(super) identity: Option<&'a policy::Identity>,
    pub(super) is_preflight: bool,
}

/// What a policy decides by; `client` is the address that counts as the client's.
pub(super) fn policy_input<'a>(
    parts: &'a Parts,
    target: &'a RequestTarget,
    client: IpAddr,
    presented: Presented<'a>,
) -> policy::PolicyInput<'a> {
    policy::PolicyInput {
        method: parts.method.as_str(),
        path: target.path(),
        source_ip: client,
        is_cors_preflight: presented.is_preflight,
        client_certificate: presented.certificate,
        identity: presented.identity,
    }
}

/// Notes for the record which rule refused the request.
#[cold]
fn note_refusing_rule(
    active: &mut ActiveRequest,
    route: &CompiledRoute,
    input: &policy::PolicyInput<'_>,
) {
    let place = active.config.place(route.index);
    active.account.set_refusing_rule(route.spec.policy.refusing_rule(input, &place));
}

/// Whether the host asks its clients for a certificate, and the handshake of this connection did not
/// ask for it. On a connection of its own, the client can be asked.
pub(super) fn is_misdirected(config: &RequestConfig, peer: &Peer, host: &str) -> bool {
    peer.tls.as_ref().is_some_and(|tls| {
        !(tls.certificate_asked && config.asks_alike(tls.server_name.as_deref(), host))
    })
}

/// The client's certificate, verified for one request.
pub(super) struct VerifiedNow<'a> {
    pub(super) certificate: policy::ClientCertificateStatus<'a>,
    /// The result, if the certificate is valid.
    pub(super) judged: Option<VerifiedChain>,
    /// The reason, if it is not, or counts as none.
    pub(super) error: Option<ChainError>,
}

/// Verifies the certificate by the route's CA at this moment; `now` is `None` if the clock fails.
pub(super) fn verify_certificate<'a>(
    peer: &'a Peer,
    route: &CompiledRoute,
    now: impl FnOnce() -> Option<UnixTime>,
) -> VerifiedNow<'a> {
    use policy::ClientCertificateStatus as C;
    let unverified = |certificate| VerifiedNow { certificate, judged: None, error: None };
    if !route.looks_at_certificate {
        return unverified(C::Unverified(None));
    }
    let certificate = peer.certificate().map(Rc::as_ref);
    let (trust, certificate) = match (&route.spec.client_trust, certificate) {
        (None, certificate) => return unverified(C::Unverified(certificate.map(|it| it as _))),
        (Some(_), None) => {
            let error = peer.ignored_certificate().cloned();
            return VerifiedNow { certificate: C::Missing, judged: None, error };
        }
        (Some(trust), Some(certificate)) => (trust, certificate),
    };
    match now().map(|now| certificate.verify(trust, now)) {
        Some(Ok(judged)) => {
            VerifiedNow { certificate: C::Trusted(certificate), judged: Some(judged), error: None }
        }
        Some(Err(error)) => {
            VerifiedNow { certificate: C::Invalid(certificate), judged: None, error: Some(error) }
        }
        // If the clock fails, no certificate is valid.
        None => unverified(C::Invalid(certificate)),
    }
}

/// Who a request is from by what it presents, besides a certificate.
enum Caller {
    Unknown,
    Session(Rc<KnownSession>),
    Token(Rc<KnownToken>),
    /// A bearer token does not count. Nothing else that the request presents counts either.
    Refused(BearerRefusal),
    /// The token of a program does not count. Nothing else that the request presents counts either.
    Nobody,
}

impl Caller {
    /// The token of a program goes first, then a bearer token on routes that take one, then the cookie.
    async fn of(
        active: &mut ActiveRequest,
        route: &CompiledRoute,
        parts: &Parts,
        host: &str,
    ) -> Caller {
        if !route.looks_at_identity {
            return Caller::Unknown;
        }
        let headers = &parts.headers;
        let credentials = match PresentedProgramToken::of(headers) {
            // There are no such tokens.
            _ if !active.config.signs_people_in() => Credentials::Cookies(headers),
            PresentedProgramToken::One(_)
                if route.bearer.is_some() && has_bearer_besides(headers) =>
            {
                return Caller::Refused(BearerRefusal::SessionBesides);
            }
            PresentedProgramToken::One(token) => Credentials::Token(token),
            PresentedProgramToken::Several => return Caller::Nobody,
            PresentedProgramToken::None => Credentials::Cookies(headers),
        };
        if let (Credentials::Cookies(_), Some(rules)) = (credentials, &route.bearer)
            && let Some(user) = token_user(active, (rules, route.spec.client), parts).await
        {
            return user.map_or_else(Caller::Refused, Caller::Token);
        }
        let needs = SessionNeeds { client: route.spec.client, tokens: route.wanted_tokens };
        match (session(active, credentials, host, needs).await, credentials) {
            (Some(known), _) => Caller::Session(known),
            (None, Credentials::Cookies(_)) => Caller::Unknown,
            (None, Credentials::Token(_)) => Caller::Nobody,
        }
    }

    /// The answer to a token that does not count, whatever the policy says of a request without a user.
    /// The client certificate goes first.
    fn refusal(
        &self,
        decision: &policy::PolicyDecision,
        active: &ActiveRequest,
    ) -> Option<LocalAnswer> {
        let Caller::Refused(refusal) = self else { return None };
        match decision.outcome {
            PolicyOutcome::ClientCertificateRequired | PolicyOutcome::ClientCertificateInvalid => {
                None
            }
            PolicyOutcome::Allow | PolicyOutcome::Deny | PolicyOutcome::NeedsSignIn => {
                Some(refusal.reply(active).into())
            }
        }
    }
}

/// Who a request is from, and whose assertions are kept where.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestUser<'a> {
    pub(super) asserted: AssertedUser<'a>,
    kept: KeptWith<'a>,
}

/// What a user's assertions are kept with.
#[derive(Debug, Clone, Copy)]
enum KeptWith<'a> {
    Session(&'a KnownSession),
    Token(&'a KnownToken),
    Certificate(&'a PeerCertificate),
}

impl RequestUser<'_> {
    fn of_session(known: &KnownSession) -> RequestUser<'_> {
        let Session { identity, name, id, .. } = &known.session;
        let asserted = AssertedUser { identity, name, session: Some(*id) };
        RequestUser { asserted, kept: KeptWith::Session(known) }
    }

    fn of_token(known: &KnownToken) -> RequestUser<'_> {
        let KnownToken { identity, name, .. } = known;
        let asserted = AssertedUser { identity, name, session: None };
        RequestUser { asserted, kept: KeptWith::Token(known) }
    }
}

/// The user that a trusted certificate names, if the configuration takes users from certificates.
pub(super) fn certificate_user<'a>(
    config: &RequestConfig,
    peer: &'a Peer,
    status: policy::ClientCertificateStatus<'_>,
) -> Option<RequestUser<'a>> {
    let kind = config.settings.certificate_identity?;
    let policy::ClientCertificateStatus::Trusted(_) = status else { return None };
    let certificate = peer.certificate()?;
    let identity = certificate.identity(kind)?;
    let asserted = AssertedUser { identity, name: "", session: None };
    Some(RequestUser { asserted, kept: KeptWith::Certificate(certificate) })
}

/// What the upstream is told of the user: kept for a minute, else signed now.
fn assertion(
    active: &ActiveRequest,
    user: &RequestUser<'_>,
    route: &CompiledRoute,
    host: &str,
) -> Option<Rc<KeptAssertion>> {
    let people = active.config.people.as_ref()?;
    let handler = &active.account.conn.handler;
    let now_s = handler.now()?.as_secs();
    let scope = (host, route.spec.issuer_format);
    let sign = || {
        handler.observer.metrics.assertions_signed.inc();
        people.sign(scope, user.asserted, now_s, &handler.identity.random)
    };
    match user.kept {
        KeptWith::Session(known) => known.assertions.get_or_sign(scope, now_s, sign),
        KeptWith::Token(known) => known.assertions.get_or_sign(scope, now_s, sign),
        KeptWith::Certificate(certificate) => {
            let kept = handler.identity.certificates.of(people.epoch, certificate.fingerprint());
            kept.get_or_sign(scope, now_s, sign)
        }
    }
}

fn request_certificate<'a>(
    peer: &'a Peer,
    route: &'a CompiledRoute,
    judged: Option<VerifiedChain>,
) -> Option<RequestCertificate<'a>> {
    let certificate: &PeerCertificate =
        peer.certificate().filter(|_| route.looks_at_certificate)?;
    let trusted_by = route.spec.client_trust.as_deref().zip(judged);
    Some(RequestCertificate { certificate, trusted_by })
}

/// Whether the request is a CORS preflight of the Fetch standard.
pub(super) fn is_cors_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
