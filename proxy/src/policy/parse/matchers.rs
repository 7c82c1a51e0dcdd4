//! Matchers of texts and of the values of claims.

use serde_yaml::Value;

use super::node::{Errors, Node};
use crate::policy::{
    claim::{ClaimValue, ListCondition, ListMatcher},
    matcher::{Condition, StringMatcher},
};

const STRING_OPERATORS: [&str; 7] =
    ["is", "not", "contains", "starts_with", "ends_with", "in", "not_in"];

const LIST_OPERATORS: [&str; 3] = ["has", "is", "exclude"];

/// A plain text stands for `is`.
pub(super) fn string_matcher(node: &Node<'_>, errors: &mut Errors) -> Option<StringMatcher> {
    let conditions = if node.is_mapping() {
        conditions(node, errors, string_condition)?
    } else {
        vec![Condition::Is(text(node, errors)?)]
    };
    Some(StringMatcher::new(conditions))
}

/// A plain value stands for `has`.
pub(super) fn list_matcher(node: &Node<'_>, errors: &mut Errors) -> Option<ListMatcher> {
    let conditions = if node.is_mapping() {
        conditions(node, errors, list_condition)?
    } else {
        vec![ListCondition::Has(claim_value(node, errors)?)]
    };
    Some(ListMatcher::new(conditions))
}

fn conditions<T>(
    node: &Node<'_>,
    errors: &mut Errors,
    condition: fn(&str, &Node<'_>, &mut Errors) -> Option<T>,
) -> Option<Vec<T>> {
    let entries = node.entries(errors);
    if entries.is_empty() {
        errors.add(node, "has no operator");
    }
    let read: Vec<Option<T>> =
        entries.iter().map(|(operator, operand)| condition(operator, operand, errors)).collect();
    read.into_iter().collect()
}

fn string_condition(name: &str, node: &Node<'_>, errors: &mut Errors) -> Option<Condition> {
    match name {
        "is" => text(node, errors).map(Condition::Is),
        "not" => text(node, errors).map(Condition::Not),
        "contains" => part(node, errors).map(Condition::Contains),
        "starts_with" => part(node, errors).map(Condition::StartsWith),
        "ends_with" => part(node, errors).map(Condition::EndsWith),
        "in" => texts(name, node, errors).map(|texts| Condition::In(texts.into_iter().collect())),
        "not_in" => {
            texts(name, node, errors).map(|texts| Condition::NotIn(texts.into_iter().collect()))
        }
        _ => {
            let message = format!("unknown string matcher operator: {}", name.escape_debug());
            errors.add_unknown(node, message, name, &STRING_OPERATORS);
            None
        }
    }
}

fn list_condition(name: &str, node: &Node<'_>, errors: &mut Errors) -> Option<ListCondition> {
    match name {
        "has" => claim_value(node, errors).map(ListCondition::Has),
        "is" => claim_value(node, errors).map(ListCondition::Is),
        "exclude" => claim_value(node, errors).map(ListCondition::Exclude),
        _ => {
            let message = format!("unknown string list matcher operator: {}", name.escape_debug());
            errors.add_unknown(node, message, name, &LIST_OPERATORS);
            None
        }
    }
}

/// Any other value would never equal a text, so a deny rule with it would never match.
fn text(node: &Node<'_>, errors: &mut Errors) -> Option<Box<str>> {
    let text = node.text();
    if text.is_none() {
        let message = format!("expected a text, got {}", node.kind());
        match node.value {
            Value::Number(number) => {
                errors.add_with_hint(node, message, format!("put it in quotes: \"{number}\""));
            }
            Value::Sequence(_) => errors.add_with_hint(node, message, "use `in` for a list"),
            _ => errors.add(node, message),
        }
    }
    text.map(Box::from)
}

/// Every text contains the empty text: a template without its variable would allow everybody.
fn part(node: &Node<'_>, errors: &mut Errors) -> Option<Box<str>> {
    let text = text(node, errors)?;
    if text.is_empty() {
        errors.add(node, "is empty and would match every text");
        return None;
    }
    Some(text)
}

fn texts(operator: &str, node: &Node<'_>, errors: &mut Errors) -> Option<Vec<Box<str>>> {
    if !matches!(node.value, Value::Sequence(_)) {
        errors.add(
            node,
            format!("{operator} matcher requires an array of strings, got {}", node.kind()),
        );
        return None;
    }
    let read: Vec<Option<Box<str>>> = node.items().iter().map(|item| text(item, errors)).collect();
    read.into_iter().collect()
}

/// Reads a value that a claim can have.
pub(super) fn claim_value(node: &Node<'_>, errors: &mut Errors) -> Option<ClaimValue> {
    let value = match node.value {
        Value::String(text) => Some(ClaimValue::Text(text.as_str().into())),
        Value::Bool(flag) => Some(ClaimValue::Flag(*flag)),
        Value::Number(number) => json_number(number).map(ClaimValue::Number),
        _ => None,
    };
    if value.is_none() {
        let message = format!("expected one value that a claim can have, got {}", node.kind());
        match node.value {
            Value::Sequence(_) => {
                errors.add_with_hint(node, message, "write a criterion for each value");
            }
            _ => errors.add(node, message),
        }
    }
    value
}

/// `None` for `.nan` and `.inf`, which JSON does not have.
fn json_number(number: &serde_yaml::Number) -> Option<serde_json::Number> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), _, _) => Some(number.into()),
        (_, Some(number), _) => Some(number.into()),
        (_, _, Some(number)) => serde_json::Number::from_f64(number),
        _ => None,
    }
}
