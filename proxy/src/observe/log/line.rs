//! One log record, written field by field as JSON or as text.
//!
//! Values come from the network. Whatever could end a line or a value, drive a terminal or reorder
//! what is shown is escaped in both forms, and a value has an end. So has the record as a whole: once
//! it is long, only the beginning of each further value is written, so that no long value hides the
//! fields behind it.

use std::{
    fmt::{self, Write},
    ops::Range,
};

use super::super::{CertificateSummary, Level, LogFormat, time};

/// The most characters of one value that are written; `…` stands for the rest.
const MAX_VALUE_CHARS: usize = 4096;

/// After this many bytes of a record, values are cut off at [`SHORT_VALUE_CHARS`].
const LONG_RECORD_BYTES: usize = 16 * 1024;
/// Longer than what an operator searches for: ids, addresses, names of routes and users.
const SHORT_VALUE_CHARS: usize = 256;

/// A record under construction.
pub(crate) struct Line<'a> {
    out: &'a mut String,
    /// Where the record begins in `out`.
    start: usize,
    format: LogFormat,
    first: bool,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineForm {
    pub(crate) format: LogFormat,
    /// Each begins with its priority in the form of sd-daemon(3), `<6>`.
    pub(crate) has_priority: bool,
}

impl From<LogFormat> for LineForm {
    /// Without a priority.
    fn from(format: LogFormat) -> LineForm {
        LineForm { format, has_priority: false }
    }
}

