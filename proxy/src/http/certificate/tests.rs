use std::{sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair, SanType,
};

use super::*;
use crate::tls::{ClientTrustSpec, TrustAnchors};

fn self_signed(sans: Vec<SanType>) -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    params.subject_alt_names = sans;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn certificate(sans: Vec<SanType>) -> Rc<PeerCertificate> {
    PeerCertificate::presented(&[self_signed(sans).der().clone()], None).unwrap()
}

fn garbage() -> Rc<PeerCertificate> {
    PeerCertificate::presented(&[CertificateDer::from(b"abc".to_vec())], None).unwrap()
}

fn trust(pem: &str, max_verify_depth: u32) -> ClientTrust {
    let anchors = Arc::new(TrustAnchors::from_pem(pem.as_bytes(), "a test").unwrap());
    ClientTrust::new(&ClientTrustSpec::new(anchors, max_verify_depth))
}

/// Seconds since 1 January 2025.
fn after_s(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_735_689_600 + seconds))
}

const DAY_S: u64 = 24 * 60 * 60;
const YEAR_S: u64 = 365 * DAY_S;

#[test]
fn names_are_joined_and_those_with_a_comma_left_out() {
    let certificate = certificate(vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::DnsName("b,c.example".try_into().unwrap()),
        SanType::DnsName("d.example".try_into().unwrap()),
        SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
        SanType::IpAddress("192.0.2.1".parse().unwrap()),
    ]);
    assert_eq!(certificate.text(CertificateField::SanDns), "a.example,d.example");
    assert_eq!(certificate.text(CertificateField::SanEmail), "alice@example.com");
    assert_eq!(certificate.text(CertificateField::SanUri), "");
    assert_eq!(certificate.text(CertificateField::Fingerprint).len(), 64);
    assert_eq!(certificate.subject_alt_names(SanKind::Dns).len(), 3);
    assert!(certificate.spki_hash().is_some());
}

#[test]
fn every_text_belongs_to_its_field_at_every_read() {
    let made = crate::http::testing::Made::alice();
    for _ in 0..2 {
        for (field, expected) in [
            (CertificateField::Subject, "CN=J\\C3\\BCrgen \\22J\\22,O=Doe\\, Inc."),
            (CertificateField::Issuer, "CN=J\\C3\\BCrgen \\22J\\22,O=Doe\\, Inc."),
            (CertificateField::Serial, "ABCD"),
            (CertificateField::SanDns, "a.example"),
            (CertificateField::SanEmail, "a@example.com"),
            (CertificateField::SanUri, "spiffe://example/a"),
        ] {
            assert_eq!(made.certificate.text(field), expected);
        }
    }
}

