use super::*;
use crate::tls::testing::at;

/// Within the CRLs' time, 2029 to 2031.
const NOW_S: i64 = crate::tls::testing::NOW_S;
const LATE_S: i64 = NOW_S + 366 * crate::tls::testing::DAY_S;
const EARLY_S: i64 = NOW_S - 366 * crate::tls::testing::DAY_S;

const ANSWERING: CrlRules = CrlRules { missing: CrlRule::Reject, stale: CrlRule::Reject };
const LENIENT: CrlRules = CrlRules { missing: CrlRule::Allow, stale: CrlRule::Allow };

/// Looks a leaf up under an issuer, at a time, where anchors were known at load.
struct LookUp {
    crls: &'static str,
    rules: CrlRules,
    known: &'static str,
    leaf: &'static str,
    issuer: Option<&'static str>,
    now_s: i64,
}

const GOOD: LookUp = LookUp {
    crls: V2,
    rules: ANSWERING,
    known: CA,
    leaf: testdata!("good.crt"),
    issuer: Some(CA),
    now_s: NOW_S,
};
const REVOKED: LookUp = LookUp { leaf: testdata!("revoked.crt"), ..GOOD };

impl LookUp {
    fn result(&self) -> Result<Validity, RevocationError> {
        let revocation = Revocation::new(store(self.crls), self.rules, &anchors(self.known));
        self.result_of(&revocation)
    }

    fn result_of(&self, revocation: &Revocation) -> Result<Validity, RevocationError> {
        let leaf = der_of(self.leaf);
        let issuer = self.issuer.map(der_of);
        let issuer = issuer.as_ref().map(|issuer| certificate::parse(issuer).unwrap());
        let leaf = certificate::parse(&leaf).unwrap();
        revocation.check(&revocation.current(), &leaf, issuer.as_ref(), at(self.now_s))
    }
}

#[test]
fn a_listed_certificate_is_revoked_and_another_is_not() {
    for crls in [V1, V2] {
        assert_eq!(LookUp { crls, ..REVOKED }.result(), Err(RevocationError::Revoked));
        let validity = LookUp { crls, ..GOOD }.result().unwrap();
        assert_eq!((validity.not_before_s, validity.not_after_s), (1_861_920_000, 1_924_992_000));
    }
    assert!(LookUp { crls: EMPTY, ..REVOKED }.result().is_ok());
}

#[test]
fn a_stale_crl_rejects_unless_allowed_and_still_revokes() {
    let stale = RevocationError::Stale { next_update_s: 1_924_992_000, now_s: LATE_S };
    assert_eq!(LookUp { now_s: LATE_S, ..GOOD }.result(), Err(stale));
    let early = RevocationError::NotYetValid { this_update_s: 1_861_920_000, now_s: EARLY_S };
    assert_eq!(LookUp { now_s: EARLY_S, ..GOOD }.result(), Err(early));
    for now_s in [EARLY_S, NOW_S, LATE_S] {
        let allowed = LookUp { now_s, rules: LENIENT, ..GOOD }.result();
        assert_eq!(allowed, Ok(Validity::ALWAYS));
        let revoked = LookUp { now_s, rules: LENIENT, ..REVOKED }.result();
        assert_eq!(revoked, Err(RevocationError::Revoked));
    }
}

#[test]
fn without_a_crl_of_the_issuer_the_rule_decides() {
    let other = LookUp { leaf: OTHER, ..GOOD };
    assert_eq!(other.result(), Err(RevocationError::Missing));
    assert_eq!(LookUp { rules: LENIENT, ..other }.result(), Ok(Validity::ALWAYS));
}

#[test]
fn a_crl_of_another_key_rejects_whatever_the_rules() {
    for crls in [testdata!("namesake.crl"), testdata!("rsa.crl")] {
        for rules in [ANSWERING, LENIENT] {
            // Whether its signer is among the anchors or not.
            for known in [CA, NAMESAKE, testdata!("rsa.crt")] {
                let result = LookUp { crls, rules, known, ..GOOD }.result();
                assert_eq!(result, Err(RevocationError::ForeignSignature));
            }
        }
    }
}

