//! Each criterion by itself.

use serde_json::json;

use super::*;

const FINGERPRINT: &str = "17859273e8a980631d367b2d5a6a6635412b0f22835f69e47b3f65624546a704";
const OTHER_FINGERPRINT: &str = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
const SPKI_HASH: &str = "FsDbM0rUYIiL3V339eIKqiz6HPSB+Pz2WeAWhqlqh8U=";
const OTHER_SPKI_HASH: &str = "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=";

fn leaf() -> Leaf {
    Leaf {
        fingerprint: FINGERPRINT.to_owned(),
        spki_hash: SPKI_HASH.to_owned(),
        emails: vec!["ann@example.com".into(), "bob@example.com".into()],
        dns: vec!["1.example.com".into()],
        uris: vec!["spiffe://example.com/a".into()],
    }
}

fn trusted() -> Facts {
    presenting(Certificate::Trusted(leaf()))
}

/// Whether a `client_certificate` criterion holds, with its reason checked.
fn certificate_matches(matcher: &str, facts: &Facts) -> bool {
    match criterion(&format!("client_certificate: {matcher}"), facts).as_str() {
        "true client-certificate-ok" => true,
        "false client-certificate-unauthorized" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn accept_and_reject_do_not_look_at_their_data() {
    for data in ["1", "true", "false", "", "[]", "{a: b}"] {
        assert_eq!(criterion(&format!("accept: {data}"), &Facts::default()), "true accept");
        assert_eq!(criterion(&format!("reject: {data}"), &Facts::default()), "false reject");
    }
}

#[test]
fn authenticated_user_asks_for_a_user_id() {
    let text = "authenticated_user: true";
    assert_eq!(criterion(text, &Facts::default()), "false user-unauthenticated");
    assert_eq!(criterion(text, &of_user("", "a@x")), "false user-unauthorized");
    assert_eq!(criterion(text, &of_user("u", "")), "true user-ok");
}

#[test]
fn email_user_and_domain_are_told_apart() {
    let facts = of_user("u1", "ann@example.com");
    for (text, expected) in [
        ("email: ann@example.com", "true email-ok"),
        ("email: {is: Ann@example.com}", "false email-unauthorized"),
        ("email: u1", "false email-unauthorized"),
        ("user: u1", "true user-ok"),
        ("user: ann@example.com", "false user-unauthorized"),
        ("domain: example.com", "true domain-ok"),
        ("domain: {ends_with: .com}", "true domain-ok"),
        ("domain: {is: com}", "false domain-unauthorized"),
    ] {
        assert_eq!(criterion(text, &facts), expected, "{text}");
        assert_eq!(criterion(text, &Facts::default()), "false user-unauthenticated", "{text}");
    }
}

#[test]
fn without_sign_in_no_user_condition_holds_even_inverted() {
    for text in [
        "email: {not: a@x}",
        "email: {not_in: [a@x]}",
        "user: {not: a}",
        "domain: {not: x}",
        "claim/groups: {exclude: contractors}",
    ] {
        let decision = decide(&format!("allow: {{or: [{{{text}}}]}}"), &Facts::default());
        assert_eq!(decision.outcome, PolicyOutcome::NeedsSignIn, "{text}");
        assert!(!decision.allow.value, "{text}");
    }
}

#[test]
fn an_address_that_does_not_count_matches_nothing() {
    for email in [
        "",
        "ann",
        "@",
        "@example.com",
        "ann@",
        "a@evil@example.com",
        "\"x@example.com@\"@evil.example",
        "a@example.com\0",
        "a@example.com\n",
        "a b@example.com",
    ] {
        let facts = of_user("u", email);
        for criterion_text in [
            "domain: example.com",
            "domain: evil.example",
            "domain: {not: x}",
            "domain: {ends_with: example.com}",
        ] {
            let wanted = "false domain-unauthorized";
            assert_eq!(criterion(criterion_text, &facts), wanted, "{criterion_text} {email:?}");
        }
        let exact = serde_json::to_string(email).unwrap();
        for matcher in ["{ends_with: example.com}", "{contains: '@'}", exact.as_str()] {
            if email.is_empty() {
                continue;
            }
            let text = format!("email: {matcher}");
            assert_eq!(criterion(&text, &facts), "false email-unauthorized", "{text} {email:?}");
        }
        // As for somebody without an address.
        assert_eq!(criterion("email: {not: a@x}", &facts), "true email-ok", "{email:?}");
    }
}

#[test]
fn a_domain_is_compared_whole_and_as_it_is_written() {
    for (email, expected) in [
        ("ann@example.com", true),
        ("ann@evilexample.com", false),
        ("ann@example.com.evil", false),
        ("ann@sub.example.com", false),
        ("ann@Example.com", false),
        ("ann@example.com.", false),
    ] {
        let wanted = if expected { "true domain-ok" } else { "false domain-unauthorized" };
        assert_eq!(criterion("domain: example.com", &of_user("u", email)), wanted, "{email}");
    }
}

#[test]
fn a_policy_names_the_claims_that_it_reads() {
    let policy = policy(
        "[{allow: {or: [{claim/groups: a}, {claim/address/country: DE}, {email: a@x}]}}, \
         {deny: {nor: [{claim/x.y: 1}]}}]",
    );
    let names: Vec<&str> = policy.claims_used().collect();
    assert_eq!(names, ["groups", "address/country", "address", "x.y", "x"]);
}

#[test]
fn string_matchers_hold_if_all_their_operators_do() {
    let facts = Facts { path: "/api/v1/users".to_owned(), ..Facts::default() };
    for (matcher, expected) in [
        ("/api/v1/users", true),
        ("/api", false),
        ("{is: /api/v1/users}", true),
        ("{is: /API/v1/users}", false),
        ("{not: /api/v1/users}", false),
        ("{not: /}", true),
        ("{contains: v1}", true),
        ("{contains: v2}", false),
        ("{starts_with: /api/}", true),
        ("{starts_with: api}", false),
        ("{ends_with: /users}", true),
        ("{ends_with: /api}", false),
        ("{in: [/z, /api/v1/users, /a]}", true),
        ("{in: [/api]}", false),
        ("{in: []}", false),
        ("{not_in: [/api/v1/users]}", false),
        ("{not_in: [/api]}", true),
        ("{not_in: []}", true),
        ("{starts_with: /api, ends_with: users}", true),
        ("{starts_with: /api, ends_with: pages}", false),
        ("{starts_with: /api, not_in: [/api/v1/users]}", false),
    ] {
        let wanted = if expected { "true http-path-ok" } else { "false http-path-unauthorized" };
        assert_eq!(criterion(&format!("http_path: {matcher}"), &facts), wanted, "{matcher}");
    }
}

#[test]
fn http_method_is_compared_as_it_is_written() {
    assert_eq!(criterion("http_method: GET", &Facts::default()), "true http-method-ok");
    assert_eq!(criterion("http_method: get", &Facts::default()), "false http-method-unauthorized");
    assert_eq!(
        criterion("http_method: {in: [GET, HEAD]}", &Facts::default()),
        "true http-method-ok"
    );
}

#[test]
fn cors_preflight_is_what_the_request_is() {
    let preflight = Facts { cors_preflight: true, ..Facts::default() };
    assert_eq!(criterion("cors_preflight: 1", &preflight), "true cors-request");
    assert_eq!(criterion("cors_preflight: 1", &Facts::default()), "false non-cors-request");
}

#[test]
fn source_ip_is_in_any_of_the_ranges() {
    for (ranges, address, expected) in [
        ("1.2.3.4", "1.2.3.4", true),
        ("1.2.3.4", "1.2.3.5", false),
        ("192.168.1.1/24", "192.168.1.200", true),
        ("192.168.1.1/24", "192.168.2.1", false),
        ("'2001:db8::/32'", "2001:db8:1::5", true),
        ("[10.0.0.1, 10.0.0.2, 10.0.0.3]", "10.0.0.2", true),
        ("[10.0.0.1, 10.0.0.2, 10.0.0.3]", "10.0.0.4", false),
        ("'::ffff:10.0.0.0/104'", "10.1.2.3", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("[]", "10.0.0.4", false),
    ] {
        let facts = Facts { source_ip: address.to_owned(), ..Facts::default() };
        let wanted = if expected { "true source-ip-ok" } else { "false source-ip-unauthorized" };
        assert_eq!(
            criterion(&format!("source_ip: {ranges}"), &facts),
            wanted,
            "{ranges} {address}"
        );
    }
}

#[test]
fn claims_are_matched_by_their_values() {
    let facts = with_claims(json!({
        "groups": ["admin", "dev"], "one": ["x"], "family_name": "Smith", "none": [],
        "verified": true, "age": 7, "null": null,
    }));
    for (text, expected) in [
        ("claim/groups: admin", true),
        ("claim/groups: {has: dev}", true),
        ("claim/groups: ops", false),
        ("claim/groups: {is: admin}", false),
        ("claim/one: {is: x}", true),
        ("claim/one: {is: y}", false),
        ("claim/groups: {exclude: ops}", true),
        ("claim/groups: {exclude: dev}", false),
        ("claim/groups: {has: admin, exclude: ops}", true),
        ("claim/groups: {has: admin, exclude: dev}", false),
        ("claim/family_name: Smith", true),
        ("claim/none: {exclude: x}", true),
        ("claim/missing: x", false),
        ("claim/missing: {exclude: x}", true),
        ("claim/verified: true", true),
        ("claim/verified: 'true'", false),
        ("claim/age: 7", true),
        ("claim/age: 7.0", true),
        ("claim/age: 8", false),
        ("claim/age: '7'", false),
        ("claim/null: ''", false),
    ] {
        let wanted = if expected { "true claim-ok" } else { "false claim-unauthorized" };
        assert_eq!(criterion(text, &facts), wanted, "{text}");
    }
}

#[test]
fn a_claims_path_has_at_most_five_levels_below_its_name() {
    let facts = with_claims(json!({
        "example.com/key": ["value"],
        "address": {"country": "DE", "a": {"b": {"c": {"d": "deep"}}}},
        "a": {"b": {"c": {"d": {"e": {"f": "too deep"}}}}},
        "both.ways": "literal", "both": {"ways": "below"},
    }));
    for (text, expected) in [
        ("claim/example.com/key: value", true),
        ("claim/address/country: DE", true),
        ("claim/address.country: DE", true),
        ("claim/address/a/b.c/d: deep", true),
        ("claim/a/b/c/d/e/f: too deep", false),
        ("claim/both.ways: literal", true),
        ("claim/both.ways: below", false),
        ("claim/both/ways: below", true),
        ("claim/address: DE", false),
        ("claim/address/country/x: DE", false),
    ] {
        let wanted = if expected { "true claim-ok" } else { "false claim-unauthorized" };
        assert_eq!(criterion(text, &facts), wanted, "{text}");
    }
}

#[test]
fn fingerprints_and_key_hashes_match_in_every_form() {
    let colons: Vec<&str> = (0..32).map(|index| &FINGERPRINT[2 * index..][..2]).collect();
    let colons = colons.join(":").to_uppercase();
    for (matcher, expected) in [
        (format!("{{fingerprint: {FINGERPRINT}}}"), true),
        (format!("{{fingerprint: '{colons}'}}"), true),
        (format!("{{fingerprint: {OTHER_FINGERPRINT}}}"), false),
        (format!("{{fingerprint: [{OTHER_FINGERPRINT}, {FINGERPRINT}]}}"), true),
        ("{fingerprint: []}".to_owned(), false),
        (format!("{{spki_hash: {SPKI_HASH}}}"), true),
        (format!("{{spki_hash: {OTHER_SPKI_HASH}}}"), false),
        (format!("{{spki_hash: [{SPKI_HASH}, {OTHER_SPKI_HASH}]}}"), true),
        (format!("{{fingerprint: {FINGERPRINT}, spki_hash: {OTHER_SPKI_HASH}}}"), false),
    ] {
        assert_eq!(certificate_matches(&matcher, &trusted()), expected, "{matcher}");
    }
}

#[test]
fn a_pinned_certificate_matches_without_a_trusted_chain() {
    for facts in [
        presenting(Certificate::Invalid(leaf())),
        presenting(Certificate::Unverified(Some(leaf()))),
    ] {
        assert!(certificate_matches(&format!("{{fingerprint: {FINGERPRINT}}}"), &facts));
        assert!(certificate_matches(&format!("{{spki_hash: {SPKI_HASH}}}"), &facts));
    }
}

#[test]
fn names_of_an_untrusted_certificate_never_match() {
    for facts in [
        presenting(Certificate::Invalid(leaf())),
        presenting(Certificate::Unverified(Some(leaf()))),
    ] {
        for matcher in [
            "{san_email: ann@example.com}",
            "{san_dns: {not_in: []}}",
            "{san_uri: {starts_with: 'spiffe:'}}",
            "{}",
        ] {
            assert!(certificate_matches(matcher, &trusted()), "{matcher}");
            assert!(!certificate_matches(matcher, &facts), "{matcher}");
        }
        let pinned = format!("{{fingerprint: {FINGERPRINT}, san_email: ann@example.com}}");
        assert!(!certificate_matches(&pinned, &facts));
    }
}

#[test]
fn without_a_certificate_none_matches() {
    for facts in [Facts::default(), presenting(Certificate::Missing)] {
        for matcher in ["{}", "{fingerprint: []}", "{san_email: {not_in: [x]}}"] {
            assert!(!certificate_matches(matcher, &facts), "{matcher}");
        }
    }
}

#[test]
fn a_key_that_cannot_be_read_matches_no_hash() {
    let leaf = Leaf { spki_hash: String::new(), ..leaf() };
    let facts = presenting(Certificate::Trusted(leaf));
    assert!(!certificate_matches(&format!("{{spki_hash: {SPKI_HASH}}}"), &facts));
}

#[test]
fn names_are_matched_by_kind_and_each_operator_by_itself() {
    for (matcher, expected) in [
        ("{san_email: ann@example.com}", true),
        ("{san_email: bob@example.com}", true),
        ("{san_email: carl@example.com}", false),
        ("{san_email: 1.example.com}", false),
        ("{san_dns: 1.example.com}", true),
        ("{san_dns: 2.example.com}", false),
        ("{san_uri: 'spiffe://example.com/a'}", true),
        ("{san_uri: 'spiffe://example.com/b'}", false),
        ("{san_email: {starts_with: ann, contains: bob}}", true),
        ("{san_email: {starts_with: ann, contains: carl}}", false),
        ("{san_email: {not: ann@example.com}}", true),
        ("{san_dns: {not: 1.example.com}}", false),
        ("{san_email: {not_in: [bob@example.com]}}", false),
        ("{san_email: {not_in: [carl@example.com]}}", true),
        ("{san_email: ann@example.com, san_dns: 1.example.com}", true),
        ("{san_email: ann@example.com, san_dns: 2.example.com}", false),
    ] {
        assert_eq!(certificate_matches(matcher, &trusted()), expected, "{matcher}");
    }
}

#[test]
fn without_names_only_not_in_holds() {
    let facts = presenting(Certificate::Trusted(Leaf { emails: vec![], ..leaf() }));
    assert!(certificate_matches("{san_email: {not_in: [x]}}", &facts));
    assert!(!certificate_matches("{san_email: {not: x}}", &facts));
}

#[test]
fn invalid_client_certificate_excludes_a_missing_one() {
    let text = "invalid_client_certificate: 1";
    for (certificate, expected) in [
        (Certificate::Unverified(None), "false valid-client-certificate"),
        (Certificate::Unverified(Some(leaf())), "false valid-client-certificate"),
        (Certificate::Trusted(leaf()), "false valid-client-certificate"),
        (Certificate::Missing, "true client-certificate-required"),
        (Certificate::Invalid(leaf()), "true invalid-client-certificate"),
    ] {
        assert_eq!(criterion(text, &presenting(certificate)), expected);
    }
}