#[test]
fn what_cannot_be_read_has_no_names_but_a_fingerprint() {
    let garbage = garbage();
    for field in [
        CertificateField::SanDns,
        CertificateField::SanEmail,
        CertificateField::SanUri,
        CertificateField::Subject,
        CertificateField::Issuer,
        CertificateField::Serial,
    ] {
        assert_eq!(garbage.text(field), "");
    }
    assert!(garbage.summary().is_none());
    assert!(garbage.spki_hash().is_none());
    assert!(garbage.identity(SanKind::Email).is_none());
    assert_eq!(
        garbage.text(CertificateField::Fingerprint),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn the_first_name_of_the_wanted_kind_says_who_the_user_is() {
    let certificate = certificate(vec![
        SanType::URI("spiffe://example/a".try_into().unwrap()),
        SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
        SanType::Rfc822Name("root@example.com".try_into().unwrap()),
    ]);
    let by_email = certificate.identity(SanKind::Email).unwrap();
    assert_eq!((&*by_email.user_id, &*by_email.email), ("alice@example.com", "alice@example.com"));
    let by_uri = certificate.identity(SanKind::Uri).unwrap();
    assert_eq!((&*by_uri.user_id, &*by_uri.email), ("spiffe://example/a", ""));
}

#[test]
fn an_address_that_does_not_count_identifies_nobody() {
    for name in ["a@evil@example.com", "@example.com", "alice", "a b@example.com", "alice@"] {
        let names = vec![SanType::Rfc822Name(name.try_into().unwrap())];
        assert!(certificate(names).identity(SanKind::Email).is_none(), "{name}");
    }
}

#[test]
fn a_good_certificate_is_asked_for_its_dates_each_time() {
    let made = self_signed(Vec::new());
    let trust = trust(&made.pem(), 1);
    let certificate = PeerCertificate::presented(&[made.der().clone()], None).unwrap();
    assert!(certificate.verify(&trust, after_s(1)).is_ok());
    assert!(certificate.verify(&trust, after_s(YEAR_S)).is_ok());
    let late = certificate.verify(&trust, after_s(YEAR_S + 1));
    assert!(matches!(late, Err(ChainError::Expired { .. })));
    assert!(certificate.verify(&trust, after_s(2)).is_ok(), "the clock was set back");
}

#[test]
fn a_certificate_becomes_valid_at_its_start() {
    let made = self_signed(Vec::new());
    let trust = trust(&made.pem(), 1);
    let certificate = PeerCertificate::presented(&[made.der().clone()], None).unwrap();
    let before = UnixTime::since_unix_epoch(Duration::from_secs(1_735_689_599));
    assert!(matches!(certificate.verify(&trust, before), Err(ChainError::NotYetValid { .. })));
    assert!(matches!(certificate.verify(&trust, before), Err(ChainError::NotYetValid { .. })));
    assert!(certificate.verify(&trust, after_s(0)).is_ok());
}

#[test]
fn each_trust_has_its_own_result_and_few_are_cached() {
    let made = self_signed(Vec::new());
    let (good, bad) = (trust(&made.pem(), 1), trust(&self_signed(Vec::new()).pem(), 1));
    let certificate = PeerCertificate::presented(&[made.der().clone()], None).unwrap();
    for _ in 0..2 {
        assert!(certificate.verify(&good, after_s(1)).is_ok());
        let refused = certificate.verify(&bad, after_s(1));
        assert!(matches!(refused, Err(ChainError::UnknownIssuer)), "{refused:?}");
    }
    for depth in 2..20 {
        assert!(certificate.verify(&trust(&made.pem(), depth), after_s(1)).is_ok());
    }
    assert_eq!(certificate.verifications.len(), 8);
    assert!(certificate.verify(&bad, after_s(1)).is_err());
}

/// A leaf, two certificates of its issuer with the same key of which the first expires on 1 February,
/// and the PEM of the root of both.
fn renewed_issuer() -> ([CertificateDer<'static>; 3], String) {
    let ca = |name: &str, end_month: u8| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, end_month, 1);
        params
    };
    let root = CertifiedIssuer::self_signed(ca("root", 12), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let old = ca("middle", 2).signed_by(&key, &root).unwrap();
    let new = ca("middle", 12).signed_by(&key, &root).unwrap();
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2025, 12, 1);
    let issuer = Issuer::new(ca("middle", 12), key);
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    ([leaf, old, new].map(|made| made.der().clone()), root.pem())
}

#[test]
fn a_path_that_expires_gives_way_to_one_that_still_holds() {
    let (chain, root) = renewed_issuer();
    let trust = trust(&root, 0);
    let certificate = PeerCertificate::presented(&chain, None).unwrap();
    assert!(certificate.verify(&trust, after_s(1)).is_ok());
    // Of a connection that shares the certificate.
    let shared = PeerCertificate::presented(&chain, None).unwrap();
    let (after_old, after_new) = (after_s(40 * DAY_S), after_s(340 * DAY_S));
    assert!(shared.verify(&trust, after_old).is_ok(), "by the renewed issuer");
    assert!(certificate.verify(&trust, after_old).is_ok());
    for _ in 0..2 {
        let expired = shared.verify(&trust, after_new);
        assert!(matches!(expired, Err(ChainError::Expired { .. })), "{expired:?}");
    }
}
