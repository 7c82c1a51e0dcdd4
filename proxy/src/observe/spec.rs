//! What this room needs to be told.

use http::HeaderName;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// The least severe level shown.
    pub level: Level,
    /// JSON, one object a line, or text.
    pub format: LogFormat,
    /// Write a record for each request (`proxy_log_level` is `info` or lower).
    pub access: bool,
    /// Fields of an access record, in order.
    pub access_fields: Vec<AccessField>,
}

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Trace,
    /// For finding faults.
    Debug,
    /// What an operator follows.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
    /// Nothing.
    Off,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// A field of an access record, named as in Pomerium's `access_log_fields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessField {
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
}
