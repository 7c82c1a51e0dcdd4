//! The keys that sign assertions. Pure, but for the randomness that `ring` is given.

use std::{fmt, sync::Arc};

use p256::{
    SecretKey,
    elliptic_curve::{
        bigint::{Encoding as _, NonZero, U320},
        sec1::ToEncodedPoint as _,
    },
};
use ring::{
    digest::{SHA256, digest},
    hkdf,
    rand::{SecureRandom, SystemRandom},
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use super::{
    base64url,
    private_key::{self, PrivateKeyBytes, SigningKeyError},
};

/// A private key that signs assertions, parsed once. A clone is another reference.
#[derive(Clone)]
pub struct SigningKey(Arc<ParsedKey>);

/// `ring`'s random generator failed, or its signature did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature could not be made")]
pub struct SignError;

struct ParsedKey {
    pair: Pair,
    kid: Box<str>,
    /// The member of the public key set.
    public_jwk: Value,
    /// The header of every token, encoded.
    header: Box<str>,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl SigningKey {
    /// Reads all keys of a PEM text, in their order; a key that is there twice counts once. A signature
    /// by an RSA key of 2048 bits takes half a millisecond, one by an EC key a twentieth of that.
    pub fn parse_all(pem: &str) -> Result<Vec<SigningKey>, SigningKeyError> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for bytes in private_key::parse_all(pem)? {
            let key = match bytes {
                PrivateKeyBytes::P256 { scalar, point } => from_scalar(&scalar, point.as_deref())?,
                PrivateKeyBytes::Rsa(der) => from_pkcs1(&der)?,
            };
            if keys.iter().all(|other| other.kid() != key.kid()) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// The key that Pomerium derives from the same shared secret. No secret leads to an error.
    pub(crate) fn derived(shared_secret: &[u8; 32]) -> Result<SigningKey, SigningKeyError> {
        const UNREADABLE: SigningKeyError = SigningKeyError::Malformed("the derived signing key");
        from_scalar(&derived_scalar(shared_secret).ok_or(UNREADABLE)?, None)
    }

    /// `members` are those that count for the thumbprint.
    fn new(pair: Pair, members: Value) -> SigningKey {
        let kid = thumbprint(&members);
        let algorithm = pair.algorithm();
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" }).to_string();
        let mut public_jwk = members;
        public_jwk["alg"] = algorithm.into();
        public_jwk["kid"] = kid.as_str().into();
        public_jwk["use"] = "sig".into();
        SigningKey(Arc::new(ParsedKey {
            pair,
            kid: kid.into(),
            public_jwk,
            header: base64url::encode(header.as_bytes()).into(),
        }))
    }

    /// The SHA-256 thumbprint of the public key (RFC 7638), in hexadecimal.
    pub(crate) fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The public key with its use, algorithm and id (RFC 7517).
    pub(super) fn public_jwk(&self) -> &Value {
        &self.0.public_jwk
    }

    /// Signs claims, a JSON text, as a compact token (RFC 7515, section 3.1).
    pub fn sign(&self, claims: &[u8], random: &dyn SecureRandom) -> Result<String, SignError> {
        let mut token = format!("{}.{}", self.0.header, base64url::encode(claims));
        let signature = self.0.pair.sign(token.as_bytes(), random)?;
        token.push('.');
        token.push_str(&base64url::encode(&signature));
        Ok(token)
    }
}

/// `d` = the first 40 bytes of HKDF-SHA-256(secret, no salt, label), as a number, mod (n - 1), + 1.
pub(super) fn derived_scalar(secret: &[u8]) -> Option<[u8; 32]> {
    /// How many bytes are derived: 64 bits more than the order has, so that `d` is uniform.
    struct Len;
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            40
        }
    }
    let mut bytes = [0; 40];
    let pseudorandom_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    pseudorandom_key.expand(&[b"derived-jwt-signing-key"], Len).ok()?.fill(&mut bytes).ok()?;
    let order = U320::from(&<p256::NistP256 as p256::elliptic_curve::Curve>::ORDER);
    let order_less_one: Option<_> = NonZero::new(order.wrapping_sub(&U320::ONE)).into();
    let d = U320::from_be_slice(&bytes).rem(&order_less_one?).wrapping_add(&U320::ONE);
    d.to_be_bytes().last_chunk().copied()
}

/// The public point is computed: files may lack it, and one that they have is compared.
pub(super) fn from_scalar(
    scalar: &[u8; 32],
    point: Option<&[u8]>,
) -> Result<SigningKey, SigningKeyError> {
    const UNREADABLE: SigningKeyError = SigningKeyError::Malformed("an EC private key");
    let secret = SecretKey::from_slice(scalar).map_err(|_| UNREADABLE)?;
    let computed = secret.public_key().to_encoded_point(false);
    let compressed = secret.public_key().to_encoded_point(true);
    if point.is_some_and(|point| ![computed.as_bytes(), compressed.as_bytes()].contains(&point)) {
        return Err(SigningKeyError::Inconsistent);
    }
    let (Some(x), Some(y)) = (computed.x(), computed.y()) else { return Err(UNREADABLE) };
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        scalar,
        computed.as_bytes(),
        &SystemRandom::new(),
    )
    .map_err(|_| UNREADABLE)?;
    let (x, y) = (base64url::encode(x), base64url::encode(y));
    let members = json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y });
    Ok(SigningKey::new(Pair::Es256(pair), members))
}

fn from_pkcs1(der: &[u8]) -> Result<SigningKey, SigningKeyError> {
    const UNREADABLE: SigningKeyError = SigningKeyError::Malformed("an RSA private key");
    let bits = private_key::rsa_bits(der).ok_or(UNREADABLE)?;
    if !(2048..=4096).contains(&bits) {
        return Err(SigningKeyError::Other(format!("an RSA key of {bits} bits")));
    }
    let pair = RsaKeyPair::from_der(der).map_err(|_| UNREADABLE)?;
    let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
    let (e, n) = (base64url::encode(&public.e), base64url::encode(&public.n));
    let pair = Pair::Rs256(pair);
    // `ring` does not compare all numbers of a file with each other, and a damaged one signs nothing.
    pair.sign(&[], &SystemRandom::new()).map_err(|_| UNREADABLE)?;
    Ok(SigningKey::new(pair, json!({ "e": e, "kty": "RSA", "n": n })))
}

impl Pair {
    fn algorithm(&self) -> &'static str {
        match self {
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, SignError> {
        match self {
            Pair::Es256(pair) => {
                let signature = pair.sign(random, message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature)
                    .map_err(|_| SignError)?;
                Ok(signature)
            }
        }
    }
}

/// RFC 7638, section 3: the members that count, sorted by name, as `serde_json` writes them.
pub(super) fn thumbprint(members: &Value) -> String {
    let digest = digest(&SHA256, members.to_string().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid()).finish_non_exhaustive()
    }
}
