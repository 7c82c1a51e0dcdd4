//! Who a request is from by its bearer token, on routes that take one.

use std::{fmt, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use super::{
    active_request::ActiveRequest,
    error_context::ErrorContext,
    error_page::{ErrorAnswer, grpc, page},
    negotiation::AnswerForm,
    respond::LocalReply,
};
use crate::{
    identity::{
        bearer::{
            keys::TokenKeys,
            memory::{KnownToken, TokenKey},
            spec::{BearerFormat, BearerRules, TokenIssuerId},
            verify::TokenVerifier,
        },
        calls::{IdentityCall, IdentityReply},
        config::IdentityConfig,
        jose::TokenError,
        session::ProviderId,
    },
    observe::{Blame, RequestRefusal},
};

/// RFC 6750, section 3.1.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
const INVALID_REQUEST: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_request\"");
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Why a request with a bearer token is refused. No text has content of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BearerRefusal {
    /// It has a session cookie or the token of a program besides.
    SessionBesides,
    /// The token is not good.
    Invalid(TokenError),
    /// The token could not be verified: its issuer is away.
    Unavailable(String),
}

/// The bearer token of a request.
#[derive(PartialEq, Eq)]
pub(super) enum PresentedToken<'h> {
    /// The request has none.
    None,
    One(&'h str),
    /// What stands there is no token, or there are several `Authorization` fields.
    Malformed,
}

impl<'h> PresentedToken<'h> {
    /// Reads `Authorization` (RFC 6750, section 2.1). Other schemes are no bearer tokens.
    pub(super) fn of(headers: &'h HeaderMap) -> PresentedToken<'h> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = fields.next() else { return PresentedToken::None };
        let is_only = fields.next().is_none();
        if !is_only {
            let has_bearer =
                headers.get_all(header::AUTHORIZATION).iter().any(|field| bearer(field).is_some());
            return if has_bearer { PresentedToken::Malformed } else { PresentedToken::None };
        }
        let Some(token) = bearer(first) else { return PresentedToken::None };
        match std::str::from_utf8(token) {
            Ok(token) if !token.is_empty() => PresentedToken::One(token),
            _ => PresentedToken::Malformed,
        }
    }
}

/// Without the token, which is a secret.
impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PresentedToken::None => "None",
            PresentedToken::One(_) => "One(..)",
            PresentedToken::Malformed => "Malformed",
        })
    }
}

/// What follows the scheme `Bearer`; `None` for another scheme.
pub(super) fn bearer(field: &HeaderValue) -> Option<&[u8]> {
    let field = field.as_bytes().trim_ascii();
    let end_of_scheme = field.iter().position(u8::is_ascii_whitespace).unwrap_or(field.len());
    let (scheme, token) = field.split_at_checked(end_of_scheme)?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}

/// Who presents a bearer token; `None` for a request without one. Waits for the control thread if
/// keys are missing.
pub(super) async fn token_user(
    active: &ActiveRequest,
    (rules, client): (&BearerRules, Option<ProviderId>),
    parts: &Parts,
) -> Option<Result<Rc<KnownToken>, BearerRefusal>> {
    let malformed = TokenError::Invalid("the Authorization header is malformed");
    let token = match PresentedToken::of(&parts.headers) {
        PresentedToken::None => return None,
        PresentedToken::Malformed => return Some(Err(BearerRefusal::Invalid(malformed))),
        PresentedToken::One(token) => token,
    };
    let config = Rc::clone(&active.config);
    let people = config.people.as_deref();
    let now = active.account.conn.handler.now();
    let (Some(people), Some(now)) = (people, now) else {
        return Some(Err(BearerRefusal::Unavailable("there is no clock".to_owned())));
    };
    if is_with_session(people, (rules, client), &parts.headers) {
        return Some(Err(BearerRefusal::SessionBesides));
    }
    let verifier = TokenVerifier {
        rules,
        spec: &people.tokens,
        sign_in: people.sign_in.as_ref().map(|clients| &*clients.main().spec),
        now_s: now.as_secs(),
    };
    let request = TokenRequest { active, epoch: people.epoch, verifier, token };
    // Boxed: few requests wait, and all others would have to keep room for it.
    Some(Box::pin(request.known()).await)
}

/// Whether a request has a session too, where that is ambiguous: a token of another issuer than that
/// of sessions.
fn is_with_session(
    people: &IdentityConfig,
    (rules, client): (&BearerRules, Option<ProviderId>),
    headers: &HeaderMap,
) -> bool {
    let BearerFormat::Jwt { .. } = rules.format else { return false };
    let sign_in = people.sign_in.as_ref().and_then(|clients| clients.of(client));
    sign_in.is_some_and(|sign_in| sign_in.presented(headers).is_some())
}

/// A token, and what it is verified by.
#[derive(Clone, Copy)]
struct TokenRequest<'a> {
    active: &'a ActiveRequest,
    epoch: u64,
    verifier: TokenVerifier<'a>,
    token: &'a str,
}

