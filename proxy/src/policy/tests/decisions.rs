//! The order in which a decision is made.

use super::*;

const DENY_INVALID: &str = "deny: {or: [{invalid_client_certificate: 1}]}";

fn missing() -> Facts {
    presenting(Certificate::Missing)
}

fn invalid() -> Facts {
    presenting(Certificate::Invalid(Leaf::default()))
}

fn trusted() -> Facts {
    presenting(Certificate::Trusted(Leaf::default()))
}

#[test]
fn a_client_certificate_is_refused_before_sign_in() {
    let text = format!("[{{{DENY_INVALID}}}, {{allow: {{or: [{{email: a@x}}]}}}}]");
    assert_eq!(decide(&text, &missing()).outcome, PolicyOutcome::ClientCertificateRequired);
    assert_eq!(decide(&text, &invalid()).outcome, PolicyOutcome::ClientCertificateInvalid);
    assert_eq!(decide(&text, &trusted()).outcome, PolicyOutcome::NeedsSignIn);
}

#[test]
fn a_deny_rules_certificate_reason_counts_even_if_it_fails() {
    let text = "{allow: {or: [{accept: 1}]}, deny: {not: [{invalid_client_certificate: 1}]}}";
    let decision = decide(text, &invalid());
    assert_eq!(show(decision.deny), "false invalid-client-certificate");
    assert_eq!(decision.outcome, PolicyOutcome::ClientCertificateInvalid);
    assert_eq!(decide(text, &trusted()).outcome, PolicyOutcome::Deny);
}

#[test]
fn an_outweighed_certificate_reason_does_not_count() {
    let text = "{allow: {or: [{accept: 1}]}, \
                deny: {and: [{invalid_client_certificate: 1}, {source_ip: 1.1.1.1}]}}";
    let decision = decide(text, &missing());
    assert_eq!(show(decision.deny), "false source-ip-unauthorized");
    assert_eq!(decision.outcome, PolicyOutcome::Allow);
}

#[test]
fn a_certificate_missing_for_an_allow_rule_is_reported() {
    let text = "allow: {not: [{invalid_client_certificate: 1}]}";
    assert_eq!(decide(text, &missing()).outcome, PolicyOutcome::ClientCertificateRequired);
    assert_eq!(decide(text, &invalid()).outcome, PolicyOutcome::ClientCertificateInvalid);
    assert_eq!(decide(text, &trusted()).outcome, PolicyOutcome::Allow);
}

#[test]
fn a_refusal_does_not_blame_an_unneeded_certificate() {
    let text = format!(
        "[{{{DENY_INVALID}}}, {{allow: {{or: [{{client_certificate: {{san_dns: a}}}}]}}}}]"
    );
    let decision = decide(&text, &trusted());
    assert_eq!(decision.outcome, PolicyOutcome::Deny);
    assert_eq!(show(decision.allow), "false client-certificate-unauthorized");
    assert_eq!(show(decision.deny), "false valid-client-certificate");
}

#[test]
fn a_certificate_alone_can_authorize() {
    let fingerprint = "00".repeat(32);
    let leaf = Leaf { fingerprint: fingerprint.clone(), ..Leaf::default() };
    let text = format!("allow: {{or: [{{client_certificate: {{fingerprint: '{fingerprint}'}}}}]}}");
    assert_eq!(
        decide(&text, &presenting(Certificate::Trusted(leaf))).outcome,
        PolicyOutcome::Allow
    );
}

#[test]
fn a_failing_alternative_about_the_user_asks_for_sign_in() {
    let text = "allow: {or: [{source_ip: 1.1.1.1}, {email: a@x}]}";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::NeedsSignIn);
    assert_eq!(decide(text, &of_user("u", "a@x")).outcome, PolicyOutcome::Allow);
    assert_eq!(decide(text, &of_user("u", "b@x")).outcome, PolicyOutcome::Deny);
}

#[test]
fn an_alternative_that_holds_makes_sign_in_needless() {
    let text = "allow: {or: [{source_ip: 10.0.0.0/8}, {email: a@x}]}";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::Allow);
}

