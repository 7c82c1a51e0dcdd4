//! JSON Web Signatures and keys (RFC 7515, 7517 - 7519). Pure.
//!
//! Reading: a strict pass of ours ([`strict`]), then `jsonwebtoken` over the cryptography of `ring`
//! ([`crypto`]), then the checks of OpenID Connect ([`id_token`], [`user_info`]). Writing:
//! [`SigningKey`] signs by itself, because `jsonwebtoken` would parse the key for each signature.

mod access_token;
mod algorithm;
mod base64url;
mod claim_checks;
mod crypto;
mod error;
mod id_token;
mod jwks;
mod keys;
mod logout_token;
mod private_key;
mod signing_key;
mod strict;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod user_info;

pub(crate) use access_token::{AccessTokenRules, unverified_issuer, verify_access_token};
pub use algorithm::AllowedAlgorithms;
pub(crate) use crypto::install;
pub use error::TokenError;
pub use id_token::{IdTokenClaims, IdTokenRules, verify_id_token};
pub use jwks::{Jwks, public_jwks};
pub use keys::{KeySetError, ProviderKeys};
pub(crate) use logout_token::{LogoutToken, is_for, provider_session, verify_logout_token};
pub use private_key::SigningKeyError;
pub use signing_key::{SignError, SigningKey};
pub(crate) use strict::parse_object;
pub(crate) use user_info::{merge_user_info, parse_user_info, verify_user_info_jws};