#[test]
fn an_altered_crl_rejects() {
    let mut der = der_of(V2).to_vec();
    let position = der.windows(4).position(|window| window == [0x17, 0x0d, b'2', b'9']).unwrap();
    der[position + 3] = b'8'; // thisUpdate in 2028
    let altered: &'static str = Box::leak(crl_pem(&der).into_boxed_str());
    assert_eq!(LookUp { crls: altered, ..GOOD }.result(), Err(RevocationError::ForeignSignature));
}

#[test]
fn rsa_signatures_are_verified_too() {
    let rsa = testdata!("rsa.crt");
    let lookup = LookUp { crls: testdata!("rsa.crl"), known: rsa, issuer: Some(rsa), ..GOOD };
    assert!(lookup.result().is_ok());
}

#[test]
fn an_issuer_whose_key_usage_leaves_out_crls_may_not_sign_one() {
    let ca = testdata!("no-crl-sign.crt");
    let lookup = LookUp { crls: testdata!("no-crl-sign.crl"), known: ca, issuer: Some(ca), ..GOOD };
    assert_eq!(lookup.result(), Err(RevocationError::MayNotSign));
}

#[test]
fn the_signature_is_verified_once_at_load_or_at_the_first_chain() {
    for (known, at_load) in [(CA, true), (NAMESAKE, false)] {
        let revocation = Revocation::new(store(V2), ANSWERING, &anchors(known));
        let crls = revocation.current();
        let (_, crl) = crls.by_issuer().next().unwrap();
        assert_eq!(crl.signer.is_known(), at_load);
        assert_eq!(REVOKED.result_of(&revocation), Err(RevocationError::Revoked));
        assert!(crl.signer.is_known());
        assert!(crl.signer.search.load().is_none(), "nothing is left to verify again");
    }
}

#[test]
fn keys_that_did_not_sign_are_cached_within_a_bound() {
    let crls = bundle(V2);
    let (_, crl) = crls.by_issuer().next().unwrap();
    for key in 0..100_u8 {
        assert!(!crl.signer.is(&[key]));
        assert!(!crl.signer.is(&[0]));
    }
    let search = crl.signer.search.load();
    assert_eq!(search.as_ref().as_ref().unwrap().foreign.len(), MAX_FOREIGN_KEYS);
}

#[test]
fn an_anchor_leaf_needs_no_crl_but_its_issuer_may_revoke_it() {
    let itself = LookUp { issuer: None, ..GOOD };
    assert_eq!(itself.result(), Ok(Validity::ALWAYS));
    let revoked = LookUp { issuer: None, ..REVOKED };
    assert_eq!(revoked.result(), Err(RevocationError::Revoked));
    // A CRL that nobody we know has signed says nothing about it.
    assert_eq!(LookUp { known: NAMESAKE, ..revoked }.result(), Ok(Validity::ALWAYS));
}

#[test]
fn each_rule_changes_the_digest() {
    let digest = |rules| {
        let mut digest = Digest::default();
        Revocation::new(store(V2), rules, &anchors(CA)).digest(&mut digest);
        digest.finish()
    };
    let rules = CrlRules::default();
    assert_eq!(digest(rules), digest(rules));
    assert_ne!(digest(rules), digest(ANSWERING));
    assert_ne!(digest(rules), digest(LENIENT));
    assert_ne!(bundle(V2).digest, bundle(V1).digest);
}

#[test]
fn a_crl_that_no_ca_has_signed_is_remarked_on_at_load() {
    assert_eq!(bundle(V2).verify(&anchors(CA)), [""; 0]);
    let [foreign] = &bundle(V2).verify(&anchors(NAMESAKE))[..] else { panic!("one remark") };
    assert!(foreign.contains("are refused"), "{foreign}");
    let elsewhere = anchors(OTHER);
    let [unknown] = &bundle(V2).verify(&elsewhere)[..] else { panic!("one remark") };
    assert!(unknown.contains("no CA is named"), "{unknown}");
}

fn crl_pem(der: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
}
