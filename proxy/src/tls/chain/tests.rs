use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::{
    ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SignatureAlgorithm,
};

use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::{signatures::BUDGET, *};
use crate::tls::{
    provider::provider,
    testing::{
        DAY_S, Issued, NOW_S, at, ca, client_leaf, der_of, leaf, pem, root, self_signed,
        self_signed_with,
    },
};

fn verifier(anchors: &Issued, max_depth: u32) -> ChainVerifier {
    ChainVerifier::new(anchors.anchors(), Purpose::ClientAuth, max_depth)
}

/// The result of a verification, and what its signatures cost.
fn verify(
    verifier: &ChainVerifier,
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
) -> (Result<CertificationPath, ChainError>, u32) {
    let verification = Verification::new(verifier, at(NOW_S));
    let result = verification.run(leaf, sent).map_err(|refusal| refusal.error);
    (result, verification.budget.spent())
}

/// CAs of this name, each of which has issued all others as far as names tell.
fn self_issued(
    name: &str,
    count: usize,
    algorithm: &'static SignatureAlgorithm,
) -> Vec<CertificateDer<'static>> {
    let key = || KeyPair::generate_for(algorithm).unwrap();
    (0..count).map(|_| self_signed_with(ca(name), key()).der).collect()
}

#[test]
fn cas_that_no_anchor_issued_cost_no_signature() {
    let (root, stranger) = (root(), self_signed(ca("X")));
    let leaf = stranger.issue(client_leaf());
    for max_depth in [0, 1, 7] {
        let (result, spent) =
            verify(&verifier(&root, max_depth), &leaf.der, &self_issued("X", 9, &PKCS_ED25519));
        assert!(matches!(result, Err(ChainError::UnknownIssuer)), "{result:?}");
        assert_eq!(spent, 0);
    }
}

#[test]
fn the_signatures_of_a_chain_are_bounded() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let root = self_signed_with(ca("big ca"), key);
    let forger = self_signed(ca("big ca"));
    let forged: Vec<_> = (0..100).map(|_| forger.issue(ca("X")).der).collect();
    let leaf = self_signed(ca("X")).issue(client_leaf());
    let (result, spent) = verify(&verifier(&root, 0), &leaf.der, &forged);
    assert!(matches!(result, Err(ChainError::TooManySignatures)), "{result:?}");
    assert_eq!(spent, BUDGET);
    let (result, spent) = verify(&verifier(&root, 1), &leaf.der, &forged);
    assert!(result.is_err());
    assert_eq!(spent, 0, "no intermediate may stand in such a chain");
    // Each of these could stand in each place of a path to the anchor.
    let leaf = forger.issue(client_leaf());
    let sent = self_issued("big ca", 6, &PKCS_ECDSA_P384_SHA384);
    let (result, spent) = verify(&verifier(&root, 0), &leaf.der, &sent);
    assert!(matches!(result, Err(ChainError::ForeignSignature)), "{result:?}");
    assert_eq!(spent, 7 * 6, "each certificate under the anchor's key, once");
}

#[test]
fn a_good_chain_costs_one_signature_for_each_certificate() {
    let root = root();
    let mut issuer = root.issue(ca("1"));
    let mut sent = vec![issuer.der.clone()];
    for name in ["2", "3", "4", "5", "6"] {
        issuer = issuer.issue(ca(name));
        sent.insert(0, issuer.der.clone());
    }
    sent.extend(self_issued("aside", 20, &PKCS_ED25519));
    let leaf = issuer.issue(client_leaf());
    let (result, spent) = verify(&verifier(&root, 0), &leaf.der, &sent);
    result.unwrap();
    assert_eq!(spent, 7);
    let (result, _) = verify(&verifier(&root, 6), &leaf.der, &sent);
    assert!(matches!(result, Err(ChainError::TooDeep { depth: 7, max_depth: 6 })), "{result:?}");
    let eighth = issuer.issue(ca("7"));
    let leaf = eighth.issue(client_leaf());
    sent.insert(0, eighth.der);
    for max_depth in [0, 7, 8, 100] {
        let (result, _) = verify(&verifier(&root, max_depth), &leaf.der, &sent);
        assert!(
            matches!(result, Err(ChainError::TooDeep { depth: 8, max_depth: 7 })),
            "{result:?}"
        );
    }
}

