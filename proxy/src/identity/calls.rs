//! What workers ask the control thread for. The calls travel in `control_call`.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use super::{
    bearer::spec::TokenIssuerId,
    provider_tokens::ProviderTokens,
    session::{ProviderId, Session, SessionId},
};
use crate::{policy, rfc3339::rfc3339_s};

/// One question.
pub(crate) enum IdentityCall {
    /// Fetch the provider's metadata, if the shared view has none. Answer: `Ready` or `Failed`.
    Discover,
    /// Exchange a code. Answer: `SignedIn` or `Failed`.
    Exchange(CodeExchange),
    /// Ask the provider about a session now. Answer: `Checked` or `Failed`.
    Check(CheckRequest),
    /// Use an id up, until it could not be presented any more. Answer: `Used`.
    UseOnce { object: OneTimeObject, id: [u8; 16], until_s: u64 },
    /// Keep a handover that is too long for a URL for 60 s. Answer: `Ready`, or `Failed` if there is
    /// no room.
    KeepHandover { id: [u8; 16], sealed: Bytes },
    /// Give such a handover out, once. Answer: `Handover`.
    TakeHandover { id: [u8; 16] },
    /// End a session everywhere; the answer comes after all workers can see it. Answer: `SignedOut`.
    SignOut {
        session: SessionId,
        ends_at_s: u64,
        /// Revoke its refresh token at the provider. Not when another sign-in of the same browser
        /// replaces the session: some providers revoke the tokens of both.
        revoke: bool,
    },
    /// End what a logout token of the provider names; the answer comes after all workers can see it.
    /// Answer: `LoggedOut`, or `Failed` if the token could not be verified now.
    ProviderLogout {
        token: Box<str>,
        /// For the limit of each client.
        client: IpAddr,
    },
    /// Publish the keys of an issuer of tokens, fetched if they are missing or old. Answer: `Ready` or
    /// `Failed`.
    TokenKeys {
        issuer: TokenIssuerId,
        /// The version of the published keys that lacks the key of a token: newer ones are fetched, at
        /// most once a minute.
        lacking: Option<u64>,
    },
    /// Fetch the keys of an issuer of tokens, if they are old and nobody does so yet. Needs no answer.
    RenewTokenKeys { issuer: TokenIssuerId },
}

/// The answer to an [`IdentityCall`].
pub(crate) enum IdentityReply {
    Ready,
    SignedIn(Box<SignedIn>),
    Checked(CheckOutcome),
    Used(UseOnce),
    Handover(Option<Bytes>),
    SignedOut,
    LoggedOut(ProviderLogout),
    Failed(ProviderFailure),
}

/// What became of a logout token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProviderLogout {
    /// What it names has ended.
    Ended,
    /// It is not acceptable; the reason is for the log.
    Refused(String),
    /// Too many tokens of this client's network were not acceptable, or of too many networks. This one
    /// was not looked at.
    Limited,
}

/// A code to exchange, with what its tokens must hold.
#[derive(Clone)]
pub(crate) struct CodeExchange {
    /// Our client that the code is for.
    pub provider: ProviderId,
    pub code: Box<str>,
    /// PKCE verifier (RFC 7636).
    pub verifier: Box<str>,
    /// The ID token must carry it.
    pub nonce: Box<str>,
    pub redirect_uri: Box<str>,
    /// For the limit of each client.
    pub client: IpAddr,
    /// The id of the session that this sign-in makes.
    pub session: SessionId,
    /// When that session ends at most.
    pub ends_at_s: u64,
}

/// A session to check. Its refresh token is with the control thread, if it has one.
#[derive(Debug, Clone)]
pub(crate) struct CheckRequest {
    pub session: SessionId,
    /// For the limit of each client.
    pub client: IpAddr,
}

/// A person whom the provider vouches for.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub identity: policy::Identity,
    pub name: Box<str>,
    /// When the session began. Later than now if the sessions of this user were ended just now.
    pub signed_in_at_s: u64,
    /// When the session ends: by the configuration, or with the access token.
    pub ends_at_s: u64,
    pub check_at_s: u64,
    /// For sign-out at the provider (`id_token_hint`).
    pub id_token: Option<Box<str>>,
    /// For upstreams, if some get any.
    pub tokens: Option<Arc<ProviderTokens>>,
}

/// What became of a check.
#[derive(Debug, Clone)]
pub(crate) enum CheckOutcome {
    /// The user may stay signed in; these are the claims now.
    Good(Arc<RenewedSession>),
    /// The provider was not reached or failed: the session stays.
    ProviderAway,
    /// The provider refused: the session has ended everywhere.
    Ended,
    /// The control thread knows no session of this id (it was made before a restart).
    Unknown,
}

/// What a check brought.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RenewedSession {
    pub identity: policy::Identity,
    pub name: Box<str>,
    pub claims_digest: [u8; 8],
    pub check_at_s: u64,
    pub ends_at_s: u64,
    /// For upstreams, if some get any.
    pub tokens: Option<Arc<ProviderTokens>>,
}

impl RenewedSession {
    /// The session with what the check brought. Tokens for which no others came stay.
    pub(crate) fn apply(&self, session: &Session) -> Session {
        Session {
            identity: self.identity.clone(),
            name: self.name.clone(),
            claims_digest: self.claims_digest,
            check_at_s: self.check_at_s,
            ends_at_s: self.ends_at_s,
            tokens: self.tokens.as_ref().or(session.tokens.as_ref()).cloned(),
            ..session.clone()
        }
    }
}

/// What is good for one presentation. All objects of a kind live for the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OneTimeObject {
    Request,
    State,
    Handover,
    LogoutToken,
}

/// Whether an id was used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UseOnce {
    First,
    Again,
    /// Ids of its age had to make room for others, so that nobody knows (503).
    Full,
}

/// Why a call to the provider has no result. The reason is for the log; pages show a text of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderFailure {
    /// Not reached, too slow, or 5xx (503).
    #[error("the identity provider is unavailable: {0}")]
    Away(String),
    /// Its answer breaks a rule of OpenID Connect (502).
    #[error("the identity provider's answer is not acceptable: {0}")]
    Invalid(String),
    /// It refused the code (400).
    #[error("the identity provider refused: {error}")]
    Refused {
        /// The `error` of RFC 6749, section 5.2, at most 64 bytes.
        error: String,
    },
    /// Too many calls are under way or waiting (503).
    #[error("too many sign-ins wait for the identity provider")]
    Busy,
    /// The clocks differ: the provider's is `provider_s`, ours `our_s` (502).
    #[error("the identity provider's clock differs from ours: {} and {}", rfc3339_s(*provider_s), rfc3339_s(*our_s))]
    Clock { provider_s: i64, our_s: i64 },
}

/// Codes and handovers are secrets.
impl std::fmt::Debug for IdentityCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdentityCall(..)")
    }
}

/// So are handovers and ID tokens.
impl std::fmt::Debug for IdentityReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IdentityReply::Failed(failure) => write!(f, "Failed({failure:?})"),
            _ => f.write_str("IdentityReply(..)"),
        }
    }
}

impl std::fmt::Debug for CodeExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeExchange(..)")
    }
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedIn(..)")
    }
}