impl<'a> Line<'a> {
    /// Begins a record at the end of `out`.
    pub(crate) fn begin(
        out: &'a mut String,
        form: impl Into<LineForm>,
        epoch_ms: i64,
        level: Level,
        message: &str,
    ) -> Line<'a> {
        let LineForm { format, has_priority } = form.into();
        if has_priority {
            out.push_str(level.priority());
        }
        let start = out.len();
        let mut line = Line { out, start, format, first: true };
        if format == LogFormat::Json {
            line.out.push('{');
        }
        line.plain("time", time::rfc3339_ms(epoch_ms));
        line.plain("level", level.as_str());
        line.plain("service", "portcullis");
        line.text("message", message);
        line
    }

    /// Where its time stands in `out`.
    pub(super) fn time(&self) -> Range<usize> {
        let before = match self.format {
            LogFormat::Json => "{\"time\":\"",
            LogFormat::Text => "time=",
        };
        let start = self.start + before.len();
        start..start + time::RFC3339_MS_LEN
    }

    /// Ends the record.
    pub(crate) fn end(self) {
        if self.format == LogFormat::Json {
            self.out.push('}');
        }
        self.out.push('\n');
    }

    /// A text of any content.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.value(value);
    }

    /// Bytes that should be text.
    pub(crate) fn bytes(&mut self, key: &str, value: &[u8]) {
        self.text(key, &String::from_utf8_lossy(value));
    }

    /// What its `Display` or `Debug` form says.
    pub(crate) fn shown(&mut self, key: &str, value: fmt::Arguments<'_>) {
        match value.as_str() {
            Some(text) => self.text(key, text),
            None => self.text(key, &value.to_string()),
        }
    }

    /// A number or a truth value.
    pub(crate) fn number(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        self.push(format_args!("{value}"));
    }

    /// Several texts.
    pub(crate) fn list<T: AsRef<str>>(&mut self, key: &str, values: &[T]) {
        self.key(key);
        match self.format {
            LogFormat::Json => self.array(values),
            LogFormat::Text => {
                let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
                self.value(&values.join(","));
            }
        }
    }

    fn array<T: AsRef<str>>(&mut self, values: &[T]) {
        self.out.push('[');
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                self.out.push(',');
            }
            self.quoted(value.as_ref());
        }
        self.out.push(']');
    }

    /// Issuer, subject and alternative names of a certificate.
    pub(crate) fn certificate(&mut self, key: &str, certificate: &CertificateSummary) {
        match self.format {
            LogFormat::Json => self.certificate_object(key, certificate),
            LogFormat::Text => {
                self.text(&format!("{key}.issuer"), &certificate.issuer);
                self.text(&format!("{key}.subject"), &certificate.subject);
                let names = certificate.subject_alt_names.join(",");
                self.text(&format!("{key}.subjectAltName"), &names);
            }
        }
    }

    fn certificate_object(&mut self, key: &str, certificate: &CertificateSummary) {
        self.key(key);
        self.out.push('{');
        self.first = true;
        self.text("issuer", &certificate.issuer);
        self.text("subject", &certificate.subject);
        self.list("subjectAltName", &certificate.subject_alt_names);
        self.out.push('}');
    }

    /// A value of our own that needs no quotes in text.
    fn plain(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        match self.format {
            LogFormat::Json => self.push(format_args!("\"{value}\"")),
            LogFormat::Text => self.push(format_args!("{value}")),
        }
    }

    fn key(&mut self, key: &str) {
        let separator = if self.format == LogFormat::Json { ',' } else { ' ' };
        if !std::mem::take(&mut self.first) {
            self.out.push(separator);
        }
        match self.format {
            LogFormat::Json => {
                self.quoted(key);
                self.out.push(':');
            }
            LogFormat::Text => {
                self.out.extend(key.chars().map(|c| if is_bare(c) { c } else { '_' }));
                self.out.push('=');
            }
        }
    }

    fn value(&mut self, value: &str) {
        let bare = self.format == LogFormat::Text
            && !value.is_empty()
            && value.len() <= self.most_chars()
            && value.chars().all(is_bare);
        if bare { self.out.push_str(value) } else { self.quoted(value) }
    }

    fn quoted(&mut self, value: &str) {
        self.out.push('"');
        let most = self.most_chars();
        if value.len() <= most && value.bytes().all(is_clear) {
            self.out.push_str(value);
        } else {
            self.escaped_up_to(most, value);
        }
        self.out.push('"');
    }

    fn escaped_up_to(&mut self, most: usize, value: &str) {
        let mut chars = value.chars();
        for char in chars.by_ref().take(most) {
            self.escaped(char);
        }
        if chars.next().is_some() {
            self.out.push('…');
        }
    }

    /// The most characters of the next value.
    fn most_chars(&self) -> usize {
        match self.out.len() - self.start < LONG_RECORD_BYTES {
            true => MAX_VALUE_CHARS,
            false => SHORT_VALUE_CHARS,
        }
    }

    /// As JSON escapes, which text takes over.
    fn escaped(&mut self, char: char) {
        match char {
            '"' | '\\' => self.out.extend(['\\', char]),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            _ if is_hidden(char) => self.push(format_args!("\\u{:04x}", u32::from(char))),
            _ => self.out.push(char),
        }
    }

    fn push(&mut self, what: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail; a `Display` that fails leaves its value short.
        let _ = self.out.write_fmt(what);
    }
}

