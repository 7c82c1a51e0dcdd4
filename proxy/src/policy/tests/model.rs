//! A second evaluator, written from Pomerium's generated Rego and slow on purpose: texts and
//! recursion over the YAML, nothing compiled. The fuzz target includes this file too.

use std::{collections::BTreeSet, net::IpAddr};

use serde_yaml::Value;

use super::{
    ClientCertificateStatus, Identity, LeafCertificate, Policy, PolicyInput, PolicyOutcome,
    PolicySpec, SanKind, parse,
};

/// A request as texts.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) source_ip: String,
    pub(crate) cors_preflight: bool,
    pub(crate) certificate: Certificate,
    pub(crate) identity: Option<Identity>,
}

#[derive(Debug, Clone)]
pub(crate) enum Certificate {
    Unverified(Option<Leaf>),
    Missing,
    Invalid(Leaf),
    Trusted(Leaf),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Leaf {
    /// 64 hexadecimal digits.
    pub(crate) fingerprint: String,
    /// 32 bytes in base64, or empty if it cannot be read.
    pub(crate) spki_hash: String,
    pub(crate) emails: Vec<Box<str>>,
    pub(crate) dns: Vec<Box<str>>,
    pub(crate) uris: Vec<Box<str>>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            source_ip: "10.0.0.1".to_owned(),
            cors_preflight: false,
            certificate: Certificate::Unverified(None),
            identity: None,
        }
    }
}

impl LeafCertificate for Leaf {
    fn fingerprint(&self) -> [u8; 32] {
        let byte = |index| u8::from_str_radix(&self.fingerprint[2 * index..][..2], 16);
        std::array::from_fn(|index| byte(index).expect("hexadecimal digits"))
    }

    fn spki_hash(&self) -> Option<[u8; 32]> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.decode(&self.spki_hash).ok()?.try_into().ok()
    }

    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>] {
        match kind {
            SanKind::Email => &self.emails,
            SanKind::Dns => &self.dns,
            SanKind::Uri => &self.uris,
        }
    }
}

