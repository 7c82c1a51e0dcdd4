//! What is logged.

use http::HeaderName;

use super::super::section::Section;
use crate::observe::{AccessField, Level, LogFormat, LogSpec};

/// `log_level`, `proxy_log_level`, `access_log_fields` and `portcullis.log_format`.
pub(super) fn log(root: &Section<'_>, own: &Section<'_>) -> LogSpec {
    let level = level(root, "log_level").unwrap_or(Level::Info);
    let requests = self::level(root, "proxy_log_level").unwrap_or(level);
    let formats = [("JSON", LogFormat::Json), ("TEXT", LogFormat::Text)];
    LogSpec {
        level,
        format: own.choice("log_format", &formats).unwrap_or(LogFormat::Json),
        access: requests <= Level::Info,
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
        return default_fields();
    }
    let mut fields = Vec::new();
    for name in root.list(key) {
        match field(&name) {
            Some(field) => fields.push(field),
            None => root.warn(key, format!("`{name}` is not a known field, and left out")),
        }
    }
    fields
}

fn default_fields() -> Vec<AccessField> {
    vec![
        AccessField::UpstreamCluster,
        AccessField::Method,
        AccessField::Authority,
        AccessField::Path,
        AccessField::UserAgent,
        AccessField::Referer,
        AccessField::ForwardedFor,
        AccessField::RequestId,
        AccessField::Duration,
        AccessField::Size,
        AccessField::ResponseCode,
        AccessField::ResponseCodeDetails,
    ]
}

fn field(name: &str) -> Option<AccessField> {
    Some(match name {
        "authority" => AccessField::Authority,
        "client-certificate" => AccessField::ClientCertificate,
        "cluster-stat-name" => AccessField::ClusterStatName,
        "duration" => AccessField::Duration,
        "forwarded-for" => AccessField::ForwardedFor,
        "ip" => AccessField::Ip,
        "method" => AccessField::Method,
        "path" => AccessField::Path,
        "query" => AccessField::Query,
        "referer" => AccessField::Referer,
        "request-id" => AccessField::RequestId,
        "response-code" => AccessField::ResponseCode,
        "response-code-details" => AccessField::ResponseCodeDetails,
        "size" => AccessField::Size,
        "upstream-cluster" => AccessField::UpstreamCluster,
        "user-agent" => AccessField::UserAgent,
        _ => {
            let header = name.strip_prefix("headers.")?;
            AccessField::Header(HeaderName::from_bytes(header.as_bytes()).ok()?)
        }
    })
}