/// Bytes that stand for themselves between quotes: what nearly every value is made of.
fn is_clear(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Characters of a text value that need no quotes.
fn is_bare(char: char) -> bool {
    char.is_ascii_graphic() && !matches!(char, '"' | '=' | '\\')
}

/// Characters that end a line for some reader, command a terminal, or turn the direction of text
/// (Unicode TR 36). All of them are in the basic plane, so one `\u` escape holds each.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(format: LogFormat, write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut out = String::new();
        let mut line = Line::begin(&mut out, format, 0, Level::Info, "http-request");
        write(&mut line);
        line.end();
        out
    }

    #[test]
    fn a_json_record_begins_with_time_level_service_and_message() {
        assert_eq!(
            line(LogFormat::Json, |line| line.number("size", 7)),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"service\":\"portcullis\",\
             \"message\":\"http-request\",\"size\":7}\n"
        );
    }

    #[test]
    fn a_text_record_quotes_only_what_needs_it() {
        let text = line(LogFormat::Text, |line| {
            line.text("path", "/a?b");
            line.text("agent", "curl 8");
            line.text("referer", "");
            line.text("forged", "x level=error");
        });
        let fields = text.split_once("http-request ").unwrap().1;
        assert_eq!(fields, "path=/a?b agent=\"curl 8\" referer=\"\" forged=\"x level=error\"\n");
    }

    #[test]
    fn a_value_cannot_forge_a_second_record() {
        let forged =
            "x\"}\n{\"level\":\"error\",\"message\":\"forged\"}\r\n\u{1b}[2J\u{9b}2J\u{202e}";
        for format in [LogFormat::Json, LogFormat::Text] {
            let written = line(format, |line| line.text("user-agent", forged));
            assert_eq!(written.matches('\n').count(), 1, "{written}");
            assert!(!written.trim_end().chars().any(is_hidden), "{written}");
        }
    }

    #[test]
    fn a_long_value_is_cut_off() {
        let long = "é".repeat(MAX_VALUE_CHARS + 1);
        for format in [LogFormat::Json, LogFormat::Text] {
            let written = line(format, |line| line.text("path", &long));
            assert_eq!(written.matches('é').count(), MAX_VALUE_CHARS);
            assert!(written.contains("é…\""));
        }
    }

    #[test]
    fn a_long_record_keeps_the_short_values_and_ends() {
        let (long, short) = ("x".repeat(MAX_VALUE_CHARS), "i".repeat(SHORT_VALUE_CHARS));
        for format in [LogFormat::Json, LogFormat::Text] {
            let written = line(format, |line| {
                for _ in 0..100 {
                    line.text("header", &long);
                }
                line.text("request-id", &short);
            });
            assert!(written.contains(&short), "{format:?}");
            let most = LONG_RECORD_BYTES + MAX_VALUE_CHARS + 100 * (SHORT_VALUE_CHARS + 20);
            assert!(written.len() < most, "{format:?}: {} bytes", written.len());
            // The next record in the same buffer has its own bound.
            let mut out = written;
            let mut next = Line::begin(&mut out, format, 0, Level::Info, "m");
            next.text("path", &long);
            next.end();
            assert!(out.ends_with(&format!("{long}\"}}\n")) || out.ends_with(&format!("{long}\n")));
        }
    }

    #[test]
    fn a_certificate_is_an_object_in_json_and_dotted_keys_in_text() {
        let certificate = CertificateSummary {
            issuer: "CN=ca".into(),
            subject: "CN=alice".into(),
            subject_alt_names: vec!["DNS:a".into(), "URI:\"b".into()],
        };
        let json =
            line(LogFormat::Json, |line| line.certificate("client-certificate", &certificate));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["client-certificate"]["subjectAltName"][1], "URI:\"b");
        let text = line(LogFormat::Text, |line| line.certificate("c", &certificate));
        assert!(text.ends_with(
            "c.issuer=\"CN=ca\" c.subject=\"CN=alice\" c.subjectAltName=\"DNS:a,URI:\\\"b\"\n"
        ));
    }

    #[test]
    fn a_list_is_an_array_in_json_and_has_commas_in_text() {
        let json = line(LogFormat::Json, |line| line.list("why", &["a", "\"b"]));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["why"], serde_json::json!(["a", "\"b"]));
        let text = line(LogFormat::Text, |line| line.list("why", &["a", "b"]));
        assert!(text.ends_with(" why=a,b\n"), "{text}");
    }

    proptest! {
        #[test]
        fn every_value_comes_back_from_json(key in "\\PC{1,8}", value in any::<String>()) {
            let key = format!("k{key}");
            let written = line(LogFormat::Json, |line| line.text(&key, &value));
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read[&key].as_str(), Some(&*value));
            prop_assert_eq!(written.lines().count(), 1);
        }

        #[test]
        fn bytes_of_any_kind_make_one_line_of_text(value in any::<Vec<u8>>()) {
            let written = line(LogFormat::Text, |line| line.bytes("k", &value));
            prop_assert_eq!(written.matches('\n').count(), 1);
            prop_assert!(!written.trim_end_matches('\n').chars().any(is_hidden));
        }
    }
}
