//! What is refused, where it is said to be, and what is said.

use super::*;

/// Every mistake as it is printed.
fn mistakes(text: &str) -> Vec<String> {
    let errors = parse(&yaml(text), "policy").expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_policy_is_one_mapping_of_rules_or_a_list_of_them() {
    let facts = Facts::default();
    for text in [
        "allow: {or: [{accept: 1}]}",
        "[allow: {or: [{accept: 1}]}]",
        "[{deny: {or: [{reject: 1}]}}, {allow: {or: [{accept: 1}]}}]",
        "allow: {action: allow, or: [{accept: 1}]}",
    ] {
        assert_eq!(decide(text, &facts).outcome, PolicyOutcome::Allow, "{text}");
    }
}

#[test]
fn each_mistake_is_told_with_its_place_and_a_hint() {
    for (text, expected) in [
        (
            "x",
            "policy: unsupported type for rule: a text (write a list of rules, each with `allow` or `deny`)",
        ),
        (
            "[[]]",
            "policy[0]: unsupported type for rules array: a list (write a list of rules, each with `allow` or `deny`)",
        ),
        ("alow: {or: []}", "policy.alow: unsupported action: alow (`allow`?)"),
        ("permit: {or: []}", "policy.permit: unsupported action: permit (one of allow, deny)"),
        ("allow: []", "policy.allow: expected and, or, not or nor below it, got a list"),
        (
            "allow: {iff: []}",
            "policy.allow.iff: unsupported conditional \"iff\", only and, or, not, nor and action are allowed (one of and, or, not, nor)",
        ),
        (
            "allow: {orr: []}",
            "policy.allow.orr: unsupported conditional \"orr\", only and, or, not, nor and action are allowed (`or`?)",
        ),
        (
            "allow: {or: {accept: 1}}",
            "policy.allow.or: unsupported type for criteria: a mapping (write a list, `- ` before each criterion)",
        ),
        (
            "allow: {or: [accept]}",
            "policy.allow.or[0]: unsupported type for criteria array: a text (write `accept: true`)",
        ),
        ("allow: {or: [7]}", "policy.allow.or[0]: unsupported type for criteria array: a number"),
        (
            "allow: {or: [{accept: 1, email: a@x}]}",
            "policy.allow.or[0]: each criteria may only contain a single key and value (write `- ` before each criterion)",
        ),
        (
            "allow: {or: [{}]}",
            "policy.allow.or[0]: each criteria may only contain a single key and value (write `- ` before each criterion)",
        ),
        ("allow: {or: [{1: x}]}", "policy.allow.or[0]: has a key that is not a string"),
        (
            "[{allow: {and: [{accept: 1}, {emial: a}]}}]",
            "policy[0].allow.and[1].emial: unknown policy criterion: emial (`email`?)",
        ),
        (
            "allow: {or: [{Email: a}]}",
            "policy.allow.or[0].Email: unknown policy criterion: Email (`email`?)",
        ),
        (
            "allow: {or: [{email/work: a}]}",
            "policy.allow.or[0].email/work: `email` takes no path below it; only `claim/…` does",
        ),
        (
            "allow: {or: [{email: {iss: a}}]}",
            "policy.allow.or[0].email.iss: unknown string matcher operator: iss (`is`?)",
        ),
        ("allow: {or: [{email: {}}]}", "policy.allow.or[0].email: has no operator"),
        ("allow: {or: [{email: }]}", "policy.allow.or[0].email: expected a text, got nothing"),
        (
            "allow: {or: [{user: {is: 12}}]}",
            "policy.allow.or[0].user.is: expected a text, got a number (put it in quotes: \"12\")",
        ),
        (
            "allow: {or: [{user: {is: [a]}}]}",
            "policy.allow.or[0].user.is: expected a text, got a list (use `in` for a list)",
        ),
        (
            "allow: {or: [{user: {in: a}}]}",
            "policy.allow.or[0].user.in: in matcher requires an array of strings, got a text",
        ),
        (
            "allow: {or: [{user: {not_in: a}}]}",
            "policy.allow.or[0].user.not_in: not_in matcher requires an array of strings, got a text",
        ),
        (
            "allow: {or: [{user: {in: [a, 1]}}]}",
            "policy.allow.or[0].user.in[1]: expected a text, got a number (put it in quotes: \"1\")",
        ),
        (
            "allow: {or: [{email: ''}]}",
            "policy.allow.or[0].email: is empty and would match users without an address or id",
        ),
        (
            "allow: {or: [{user: {in: [a, '']}}]}",
            "policy.allow.or[0].user: is empty and would match users without an address or id",
        ),
        (
            "allow: {or: [{domain: {ends_with: ''}}]}",
            "policy.allow.or[0].domain.ends_with: is empty and would match every text",
        ),
        (
            "allow: {or: [{claim: a}]}",
            "policy.allow.or[0].claim: names no claim (write `claim/NAME`)",
        ),
        (
            "allow: {or: [{claim/: a}]}",
            "policy.allow.or[0].claim/: names no claim (write `claim/NAME`)",
        ),
        (
            "allow: {or: [{claim/a: {hass: b}}]}",
            "policy.allow.or[0].claim/a.hass: unknown string list matcher operator: hass (`has`?)",
        ),
        (
            "allow: {or: [{claim/a: {has: [b]}}]}",
            "policy.allow.or[0].claim/a.has: expected one value that a claim can have, got a list (write a criterion for each value)",
        ),
        (
            "allow: {or: [{claim/a: .nan}]}",
            "policy.allow.or[0].claim/a: expected one value that a claim can have, got a number",
        ),
        (
            "allow: {or: [{source_ip: here}]}",
            "policy.allow.or[0].source_ip: expected IP or CIDR range, got: \"here\"",
        ),
        (
            "allow: {or: [{source_ip: {a: b}}]}",
            "policy.allow.or[0].source_ip: expected string or array of strings, got: a mapping",
        ),
        (
            "allow: {or: [{source_ip: [1.1.1.1, {a: b}]}]}",
            "policy.allow.or[0].source_ip[1]: expected string value, got: a mapping",
        ),
        (
            "allow: {or: [{client_certificate: x}]}",
            "policy.allow.or[0].client_certificate: expected object for certificate matcher, got: a text",
        ),
        (
            "allow: {or: [{client_certificate: {san_mail: x}}]}",
            "policy.allow.or[0].client_certificate.san_mail: unsupported certificate matcher condition: san_mail (`san_email`?)",
        ),
        (
            "allow: {or: [{client_certificate: {fingerprint: 1}}]}",
            "policy.allow.or[0].client_certificate.fingerprint: certificate fingerprint condition expects a string or array of strings, got a number",
        ),
        (
            "allow: {or: [{client_certificate: {fingerprint: [{}]}}]}",
            "policy.allow.or[0].client_certificate.fingerprint[0]: certificate fingerprint must be a string (was a mapping)",
        ),
        (
            "allow: {or: [{client_certificate: {fingerprint: ''}}]}",
            "policy.allow.or[0].client_certificate.fingerprint: certificate fingerprint must not be empty",
        ),
        (
            "allow: {or: [{client_certificate: {spki_hash: {}}}]}",
            "policy.allow.or[0].client_certificate.spki_hash: certificate SPKI hash condition expects a string or array of strings, got a mapping",
        ),
        (
            "allow: {or: [{client_certificate: {spki_hash: 'not%valid'}}]}",
            "policy.allow.or[0].client_certificate.spki_hash: certificate SPKI hash must be a base64-encoded SHA-256 hash (was not%valid)",
        ),
        (
            "allow: {or: [{client_certificate: {spki_hash: VYby3BAoHawLLtsyckwo5Q==}}]}",
            "policy.allow.or[0].client_certificate.spki_hash: certificate SPKI hash must be a base64-encoded SHA-256 hash (was VYby3BAoHawLLtsyckwo5Q==)",
        ),
    ] {
        assert_eq!(mistakes(text), [expected], "{text}");
    }
}

#[test]
fn fingerprints_have_one_of_two_forms() {
    let lower = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
    let pairs: Vec<&str> = (0..32).map(|index| &lower[2 * index..][..2]).collect();
    let upper_colons = pairs.join(":").to_uppercase();
    let errors_of = |fingerprint: &str| {
        let text =
            format!("allow: {{or: [{{client_certificate: {{fingerprint: '{fingerprint}'}}}}]}}");
        parse(&yaml(&text), "policy").err()
    };
    for good in [lower, &upper_colons] {
        assert_eq!(errors_of(good), None, "{good}");
    }
    for bad in [
        &lower.to_uppercase(),
        &upper_colons.to_lowercase(),
        &pairs.join("-").to_uppercase(),
        &lower[1..],
        &lower.replace('d', "g"),
        &upper_colons.replace(':', ""),
        "B1:E6:A2:DC:DD:6B:87:A4:9B:C5:7C:3B:7C:7F:1C:74:9A:DB:88:36",
        &"é".repeat(32),
    ] {
        let errors = errors_of(bad).expect(bad);
        assert_eq!(
            errors[0].message,
            format!("unsupported certificate fingerprint format ({bad})")
        );
    }
}

#[test]
fn what_pomerium_knows_and_we_do_not_is_refused_by_name() {
    for name in [
        "groups",
        "device",
        "mcp_tool",
        "ssh_publickey",
        "ssh_username",
        "date",
        "day_of_week",
        "time_of_day",
        "record",
        "pomerium_routes",
    ] {
        let told = mistakes(&format!("deny: {{or: [{{{name}: x}}]}}"));
        assert_eq!(told.len(), 1);
        let expected =
            format!("policy.deny.or[0].{name}: policy criterion `{name}` is not supported: ");
        assert!(told[0].starts_with(&expected), "{told:?}");
    }
}

#[test]
fn a_value_with_a_tag_is_refused_everywhere() {
    for text in [
        "!x {allow: {or: [{accept: 1}]}}",
        "[!x {allow: {or: [{accept: 1}]}}]",
        "allow: !x {or: [{accept: 1}]}",
        "allow: {or: !x [{accept: 1}]}",
        "allow: {or: [!x {accept: 1}]}",
        "allow: {or: [{email: !x a}]}",
        "allow: {or: [{email: !x {is: a}}]}",
        "allow: {or: [{email: {in: !x [a]}}]}",
        "allow: {or: [{claim/a: !x a}]}",
        "allow: {or: [{source_ip: !x 1.1.1.1}]}",
        "allow: {or: [{client_certificate: !x {}}]}",
        "allow: {or: [{client_certificate: {fingerprint: !x []}}]}",
    ] {
        let told = mistakes(text);
        assert!(told.len() == 1 && told[0].contains("a value with a tag"), "{text}: {told:?}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "
- allow:
    and:
    - email: {is: 1, contians: a}
    - grops: x
    xor: []
- permit: {}
- deny:
    or:
    - client_certificate: {fingerprint: [a, b], san: c}
      source_ip: [x, 1.1.1.1/33]
";
    let paths: Vec<String> = parse(&yaml(text), "routes[3].policy")
        .unwrap_err()
        .into_iter()
        .map(|error| error.key_path)
        .collect();
    let expected = [
        "[0].allow.and[0].email.is",
        "[0].allow.and[0].email.contians",
        "[0].allow.and[1].grops",
        "[0].allow.xor",
        "[1].permit",
        "[2].deny.or[0]",
        "[2].deny.or[0].client_certificate.fingerprint[0]",
        "[2].deny.or[0].client_certificate.fingerprint[1]",
        "[2].deny.or[0].client_certificate.san",
        "[2].deny.or[0].source_ip[0]",
        "[2].deny.or[0].source_ip[1]",
    ];
    assert_eq!(paths, expected.map(|path| format!("routes[3].policy{path}")));
}