#[test]
fn a_leaf_is_found_among_twenty_cas_of_its_issuers_name() {
    let roots: Vec<_> = (0..20).map(|_| self_signed(ca("kubernetes"))).collect();
    let bundle: String = roots.iter().map(|root| pem(&root.der)).collect();
    let anchors = Arc::new(TrustAnchors::from_pem(bundle.as_bytes(), "a test").unwrap());
    let verifier = ChainVerifier::new(anchors, Purpose::ClientAuth, 1);
    let leaf = roots[19].issue(client_leaf());
    assert!(verify(&verifier, &leaf.der, &[]).0.is_ok());
}

#[test]
fn a_client_needs_digital_signature_if_it_has_a_key_usage() {
    use KeyUsagePurpose as U;
    let root = root();
    for (usages, is_good) in [
        (vec![], true),
        (vec![U::DigitalSignature], true),
        (vec![U::DigitalSignature, U::KeyEncipherment], true),
        (vec![U::KeyEncipherment], false),
        (vec![U::ContentCommitment], false),
        (vec![U::KeyCertSign], false),
    ] {
        for (purpose, of) in [
            (Purpose::ClientAuth, ExtendedKeyUsagePurpose::ClientAuth),
            (Purpose::ServerAuth, ExtendedKeyUsagePurpose::ServerAuth),
        ] {
            let mut params = leaf(&["a.example"]);
            params.key_usages = usages.clone();
            params.extended_key_usages = vec![of];
            let leaf = root.issue(params);
            let verifier = ChainVerifier::new(root.anchors(), purpose, 1);
            let (result, _) = verify(&verifier, &leaf.der, &[]);
            assert_eq!(result.is_ok(), is_good, "{usages:?}: {result:?}");
            assert!(is_good || matches!(result, Err(ChainError::MayNotSign)));
        }
    }
}

#[test]
fn a_ca_needs_key_cert_sign_if_it_has_a_key_usage() {
    use KeyUsagePurpose as U;
    let root = root();
    for (usages, is_good) in [
        (vec![], true),
        (vec![U::KeyCertSign], true),
        (vec![U::DigitalSignature], false),
        (vec![U::CrlSign], false),
    ] {
        let mut params = ca("middle");
        params.key_usages = usages.clone();
        let middle = root.issue(params);
        let leaf = middle.issue(client_leaf());
        let (result, _) = verify(&verifier(&root, 2), &leaf.der, &[middle.der]);
        assert_eq!(result.is_ok(), is_good, "{usages:?}: {result:?}");
        assert!(is_good || matches!(result, Err(ChainError::IssuerMayNotSign)));
    }
}

#[test]
fn an_issuer_without_key_cert_sign_does_not_hide_another() {
    let root = root();
    let key = KeyPair::generate().unwrap();
    let mut params = ca("middle");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let bad = root.issue_for(params, KeyPair::try_from(key.serialize_der()).unwrap());
    let good = root.issue_for(ca("middle"), key);
    let leaf = good.issue(client_leaf());
    assert!(verify(&verifier(&root, 2), &leaf.der, &[bad.der, good.der]).0.is_ok());
}

