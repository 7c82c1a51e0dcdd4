//! The settings of bearer tokens.

use std::{sync::Arc, time::Duration};

use crate::{
    digest::Digest,
    identity::{
        jose::AllowedAlgorithms,
        spec::{ProviderPreset, SignInSpec, UnverifiedEmail},
    },
    tls::TrustAnchors,
};

/// What holds for the tokens of all routes.
#[derive(Debug, Clone)]
pub(crate) struct TokenSpec {
    /// `identity_providers`.
    pub issuers: Vec<Arc<TokenIssuerSpec>>,
    /// The claims that are kept, as for sessions.
    pub kept_claims: Arc<[Box<str>]>,
    /// What an address that the issuer did not verify counts as.
    pub unverified_email: UnverifiedEmail,
    /// The longest time that a verified token is remembered.
    pub recheck: Duration,
}

/// One of `identity_providers`: who may make tokens of the format `jwt`.
#[derive(Debug, Clone)]
pub(crate) struct TokenIssuerSpec {
    /// Its name in the configuration: the first part of the user id, without a slash.
    pub name: Box<str>,
    /// `iss` of its tokens, to the letter.
    pub issuer: Box<str>,
    /// Where its keys are; `None` asks the issuer's metadata.
    pub jwks_url: Option<Box<str>>,
    /// The algorithms of its tokens.
    pub algorithms: AllowedAlgorithms,
    /// `aud` of its tokens must hold one of them.
    pub audiences: Box<[Box<str>]>,
    /// Verify the TLS certificate of the host that has its keys; `None` for a host on loopback, and if
    /// reading failed.
    pub anchors: Option<Arc<TrustAnchors>>,
}

/// What one route takes as a bearer token.
#[derive(Debug, Clone)]
pub(crate) struct BearerRules {
    /// The format, with the rules that belong to it.
    pub format: BearerFormat,
    /// Differs from that of all other rules: a token that is good by these is good by these alone.
    pub id: [u8; 32],
}

/// `bearer_token_format`, but for `default`, which takes none.
#[derive(Debug, Clone)]
pub(crate) enum BearerFormat {
    /// `idp_identity_token`: an ID token of the identity provider for our client; `None` is the client
    /// of all routes.
    IdentityToken { client_id: Option<Box<str>> },
    /// `idp_access_token`: a signed access token of the identity provider for one of these audiences.
    AccessToken { audiences: Box<[Box<str>]> },
    /// `jwt`: a token of one of these issuers.
    Jwt { issuers: Box<[Arc<TokenIssuerSpec>]> },
}

/// Whose keys verify a token, and by what TLS certificates they are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenIssuerId(pub [u8; 32]);

impl BearerRules {
    /// The rules of a format.
    pub(crate) fn new(format: BearerFormat) -> BearerRules {
        let mut digest = Digest::default();
        match &format {
            BearerFormat::IdentityToken { client_id } => {
                digest.field(b"identity");
                client_id.iter().for_each(|client_id| digest.field(client_id.as_bytes()));
            }
            BearerFormat::AccessToken { audiences } => {
                digest.field(b"access");
                audiences.iter().for_each(|audience| digest.field(audience.as_bytes()));
            }
            BearerFormat::Jwt { issuers } => {
                digest.field(b"jwt");
                for issuer in issuers {
                    digest.field(&issuer.id().0);
                    digest.field(issuer.name.as_bytes());
                    digest.field(&(issuer.audiences.len() as u64).to_be_bytes());
                    issuer.audiences.iter().for_each(|one| digest.field(one.as_bytes()));
                }
            }
        }
        BearerRules { id: digest.finish(), format }
    }
}

impl TokenIssuerSpec {
    /// Says whose keys they are, and by what they are fetched.
    pub(crate) fn id(&self) -> TokenIssuerId {
        let mut digest = Digest::default();
        digest.field(b"issuer");
        digest.field(self.issuer.as_bytes());
        digest.field(self.jwks_url.as_deref().unwrap_or_default().as_bytes());
        digest.field(format!("{:?}", self.algorithms).as_bytes());
        digest.field(roots(self.anchors.as_deref()));
        TokenIssuerId(digest.finish())
    }
}

impl TokenIssuerId {
    /// The identity provider that people sign in with.
    pub(crate) fn of_provider(sign_in: &SignInSpec) -> TokenIssuerId {
        let mut digest = Digest::default();
        digest.field(b"provider");
        digest.field(&sign_in.provider.id().0);
        digest.field(roots(sign_in.anchors.as_deref()));
        TokenIssuerId(digest.finish())
    }
}

/// Keys that were fetched by a CA that a reload withdraws must not stay.
fn roots(anchors: Option<&TrustAnchors>) -> &[u8] {
    anchors.map_or(&[], |anchors| &anchors.digest)
}

/// What makes a person or a machine of claims.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimRules<'a> {
    /// The provider's peculiarities.
    pub(crate) preset: ProviderPreset,
    /// What an address that was not verified counts as.
    pub(crate) unverified_email: UnverifiedEmail,
    /// The claims that are kept.
    pub(crate) kept_claims: &'a [Box<str>],
}

#[cfg(any(test, feature = "bench"))]
impl TokenSpec {
    /// Nobody may make tokens.
    pub(crate) fn none() -> TokenSpec {
        TokenSpec {
            issuers: Vec::new(),
            kept_claims: Arc::default(),
            unverified_email: UnverifiedEmail::Ignore,
            recheck: Duration::from_secs(600),
        }
    }
}
