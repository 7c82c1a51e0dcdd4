use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::SignatureScheme::{
    ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, ED25519, RSA_PSS_SHA256,
};

use super::*;
use crate::tls::testing::{leaf, self_signed, self_signed_with};

const ALL: [SignatureScheme; 3] = [RSA_PSS_SHA256, ED25519, ECDSA_NISTP256_SHA256];

fn ecdsa(names: &[&str]) -> Arc<CertificateWithKey> {
    self_signed(leaf(names)).identity()
}

fn rsa(names: &[&str]) -> Arc<CertificateWithKey> {
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(
        include_str!("../testdata/rsa2048.pkcs8.pem"),
        &PKCS_RSA_SHA256,
    );
    self_signed_with(leaf(names), key.unwrap()).identity()
}

fn ed25519(names: &[&str]) -> Arc<CertificateWithKey> {
    self_signed_with(leaf(names), KeyPair::generate_for(&PKCS_ED25519).unwrap()).identity()
}

/// The index of the chosen certificate.
fn chosen(
    identities: &[Arc<CertificateWithKey>],
    name: Option<&str>,
    schemes: &[SignatureScheme],
) -> Option<usize> {
    let selector = CertificateSelector::new(identities).unwrap();
    let chosen = selector.select(name, &ClientAbilities { schemes, curves: None })?;
    identities.iter().position(|identity| Arc::ptr_eq(&identity.certified, chosen))
}

#[test]
fn an_exact_name_wins_over_a_wildcard_and_the_default() {
    let identities = [ecdsa(&["first.example"]), ecdsa(&["*.b.example"]), ecdsa(&["a.b.example"])];
    let chosen = |name| chosen(&identities, name, &ALL);
    assert_eq!(chosen(Some("a.b.example")), Some(2));
    assert_eq!(chosen(Some("c.b.example")), Some(1));
    assert_eq!(chosen(Some("unknown.example")), Some(0));
    assert_eq!(chosen(None), Some(0));
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let identities = [ecdsa(&["first.example"]), ecdsa(&["*.b.example"])];
    let chosen = |name| chosen(&identities, Some(name), &ALL);
    assert_eq!(chosen("c.d.b.example"), Some(0));
    assert_eq!(chosen("b.example"), Some(0));
    assert_eq!(chosen("c.b.example"), Some(1));
}

#[test]
fn of_several_kinds_the_client_gets_one_that_it_can_verify() {
    let names = ["a.example"];
    let identities = [rsa(&names), ed25519(&names), ecdsa(&names)];
    let chosen = |name, schemes| chosen(&identities, name, schemes);
    for name in [Some("a.example"), None, Some("unknown.example")] {
        assert_eq!(chosen(name, &[RSA_PSS_SHA256]), Some(0));
        assert_eq!(chosen(name, &[ED25519]), Some(1));
        assert_eq!(chosen(name, &[ECDSA_NISTP256_SHA256]), Some(2));
        assert_ne!(chosen(name, &ALL), Some(0), "RSA costs the most");
    }
}

#[test]
fn of_equals_the_first_configured_wins() {
    let identities = [ecdsa(&["a.example"]), ecdsa(&["a.example"])];
    assert_eq!(chosen(&identities, Some("a.example"), &ALL), Some(0));
}

#[test]
fn a_wildcard_serves_clients_that_cannot_verify_the_exact_one() {
    let identities = [rsa(&["a.example"]), ecdsa(&["*.example"])];
    assert_eq!(chosen(&identities, Some("a.example"), &ALL), Some(0));
    assert_eq!(chosen(&identities, Some("a.example"), &[ECDSA_NISTP256_SHA256]), Some(1));
}

#[test]
fn a_client_that_supports_no_key_gets_its_names_certificate() {
    let identities = [ecdsa(&["first.example"]), ecdsa(&["a.example"])];
    assert_eq!(chosen(&identities, Some("a.example"), &[RSA_PSS_SHA256]), Some(1));
}

#[test]
fn a_certificate_for_other_names_is_not_beside_the_first() {
    let identities = [ecdsa(&["first.example"]), rsa(&["a.example"])];
    assert_eq!(chosen(&identities, None, &[RSA_PSS_SHA256]), Some(0));
}

#[test]
fn in_tls12_an_ecdsa_certificate_needs_its_curve() {
    let names = ["a.example"];
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = self_signed_with(leaf(&names), p384).identity();
    let identities = [ecdsa(&names), p384, ed25519(&names), rsa(&names)];
    let chosen = |curves: &[NamedGroup], schemes: &[SignatureScheme]| {
        let selector = CertificateSelector::new(&identities).unwrap();
        let client = ClientAbilities { schemes, curves: Some(curves) };
        let chosen = selector.select(Some("a.example"), &client).unwrap();
        let index = identities.iter().position(|i| Arc::ptr_eq(&i.certified, chosen));
        (index.unwrap(), client.has_curve_of(chosen))
    };
    let all = [RSA_PSS_SHA256, ECDSA_NISTP384_SHA384, ECDSA_NISTP256_SHA256];
    let (p256, p384, x25519) = (NamedGroup::secp256r1, NamedGroup::secp384r1, NamedGroup::X25519);
    assert_eq!(chosen(&[x25519, p256], &all), (0, true));
    assert_eq!(chosen(&[x25519, p384], &all), (1, true));
    assert_eq!(chosen(&[x25519], &all), (3, true), "RSA has no curve");
    assert_eq!(chosen(&[x25519], &[ED25519]), (2, true), "nor has Ed25519 one of this list");
    assert_eq!(chosen(&[x25519], &[ECDSA_NISTP256_SHA256]), (0, false));
}

#[test]
fn without_certificates_there_is_no_selector() {
    assert!(CertificateSelector::new(&[]).is_none());
}

#[test]
fn a_renewed_certificate_needs_no_new_tls_configuration() {
    let store = CertificateStore::new();
    let client = ClientAbilities { schemes: &ALL, curves: None };
    assert!(store.0.load().select(Some("a.example"), &client).is_none());
    let (first, renewed) = (ecdsa(&["a.example"]), ecdsa(&["a.example"]));
    for current in [&first, &renewed] {
        let selector = CertificateSelector::new(std::slice::from_ref(current)).unwrap();
        store.replace(Arc::new(selector));
        let chosen = store.0.load().select(Some("a.example"), &client).cloned().unwrap();
        assert!(Arc::ptr_eq(&chosen, &current.certified));
    }
}
