//! A mapping of the document, read key by key; what cannot be read is reported and left out, so
//! that one load finds every mistake.
//!
//! Scalars convert as leniently as Pomerium's loader converts them: `"true"` is a flag, `"3"` a
//! number, and a text where a list is wanted is a list with commas.

use std::{borrow::Cow, str::FromStr, time::Duration};

use serde_yaml::{Mapping, Value};

use super::{context::LoadContext, diagnostic::Severity, durations, places::join};

/// One mapping.
#[derive(Clone)]
pub(super) struct Section<'a> {
    context: &'a LoadContext,
    /// `None` is an empty one.
    mapping: Option<&'a Mapping>,
    path: String,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(context: &'a LoadContext, mapping: &'a Mapping) -> Section<'a> {
        Section { context, mapping: Some(mapping), path: String::new() }
    }

    /// Where findings and files go.
    pub(super) fn context(&self) -> &'a LoadContext {
        self.context
    }

    /// The path of this mapping: `routes[0]`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a key in it: `routes[0].to`.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Every key with its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.mapping.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str()?, value)))
    }

    /// Whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether a key is there with nothing in it: a slip, or a template without its variable.
    pub(super) fn is_blank(&self, key: &str) -> bool {
        match self.written(key) {
            Some(Value::Null) => true,
            Some(Value::String(text)) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// What is written under a key, null included.
    pub(super) fn written(&self, key: &str) -> Option<&'a Value> {
        get(self.mapping?, key)
    }

    /// The value as it stands; `None` for null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.written(key).filter(|value| !value.is_null())
    }

    /// A text; empty is the same as absent.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        match scalar_text(value) {
            Some(text) => Some(text.into_owned()).filter(|text| !text.is_empty()),
            None => self.wrong_kind(key, value, "a text"),
        }
    }

    /// A flag, as Go's `strconv.ParseBool` reads it.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        match scalar_text(value).as_deref() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
            Some("") => None,
            _ => self.wrong_kind(key, value, "true or false"),
        }
    }

    /// A whole number of the type's range.
    pub(super) fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        let value = self.value(key)?;
        match scalar_text(value).map(|text| text.trim().parse::<T>()) {
            Some(Ok(number)) => Some(number),
            _ => self.wrong_kind(key, value, "a whole number, in range and not negative"),
        }
    }

    /// A duration in Go's syntax.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let value = self.value(key)?;
        let Some(text) = scalar_text(value) else {
            return self.wrong_kind(key, value, "a duration such as 30s");
        };
        match durations::parse(&text) {
            Ok(duration) => Some(duration),
            Err(problem) => {
                self.error(key, problem);
                None
            }
        }
    }

    /// A list of texts; one text is a list with commas. Absent is empty.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value {
            Value::Sequence(items) => self.texts(key, items),
            _ => match scalar_text(value) {
                Some(text) => text
                    .split(',')
                    .map(|item| item.trim().to_owned())
                    .filter(|item| !item.is_empty())
                    .collect(),
                None => self.wrong_kind(key, value, "a list of strings").unwrap_or_default(),
            },
        }
    }

    fn texts(&self, key: &str, items: &[Value]) -> Vec<String> {
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match scalar_text(item) {
                Some(text) => texts.push(text.into_owned()),
                None => self.error(&format!("{key}[{index}]"), expected("a text", item)),
            }
        }
        texts
    }

    /// A mapping of texts whose keys the user chooses. Absent is empty.
    pub(super) fn map(&self, key: &str) -> Vec<(String, String)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Value::Mapping(mapping) = value else {
            return self.wrong_kind(key, value, "a mapping").unwrap_or_default();
        };
        let mut pairs = Vec::with_capacity(mapping.len());
        for (name, value) in mapping {
            let Some(name) = scalar_text(name) else {
                self.error(key, "has a key that is not a string");
                continue;
            };
            match scalar_text(value) {
                Some(text) => pairs.push((name.into_owned(), text.into_owned())),
                None => self.error(&join(key, &name), expected("a text", value)),
            }
        }
        pairs
    }

    /// One of several names, in Pomerium's way for enumerations: in any case, whole or without any
    /// number of leading words, so that `CODEC_TYPE_HTTP2` is `codec_type_http2` and `http2`.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?.to_uppercase();
        let suffix = format!("_{text}");
        let mut fitting =
            choices.iter().filter(|(name, _)| *name == text || name.ends_with(&suffix));
        if let (Some((_, choice)), None) = (fitting.next(), fitting.next()) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.error_with_hint(
            key,
            format!("`{}` is not an allowed value", text.to_lowercase()),
            format!("one of {}", names.join(", ").to_lowercase()),
        );
        None
    }

    /// A mapping in it whose keys are known.
    pub(super) fn child(&self, key: &str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        match value {
            Value::Mapping(mapping) => Some(self.below(self.path_of(key), Some(mapping))),
            _ => self.wrong_kind(key, value, "a mapping"),
        }
    }

    /// As [`Section::child`], and empty where it is absent, for sections of which every key has a
    /// default.
    pub(super) fn child_or_empty(&self, key: &str) -> Section<'a> {
        self.child(key).unwrap_or_else(|| self.below(self.path_of(key), None))
    }

    /// A list of mappings whose keys are known.
    pub(super) fn children(&self, key: &str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Value::Sequence(items) = value else {
            return self.wrong_kind(key, value, "a list").unwrap_or_default();
        };
        let mut children = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let item_key = format!("{key}[{index}]");
            match item {
                Value::Mapping(mapping) => {
                    children.push(self.below(self.path_of(&item_key), Some(mapping)));
                }
                other => self.error(&item_key, expected("a mapping", other)),
            }
        }
        children
    }

    /// The number of values in a list, to be read by [`Section::each_child`].
    pub(super) fn list_len(&self, key: &str) -> usize {
        match self.value(key) {
            Some(Value::Sequence(items)) => items.len(),
            Some(_) => 0,
            None => self.context.list_len(&self.path_of(key)).unwrap_or(0),
        }
    }

    /// Takes the sections of a list, which may be long: each is there only while it is taken.
    pub(super) fn each_child(&self, key: &str, mut take: impl FnMut(&Section<'_>)) {
        // A variable takes the place of the file's list.
        if !self.has(key) {
            let mut index = 0;
            let read = self.context.read_list(&self.path_of(key), |value| {
                let item_key = format!("{key}[{index}]");
                index += 1;
                match value {
                    Value::Mapping(mapping) => take(&Section {
                        context: self.context,
                        mapping: Some(mapping),
                        path: self.path_of(&item_key),
                    }),
                    other => self.error(&item_key, expected("a mapping", other)),
                }
            });
            if read.is_some() {
                return;
            }
        }
        self.children(key).iter().for_each(take);
    }

    fn below(&self, path: String, mapping: Option<&'a Mapping>) -> Section<'a> {
        Section { context: self.context, mapping, path }
    }

    fn wrong_kind<T>(&self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        self.error(key, expected(wanted, value));
        None
    }

    /// Reports an error at a key of this section.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.context.report(Severity::Error, &self.path_of(key), message, None);
    }

    /// The same, with what to do about it.
    pub(super) fn error_with_hint(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.context.report(Severity::Error, &self.path_of(key), message, Some(hint.into()));
    }

    /// Reports a warning at a key of this section.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.context.report(Severity::Warning, &self.path_of(key), message, None);
    }

    /// The same, with what to do about it.
    pub(super) fn warn_with_hint(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.context.report(Severity::Warning, &self.path_of(key), message, Some(hint.into()));
    }
}

/// The value of a key. A route is asked for some sixty keys and has a few: comparing names is quicker
/// than hashing them.
fn get<'a>(mapping: &'a Mapping, key: &str) -> Option<&'a Value> {
    const FEW: usize = 16;
    if mapping.len() > FEW {
        return mapping.get(key);
    }
    let is_it = |name: &Value| matches!(name, Value::String(name) if name == key);
    mapping.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value)
}

/// A scalar as it would be written; `None` for what is not one.
pub(super) fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// "expected a text, found a list". The value itself is not shown: it may be a secret.
fn expected(wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a value with a YAML tag",
    };
    format!("expected {wanted}, found {found}")
}
