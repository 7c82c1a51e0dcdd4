//! The keys from before the policy language.

use super::*;

fn outcome(spec: &PolicySpec, facts: &Facts) -> PolicyOutcome {
    facts.with_request(|request| Policy::new(spec).evaluate(request)).outcome
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn rules(text: &str) -> Vec<Rule> {
    parse(&yaml(text), "policy").unwrap()
}

#[test]
fn a_route_that_says_nothing_allows_nobody() {
    assert_eq!(outcome(&PolicySpec::default(), &of_user("u", "a@x")), PolicyOutcome::Deny);
}

#[test]
fn a_public_route_allows_everybody_and_looks_at_nothing() {
    let spec = PolicySpec { allow_public_unauthenticated_access: true, ..Default::default() };
    assert_eq!(outcome(&spec, &Facts::default()), PolicyOutcome::Allow);
    assert_eq!(Policy::new(&spec).needs(), Needs::default());
}

#[test]
fn cors_allow_preflight_allows_preflights_alone() {
    let spec = PolicySpec { cors_allow_preflight: true, ..Default::default() };
    let preflight = Facts { cors_preflight: true, ..Facts::default() };
    assert_eq!(outcome(&spec, &preflight), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &Facts::default()), PolicyOutcome::Deny);
}

#[test]
fn a_preflight_needs_no_certificate_where_preflights_are_allowed() {
    let with = |cors_allow_preflight| PolicySpec {
        cors_allow_preflight,
        allow_public_unauthenticated_access: true,
        deny_invalid_client_certificate: true,
        ..Default::default()
    };
    let without = Facts { certificate: Certificate::Missing, ..Facts::default() };
    let preflight = Facts { cors_preflight: true, ..without.clone() };
    let required = PolicyOutcome::ClientCertificateRequired;
    assert_eq!(outcome(&with(true), &preflight), PolicyOutcome::Allow);
    assert_eq!(outcome(&with(true), &without), required);
    assert_eq!(outcome(&with(false), &preflight), required);
}

#[test]
fn any_authenticated_user_has_to_be_signed_in() {
    let spec = PolicySpec { allow_any_authenticated_user: true, ..Default::default() };
    assert_eq!(outcome(&spec, &of_user("u", "")), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &Facts::default()), PolicyOutcome::NeedsSignIn);
}

#[test]
fn allowed_users_are_named_by_their_id_or_their_address() {
    let spec = PolicySpec { allowed_users: texts(&["u1", "ann@x"]), ..Default::default() };
    assert_eq!(outcome(&spec, &of_user("u1", "bob@x")), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &of_user("u2", "ann@x")), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &of_user("u2", "bob@x")), PolicyOutcome::Deny);
}

#[test]
fn a_refused_users_record_has_pomeriums_reasons() {
    let spec = PolicySpec {
        allowed_users: texts(&["u1@example.com"]),
        deny_invalid_client_certificate: true,
        ..Default::default()
    };
    let decide = |facts: &Facts| {
        let decision = facts.with_request(|request| Policy::new(&spec).evaluate(request));
        (show(decision.allow), show(decision.deny))
    };
    let pair = |allow: &str, deny: &str| (allow.to_owned(), deny.to_owned());
    let valid = |user, email| Facts {
        certificate: Certificate::Trusted(Leaf::default()),
        ..of_user(user, email)
    };
    assert_eq!(
        decide(&valid("u1", "u1@example.com")),
        pair("true email-ok", "false valid-client-certificate")
    );
    assert_eq!(
        decide(&valid("u2", "u2@example.com")),
        pair("false email-unauthorized, user-unauthorized", "false valid-client-certificate")
    );
    let without = Facts { certificate: Certificate::Missing, ..of_user("u1", "u1@example.com") };
    assert_eq!(decide(&without), pair("true email-ok", "true client-certificate-required"));
}

#[test]
fn allowed_domains_are_compared_whole() {
    let spec = PolicySpec { allowed_domains: texts(&["example.com"]), ..Default::default() };
    assert_eq!(outcome(&spec, &of_user("u", "ann@example.com")), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &of_user("u", "ann@evil-example.com")), PolicyOutcome::Deny);
}

#[test]
fn an_empty_text_in_a_list_allows_nobody() {
    let spec = PolicySpec {
        allowed_users: texts(&[""]),
        allowed_domains: texts(&[""]),
        ..Default::default()
    };
    assert_eq!(outcome(&spec, &of_user("", "")), PolicyOutcome::Deny);
    assert_eq!(outcome(&spec, &of_user("u", "ann@")), PolicyOutcome::Deny);
}

#[test]
fn allowed_idp_claims_are_alternatives_with_flattened_names() {
    let claims = yaml("{groups: [admin, dev], address: {country: DE}, verified: true}");
    let spec = PolicySpec {
        allowed_idp_claims: parse_allowed_idp_claims(&claims, "allowed_idp_claims").unwrap(),
        ..Default::default()
    };
    for (claims, expected) in [
        (serde_json::json!({"groups": ["dev"]}), PolicyOutcome::Allow),
        (serde_json::json!({"groups": ["ops"]}), PolicyOutcome::Deny),
        (serde_json::json!({"address.country": ["DE"]}), PolicyOutcome::Allow),
        (serde_json::json!({"address": {"country": "DE"}}), PolicyOutcome::Allow),
        (serde_json::json!({"country": "DE"}), PolicyOutcome::Deny),
        (serde_json::json!({"verified": true}), PolicyOutcome::Allow),
        (serde_json::json!({"verified": "true"}), PolicyOutcome::Deny),
    ] {
        assert_eq!(outcome(&spec, &with_claims(claims.clone())), expected, "{claims}");
    }
}

#[test]
fn mistakes_in_allowed_idp_claims_are_found() {
    let claims = yaml("{groups: [[admin]], address: {country: null}, 1: x}");
    let errors = parse_allowed_idp_claims(&claims, "routes[0].allowed_idp_claims").unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.key_path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "routes[0].allowed_idp_claims",
            "routes[0].allowed_idp_claims.groups[0]",
            "routes[0].allowed_idp_claims.address.country",
        ]
    );
    assert!(parse_allowed_idp_claims(&yaml("[a]"), "x").is_err());
}

#[test]
fn older_keys_and_rules_are_alternatives() {
    let spec = PolicySpec {
        allowed_domains: texts(&["example.com"]),
        rules: rules("allow: {or: [{source_ip: 10.0.0.1}]}"),
        ..Default::default()
    };
    assert_eq!(outcome(&spec, &Facts::default()), PolicyOutcome::Allow);
    let elsewhere = |facts: Facts| Facts { source_ip: "11.0.0.1".to_owned(), ..facts };
    assert_eq!(outcome(&spec, &elsewhere(of_user("u", "a@example.com"))), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &elsewhere(of_user("u", "a@x"))), PolicyOutcome::Deny);
}

#[test]
fn the_default_rule_refuses_a_public_route_too() {
    let spec = PolicySpec {
        allow_public_unauthenticated_access: true,
        deny_invalid_client_certificate: true,
        ..Default::default()
    };
    assert!(Policy::new(&spec).needs().client_certificate);
    let missing = presenting(Certificate::Missing);
    assert_eq!(outcome(&spec, &missing), PolicyOutcome::ClientCertificateRequired);
    let trusted = presenting(Certificate::Trusted(Leaf::default()));
    assert_eq!(outcome(&spec, &trusted), PolicyOutcome::Allow);
    assert_eq!(outcome(&spec, &Facts::default()), PolicyOutcome::Allow);
}
