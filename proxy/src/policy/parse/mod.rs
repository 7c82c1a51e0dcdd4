//! Reads the policy language from YAML values. All mistakes are reported, each with its key path. A
//! part that would have no effect is a mistake, since it was meant to decide something.

mod certificate;
mod criteria;
mod matchers;
mod node;

pub(crate) use node::PolicyError;

use serde_yaml::Value;

use super::{
    claim::ClaimPath,
    rule::{Action, Group, Operator, Rule, RulePlace},
    spec::AllowedClaim,
};
use node::{Errors, Node};

/// The operators, in the order in which messages name them.
const OPERATORS: [(&str, Operator); 4] =
    [("and", Operator::And), ("or", Operator::Or), ("not", Operator::Not), ("nor", Operator::Nor)];

/// Reads the value of a `policy` key that stands at `key_path`: one mapping of rules, or a list of
/// them. Returns all mistakes if there are any.
pub fn parse(document: &Value, key_path: &str) -> Result<Vec<Rule>, Vec<PolicyError>> {
    let mut errors = Errors::default();
    let rules = document_rules(&Node::root(document, key_path), &mut errors);
    errors.or(rules)
}

/// Reads the value of an `allowed_idp_claims` key: claims with one value or a list of them, or
/// with claims below them.
pub(crate) fn parse_allowed_idp_claims(
    document: &Value,
    key_path: &str,
) -> Result<Vec<AllowedClaim>, Vec<PolicyError>> {
    let mut errors = Errors::default();
    let mut claims = Vec::new();
    allowed_claims(&Node::root(document, key_path), "", &mut claims, &mut errors);
    errors.or(claims)
}

fn document_rules(document: &Node<'_>, errors: &mut Errors) -> Vec<Rule> {
    let hint = "write a list of rules, each with `allow` or `deny`";
    match document.value {
        Value::Mapping(_) => rules(document, None, errors),
        Value::Sequence(_) => {
            let mut all = Vec::new();
            for (index, item) in document.items().into_iter().enumerate() {
                if item.is_mapping() {
                    all.extend(rules(&item, u32::try_from(index).ok(), errors));
                } else {
                    let message = format!("unsupported type for rules array: {}", item.kind());
                    errors.add_with_hint(&item, message, hint);
                }
            }
            all
        }
        _ => {
            let message = format!("unsupported type for rule: {}", document.kind());
            errors.add_with_hint(document, message, hint);
            Vec::new()
        }
    }
}

/// The rules of a mapping, which may be an item of a list.
fn rules(mapping: &Node<'_>, item: Option<u32>, errors: &mut Errors) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (name, body) in mapping.entries(errors) {
        let action = match name {
            "allow" => Action::Allow,
            "deny" => Action::Deny,
            _ => {
                let message = format!("unsupported action: {}", name.escape_debug());
                errors.add_unknown(&body, message, name, &["allow", "deny"]);
                continue;
            }
        };
        let place = RulePlace::Policy(item, action);
        rules.push(Rule { action, place, groups: groups(&body, place, errors) });
    }
    rules
}

fn groups(body: &Node<'_>, place: RulePlace, errors: &mut Errors) -> Vec<Group> {
    if !body.is_mapping() {
        let message = format!("expected and, or, not or nor below it, got {}", body.kind());
        errors.add(body, message);
        return Vec::new();
    }
    let mut groups = Vec::new();
    for (name, list) in body.entries(errors) {
        match OPERATORS.iter().find(|(known, _)| *known == name) {
            Some((_, operator)) => {
                let criteria = criteria::list(&list, errors);
                groups.push(Group { operator: *operator, criteria, place });
            }
            // Pomerium's own form of a rule has this key, and does not read it.
            None if name == "action" => {}
            None => {
                let message = format!(
                    "unsupported conditional \"{}\", only and, or, not, nor and action are allowed",
                    name.escape_debug()
                );
                errors.add_unknown(&list, message, name, &OPERATORS.map(|(known, _)| known));
            }
        }
    }
    groups
}

fn allowed_claims(
    below: &Node<'_>,
    prefix: &str,
    claims: &mut Vec<AllowedClaim>,
    errors: &mut Errors,
) {
    if !below.is_mapping() {
        errors.add(below, format!("expected claims with their values, got {}", below.kind()));
        return;
    }
    for (name, node) in below.entries(errors) {
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let values = match node.value {
            Value::Mapping(_) => {
                allowed_claims(&node, &name, claims, errors);
                continue;
            }
            Value::Sequence(_) => node.items(),
            _ => vec![node],
        };
        let path = ClaimPath::new(&name);
        for value in values.iter().filter_map(|value| matchers::claim_value(value, errors)) {
            claims.push(AllowedClaim { path: path.clone(), value });
        }
    }
}
