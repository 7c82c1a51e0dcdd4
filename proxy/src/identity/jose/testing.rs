//! A provider's keys and tokens for tests.

use std::sync::LazyLock;

use jsonwebtoken::Algorithm;
use ring::{
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
    },
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::{ProviderKeys, base64url};

/// The time of all tokens that tests make, in seconds since 1970.
pub(crate) const NOW_S: u64 = 1_700_000_000;

/// All algorithms that are verified.
pub(crate) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// One key for each kind.
pub(crate) struct TestKeys {
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

/// The same keys for all tests.
pub(crate) static KEYS: LazyLock<TestKeys> = LazyLock::new(TestKeys::generate);

impl TestKeys {
    /// New keys, but for the RSA key, which is a file.
    pub(crate) fn generate() -> TestKeys {
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let rsa = include_bytes!("testdata/rsa2048-pkcs8.pem");
        let rsa = PrivatePkcs8KeyDer::from_pem_slice(rsa).unwrap();
        TestKeys {
            p256: ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
            rsa: RsaKeyPair::from_pkcs8(rsa.secret_pkcs8_der()).unwrap(),
        }
    }

    /// The public key, without use, algorithm and id.
    pub(crate) fn jwk(&self, algorithm: Algorithm) -> Value {
        let point = |crv: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) })
        };
        match algorithm {
            Algorithm::ES256 => point("P-256", self.p256.public_key().as_ref()),
            Algorithm::ES384 => point("P-384", self.p384.public_key().as_ref()),
            Algorithm::EdDSA => {
                let x = encode(self.ed25519.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            _ => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
        }
    }

    /// All public keys; the ids are `RSA`, `P-256`, `P-384` and `Ed25519`.
    pub(crate) fn set(&self) -> Vec<Value> {
        use Algorithm::*;
        [RS256, ES256, ES384, EdDSA]
            .map(|algorithm| with(self.jwk(algorithm), kid(algorithm)))
            .into()
    }

    /// A compact token of these parts.
    pub(crate) fn sign(&self, algorithm: Algorithm, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
        let signature = encode(&self.signature(algorithm, message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token with these claims, by the key of the algorithm.
    pub(crate) fn token(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": kid(algorithm)["kid"] });
        self.sign(algorithm, &header.to_string(), &claims.to_string())
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let encoding: &dyn RsaEncoding = match algorithm {
            Algorithm::ES256 => return self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::ES384 => return self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::EdDSA => return self.ed25519.sign(message).as_ref().to_vec(),
            Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_SHA512,
            _ => return vec![0; 32],
        };
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        self.rsa.sign(encoding, &random, message, &mut signature).unwrap();
        signature
    }
}

/// A key set of these members.
pub(crate) fn parse_set(keys: &[Value]) -> ProviderKeys {
    ProviderKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// The object with further members, or others of the same name; `null` takes a member out.
pub(crate) fn with(mut object: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

/// Base64url.
pub(crate) fn encode(bytes: &[u8]) -> String {
    base64url::encode(bytes)
}

fn kid(algorithm: Algorithm) -> Value {
    json!({ "kid": match algorithm {
        Algorithm::ES256 => "P-256",
        Algorithm::ES384 => "P-384",
        Algorithm::EdDSA => "Ed25519",
        _ => "RSA",
    } })
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}
