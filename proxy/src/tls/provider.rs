//! The cryptography of every TLS configuration here: ring, cheapest suite first.

use std::sync::{Arc, LazyLock};

use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        CipherSuiteCommon, CryptoProvider,
        cipher::{
            AeadKey, Iv, MessageDecrypter, MessageEncrypter, Tls13AeadAlgorithm,
            UnsupportedOperationError,
        },
    },
};

use super::context;

/// The one provider. Always named explicitly, since a second one in the dependency tree would make
/// rustls's process default panic.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(preference);
        provider.cipher_suites = provider.cipher_suites.into_iter().map(observed).collect();
        Arc::new(provider)
    });
    &PROVIDER
}

/// The same suite, whose keys the connection's context sees when rustls makes them. TLS 1.2 needs none
/// of it. It is never freed, as rustls's own suites are not.
fn observed(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else { return suite };
    let CipherSuiteCommon { suite: number, hash_provider, confidentiality_limit } = suite.common;
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { suite: number, hash_provider, confidentiality_limit },
        hkdf_provider: suite.hkdf_provider,
        aead_alg: Box::leak(Box::new(ObservedAead(suite.aead_alg))),
        quic: None,
    })))
}

struct ObservedAead(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for ObservedAead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        context::observe_encrypter();
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        context::observe_decrypter(self.0.decrypter(key, iv))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// TLS 1.3 first, then AES-128-GCM: SHA-384, which comes with AES-256, has no hardware path and
/// makes a handshake 20 % more expensive.
fn preference(suite: &SupportedCipherSuite) -> (bool, bool) {
    let aes_128 = matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    );
    (suite.version().version != ProtocolVersion::TLSv1_3, !aes_128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_comes_first_in_each_version_and_no_suite_is_lost() {
        let suites: Vec<_> = provider().cipher_suites.iter().map(|s| s.suite()).collect();
        assert_eq!(suites.len(), rustls::crypto::ring::default_provider().cipher_suites.len());
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        let first_tls12 = provider()
            .cipher_suites
            .iter()
            .find(|suite| suite.version().version == ProtocolVersion::TLSv1_2)
            .map(SupportedCipherSuite::suite);
        assert_eq!(first_tls12, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256));
    }
}
