//! The policy language as a whole: text in, decision out.

mod criteria;
mod decisions;
mod explain;
mod model;
mod older_keys;
mod operators;
mod parsing;
mod properties;

use std::{fs, path::Path};

use super::*;
use model::{Certificate, Facts, Leaf};
use serde_yaml::Value;

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn policy(text: &str) -> Policy {
    Policy::new(&PolicySpec { rules: parse(&yaml(text), "policy").unwrap(), ..Default::default() })
}

fn decide(text: &str, facts: &Facts) -> PolicyDecision {
    facts.with_request(|request| policy(text).evaluate(request))
}

/// `true accept`: what the allow rules came to, and why.
fn allow(text: &str, facts: &Facts) -> String {
    show(decide(text, facts).allow)
}

fn show(result: RuleResult) -> String {
    format!("{} {}", result.value, result.reasons).trim_end().to_owned()
}

/// What one criterion comes to, as the only one of an allow rule.
fn criterion(text: &str, facts: &Facts) -> String {
    allow(&format!("allow: {{and: [{{{text}}}]}}"), facts)
}

fn of_user(user_id: &str, email: &str) -> Facts {
    let claims = serde_json::Map::new();
    let identity = Identity { user_id: user_id.into(), email: email.into(), claims };
    Facts { identity: Some(identity), ..Facts::default() }
}

fn with_claims(claims: serde_json::Value) -> Facts {
    let claims = claims.as_object().unwrap().clone();
    let identity = Identity { user_id: "u1".into(), email: "".into(), claims };
    Facts { identity: Some(identity), ..Facts::default() }
}

fn presenting(certificate: Certificate) -> Facts {
    Facts { certificate, ..Facts::default() }
}

/// The policies that the fuzzer starts from.
fn corpus() -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/policy");
    let files = fs::read_dir(corpus).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_fuzz_corpus_is_decided_as_the_model_decides_it() {
    let decided = corpus().iter().filter(|file| model::replay(file)).count();
    assert!(decided >= 25, "{decided} policies");
}
