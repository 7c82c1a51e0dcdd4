//! The headers of every page.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};

use super::page::STYLE;

/// For pages without a form and for those with one.
static POLICIES: LazyLock<[Option<HeaderValue>; 2]> =
    LazyLock::new(|| ["'none'", "'self'"].map(content_security_policy));

/// Adds the headers of a page, all but those about caching.
pub(super) fn insert(headers: &mut HeaderMap, has_form: bool) {
    let policy = POLICIES[usize::from(has_form)].clone();
    // A value that cannot be made blocks everything, the style too.
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    // Chromium sends `Origin: null` with a form of a page that has `no-referrer`.
    let referrer = if has_form { "same-origin" } else { "no-referrer" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn content_security_policy(form_action: &str) -> Option<HeaderValue> {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let style = STANDARD.encode(digest);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; \
         frame-ancestors 'none'; form-action {form_action}"
    );
    HeaderValue::from_str(&policy).ok()
}
