//! The compiled evaluator against the model, and values that are no policies.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value as Json, json};

use super::*;

const FINGERPRINTS: [&str; 2] = [
    "17859273e8a980631d367b2d5a6a6635412b0f22835f69e47b3f65624546a704",
    "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a",
];
const SPKI_HASHES: [&str; 2] = [
    "FsDbM0rUYIiL3V339eIKqiz6HPSB+Pz2WeAWhqlqh8U=",
    "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=",
];
const ADDRESSES: [&str; 6] =
    ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "2001:db8::1", "::1", "255.255.255.255"];
const CLAIM_PATHS: [&str; 7] = ["a", "b", "a.b", "a/b", "a/b/a", "a.b/a.b.a", "a/b/a/b/a/b"];

/// Few texts, so that many are equal.
fn text() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "ab", "a@b", "b@a", "a@a@b", "ba"][..])
}

fn claim_value() -> impl Strategy<Value = Json> {
    select(vec![json!("a"), json!("b"), json!(1), json!(1.0), json!(2), json!(true), json!("1")])
}

fn texts() -> impl Strategy<Value = Json> {
    vec(text(), 0..3).prop_map(|texts| json!(texts))
}

fn string_matcher() -> impl Strategy<Value = Json> {
    let names = select(&["is", "not", "contains", "starts_with", "ends_with"][..]);
    let operator = prop_oneof![
        (names, text()).prop_map(|(name, text)| (name, json!(text))),
        (select(&["in", "not_in"][..]), texts()),
    ];
    prop_oneof![text().prop_map(|text| json!(text)), vec(operator, 1..3).prop_map(object),]
}

fn list_matcher() -> impl Strategy<Value = Json> {
    let operator = (select(&["has", "is", "exclude"][..]), claim_value());
    prop_oneof![claim_value(), vec(operator, 1..3).prop_map(object)]
}

fn certificate_matcher() -> impl Strategy<Value = Json> {
    let condition = prop_oneof![
        vec(select(&FINGERPRINTS[..]), 0..2).prop_map(|all| ("fingerprint", json!(all))),
        select(&SPKI_HASHES[..]).prop_map(|one| ("spki_hash", json!(one))),
        (select(&["san_email", "san_dns", "san_uri"][..]), string_matcher()),
    ];
    vec(condition, 0..3).prop_map(object)
}

fn source_ip() -> impl Strategy<Value = Json> {
    let range = (select(&ADDRESSES[..]), option::of(0..=128_u8)).prop_map(|(address, prefix)| {
        let widest = if address.contains(':') { 128 } else { 32 };
        match prefix {
            Some(prefix) => format!("{address}/{}", prefix.min(widest)),
            None => address.to_owned(),
        }
    });
    vec(range, 0..3).prop_map(|ranges| json!(ranges))
}

