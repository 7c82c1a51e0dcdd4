//! The settings of the log.

use std::str::FromStr;

use http::HeaderName;

/// The settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSpec {
    /// The lowest level that is logged.
    pub level: Level,
    /// JSON, one object a line, or text.
    pub format: LogFormat,
    /// The lowest level of access records that are written (`proxy_log_level`): up to `Info` all, with
    /// `Warn` those of failed upstreams.
    pub access: Level,
    /// Fields of an access record, in order.
    pub access_fields: Vec<AccessField>,
}

impl Default for LogSpec {
    /// Pomerium's defaults.
    fn default() -> Self {
        LogSpec {
            level: Level::Info,
            format: LogFormat::Json,
            access: Level::Info,
            access_fields: AccessField::DEFAULT.to_vec(),
        }
    }
}

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything.
    Trace,
    /// For debugging.
    Debug,
    /// Normal operation.
    Info,
    /// Possible problems.
    Warn,
    /// Failures.
    Error,
    /// Nothing.
    Off,
}

impl Level {
    /// As it stands in a record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Off => "off",
        }
    }

    /// The priority of syslog, as sd-daemon(3) writes it.
    pub(super) fn priority(self) -> &'static str {
        match self {
            Level::Trace | Level::Debug => "<7>",
            Level::Info => "<6>",
            Level::Warn => "<4>",
            Level::Error | Level::Off => "<3>",
        }
    }
}

/// The syntax of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// A field of an access record, named as in Pomerium's `access_log_fields`; those behind
/// `headers.<Name>` are our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessField {
    /// `authority`
    Authority,
    /// `duration`, in milliseconds
    Duration,
    /// `forwarded-for`
    ForwardedFor,
    /// `ip`
    Ip,
    /// `method`
    Method,
    /// `path`
    Path,
    /// `query`
    Query,
    /// `referer`
    Referer,
    /// `request-id`
    RequestId,
    /// `response-code`
    ResponseCode,
    /// `response-code-details`
    ResponseCodeDetails,
    /// `size`, bytes of the response body
    Size,
    /// `upstream-cluster`
    UpstreamCluster,
    /// `user-agent`
    UserAgent,
    /// `client-certificate`: issuer, subject and subjectAltName
    ClientCertificate,
    /// `cluster-stat-name`
    ClusterStatName,
    /// `headers.<Name>`
    Header(HeaderName),
    /// `bytes-received`, bytes of the request body
    BytesReceived,
    /// `protocol`: `h1` or `h2`
    Protocol,
    /// `response-flags`, in Envoy's letters
    ResponseFlags,
    /// `route`
    Route,
    /// `tls-server-name`, the SNI
    TlsServerName,
    /// `tls-version`: `tls12` or `tls13`
    TlsVersion,
    /// `upstream-address`
    UpstreamAddress,
    /// `upstream-request-attempt-count`: how often the request was sent to an upstream
    UpstreamAttempts,
    /// `worker`
    Worker,
    /// `user`: the id of the user
    User,
    /// `email`: the user's address
    Email,
    /// `session-id`: the id of the user's session
    SessionId,
}

impl AccessField {
    /// The fields where the configuration names none: those of Pomerium, and then who came, by which
    /// name, and where the request went.
    pub(crate) const DEFAULT: [AccessField; 16] = [
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
        AccessField::Ip,
        AccessField::TlsServerName,
        AccessField::Route,
        AccessField::UpstreamAddress,
    ];

    /// Every field that has a fixed name, with that name.
    const NAMED: [(AccessField, &str); 28] = [
        (AccessField::Authority, "authority"),
        (AccessField::Duration, "duration"),
        (AccessField::ForwardedFor, "forwarded-for"),
        (AccessField::Ip, "ip"),
        (AccessField::Method, "method"),
        (AccessField::Path, "path"),
        (AccessField::Query, "query"),
        (AccessField::Referer, "referer"),
        (AccessField::RequestId, "request-id"),
        (AccessField::ResponseCode, "response-code"),
        (AccessField::ResponseCodeDetails, "response-code-details"),
        (AccessField::Size, "size"),
        (AccessField::UpstreamCluster, "upstream-cluster"),
        (AccessField::UserAgent, "user-agent"),
        (AccessField::ClientCertificate, "client-certificate"),
        (AccessField::ClusterStatName, "cluster-stat-name"),
        (AccessField::BytesReceived, "bytes-received"),
        (AccessField::Protocol, "protocol"),
        (AccessField::ResponseFlags, "response-flags"),
        (AccessField::Route, "route"),
        (AccessField::TlsServerName, "tls-server-name"),
        (AccessField::TlsVersion, "tls-version"),
        (AccessField::UpstreamAddress, "upstream-address"),
        (AccessField::UpstreamAttempts, "upstream-request-attempt-count"),
        (AccessField::Worker, "worker"),
        (AccessField::User, "user"),
        (AccessField::Email, "email"),
        (AccessField::SessionId, "session-id"),
    ];
}

/// Reads a name of `access_log_fields`; header names in any case.
impl FromStr for AccessField {
    type Err = UnknownAccessField;

    fn from_str(name: &str) -> Result<Self, UnknownAccessField> {
        if let Some(header) = name.strip_prefix("headers.") {
            let header = HeaderName::try_from(header).map_err(|_| UnknownAccessField)?;
            return Ok(AccessField::Header(header));
        }
        let found = AccessField::NAMED.into_iter().find(|(_, known)| *known == name);
        found.map(|(field, _)| field).ok_or(UnknownAccessField)
    }
}

/// No field of an access record has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a field of the access log")]
pub(crate) struct UnknownAccessField;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_the_name_pomerium_gives_it() {
        assert_eq!("forwarded-for".parse(), Ok(AccessField::ForwardedFor));
        assert_eq!("Forwarded-For".parse::<AccessField>(), Err(UnknownAccessField));
        assert_eq!("nonsense".parse::<AccessField>(), Err(UnknownAccessField));
    }

    #[test]
    fn every_field_is_in_the_document_and_the_default_ones_are_marked() {
        let document = include_str!("../../../docs/log.md");
        for (field, name) in AccessField::NAMED {
            let mark = if AccessField::DEFAULT.contains(&field) { " *" } else { "" };
            let row = format!("\n| `{name}`{mark} | ");
            assert!(document.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_header_field_takes_its_name_in_any_case() {
        let field = AccessField::Header(HeaderName::from_static("x-trace-id"));
        assert_eq!("headers.X-Trace-Id".parse(), Ok(field));
        assert_eq!("headers.".parse::<AccessField>(), Err(UnknownAccessField));
        assert_eq!("headers.a b".parse::<AccessField>(), Err(UnknownAccessField));
    }
}