#[test]
fn what_ring_cannot_verify_is_refused_in_few_words() {
    let ca = include_str!("../testdata/sha512-ca.crt.pem");
    let client = der_of(include_str!("../testdata/sha512-client.crt.pem"));
    let anchors = Arc::new(TrustAnchors::from_pem(ca.as_bytes(), "a test").unwrap());
    let verifier = ChainVerifier::new(anchors, Purpose::ClientAuth, 1);
    let error = verify(&verifier, &client, &[]).0.unwrap_err();
    assert!(matches!(error, ChainError::SignatureAlgorithm(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("ECDSA with SHA-512") && text.len() < 200, "{text}");
}

#[test]
fn a_refusal_holds_until_a_certificate_becomes_valid() {
    let root = root();
    let key = KeyPair::generate().unwrap();
    let of = |from, to| {
        let mut params = ca("middle");
        (params.not_before, params.not_after) = (from, to);
        root.issue_for(params, KeyPair::try_from(key.serialize_der()).unwrap())
    };
    let day = |day| rcgen::date_time_ymd(2030, 1, day);
    let old = of(rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2029, 12, 31));
    let next = of(day(11), day(21));
    let leaf = old.issue(client_leaf());
    let verifier = verifier(&root, 2);
    let sent = [old.der, next.der];
    let verify = |now_s| verifier.verify(&leaf.der, &sent, at(now_s));
    let refusal = verify(NOW_S).unwrap_err();
    assert!(refusal.holds_at(at(NOW_S)) && refusal.holds_at(at(NOW_S + 10 * DAY_S - 1)));
    assert!(!refusal.holds_at(at(NOW_S + 10 * DAY_S)), "the next one is valid");
    assert!(!refusal.holds_at(at(NOW_S - 1)), "the clock was set back");
    assert!(verify(NOW_S + 10 * DAY_S).is_ok());
    let refusal = verify(NOW_S + 30 * DAY_S).unwrap_err();
    assert!(refusal.holds_at(at(NOW_S + 10_000 * DAY_S)), "nothing is to come");
}

/// Three names and keys, and a certificate for each pair of them: many loops and dead ends.
static POOL: LazyLock<(Issued, Vec<Issued>, Vec<Issued>)> = LazyLock::new(|| {
    let root = root();
    let tops: Vec<_> = ["A", "B", "C"].map(|name| root.issue(ca(name))).into();
    let mut pool = Vec::new();
    for issuer in &tops {
        for subject in &tops {
            let key = KeyPair::try_from(subject.key.serialize_der()).unwrap();
            pool.push(issuer.issue_for(subject.params.clone(), key));
        }
        // The name of another, with a key that nobody else has certified.
        pool.push(issuer.issue(ca("A")));
        pool.push(self_signed(ca("A")));
    }
    let leaves = tops.iter().chain(&pool).map(|issuer| issuer.issue(client_leaf())).collect();
    pool.extend(tops);
    (root, pool, leaves)
});

/// What webpki alone says, given all that was sent.
fn webpki_alone(leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>], max_depth: u32) -> bool {
    let anchors = POOL.0.anchors();
    let verify_path = |path: &VerifiedPath<'_>| {
        let depth = path.intermediate_certificates().count() + 1;
        if depth <= max_depth as usize { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
    };
    let leaf = EndEntityCert::try_from(leaf).unwrap();
    let verified = leaf.verify_for_usage(
        provider().signature_verification_algorithms.all,
        anchors.issuers(),
        sent,
        at(NOW_S),
        KeyUsage::client_auth(),
        None,
        Some(&verify_path),
    );
    verified.is_ok()
}

proptest! {
    #[test]
    fn a_chain_is_good_if_webpki_finds_it_good(
        leaf: prop::sample::Index,
        sent in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        max_depth in 1_u32..=7,
    ) {
        let (root, pool, leaves) = &*POOL;
        let leaf = &leaf.get(leaves).der;
        let sent: Vec<_> = sent.iter().map(|index| index.get(pool).der.clone()).collect();
        let (result, spent) = verify(&verifier(root, max_depth), leaf, &sent);
        prop_assert_eq!(result.is_ok(), webpki_alone(leaf, &sent, max_depth), "{:?}", result);
        prop_assert!(spent <= BUDGET);
    }
}
