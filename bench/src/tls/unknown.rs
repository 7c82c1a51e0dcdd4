//! Client certificates that no server knows, with chains that are expensive to search.

use std::{num::NonZeroUsize, sync::Arc};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

/// The name of the issuer and of all CAs in a chain.
const NAME: &str = "a CA that nobody knows";

/// This number of certificates of one key, each followed by `namesakes` CA certificates. All of them
/// have the issuer's name and are issued by it, so that each may be the issuer of the certificate and of
/// every other CA; none has the key that signed.
pub(super) fn unknown_certificates(
    count: NonZeroUsize,
    namesakes: usize,
    provider: &CryptoProvider,
) -> Result<Vec<Arc<CertifiedKey>>> {
    let issuer = Issuer::new(authority(), KeyPair::generate()?);
    let namesake = |_| Ok(authority().signed_by(&KeyPair::generate()?, &issuer)?.der().clone());
    let namesakes = (0..namesakes).map(namesake).collect::<Result<Vec<_>>>()?;
    let key = KeyPair::generate()?;
    let identity = |number| {
        let own = client(number).signed_by(&key, &issuer)?.der().clone();
        let chain: Vec<CertificateDer<'static>> =
            std::iter::once(own).chain(namesakes.iter().cloned()).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
    };
    (0..count.get()).map(identity).collect()
}

fn authority() -> CertificateParams {
    let mut params = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn client(number: usize) -> CertificateParams {
    let mut params = named(&format!("client {number}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