impl TokenRequest<'_> {
    /// Remembered, or verified.
    async fn known(self) -> Result<Rc<KnownToken>, BearerRefusal> {
        let tokens = &self.active.account.conn.handler.identity.tokens;
        let key = TokenKey::new(self.verifier.rules, self.token);
        if let Some(known) = tokens.find(self.epoch, key, self.verifier.now_s) {
            return Ok(known);
        }
        let known = Rc::new(self.verified().await?);
        tokens.insert(self.epoch, key, &known);
        Ok(known)
    }

    async fn verified(self) -> Result<KnownToken, BearerRefusal> {
        let TokenVerifier { now_s, .. } = self.verifier;
        let maker = self.verifier.maker(self.token).map_err(BearerRefusal::Invalid)?;
        let verify = |keys: &TokenKeys| self.verifier.verify(self.token, maker, keys);
        let mut keys = self.keys(maker.id()).await?;
        let mut verified = verify(&keys);
        if verified.as_ref().err() == Some(&TokenError::UnknownKid) && !keys.were_forced(now_s) {
            keys = self.fetched(maker.id(), Some(keys.serial)).await?;
            verified = verify(&keys);
        }
        verified.map_err(|error| match error {
            TokenError::UnknownKid if keys.is_away => {
                BearerRefusal::Unavailable("the issuer's new keys cannot be fetched".to_owned())
            }
            error => BearerRefusal::Invalid(error),
        })
    }

    /// The keys that were published. Old ones are used while newer ones are fetched; keys that have
    /// been old for long may hold one that was withdrawn, and count only if nothing can be fetched.
    async fn keys(self, issuer: TokenIssuerId) -> Result<Arc<TokenKeys>, BearerRefusal> {
        let identity = &self.active.account.conn.handler.identity;
        let now_s = self.verifier.now_s;
        match identity.shared().token_keys.get(issuer) {
            Some(keys) if keys.are_fresh(now_s) => Ok(keys),
            Some(keys) if keys.were_fresh_lately(now_s) => {
                identity.caller().notify(IdentityCall::RenewTokenKeys { issuer });
                Ok(keys)
            }
            Some(keys) => Ok(self.fetched(issuer, None).await.unwrap_or(keys)),
            None => self.fetched(issuer, None).await,
        }
    }

    async fn fetched(
        self,
        issuer: TokenIssuerId,
        lacking: Option<u64>,
    ) -> Result<Arc<TokenKeys>, BearerRefusal> {
        let identity = &self.active.account.conn.handler.identity;
        let unavailable = |why: String| Err(BearerRefusal::Unavailable(why));
        match identity.call(IdentityCall::TokenKeys { issuer, lacking }).await {
            Ok(IdentityReply::Ready) => {
                let keys = identity.shared().token_keys.get(issuer);
                keys.ok_or_else(|| BearerRefusal::Unavailable("there are no keys".to_owned()))
            }
            Ok(IdentityReply::Failed(failure)) => unavailable(failure.to_string()),
            Ok(_) => unavailable("the control thread gave another answer".to_owned()),
            Err(error) => unavailable(error.to_string()),
        }
    }
}

impl BearerRefusal {
    /// The answer to the client.
    pub(super) fn reply(&self, active: &ActiveRequest) -> LocalReply {
        let (status, message, header, blame) = match self {
            BearerRefusal::SessionBesides => {
                let message = "a bearer token and a session at once";
                let challenge = (header::WWW_AUTHENTICATE, INVALID_REQUEST);
                (StatusCode::BAD_REQUEST, message, challenge, Blame::Client)
            }
            BearerRefusal::Invalid(_) => {
                let challenge = (header::WWW_AUTHENTICATE, INVALID_TOKEN);
                (StatusCode::UNAUTHORIZED, "Unauthenticated", challenge, Blame::Client)
            }
            BearerRefusal::Unavailable(_) => {
                let message = "bearer tokens cannot be verified now";
                let later = (header::RETRY_AFTER, RETRY_AFTER);
                (StatusCode::SERVICE_UNAVAILABLE, message, later, Blame::Upstream)
            }
        };
        let response = match active.negotiation.form() {
            AnswerForm::Grpc => grpc(status, message),
            form => page(form, ErrorAnswer::new(status, message), &ErrorContext::of(active)),
        };
        let reply = LocalReply::new(response, &active.negotiation)
            .with_header(header.0, header.1)
            .with_header(header::CACHE_CONTROL, NO_STORE)
            .with_header(super::respond::INTERCEPTED, HeaderValue::from_static("true"));
        let (blame, refusal) = (Some(blame), self.refusal());
        LocalReply { blame, refusal, details: self.details().into(), ..reply }
    }

    fn refusal(&self) -> Option<RequestRefusal> {
        match self {
            BearerRefusal::SessionBesides => Some(RequestRefusal::TokenAndSession),
            BearerRefusal::Invalid(_) => Some(RequestRefusal::TokenInvalid),
            BearerRefusal::Unavailable(_) => None,
        }
    }

    fn details(&self) -> String {
        match self {
            BearerRefusal::SessionBesides => "bearer_token{session besides}".to_owned(),
            BearerRefusal::Invalid(error) => format!("bearer_token{{{error}}}"),
            BearerRefusal::Unavailable(why) => format!("bearer_token{{{why}}}"),
        }
    }
}

#[cfg(test)]
mod tests;
