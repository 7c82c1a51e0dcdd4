//! Decisions with all that led to them.

use super::*;

fn explained(text: &str, facts: &Facts) -> Vec<String> {
    let (_, rules) = facts.with_request(|request| policy(text).explain(request, "r"));
    let lines = rules.into_iter().flat_map(|rule| {
        let head = format!("{}: {}", rule.place, rule.matches);
        let criteria = rule.criteria.into_iter();
        let criteria =
            criteria.map(|it| format!("  {}: {} {}", it.criterion, it.matches, it.reason));
        std::iter::once(head).chain(criteria)
    });
    lines.collect()
}

fn refusing(text: &str, facts: &Facts) -> String {
    facts.with_request(|request| policy(text).refusing_rule(request, "r"))
}

#[test]
fn each_rule_is_shown_with_its_place_and_its_criteria() {
    let text = "[{allow: {and: [{email: a@example.com}, {http_method: {in: [GET, HEAD]}}]}}, \
        {deny: {or: [{source_ip: [10.0.0.0/8, 192.0.2.1]}], not: [{accept: true}]}}]";
    assert_eq!(
        explained(text, &of_user("u", "b@example.com")),
        [
            "r.policy[0].allow.and: false",
            "  email is a@example.com: false email-unauthorized",
            "  http_method in [GET, HEAD]: true http-method-ok",
            "r.policy[1].deny.or: true",
            "  source_ip in [10.0.0.0/8, 192.0.2.1]: true source-ip-ok",
            "r.policy[1].deny.not: false",
            "  accept: true accept",
        ]
    );
}

#[test]
fn a_policy_without_a_list_has_no_index() {
    let rules = explained("{allow: {or: [{accept: true}]}}", &Facts::default());
    assert_eq!(rules, ["r.policy.allow.or: true", "  accept: true accept"]);
}

#[test]
fn criteria_are_shown_near_to_their_configuration() {
    for (text, shown) in [
        ("authenticated_user: true", "authenticated_user"),
        ("reject: true", "reject"),
        ("cors_preflight: true", "cors_preflight"),
        ("invalid_client_certificate: true", "invalid_client_certificate"),
        ("domain: {not: example.com}", "domain is not example.com"),
        ("http_path: {starts_with: /a, ends_with: b}", "http_path starts_with /a and ends_with b"),
        ("claim/groups: admin", "claim/groups has admin"),
        ("user: {in: [f, e, d, c, b, a]}", "user in [a, b, c, d, e and 1 more]"),
        ("client_certificate: {san_dns: {is: a.b}}", "client_certificate with san_dns is a.b"),
    ] {
        let rules = explained(&format!("{{allow: {{and: [{{{text}}}]}}}}"), &Facts::default());
        let line = rules[1].strip_prefix("  ").unwrap();
        assert_eq!(line.rsplit_once(": ").unwrap().0, shown);
    }
}

#[test]
fn a_refusal_names_the_rule_that_decided() {
    let user = of_user("u", "b@example.com");
    let denied = "[{allow: {or: [{accept: true}]}, deny: {or: [{http_path: /x}]}}, \
        {deny: {or: [{source_ip: 10.0.0.1}]}}]";
    assert_eq!(refusing(denied, &user), "r.policy[1].deny");
    assert_eq!(refusing("[{allow: {or: [{email: a@b}]}}]", &user), "r.policy[0].allow");
    let two = "[{allow: {or: [{email: a@b}]}}, {allow: {or: [{email: c@d}]}}]";
    assert_eq!(refusing(two, &user), "r.policy");
    let spec = PolicySpec {
        allowed_users: vec!["a".to_owned()],
        allowed_domains: vec!["b".to_owned()],
        deny_invalid_client_certificate: true,
        ..PolicySpec::default()
    };
    let policy = Policy::new(&spec);
    let refusing = |facts: &Facts| facts.with_request(|request| policy.refusing_rule(request, "r"));
    assert_eq!(refusing(&user), "r.allowed_domains, allowed_users");
    let missing = Facts { certificate: Certificate::Missing, ..user };
    assert_eq!(refusing(&missing), "downstream_mtls.enforcement");
}
