//! Claims of an identity: finding one by its path, and matching its values.

use serde_json::{Map, Number, Value};

/// Maximum number of segments of a path, as in Pomerium.
const MAX_SEGMENTS: usize = 5;

/// The path of a claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClaimPath {
    /// The whole path is tried as a name first: `https://example.com/groups` is one.
    whole: Box<str>,
    /// Its parts between `/` and `.`; empty if it has one part, or too many.
    segments: Vec<Box<str>>,
}

impl ClaimPath {
    pub(super) fn new(path: &str) -> ClaimPath {
        let mut segments: Vec<Box<str>> = path.split(['/', '.']).map(Box::from).collect();
        if !(2..=MAX_SEGMENTS).contains(&segments.len()) {
            segments.clear();
        }
        ClaimPath { whole: path.into(), segments }
    }

    /// The names at the top of the claims that the path may begin with: the whole path, and its first
    /// part.
    pub(super) fn top_level_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.whole).chain(self.segments.first().map(|first| &**first))
    }

    /// The values of the claim; none if it is missing or has claims below it. A single value is a list
    /// of one.
    pub(super) fn values<'a>(&self, claims: &'a Map<String, Value>) -> &'a [Value] {
        match self.find(claims) {
            Some(Value::Array(values)) => values,
            Some(Value::Object(_)) | None => &[],
            Some(value) => std::slice::from_ref(value),
        }
    }

    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(value) = claims.get(&*self.whole) {
            return Some(value);
        }
        let (last, parents) = self.segments.split_last()?;
        let mut around = claims;
        for name in parents {
            around = around.get(&**name)?.as_object()?;
        }
        around.get(&**last)
    }
}

/// Matches the values of a claim if all conditions do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListMatcher {
    conditions: Vec<ListCondition>,
}

/// One operator with its operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ListCondition {
    /// The value is among them.
    Has(ClaimValue),
    /// The value is the only one.
    Is(ClaimValue),
    /// The value is not among them.
    Exclude(ClaimValue),
}

impl ListMatcher {
    pub(super) fn new(conditions: Vec<ListCondition>) -> ListMatcher {
        ListMatcher { conditions }
    }

    /// What must hold.
    pub(super) fn conditions(&self) -> &[ListCondition] {
        &self.conditions
    }

    pub(super) fn matches(&self, values: &[Value]) -> bool {
        self.conditions.iter().all(|condition| match condition {
            ListCondition::Has(wanted) => wanted.is_among(values),
            ListCondition::Is(wanted) => values.len() == 1 && wanted.is_among(values),
            ListCondition::Exclude(unwanted) => !unwanted.is_among(values),
        })
    }
}

/// A value of a claim. Values of different types are never equal: `"1"` is not 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClaimValue {
    Text(Box<str>),
    Number(Number),
    Flag(bool),
}

impl ClaimValue {
    fn is_among(&self, values: &[Value]) -> bool {
        values.iter().any(|value| self.equals(value))
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (ClaimValue::Text(wanted), Value::String(text)) => **wanted == **text,
            (ClaimValue::Number(wanted), Value::Number(number)) => same_number(wanted, number),
            (ClaimValue::Flag(wanted), Value::Bool(flag)) => wanted == flag,
            _ => false,
        }
    }
}

/// Compares values, not spellings: 1 equals 1.0.
fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}
