//! Verifies a bearer token by the rules of a route. Pure.

use super::{
    keys::TokenKeys,
    memory::KnownToken,
    spec::{BearerFormat, BearerRules, ClaimRules, TokenIssuerId, TokenIssuerSpec, TokenSpec},
};
use crate::identity::{
    jose::{
        AccessTokenRules, IdTokenClaims, IdTokenRules, TokenError, unverified_issuer,
        verify_access_token, verify_id_token,
    },
    provider::Person,
    spec::{ProviderPreset, SignInSpec},
};

/// What a token is verified by, besides keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenVerifier<'a> {
    /// The route's rules.
    pub(crate) rules: &'a BearerRules,
    /// What holds for all routes.
    pub(crate) spec: &'a TokenSpec,
    /// The identity provider; without it, its tokens are refused.
    pub(crate) sign_in: Option<&'a SignInSpec>,
    /// Seconds since 1970.
    pub(crate) now_s: u64,
}

/// Who says to have made a token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TokenMaker<'a> {
    /// The identity provider.
    Provider { sign_in: &'a SignInSpec, token: ProviderTokenKind<'a> },
    /// One of `identity_providers`.
    Issuer(&'a TokenIssuerSpec),
}

/// Which of the provider's tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProviderTokenKind<'a> {
    /// An ID token for this client.
    Id { client_id: &'a str },
    /// An access token for one of these audiences.
    Access { audiences: &'a [Box<str>] },
}

impl TokenMaker<'_> {
    /// Whose keys verify the token.
    pub(crate) fn id(&self) -> TokenIssuerId {
        match self {
            TokenMaker::Provider { sign_in, .. } => TokenIssuerId::of_provider(sign_in),
            TokenMaker::Issuer(issuer) => issuer.id(),
        }
    }
}

impl<'a> TokenVerifier<'a> {
    /// Whose keys are to verify a token; fails if the route takes none of theirs.
    pub(crate) fn maker(self, token: &str) -> Result<TokenMaker<'a>, TokenError> {
        let issuer = unverified_issuer(token)?;
        let none = TokenError::Invalid("there is no identity provider");
        let sign_in = || self.sign_in.ok_or(none);
        match &self.rules.format {
            BearerFormat::IdentityToken { client_id } => {
                let sign_in = sign_in()?;
                let client_id = client_id.as_deref().unwrap_or(&sign_in.provider.client_id);
                Ok(TokenMaker::Provider { sign_in, token: ProviderTokenKind::Id { client_id } })
            }
            BearerFormat::AccessToken { audiences } => {
                let token = ProviderTokenKind::Access { audiences };
                Ok(TokenMaker::Provider { sign_in: sign_in()?, token })
            }
            BearerFormat::Jwt { issuers } => {
                let made = issuers.iter().find(|one| one.issuer == issuer);
                let other = TokenError::Invalid("the route takes no tokens of the issuer");
                made.map(|one| TokenMaker::Issuer(one)).ok_or(other)
            }
        }
    }

    /// Verifies a token by its maker's keys.
    pub(crate) fn verify(
        self,
        token: &str,
        maker: TokenMaker<'_>,
        keys: &TokenKeys,
    ) -> Result<KnownToken, TokenError> {
        let verified = self.claims(token, maker, keys)?;
        check_kind(&verified, maker)?;
        let preset = match maker {
            TokenMaker::Provider { sign_in, .. } => sign_in.provider.preset,
            TokenMaker::Issuer(_) => ProviderPreset::Oidc,
        };
        let TokenSpec { unverified_email, kept_claims, .. } = self.spec;
        let unverified_email = *unverified_email;
        let person =
            Person::new(&verified.claims, ClaimRules { preset, unverified_email, kept_claims });
        let mut identity = person.identity;
        if let TokenMaker::Issuer(issuer) = maker {
            // A name has no slash, so that no two pairs make the same id.
            identity.user_id = format!("{}/{}", issuer.name, verified.subject).into();
        }
        let until_s = self.now_s.saturating_add(self.spec.recheck.as_secs());
        let known_s = self.now_s..until_s.min(verified.expires_at_s);
        Ok(KnownToken::new(identity, person.name, known_s, token.len()))
    }

    fn claims(
        self,
        token: &str,
        maker: TokenMaker<'_>,
        keys: &TokenKeys,
    ) -> Result<IdTokenClaims, TokenError> {
        let TokenKeys { issuer, algorithms, keys, .. } = keys;
        let (audiences, tenants) = match maker {
            TokenMaker::Provider { sign_in, token: ProviderTokenKind::Id { client_id } } => {
                let rules = IdTokenRules {
                    issuer,
                    client_id,
                    algorithms,
                    nonce: None,
                    access_token: None,
                    tenants: &sign_in.provider.tenants,
                };
                return verify_id_token(token, &rules, keys, self.now_s);
            }
            TokenMaker::Provider { sign_in, token: ProviderTokenKind::Access { audiences } } => {
                (audiences, &*sign_in.provider.tenants)
            }
            TokenMaker::Issuer(issuer) => (&*issuer.audiences, &[][..]),
        };
        let rules = AccessTokenRules { issuer, audiences, algorithms, tenants };
        verify_access_token(token, &rules, keys, self.now_s)
    }
}

/// An issuer signs other tokens by the same keys, and the header does not always tell them apart.
fn check_kind(verified: &IdTokenClaims, maker: TokenMaker<'_>) -> Result<(), TokenError> {
    let has = |name: &str| verified.claims.contains_key(name);
    if has("events") {
        return Err(TokenError::Invalid("it is a logout token or another security event"));
    }
    match maker {
        TokenMaker::Provider { token: ProviderTokenKind::Access { .. }, .. }
            if has("at_hash") || has("c_hash") =>
        {
            Err(TokenError::Invalid("it is an ID token, not an access token"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
