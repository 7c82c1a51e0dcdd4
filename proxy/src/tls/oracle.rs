//! Runs every parser of untrusted client certificates on one input. The fuzz target includes this
//! file.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls_pki_types::{CertificateDer, UnixTime};

use super::{
    AltNameKind, AltNameMatcher, ClientTrust, ClientTrustSpec, CrlBundle, TrustAnchors, describe,
};

const CA: &str = include_str!("testdata/crl/ca.crt.pem");
const CRL: &str = include_str!("testdata/crl/v2.crl.pem");

/// 1 January 2030.
const NOW: Duration = Duration::from_secs(1_893_456_000);

/// Built once: compiling the patterns for each input would slow the fuzzer to two inputs a second.
static TRUST: LazyLock<ClientTrust> = LazyLock::new(trust);

/// Parses a certificate and verifies it, by a CA with a CRL and rules for every kind of name.
/// Returns whether it is valid, and asserts that the result is the same if it is also sent as an
/// intermediate.
pub(crate) fn judge(der: &[u8]) -> bool {
    let certificate = CertificateDer::from(der);
    if let Ok(facts) = describe(&certificate) {
        let texts = [&facts.issuer, &facts.subject].into_iter().chain(&facts.sans);
        texts.for_each(|text| assert!(!text.contains(char::is_control), "{text:?}"));
    }
    let now = UnixTime::since_unix_epoch(NOW);
    let judged = TRUST.judge(&certificate, &[], now);
    let as_intermediate = TRUST.judge(&certificate, std::slice::from_ref(&certificate), now);
    assert_eq!(judged.is_ok(), as_intermediate.is_ok());
    judged.is_ok()
}

fn trust() -> ClientTrust {
    let anchors = TrustAnchors::from_pem(CA.as_bytes(), "the CA").expect("a CA");
    let kinds = [
        AltNameKind::Dns,
        AltNameKind::Email,
        AltNameKind::IpAddress,
        AltNameKind::Uri,
        AltNameKind::UserPrincipalName,
    ];
    let any = |kind| AltNameMatcher::new(kind, ".*").expect("a pattern");
    ClientTrust::new(&ClientTrustSpec {
        alt_names: kinds.map(any).into(),
        crls: Some(Arc::new(CrlBundle::from_pem(CRL.as_bytes(), "the CRL").expect("a CRL"))),
        ..ClientTrustSpec::new(Arc::new(anchors), 1)
    })
}
