//! Values with their key paths, and the mistakes in them.

use std::fmt;

use serde_yaml::Value;

use crate::did_you_mean::did_you_mean;

/// A mistake in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// Where it is: `routes[0].policy[0].allow.and[1].email`.
    pub key_path: String,
    /// The problem.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
}

/// `routes[0].policy.allow.or[0].emial: unknown policy criterion: emial (`email`?)`
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key_path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A value at its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, key_path: &str) -> Node<'a> {
        Node { value, path: key_path.to_owned() }
    }

    // A value with a tag is none of these: the meaning of the tag is not known.

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        text(self.value)
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.value, Value::Mapping(_))
    }

    /// The elements of a list; none of anything else.
    pub(super) fn items(&self) -> Vec<Node<'a>> {
        let Value::Sequence(items) = self.value else { return Vec::new() };
        let node = |(index, value)| Node { value, path: format!("{}[{index}]", self.path) };
        items.iter().enumerate().map(node).collect()
    }

    /// The entries of a mapping; none of anything else. Keys that are no texts are reported.
    pub(super) fn entries(&self, errors: &mut Errors) -> Vec<(&'a str, Node<'a>)> {
        let Value::Mapping(mapping) = self.value else { return Vec::new() };
        let mut entries = Vec::new();
        for (key, value) in mapping {
            match text(key) {
                Some(name) => {
                    entries.push((name, Node { value, path: format!("{}.{name}", self.path) }));
                }
                None => errors.add(self, "has a key that is not a string"),
            }
        }
        entries
    }

    /// The type of the value, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Tagged(_) => "a value with a tag",
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The mistakes so far.
#[derive(Default)]
pub(super) struct Errors(Vec<PolicyError>);

impl Errors {
    pub(super) fn add(&mut self, at: &Node<'_>, message: impl Into<String>) {
        self.push(at, message.into(), None);
    }

    pub(super) fn add_with_hint(
        &mut self,
        at: &Node<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(at, message.into(), Some(hint.into()));
    }

    /// Reports an unknown name, with the known name that was probably meant.
    pub(super) fn add_unknown(
        &mut self,
        at: &Node<'_>,
        message: String,
        name: &str,
        known: &[&'static str],
    ) {
        let hint = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("`{near}`?"),
            None => format!("one of {}", known.join(", ")),
        };
        self.push(at, message, Some(hint));
    }

    /// `parsed` if there was no mistake.
    pub(super) fn or<T>(self, parsed: T) -> Result<T, Vec<PolicyError>> {
        if self.0.is_empty() { Ok(parsed) } else { Err(self.0) }
    }

    fn push(&mut self, at: &Node<'_>, message: String, hint: Option<String>) {
        self.0.push(PolicyError { key_path: at.path.clone(), message, hint });
    }
}
