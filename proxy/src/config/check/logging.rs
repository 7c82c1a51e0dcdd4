//! Log settings.

use super::super::section::Section;
use crate::observe::{AccessField, Level, LogFormat, LogSpec, UnknownAccessField};

/// `log_level`, `proxy_log_level`, `access_log_fields` and `portcullis.log_format`.
pub(super) fn log(root: &Section<'_>, own: &Section<'_>) -> LogSpec {
    let level = level(root, "log_level").unwrap_or(Level::Info);
    let requests = self::level(root, "proxy_log_level").unwrap_or(level);
    let formats = [("JSON", LogFormat::Json), ("TEXT", LogFormat::Text)];
    LogSpec {
        level,
        format: own.choice("log_format", &formats).unwrap_or(LogFormat::Json),
        access: requests,
        access_fields: access_fields(root),
    }
}

fn level(root: &Section<'_>, key: &str) -> Option<Level> {
    let choices = [
        ("TRACE", Level::Trace),
        ("DEBUG", Level::Debug),
        ("INFO", Level::Info),
        ("WARN", Level::Warn),
        ("WARNING", Level::Warn),
        ("ERROR", Level::Error),
        ("CRITICAL", Level::Error),
        ("FATAL", Level::Error),
        ("PANIC", Level::Error),
        ("OFF", Level::Off),
        ("NONE", Level::Off),
        ("DISABLED", Level::Off),
    ];
    root.choice(key, &choices)
}

fn access_fields(root: &Section<'_>) -> Vec<AccessField> {
    let key = "access_log_fields";
    if !root.has(key) {
        return AccessField::DEFAULT.to_vec();
    }
    let mut fields = Vec::new();
    for name in root.list(key) {
        match name.parse() {
            Ok(field) => fields.push(field),
            Err(UnknownAccessField) => {
                root.warn(key, format!("`{name}` is not a known field and is left out"))
            }
        }
    }
    fields
}