impl Facts {
    /// Calls with the request that these facts make.
    pub(crate) fn with_request<T>(&self, use_it: impl FnOnce(&PolicyInput<'_>) -> T) -> T {
        use_it(&PolicyInput {
            method: &self.method,
            path: &self.path,
            source_ip: self.source_ip.parse().expect("an address"),
            is_cors_preflight: self.cors_preflight,
            client_certificate: match &self.certificate {
                Certificate::Unverified(leaf) => {
                    ClientCertificateStatus::Unverified(leaf.as_ref().map(|leaf| leaf as _))
                }
                Certificate::Missing => ClientCertificateStatus::Missing,
                Certificate::Invalid(leaf) => ClientCertificateStatus::Invalid(leaf),
                Certificate::Trusted(leaf) => ClientCertificateStatus::Trusted(leaf),
            },
            identity: self.identity.as_ref(),
        })
    }
}

/// A value and its reasons: Rego's `[true, {"reason"}]`.
type Pair = (bool, BTreeSet<String>);

/// Asserts that a policy decides as the model does.
pub(crate) fn assert_same(policy: &Policy, document: &Value, facts: &Facts) {
    let decision = facts.with_request(|request| policy.evaluate(request));
    let allow = action(document, "allow", facts);
    let deny = action(document, "deny", facts);
    let pair = |result: super::RuleResult| -> Pair {
        (result.value, result.reasons.iter().map(|reason| reason.name().to_owned()).collect())
    };
    assert_eq!(pair(decision.allow), allow, "allow of {document:?} for {facts:?}");
    assert_eq!(pair(decision.deny), deny, "deny of {document:?} for {facts:?}");
    assert_eq!(decision.outcome, outcome(&allow, &deny), "{document:?} for {facts:?}");
}

/// Parses what may be a policy; whether it is one, and then decides as the model does.
pub(crate) fn replay(bytes: &[u8]) -> bool {
    let Some(document) =
        std::str::from_utf8(bytes).ok().and_then(|text| serde_yaml::from_str(text).ok())
    else {
        return false;
    };
    let Ok(rules) = parse(&document, "policy") else { return false };
    let policy = Policy::new(&PolicySpec { rules, ..PolicySpec::default() });
    for facts in samples() {
        assert_same(&policy, &document, &facts);
    }
    true
}

/// Requests that differ in everything that can be asked about.
fn samples() -> Vec<Facts> {
    let leaf = Leaf {
        fingerprint: "17859273e8a980631d367b2d5a6a6635412b0f22835f69e47b3f65624546a704".to_owned(),
        spki_hash: "FsDbM0rUYIiL3V339eIKqiz6HPSB+Pz2WeAWhqlqh8U=".to_owned(),
        emails: vec!["ann@example.com".into(), "bob@example.com".into()],
        dns: vec!["1.example.com".into()],
        uris: vec!["spiffe://example.com/a".into()],
    };
    let claims = serde_json::json!({
        "groups": ["admin", "dev"], "verified": true, "age": 7, "family_name": "Smith",
        "address": {"country": "DE"}, "example.com/key": ["value"],
    });
    let ann = Identity {
        user_id: "ann".into(),
        email: "ann@example.com".into(),
        claims: claims.as_object().cloned().unwrap_or_default(),
    };
    let posting = Facts { method: "POST".into(), path: "/admin/x".into(), ..Facts::default() };
    vec![
        Facts::default(),
        Facts { identity: Some(ann.clone()), ..posting.clone() },
        Facts { certificate: Certificate::Trusted(leaf.clone()), ..posting },
        Facts { certificate: Certificate::Invalid(leaf.clone()), ..Facts::default() },
        Facts { certificate: Certificate::Unverified(Some(leaf)), ..Facts::default() },
        Facts { certificate: Certificate::Missing, identity: Some(ann), ..Facts::default() },
        Facts { source_ip: "2001:db8::1".into(), cors_preflight: true, ..Facts::default() },
        Facts { source_ip: "::ffff:192.168.1.1".into(), ..Facts::default() },
    ]
}

/// All rules of one action.
fn action(document: &Value, wanted: &str, facts: &Facts) -> Pair {
    let rules: Vec<&Value> = match document {
        Value::Sequence(rules) => rules.iter().collect(),
        rule => vec![rule],
    };
    let mut terms = Vec::new();
    for body in rules.iter().filter_map(|rule| rule.get(wanted)) {
        for operator in ["and", "or", "not", "nor"] {
            let criteria = body.get(operator).and_then(Value::as_sequence);
            let Some(criteria) = criteria.filter(|criteria| !criteria.is_empty()) else { continue };
            let results: Vec<Pair> = criteria.iter().map(|one| criterion(one, facts)).collect();
            terms.push(match operator {
                "and" => merge_with_and(results),
                "or" => merge_with_or(results),
                "not" => merge_with_and(invert(results)),
                _ => merge_with_or(invert(results)),
            });
        }
    }
    merge_with_or(terms)
}

fn invert(results: Vec<Pair>) -> Vec<Pair> {
    results.into_iter().map(|(value, reasons)| (!value, reasons)).collect()
}

fn merge_with_and(results: Vec<Pair>) -> Pair {
    let value = results.iter().all(|result| result.0);
    (value, reasons_of(results, value))
}

fn merge_with_or(results: Vec<Pair>) -> Pair {
    let value = results.iter().any(|result| result.0);
    (value, reasons_of(results, value))
}

fn reasons_of(results: Vec<Pair>, value: bool) -> BTreeSet<String> {
    results.into_iter().filter(|result| result.0 == value).flat_map(|result| result.1).collect()
}

fn outcome(allow: &Pair, deny: &Pair) -> PolicyOutcome {
    let certificate = |reasons: &BTreeSet<String>| {
        if reasons.contains("client-certificate-required") {
            Some(PolicyOutcome::ClientCertificateRequired)
        } else if reasons.contains("invalid-client-certificate") {
            Some(PolicyOutcome::ClientCertificateInvalid)
        } else {
            None
        }
    };
    if let Some(refusal) = certificate(&deny.1) {
        return refusal;
    }
    if allow.1.contains("user-unauthenticated") || deny.1.contains("user-unauthenticated") {
        return PolicyOutcome::NeedsSignIn;
    }
    if deny.0 {
        return PolicyOutcome::Deny;
    }
    if allow.0 {
        return PolicyOutcome::Allow;
    }
    certificate(&allow.1).unwrap_or(PolicyOutcome::Deny)
}

/// The address, if it counts, else an empty text.
fn address(email: &str) -> String {
    let parts: Vec<&str> = email.split('@').collect();
    let is_whole = parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
    let is_plain = email.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if is_whole && is_plain { email.to_owned() } else { String::new() }
}

fn criterion(document: &Value, facts: &Facts) -> Pair {
    let (key, data) = document.as_mapping().and_then(|one| one.iter().next()).expect("a mapping");
    let key = key.as_str().expect("a text");
    let (name, path) = key.split_once('/').unwrap_or((key, ""));
    let email = facts.identity.as_ref().map(|identity| address(&identity.email));
    let user = facts.identity.as_ref().map(|identity| identity.user_id.to_string());
    let domain = email.as_ref().map(|email| email.split('@').skip(1).map(str::to_owned).collect());
    let domain: Option<Vec<String>> = domain;
    let session = |value: Option<bool>, reason: &str| match value {
        None => pair(false, "user-unauthenticated", ""),
        Some(true) => pair(true, &format!("{reason}-ok"), ""),
        Some(false) => pair(false, "", &format!("{reason}-unauthorized")),
    };
    let of = |text: Option<String>| text.map(|text| match_string(&[text], data));
    match name {
        "accept" => pair(true, "accept", ""),
        "reject" => pair(false, "reject", ""),
        "authenticated_user" => session(user.map(|user| !user.is_empty()), "user"),
        "email" => session(of(email), "email"),
        "user" => session(of(user), "user"),
        "domain" => {
            let holds = domain.map(|domain| !domain.is_empty() && match_string(&domain, data));
            session(holds, "domain")
        }
        "claim" => {
            let holds = facts.identity.as_ref().map(|identity| {
                let claims = serde_json::Value::Object(identity.claims.clone());
                match_list(&claim_values(&claims, path), data)
            });
            session(holds, "claim")
        }
        "http_method" => {
            let holds = match_string(std::slice::from_ref(&facts.method), data);
            pair(holds, "http-method-ok", "http-method-unauthorized")
        }
        "http_path" => {
            let holds = match_string(std::slice::from_ref(&facts.path), data);
            pair(holds, "http-path-ok", "http-path-unauthorized")
        }
        "cors_preflight" => pair(facts.cors_preflight, "cors-request", "non-cors-request"),
        "source_ip" => {
            let holds = list(data).iter().any(|range| in_range(&facts.source_ip, range));
            pair(holds, "source-ip-ok", "source-ip-unauthorized")
        }
        "invalid_client_certificate" => match facts.certificate {
            Certificate::Missing => pair(true, "client-certificate-required", ""),
            Certificate::Invalid(_) => pair(true, "invalid-client-certificate", ""),
            _ => pair(false, "", "valid-client-certificate"),
        },
        "client_certificate" => {
            let holds = match_certificate(&facts.certificate, data);
            pair(holds, "client-certificate-ok", "client-certificate-unauthorized")
        }
        other => panic!("{other} is no criterion"),
    }
}

/// With one reason given it is the reason either way.
fn pair(value: bool, passed: &str, failed: &str) -> Pair {
    let reason = if value && !passed.is_empty() || failed.is_empty() { passed } else { failed };
    (value, BTreeSet::from([reason.to_owned()]))
}

fn list(data: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match data {
        Value::Sequence(items) => items.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

/// Each operator asks whether there is such a text, by itself.
fn match_string(texts: &[String], data: &Value) -> bool {
    let Value::Mapping(operators) = data else {
        return texts.iter().any(|text| Some(text.as_str()) == data.as_str());
    };
    operators.iter().all(|(operator, operand)| {
        let some = |test: &dyn Fn(&str) -> bool| texts.iter().any(|text| test(text));
        let wanted = operand.as_str().unwrap_or_default();
        match operator.as_str().expect("a text") {
            "is" => some(&|text| text == wanted),
            "not" => some(&|text| text != wanted),
            "contains" => some(&|text| text.contains(wanted)),
            "starts_with" => some(&|text| text.starts_with(wanted)),
            "ends_with" => some(&|text| text.ends_with(wanted)),
            "in" => some(&|text| list(operand).iter().any(|one| one == text)),
            "not_in" => !some(&|text| list(operand).iter().any(|one| one == text)),
            other => panic!("{other} is no operator"),
        }
    })
}

fn claim_values(claims: &serde_json::Value, path: &str) -> Vec<serde_json::Value> {
    let slashed = path.replace('.', "/");
    let segments: Vec<&str> = slashed.split('/').collect();
    let found = match (claims.get(path), segments.as_slice()) {
        (Some(value), _) => Some(value),
        (None, [a, b]) => claims.get(a).and_then(|v| v.get(b)),
        (None, [a, b, c]) => claims.get(a).and_then(|v| v.get(b)).and_then(|v| v.get(c)),
        (None, [a, b, c, d]) => {
            claims.get(a).and_then(|v| v.get(b)).and_then(|v| v.get(c)).and_then(|v| v.get(d))
        }
        (None, [a, b, c, d, e]) => claims
            .get(a)
            .and_then(|v| v.get(b))
            .and_then(|v| v.get(c))
            .and_then(|v| v.get(d))
            .and_then(|v| v.get(e)),
        _ => None,
    };
    match found {
        Some(serde_json::Value::Array(values)) => values.clone(),
        Some(serde_json::Value::Object(_)) | None => vec![],
        Some(value) => vec![value.clone()],
    }
}

fn match_list(values: &[serde_json::Value], data: &Value) -> bool {
    let equal = |left: &serde_json::Value, right: &Value| match (left, right) {
        (serde_json::Value::String(left), Value::String(right)) => left == right,
        (serde_json::Value::Bool(left), Value::Bool(right)) => left == right,
        (serde_json::Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => false,
    };
    let has = |wanted: &Value| values.iter().any(|value| equal(value, wanted));
    let Value::Mapping(operators) = data else { return has(data) };
    operators.iter().all(|(operator, operand)| match operator.as_str().expect("a text") {
        "has" => has(operand),
        "is" => values.len() == 1 && has(operand),
        "exclude" => !has(operand),
        other => panic!("{other} is no operator"),
    })
}

fn match_certificate(certificate: &Certificate, data: &Value) -> bool {
    let (leaf, trusted) = match certificate {
        Certificate::Unverified(Some(leaf)) | Certificate::Invalid(leaf) => (leaf, false),
        Certificate::Trusted(leaf) => (leaf, true),
        Certificate::Unverified(None) | Certificate::Missing => return false,
    };
    let conditions = data.as_mapping().expect("a mapping");
    let names = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let all =
        conditions.iter().all(|(condition, operand)| match condition.as_str().expect("a text") {
            "fingerprint" => list(operand)
                .iter()
                .any(|wanted| wanted.replace(':', "").to_lowercase() == leaf.fingerprint),
            "spki_hash" => list(operand).contains(&leaf.spki_hash),
            "san_email" => trusted && match_string(&names(&leaf.emails), operand),
            "san_dns" => trusted && match_string(&names(&leaf.dns), operand),
            "san_uri" => trusted && match_string(&names(&leaf.uris), operand),
            other => panic!("{other} is no condition"),
        });
    all && (trusted || !conditions.is_empty())
}

/// Compares bit by bit, written out.
fn in_range(address: &str, range: &str) -> bool {
    let (network, prefix) = range.split_once('/').unwrap_or((range, ""));
    let (network, width) = bits(network);
    let prefix = match prefix {
        "" => 128,
        digits => digits.parse::<usize>().expect("a number") + 128 - width,
    };
    let (address, _) = bits(address);
    let mapped = bits("0.0.0.0").0;
    let is_v4 = |bits: &str| bits[..96] == mapped[..96];
    let range_is_v4 = prefix >= 96 && is_v4(&network);
    address[..prefix] == network[..prefix] && is_v4(&address) == range_is_v4
}

/// 128 of `0` and `1`, IPv4 addresses mapped to IPv6, and how many the address has itself.
fn bits(address: &str) -> (String, usize) {
    match address.parse().expect("an address") {
        IpAddr::V4(address) => (format!("{:0128b}", u128::from(address.to_ipv6_mapped())), 32),
        IpAddr::V6(address) => (format!("{:0128b}", u128::from(address)), 128),
    }
}