fn criterion() -> impl Strategy<Value = Json> {
    let bare =
        ["accept", "reject", "authenticated_user", "cors_preflight", "invalid_client_certificate"];
    let of_text = ["email", "domain", "user", "http_method", "http_path"];
    prop_oneof![
        select(bare.to_vec()).prop_map(|name| json!({name: 1})),
        (select(of_text.to_vec()), string_matcher()).prop_map(|(name, data)| json!({name: data})),
        (select(&CLAIM_PATHS[..]), list_matcher())
            .prop_map(|(path, data)| json!({format!("claim/{path}"): data})),
        certificate_matcher().prop_map(|data| json!({"client_certificate": data})),
        source_ip().prop_map(|data| json!({"source_ip": data})),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Json>> {
    let operator = (select(&["and", "or", "not", "nor"][..]), vec(criterion(), 0..4));
    let body = vec(operator, 0..3).prop_map(|all| {
        object(all.into_iter().map(|(name, criteria)| (name, json!(criteria))).collect())
    });
    let rule = (select(&["allow", "deny"][..]), body).prop_map(|one| object(vec![one]));
    vec(rule, 0..4)
}

fn object(entries: Vec<(&str, Json)>) -> Json {
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let names = || vec(text().prop_map(Box::from), 0..3);
    (select(&FINGERPRINTS[..]), select(&SPKI_HASHES[..]), names(), names(), names()).prop_map(
        |(fingerprint, spki_hash, emails, dns, uris)| Leaf {
            fingerprint: fingerprint.to_owned(),
            spki_hash: spki_hash.to_owned(),
            emails,
            dns,
            uris,
        },
    )
}

fn certificate() -> impl Strategy<Value = Certificate> {
    prop_oneof![
        option::of(leaf()).prop_map(Certificate::Unverified),
        Just(Certificate::Missing),
        leaf().prop_map(Certificate::Invalid),
        leaf().prop_map(Certificate::Trusted),
    ]
}

fn claims() -> impl Strategy<Value = Json> {
    let values = prop_oneof![claim_value(), vec(claim_value(), 0..3).prop_map(|all| json!(all))];
    let named = |below| vec((select(&CLAIM_PATHS[..3]), below), 1..4).prop_map(object);
    named(values.prop_recursive(4, 12, 2, move |below| named(below.boxed())).boxed())
}

fn identity() -> impl Strategy<Value = Identity> {
    let maybe = || prop_oneof![Just(""), text()];
    (maybe(), maybe(), claims()).prop_map(|(user_id, email, claims)| Identity {
        user_id: user_id.into(),
        email: email.into(),
        claims: claims.as_object().cloned().unwrap_or_default(),
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    (
        text(),
        text(),
        select(&ADDRESSES[..]),
        any::<bool>(),
        certificate(),
        option::weighted(0.8, identity()),
    )
        .prop_map(|(method, path, source_ip, cors_preflight, certificate, identity)| Facts {
            method: method.to_owned(),
            path: path.to_owned(),
            source_ip: source_ip.to_owned(),
            cors_preflight,
            certificate,
            identity,
        })
}

/// Everything but the rules.
fn older_keys() -> impl Strategy<Value = PolicySpec> {
    let list = || vec(text().prop_map(str::to_owned), 0..3);
    (any::<[bool; 4]>(), list(), list()).prop_map(|(flags, allowed_domains, allowed_users)| {
        let [public, preflight, authenticated, deny_invalid] = flags;
        PolicySpec {
            allow_public_unauthenticated_access: public,
            cors_allow_preflight: preflight,
            allow_any_authenticated_user: authenticated,
            allowed_domains,
            allowed_users,
            deny_invalid_client_certificate: deny_invalid,
            ..PolicySpec::default()
        }
    })
}

/// The rules that the older keys stand for, written out.
fn in_words(spec: &PolicySpec) -> Vec<Json> {
    let mut any = Vec::new();
    for (given, name) in [
        (spec.allow_public_unauthenticated_access, "accept"),
        (spec.cors_allow_preflight, "cors_preflight"),
        (spec.allow_any_authenticated_user, "authenticated_user"),
    ] {
        any.extend(given.then(|| json!({name: true})));
    }
    any.extend(spec.allowed_domains.iter().map(|domain| json!({"domain": {"is": domain}})));
    for user in &spec.allowed_users {
        any.extend([json!({"user": {"is": user}}), json!({"email": {"is": user}})]);
    }
    let mut rules = vec![json!({"allow": {"or": any}})];
    if spec.deny_invalid_client_certificate {
        rules.push(json!({"deny": {"or": [{"invalid_client_certificate": null}]}}));
    }
    rules
}

/// Any value, with the names of the language in unlikely places.
fn value() -> impl Strategy<Value = Value> {
    let word = select(
        &[
            "allow",
            "deny",
            "and",
            "or",
            "not",
            "nor",
            "action",
            "accept",
            "email",
            "claim/a",
            "claim",
            "client_certificate",
            "fingerprint",
            "spki_hash",
            "san_dns",
            "source_ip",
            "is",
            "in",
            "has",
            "groups",
            "",
            "é",
            "1.1.1.1/8",
            "::/0",
            FINGERPRINTS[0],
            SPKI_HASHES[0],
        ][..],
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,70}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 4, move |below| {
        let key = prop_oneof![
            8 => word.clone().prop_map(Value::from),
            1 => any::<u8>().prop_map(Value::from),
            1 => Just(Value::Null),
        ];
        prop_oneof![
            vec(below.clone(), 0..4).prop_map(Value::Sequence),
            vec((key, below), 0..4).prop_map(|all| Value::Mapping(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_compiled_policy_decides_as_the_model_does(rules in rules(), facts in facts()) {
        let document = serde_yaml::to_value(&rules).unwrap();
        let rules = parse(&document, "policy").unwrap();
        let policy = Policy::new(&PolicySpec { rules, ..PolicySpec::default() });
        model::assert_same(&policy, &document, &facts);
    }

    #[test]
    fn the_older_keys_decide_as_the_rules_that_they_stand_for(
        spec in older_keys(), rules in rules(), facts in facts()
    ) {
        // Pomerium has no words for what a preflight need not have.
        let needs_none = spec.cors_allow_preflight && spec.deny_invalid_client_certificate;
        prop_assume!(!(needs_none && facts.cors_preflight));
        let written = serde_yaml::to_value(&rules).unwrap();
        let spec = PolicySpec { rules: parse(&written, "policy").unwrap(), ..spec };
        let all = serde_yaml::to_value([in_words(&spec), rules].concat()).unwrap();
        model::assert_same(&Policy::new(&spec), &all, &facts);
    }

    #[test]
    fn what_a_policy_does_not_need_does_not_change_its_decision(
        rules in rules(), facts in facts(), certificate in certificate(), identity in identity()
    ) {
        let document = serde_yaml::to_value(&rules).unwrap();
        let rules = parse(&document, "policy").unwrap();
        let policy = Policy::new(&PolicySpec { rules, ..PolicySpec::default() });
        let mut other = facts.clone();
        if !policy.needs().client_certificate {
            other.certificate = certificate;
        }
        if !policy.needs().identity {
            other.identity = Some(identity);
        }
        let decide = |facts: &Facts| facts.with_request(|request| policy.evaluate(request));
        prop_assert_eq!(decide(&facts), decide(&other));
    }

    #[test]
    fn an_explanation_has_the_decision_and_results_that_lead_to_it(
        spec in older_keys(), rules in rules(), facts in facts()
    ) {
        let written = serde_yaml::to_value(&rules).unwrap();
        let spec = PolicySpec { rules: parse(&written, "policy").unwrap(), ..spec };
        let policy = Policy::new(&spec);
        let decision = facts.with_request(|request| policy.evaluate(request));
        let (explained, rules) = facts.with_request(|request| policy.explain(request, "r"));
        prop_assert_eq!(decision, explained);
        let (allow, deny) = rules.split_at(policy.allow.len());
        prop_assert_eq!(decision.allow.value, allow.iter().any(|rule| rule.matches));
        prop_assert_eq!(decision.deny.value, deny.iter().any(|rule| rule.matches));
        let refusing = facts.with_request(|request| policy.refusing_rule(request, "r"));
        if decision.deny.value {
            let denies = |rule: &ExplainedRule| rule.matches && rule.place.starts_with(&refusing);
            prop_assert!(deny.iter().any(denies), "{refusing} {deny:?}");
        }
        for rule in &rules {
            let is_inverted = matches!(rule.operator, "not" | "nor");
            let mut counted = rule.criteria.iter().map(|one| one.matches != is_inverted);
            let value = match rule.operator {
                "and" | "not" => counted.all(|value| value),
                _ => counted.any(|value| value),
            };
            prop_assert_eq!(rule.matches, value, "{:?}", rule);
        }
    }

    #[test]
    fn a_mistyped_policy_is_refused_or_decided_like_the_model(
        mut file in select(corpus()),
        slips in vec((any::<proptest::sample::Index>(), select(&b" -:,[]{}'!\"a0/\n"[..])), 1..4),
    ) {
        for (place, byte) in slips {
            let place = place.index(file.len());
            file[place] = byte;
        }
        model::replay(&file);
    }

    #[test]
    fn no_value_makes_the_parser_panic(value in value(), facts in facts()) {
        let claims = parse_allowed_idp_claims(&value, "x");
        if let Err(errors) = &claims {
            prop_assert!(!errors.is_empty());
        }
        match parse(&value, "policy") {
            Err(errors) => prop_assert!(!errors.is_empty()),
            Ok(rules) => {
                let allowed_idp_claims = claims.unwrap_or_default();
                let spec = PolicySpec { rules, allowed_idp_claims, ..PolicySpec::default() };
                facts.with_request(|request| Policy::new(&spec).evaluate(request));
            }
        }
    }
}