#[test]
fn a_deny_rule_about_the_user_asks_for_sign_in() {
    let text = "{allow: {or: [{accept: 1}]}, deny: {or: [{email: a@x}]}}";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::NeedsSignIn);
    assert_eq!(decide(text, &of_user("u", "a@x")).outcome, PolicyOutcome::Deny);
    assert_eq!(decide(text, &of_user("u", "b@x")).outcome, PolicyOutcome::Allow);
}

#[test]
fn sign_in_is_asked_for_though_a_deny_rule_holds() {
    let text = "{allow: {or: [{email: a@x}]}, deny: {or: [{source_ip: 10.0.0.0/8}]}}";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::NeedsSignIn);
    assert_eq!(decide(text, &of_user("u", "a@x")).outcome, PolicyOutcome::Deny);
}

#[test]
fn an_inverted_criterion_keeps_its_reason() {
    let text = "allow: {not: [{email: a@x}]}";
    let decision = decide(text, &Facts::default());
    assert_eq!(show(decision.allow), "true user-unauthenticated");
    assert_eq!(decision.outcome, PolicyOutcome::NeedsSignIn);
    assert_eq!(decide(text, &of_user("u", "b@x")).outcome, PolicyOutcome::Allow);
}

#[test]
fn only_an_allowed_request_is_allowed() {
    for (text, expected) in
        [("allow: {or: [{accept: 1}]}", true), ("[]", false), ("allow: {or: [{user: a}]}", false)]
    {
        assert_eq!(decide(text, &Facts::default()).is_allowed(), expected, "{text}");
    }
}

#[test]
fn a_policy_knows_what_it_looks_at() {
    let needs = |client_certificate, identity| Needs { client_certificate, identity };
    for (text, expected) in [
        ("allow: {or: [{accept: 1}, {source_ip: 1.1.1.1}, {http_path: /}]}", needs(false, false)),
        (DENY_INVALID, needs(true, false)),
        ("allow: {and: [{client_certificate: {}}]}", needs(true, false)),
        ("allow: {and: [{email: a}]}", needs(false, true)),
        ("allow: {nor: [{domain: a}]}", needs(false, true)),
        ("allow: {not: [{user: a}]}", needs(false, true)),
        ("deny: {and: [{claim/a: a}]}", needs(false, true)),
        ("deny: {or: [{authenticated_user: 1}, {client_certificate: {}}]}", needs(true, true)),
    ] {
        assert_eq!(policy(text).needs(), expected, "{text}");
    }
}

/// Counts how often it is asked for what costs.
#[derive(Default)]
struct Counting {
    fingerprints: std::cell::Cell<u32>,
    spki_hashes: std::cell::Cell<u32>,
}

impl LeafCertificate for Counting {
    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprints.set(self.fingerprints.get() + 1);
        [0; 32]
    }

    fn spki_hash(&self) -> Option<[u8; 32]> {
        self.spki_hashes.set(self.spki_hashes.get() + 1);
        Some([0; 32])
    }

    fn subject_alt_names(&self, _: SanKind) -> &[Box<str>] {
        &[]
    }
}

#[test]
fn a_certificate_is_hashed_only_if_a_criterion_needs_it() {
    let text = "{allow: {or: [{client_certificate: {san_dns: a}}]}, \
                deny: {or: [{invalid_client_certificate: 1}]}}";
    let leaf = Counting::default();
    let evaluate = |text: &str| {
        Facts::default().with_request(|request| {
            let client_certificate = ClientCertificateStatus::Trusted(&leaf);
            policy(text).evaluate(&PolicyInput { client_certificate, ..*request })
        })
    };
    evaluate(text);
    assert_eq!((leaf.fingerprints.get(), leaf.spki_hashes.get()), (0, 0));
    evaluate("allow: {or: [{client_certificate: {spki_hash: []}}]}");
    assert_eq!((leaf.fingerprints.get(), leaf.spki_hashes.get()), (0, 1));
}
