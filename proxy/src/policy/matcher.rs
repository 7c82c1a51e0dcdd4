//! Matchers of strings.

/// Matches a text if all conditions do. Case-sensitive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StringMatcher {
    conditions: Vec<Condition>,
}

/// One operator with its operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Is(Box<str>),
    Not(Box<str>),
    Contains(Box<str>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    In(TextSet),
    NotIn(TextSet),
}

impl StringMatcher {
    pub(super) fn new(conditions: Vec<Condition>) -> StringMatcher {
        StringMatcher { conditions }
    }

    /// Matches only this text.
    pub(super) fn is(text: &str) -> StringMatcher {
        StringMatcher::new(vec![Condition::Is(text.into())])
    }

    /// Matches each of the texts.
    pub(super) fn one_of(texts: impl IntoIterator<Item = Box<str>>) -> StringMatcher {
        StringMatcher::new(vec![Condition::In(texts.into_iter().collect())])
    }

    /// The texts that match, if the matcher is a plain list of them.
    pub(super) fn constants(&self) -> Option<&[Box<str>]> {
        match self.conditions.as_slice() {
            [Condition::Is(text)] => Some(std::slice::from_ref(text)),
            [Condition::In(set)] => Some(&set.0),
            _ => None,
        }
    }

    /// What must hold.
    pub(super) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Whether it asks for the empty text.
    pub(super) fn asks_for_nothing(&self) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Is(text) => text.is_empty(),
            Condition::In(set) => set.contains(""),
            _ => false,
        })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.conditions.iter().all(|condition| condition.matches(text))
    }

    /// Matches the names of a certificate as Pomerium does: each condition needs one matching name, so
    /// two conditions may match two names; only `not_in` must match all names.
    pub(super) fn matches_some_of(&self, texts: &[Box<str>]) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::NotIn(_) => texts.iter().all(|text| condition.matches(text)),
            _ => texts.iter().any(|text| condition.matches(text)),
        })
    }
}

impl Condition {
    fn matches(&self, text: &str) -> bool {
        match self {
            Condition::Is(wanted) => text == &**wanted,
            Condition::Not(unwanted) => text != &**unwanted,
            Condition::Contains(part) => text.contains(&**part),
            Condition::StartsWith(start) => text.starts_with(&**start),
            Condition::EndsWith(end) => text.ends_with(&**end),
            Condition::In(set) => set.contains(text),
            Condition::NotIn(set) => !set.contains(text),
        }
    }
}

/// A sorted set of texts: a look-up among a thousand users takes ten comparisons.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextSet(Vec<Box<str>>);

impl TextSet {
    /// Its texts, in order.
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.0
    }

    fn contains(&self, text: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(text)).is_ok()
    }
}

impl FromIterator<Box<str>> for TextSet {
    fn from_iter<I: IntoIterator<Item = Box<str>>>(texts: I) -> TextSet {
        let mut texts: Vec<Box<str>> = texts.into_iter().collect();
        texts.sort_unstable();
        texts.dedup();
        TextSet(texts)
    }
}
