//! The keys of a provider (RFC 7517, 7518 section 6, 8037 section 2). Pure.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    algorithm, base64url, crypto,
    error::TokenError,
    strict::{self, StrictHeader, TokenType},
};

/// The longest key set, in bytes.
const MAX_SET_LEN: usize = 1024 * 1024;

/// How many keys a set may have, those included that do not fit.
const MAX_KEYS: usize = 256;

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// A provider's key set. Keys are parsed once; those that verify no signature are left out.
pub struct ProviderKeys {
    keys: Vec<ProviderKey>,
}

/// Why a key set cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is too long.
    #[error("the key set has more than 1 MiB or 256 keys")]
    TooLong,
    /// It is no JSON object with a list `keys`, or has a member twice.
    #[error("the key set is not a JSON object with a list `keys` whose members are unique")]
    Malformed,
}

struct ProviderKey {
    kid: Option<Box<str>>,
    /// The algorithm that the set names.
    algorithm: Option<Algorithm>,
    material: KeyMaterial,
    decoding: DecodingKey,
}

/// A public key's type, curve and numbers.
#[derive(PartialEq, Eq)]
enum KeyMaterial {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl ProviderKeys {
    /// Reads a key set. Keys of another type, use, curve or size are left out, so a set may end up
    /// without any.
    pub fn parse(json: &[u8]) -> Result<ProviderKeys, KeySetError> {
        if json.len() > MAX_SET_LEN {
            return Err(KeySetError::TooLong);
        }
        let set = strict::parse_object(json).ok_or(KeySetError::Malformed)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooLong);
        }
        let mut fitting: Vec<ProviderKey> = Vec::new();
        for key in keys.iter().filter_map(Value::as_object).filter_map(ProviderKey::parse) {
            if !fitting.iter().any(|other| other.is_same(&key)) {
                fitting.push(key);
            }
        }
        Ok(ProviderKeys { keys: fitting })
    }

    /// How many keys can verify a signature.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify a signature.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies the signature, and returns the claims and the algorithm. No claim is checked.
    pub(super) fn verify(
        &self,
        token: &str,
        token_type: TokenType,
        allowed: &super::AllowedAlgorithms,
    ) -> Result<(Map<String, Value>, Algorithm), TokenError> {
        let header = strict::check(token, token_type)?;
        if !allowed.contains(header.algorithm) {
            return Err(TokenError::Invalid("the provider's metadata lacks the token's algorithm"));
        }
        let key = self.pick(&header)?;
        crypto::install();
        match jsonwebtoken::decode(token, &key.decoding, &signature_only(header.algorithm)) {
            Ok(decoded) => Ok((decoded.claims, header.algorithm)),
            Err(error) => Err(match error.kind() {
                // The provider may have a new key, which has no id either.
                ErrorKind::InvalidSignature if header.kid.is_none() => TokenError::UnknownKid,
                ErrorKind::InvalidSignature => {
                    TokenError::Invalid("the token's signature is wrong")
                }
                _ => TokenError::Invalid("a member of the token is of a wrong type"),
            }),
        }
    }

    /// The key of a set that has one.
    #[cfg(test)]
    pub(super) fn only_key(&self) -> &DecodingKey {
        &self.keys[0].decoding
    }

    fn pick(&self, header: &StrictHeader) -> Result<&ProviderKey, TokenError> {
        let has_kid = |key: &&ProviderKey| match &header.kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => true,
        };
        if !self.keys.iter().any(|key| has_kid(&key)) {
            return Err(TokenError::UnknownKid);
        }
        let fits = |key: &&ProviderKey| has_kid(key) && key.fits(header.algorithm);
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => {
                Err(TokenError::Invalid("more than one key of the provider fits the token"))
            }
            (None, _) if header.kid.is_none() => Err(TokenError::UnknownKid),
            (None, _) => Err(TokenError::Invalid("the token's algorithm does not fit its key")),
        }
    }
}

/// `jsonwebtoken` verifies the signature; the claims are checked by us, with a clock passed in.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl ProviderKey {
    /// `None` for a key that verifies no signature of ours.
    fn parse(jwk: &Map<String, Value>) -> Option<ProviderKey> {
        let is_for_signatures = jwk.get("use").is_none_or(|purpose| purpose == "sig")
            && match jwk.get("key_ops") {
                None => true,
                Some(Value::Array(operations)) => operations.iter().any(|one| one == "verify"),
                Some(_) => false,
            };
        if !is_for_signatures {
            return None;
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.into()),
        };
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => Some(algorithm::parse(name.as_str()?)?),
        };
        let material = KeyMaterial::parse(jwk)?;
        let decoding = material.decoding_key();
        Some(ProviderKey { kid, algorithm, material, decoding })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|named| named == algorithm) && self.material.fits(algorithm)
    }

    fn is_same(&self, other: &ProviderKey) -> bool {
        (&self.kid, self.algorithm, &self.material)
            == (&other.kid, other.algorithm, &other.material)
    }
}

impl KeyMaterial {
    fn parse(jwk: &Map<String, Value>) -> Option<KeyMaterial> {
        let text = |member: &str| jwk.get(member).and_then(Value::as_str);
        let bytes = |member: &str| base64url::decode(text(member)?);
        match (text("kty")?, text("crv")) {
            ("RSA", _) => KeyMaterial::rsa(&bytes("n")?, &bytes("e")?),
            ("EC", Some("P-256")) => point(&bytes("x")?, &bytes("y")?, 32).map(KeyMaterial::P256),
            ("EC", Some("P-384")) => point(&bytes("x")?, &bytes("y")?, 48).map(KeyMaterial::P384),
            ("OKP", Some("Ed25519")) => {
                bytes("x").filter(|x| x.len() == 32).map(KeyMaterial::Ed25519)
            }
            _ => None,
        }
    }

    /// Some providers write a zero byte in front, which the numbers of a JWK do not have.
    fn rsa(n: &[u8], e: &[u8]) -> Option<KeyMaterial> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let fits = (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) && (1..=5).contains(&e.len());
        fits.then(|| KeyMaterial::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            KeyMaterial::Rsa { .. } => {
                matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
            }
            KeyMaterial::P256(_) => algorithm == ES256,
            KeyMaterial::P384(_) => algorithm == ES384,
            KeyMaterial::Ed25519(_) => algorithm == EdDSA,
        }
    }

    fn decoding_key(&self) -> DecodingKey {
        match self {
            KeyMaterial::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            KeyMaterial::P256(point) | KeyMaterial::P384(point) => DecodingKey::from_ec_der(point),
            KeyMaterial::Ed25519(x) => DecodingKey::from_ed_der(x),
        }
    }
}

/// An uncompressed point; both numbers have the curve's full length (RFC 7518, section 6.2.1).
fn point(x: &[u8], y: &[u8], len: usize) -> Option<Vec<u8>> {
    (x.len() == len && y.len() == len).then(|| [&[4], x, y].concat())
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl fmt::Debug for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKeys").field("len", &self.len()).finish()
    }
}
