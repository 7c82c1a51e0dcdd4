//! Log records of requests and of failed connections.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    AccessField, CertificateSummary, HttpProtocol, Level, LogSpec, TlsVersion, labels::Label,
    log::Line,
};

/// The status of a request on a connection for another name (RFC 9110 section 15.5.20).
const MISDIRECTED: u16 = 421;

/// The access log record of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestRecord<'a> {
    /// The client's address, perhaps from a trusted proxy; as Envoy's
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`.
    pub client: IpAddr,
    /// The peer's address, if it is appended to `X-Forwarded-For`.
    pub appended_for: Option<IpAddr>,
    /// The SNI of the client's connection.
    pub server_name: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The requested host and port.
    pub authority: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The text after the `?`.
    pub query: Option<&'a str>,
    /// The request's headers as [`WorkerObserver::capture`](super::WorkerObserver::capture) found
    /// them before they were changed.
    pub headers: &'a CapturedHeaders,
    /// Our own, or the one from the client.
    pub request_id: &'a str,
    /// Of the response; 0 when none was sent.
    pub status: u16,
    /// The reason for this response, in Envoy's words: `via_upstream`, `route_not_found`, or the
    /// internal reason of a failure.
    pub response_code_details: &'a str,
    /// Envoy's letters: `UF`, `UC`, `UT`, `DC`, …; empty when all went well.
    pub response_flags: &'a str,
    /// Name of the route; empty when none matched.
    pub route: &'a str,
    /// Name of the cluster; empty when nothing was forwarded.
    pub upstream_cluster: &'a str,
    /// The upstream's address; empty when nothing was forwarded.
    pub upstream_address: &'a str,
    /// How often the request was sent to an upstream.
    pub upstream_attempts: u8,
    /// Bytes of the request body received.
    pub bytes_received: u64,
    /// Bytes of the response body sent.
    pub bytes_sent: u64,
    /// From the end of the request's head to the end of the response.
    pub duration: Duration,
    /// The HTTP version of the client.
    pub protocol: HttpProtocol,
    /// The TLS version of the client's connection; `None` without TLS.
    pub tls_version: Option<TlsVersion>,
    /// The certificate the client presented.
    pub client_certificate: Option<&'a CertificateSummary>,
    /// The user whom the request is from, if one is known.
    pub user: Option<UserRecord<'a>>,
    /// The reasons of the route's policy; `None` if they are not logged.
    pub policy: Option<PolicyRecord<'a>>,
}

/// A user, in the words of Pomerium's authorize log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserRecord<'a> {
    /// The id at the identity provider, or by a client certificate or a bearer token.
    pub id: &'a str,
    /// The address; empty if there is none.
    pub email: &'a str,
    /// The id of the session; `None` for users who did not sign in.
    pub session_id: Option<&'a str>,
}

/// The result of a policy, in the words of Pomerium's authorize log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyRecord<'a> {
    /// The request was served.
    pub served: bool,
    /// An allow rule matches.
    pub allow: bool,
    /// The reasons: `email-unauthorized`.
    pub allow_why: &'a [&'a str],
    /// A deny rule matches.
    pub deny: bool,
    /// The reasons: `client-certificate-required`.
    pub deny_why: &'a [&'a str],
    /// Where the rule stands that refused the request: `routes[3].policy[0].deny`.
    pub refusing_rule: Option<&'a str>,
}

impl RequestRecord<'_> {
    /// A failure of an upstream is a warning.
    pub(super) fn level(&self) -> Level {
        match self.response_flags {
            "UF" | "UC" | "UH" | "UO" | "UPE" | "UT" => Level::Warn,
            _ => Level::Info,
        }
    }

    pub(super) fn write(&self, line: &mut Line<'_>, worker: usize, fields: &[AccessField]) {
        for field in fields {
            self.write_field(line, worker, field);
        }
        self.write_user(line, fields);
        if let Some(policy) = &self.policy {
            self.write_policy(line, policy);
        }
        self.write_evidence(line, fields);
    }

    /// A refusal is logged with what it was judged by, whichever fields are configured.
    fn write_evidence(&self, line: &mut Line<'_>, fields: &[AccessField]) {
        let is_refused = self.policy.as_ref().is_some_and(|policy| !policy.served);
        let evidence: &[AccessField] = match (is_refused, self.status) {
            (true, _) => &[AccessField::ClientCertificate, AccessField::Ip, AccessField::Route],
            (false, MISDIRECTED) => &[AccessField::TlsServerName, AccessField::Ip],
            (false, _) => &[],
        };
        for field in evidence.iter().filter(|field| !fields.contains(field)) {
            self.write_field(line, 0, field);
        }
    }

    /// A known user is logged, whichever fields are configured.
    fn write_user(&self, line: &mut Line<'_>, fields: &[AccessField]) {
        let Some(user) = &self.user else { return };
        let mut add = |field, key, value| {
            if !fields.contains(&field) {
                line.text(key, value);
            }
        };
        add(AccessField::User, "user", user.id);
        add(AccessField::Email, "email", user.email);
        if let Some(session_id) = user.session_id {
            add(AccessField::SessionId, "session-id", session_id);
        }
    }

    fn write_policy(&self, line: &mut Line<'_>, policy: &PolicyRecord<'_>) {
        let why = |value, yes, no| if value { yes } else { no };
        line.list(why(policy.allow, "allow-why-true", "allow-why-false"), policy.allow_why);
        line.list(why(policy.deny, "deny-why-true", "deny-why-false"), policy.deny_why);
        if let Some(rule) = policy.refusing_rule {
            line.text("policy-rule", rule);
        }
    }

    fn write_field(&self, line: &mut Line<'_>, worker: usize, field: &AccessField) {
        match field {
            AccessField::Authority => line.text("authority", self.authority),
            AccessField::BytesReceived => line.number("bytes-received", self.bytes_received),
            AccessField::ClientCertificate => {
                if let Some(certificate) = self.client_certificate {
                    line.certificate("client-certificate", certificate);
                }
            }
            AccessField::ClusterStatName => line.text("cluster-stat-name", self.upstream_cluster),
            AccessField::Duration => line.number("duration", milliseconds(self.duration)),
            AccessField::ForwardedFor => self.write_forwarded_for(line),
            AccessField::Header(name) => self.write_header(line, name),
            AccessField::Ip => line.shown("ip", format_args!("{}", self.client.to_canonical())),
            AccessField::Method => line.text("method", self.method),
            AccessField::Path => line.text("path", self.path),
            AccessField::Protocol => line.text("protocol", self.protocol.as_str()),
            AccessField::Query => line.text("query", self.query.unwrap_or_default()),
            AccessField::Referer => line.bytes("referer", self.headers.referer_without_query()),
            AccessField::RequestId => line.text("request-id", self.request_id),
            AccessField::ResponseCode => line.number("response-code", self.status),
            AccessField::ResponseCodeDetails => {
                line.text("response-code-details", self.response_code_details);
            }
            AccessField::ResponseFlags => line.text("response-flags", self.response_flags),
            AccessField::Route => line.text("route", self.route),
            AccessField::Size => line.number("size", self.bytes_sent),
            AccessField::TlsServerName => {
                line.text("tls-server-name", self.server_name.unwrap_or_default());
            }
            AccessField::TlsVersion => {
                line.text("tls-version", self.tls_version.map_or("", Label::as_str));
            }
            AccessField::UpstreamAddress => line.text("upstream-address", self.upstream_address),
            AccessField::UpstreamAttempts => {
                line.number("upstream-request-attempt-count", self.upstream_attempts);
            }
            AccessField::UpstreamCluster => line.text("upstream-cluster", self.upstream_cluster),
            AccessField::UserAgent => header(line, "user-agent", &self.headers.user_agent),
            AccessField::Worker => line.number("worker", worker),
            AccessField::User => line.text("user", self.user.map_or("", |user| user.id)),
            AccessField::Email => line.text("email", self.user.map_or("", |user| user.email)),
            AccessField::SessionId => {
                let id = self.user.and_then(|user| user.session_id);
                line.text("session-id", id.unwrap_or_default());
            }
        }
    }

    /// As upstreams get it, and as Envoy logs it.
    fn write_forwarded_for(&self, line: &mut Line<'_>) {
        let key = "forwarded-for";
        let received = self.headers.forwarded_for.as_ref();
        let received = received.map(|value| String::from_utf8_lossy(end_of(value.as_bytes())));
        match (received.filter(|list| !list.is_empty()), self.appended_for) {
            (Some(list), Some(peer)) => {
                line.shown(key, format_args!("{list}, {}", peer.to_canonical()));
            }
            (Some(list), None) => line.text(key, &list),
            (None, Some(peer)) => line.shown(key, format_args!("{}", peer.to_canonical())),
            (None, None) => line.text(key, ""),
        }
    }

    fn write_header(&self, line: &mut Line<'_>, name: &HeaderName) {
        let key = format!("headers.{name}");
        match self.headers.others.iter().find(|(other, _)| other == name) {
            Some((_, value)) if value.is_sensitive() => line.text(&key, "[redacted]"),
            Some((_, value)) => line.bytes(&key, value.as_bytes()),
            None => line.text(&key, ""),
        }
    }
}

/// The end of a long list: a value has at most 4096 characters in the log, and the last addresses are
/// those that count.
fn end_of(list: &[u8]) -> &[u8] {
    const MOST_BYTES: usize = 3900;
    list.get(list.len().saturating_sub(MOST_BYTES)..).unwrap_or(list)
}

fn header(line: &mut Line<'_>, key: &str, value: &Option<HeaderValue>) {
    line.bytes(key, value.as_ref().map(HeaderValue::as_bytes).unwrap_or_default());
}

/// Milliseconds, to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// The headers of a request that the access log needs. Values are shared, not copied.
#[derive(Debug, Clone, Default)]
pub(crate) struct CapturedHeaders {
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
    others: Vec<(HeaderName, HeaderValue)>,
}

impl CapturedHeaders {
    pub(super) fn new(headers: &HeaderMap, spec: &LogSpec) -> CapturedHeaders {
        let mut captured = CapturedHeaders {
            referer: headers.get(header::REFERER).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            forwarded_for: headers.get("x-forwarded-for").cloned(),
            others: Vec::new(),
        };
        for field in &spec.access_fields {
            let AccessField::Header(name) = field else { continue };
            let Some(value) = headers.get(name) else { continue };
            let mut value = value.clone();
            if is_secret(name) || *name == header::REFERER && !is_harmless(&value) {
                value.set_sensitive(true);
            }
            captured.others.push((name.clone(), value));
        }
        captured
    }

    /// A query may contain a token, so it is left out here as it is from `path`.
    fn referer_without_query(&self) -> &[u8] {
        let referer = self.referer.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        referer.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
    }
}

/// Headers that contain credentials, which are redacted whatever the configuration logs.
fn is_secret(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION
        || *name == header::PROXY_AUTHORIZATION
        || *name == header::COOKIE
        || matches!(name.as_str(), "x-pomerium-authorization" | "x-pomerium-jwt-assertion")
}

/// Whether a `Referer` holds no parameter of a sign-in. Our pages with forms name themselves to their
/// own host.
fn is_harmless(referer: &HeaderValue) -> bool {
    let Ok(url) = referer.to_str() else { return false };
    let target = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, target)| target),
        None => url,
    };
    !is_about_sign_in(target)
}

/// Whether a path is one of sign-in, so that its query may hold what signs somebody in.
pub(crate) fn is_about_sign_in(path: &str) -> bool {
    path.contains("pomerium") || path.contains("oauth2/callback")
}

/// The log record of a failed connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionRecord<'a> {
    /// [`Level::Debug`] if nothing is wrong.
    pub level: Level,
    /// The client's address.
    pub peer: SocketAddr,
    /// The server name as the client sent it.
    pub sni: Option<&'a [u8]>,
    /// The reason, in words for an operator.
    pub reason: &'a str,
    /// The alert that was sent, by its RFC 8446 name; `None` when none was.
    pub alert: Option<&'a str>,
    /// The negotiated version, if any.
    pub tls_version: Option<TlsVersion>,
    /// The certificate the client presented.
    pub client_certificate: Option<&'a CertificateSummary>,
}

impl ConnectionRecord<'_> {
    /// Pomerium's message for this record.
    pub(super) const MESSAGE: &'static str = "listener connection failure";

    pub(super) fn write(&self, line: &mut Line<'_>, worker: usize) {
        line.shown("ip", format_args!("{}", self.peer.ip().to_canonical()));
        line.number("port", self.peer.port());
        if let Some(sni) = self.sni {
            line.bytes("tls-sni-hostname", sni);
        }
        line.text("downstream-transport-failure-reason", self.reason);
        if let Some(alert) = self.alert {
            line.text("alert", alert);
        }
        if let Some(version) = self.tls_version {
            line.text("tls-version", version.as_str());
        }
        if let Some(certificate) = self.client_certificate {
            line.certificate("client-certificate", certificate);
        }
        line.number("worker", worker);
    }
}
