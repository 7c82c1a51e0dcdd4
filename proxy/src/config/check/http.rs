//! Settings of all requests.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{super::section::Section, branding, headers, identity, portcullis};
use crate::{
    http::{EscapedSlashes, ForwardedFor, RequestSettings, Underscores, is_forwarding_name},
    policy::SanKind,
    upstream::{DnsFamily, DnsSpec},
};

/// Settings of all requests; `tls` says whether clients connect over TLS, and
/// `certificate_identity` which name of their certificates identifies users.
pub(super) fn settings(
    root: &Section<'_>,
    own: &Section<'_>,
    tls: bool,
    certificate_identity: Option<SanKind>,
) -> RequestSettings {
    RequestSettings {
        read_timeout: limit(root, "timeout_read", Some(Duration::from_secs(30))),
        stream_timeout: limit(root, "timeout_write", None),
        upstream_timeout: upstream_timeout(root),
        max_headers: portcullis::max_headers(own),
        max_response_headers: portcullis::max_response_headers(own),
        normalize_path: root.flag("normalize_path").unwrap_or(true),
        merge_slashes: root.flag("merge_slashes").unwrap_or(true),
        escaped_slashes: escaped_slashes(root),
        underscores: underscores(root),
        forwarded_for: ForwardedFor {
            skip_append: root.flag("skip_xff_append").unwrap_or(false),
            trusted_hops: root.number("xff_num_trusted_hops").unwrap_or(0),
        },
        passed_forwarding: passed_forwarding(own),
        response_headers: response_headers(root, tls),
        identity_headers: identity::stripped_names(root),
        certificate_identity,
        policy_list_len: root.list_len("policy"),
        branding: Arc::new(branding::branding(root)),
    }
}

/// A duration; zero means no limit.
pub(super) fn limit(
    section: &Section<'_>,
    key: &str,
    default: Option<Duration>,
) -> Option<Duration> {
    match section.duration(key) {
        Some(duration) => Some(duration).filter(|duration| !duration.is_zero()),
        None => default,
    }
}

/// `default_upstream_timeout`, the default of routes.
pub(super) fn upstream_timeout(root: &Section<'_>) -> Option<Duration> {
    limit(root, "default_upstream_timeout", Some(Duration::from_secs(30)))
}

/// `dns_lookup_family`.
pub(super) fn dns(root: &Section<'_>) -> DnsSpec {
    let choices = [
        ("AUTO", DnsFamily::Auto),
        ("V4_ONLY", DnsFamily::V4Only),
        ("V6_ONLY", DnsFamily::V6Only),
        ("V4_PREFERRED", DnsFamily::V4Preferred),
        ("ALL", DnsFamily::All),
    ];
    let family = root.choice("dns_lookup_family", &choices);
    DnsSpec { family: family.unwrap_or(DnsFamily::V4Preferred) }
}

fn escaped_slashes(root: &Section<'_>) -> EscapedSlashes {
    let choices = [
        ("REJECT_REQUEST", EscapedSlashes::Reject),
        ("KEEP_UNCHANGED", EscapedSlashes::Keep),
        ("UNESCAPE_AND_REDIRECT", EscapedSlashes::Redirect),
        ("UNESCAPE_AND_FORWARD", EscapedSlashes::Unescape),
    ];
    let key = "path_with_escaped_slashes_action";
    root.choice(key, &choices).unwrap_or(EscapedSlashes::Reject)
}

fn underscores(root: &Section<'_>) -> Underscores {
    let choices = [
        ("REJECT_REQUEST", Underscores::Reject),
        ("ALLOW", Underscores::Allow),
        ("DROP_HEADER", Underscores::Drop),
    ];
    let key = "headers_with_underscores_action";
    root.choice(key, &choices).unwrap_or(Underscores::Reject)
}

/// `portcullis.pass_forwarding_headers`: only names that are removed otherwise.
fn passed_forwarding(own: &Section<'_>) -> Vec<HeaderName> {
    let key = "pass_forwarding_headers";
    let mut names = Vec::new();
    for text in own.list(key) {
        match HeaderName::from_bytes(text.trim().as_bytes()) {
            Ok(name) if is_forwarding_name(name.as_str()) => names.push(name),
            _ => {
                let message =
                    format!("`{}` is not a header that can be passed on", text.escape_debug());
                let hint = "write names such as X-Real-IP or X-Forwarded-Port";
                own.error_with_hint(key, message, hint);
            }
        }
    }
    names
}

/// A configured value replaces Pomerium's defaults as a whole.
fn response_headers(root: &Section<'_>, tls: bool) -> Vec<(HeaderName, HeaderValue)> {
    if root.has("set_response_headers") {
        let rules = headers::set_response_headers(root);
        return if rules.disable { Vec::new() } else { rules.set };
    }
    let mut defaults = vec![
        (http::header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
        (http::header::X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
    ];
    if tls {
        let value = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");
        defaults.push((http::header::STRICT_TRANSPORT_SECURITY, value));
    }
    defaults
}
