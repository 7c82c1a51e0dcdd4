//! The cryptography of `jsonwebtoken`, by `ring`.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result, new_error},
    signature::{Error, Verifier},
};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};

/// What `jsonwebtoken` computes with in this process.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: refuse_to_sign,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(), // for its key sets, and we read key sets ourselves
};

/// Makes `jsonwebtoken` use `ring`. Further calls do nothing. Without it, its functions panic, so
/// everything here that verifies calls it first.
pub(crate) fn install() {
    // An error says that there is a provider already. There is no other than ours in the product: its
    // own back ends are left out of the build, and a test compares the address.
    let _ = RING.install_default();
}

/// Signatures are made by [`super::SigningKey`]: this function would get bytes, and parse them for
/// each signature.
fn refuse_to_sign(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let key = match (rsa_parameters(*algorithm), key.kind()) {
        (Some(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let components = RsaPublicKeyComponents { n: n.clone(), e: e.clone() };
            PublicKey::Rsa(parameters, components)
        }
        (None, DecodingKeyKind::SecretOrDer(bytes)) => {
            PublicKey::Curve(UnparsedPublicKey::new(curve_parameters(*algorithm)?, bytes.clone()))
        }
        _ => return Err(new_error(ErrorKind::InvalidKeyFormat)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

/// RSA keys of 2048 to 8192 bits.
fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

/// Signatures of fixed length (RFC 7518, section 3.4; RFC 8037, section 3.1).
fn curve_parameters(algorithm: Algorithm) -> Result<&'static dyn signature::VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Ok(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Ok(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Ok(&signature::ED25519),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

enum PublicKey {
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Curve(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match &self.key {
            PublicKey::Rsa(parameters, key) => key.verify(parameters, message, signature),
            PublicKey::Curve(key) => key.verify(message, signature),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_verifies_with_ring_after_any_number_of_calls() {
        install();
        install();
        let provider = CryptoProvider::try_get_default().unwrap();
        assert!(std::ptr::eq(provider, &RING));
    }

    #[test]
    fn an_hmac_algorithm_has_no_verifier() {
        let secret = DecodingKey::from_secret(b"secret").unwrap();
        assert!(verifier(&Algorithm::HS256, &secret).is_err());
        let public_key = DecodingKey::from_ec_der(&[4; 65]);
        assert!(verifier(&Algorithm::HS256, &public_key).is_err());
        assert!(verifier(&Algorithm::EdDSA, &public_key).is_err());
    }
}
