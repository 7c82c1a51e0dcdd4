//! The headers of every page.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};

use super::page::STYLE;

/// One for each [`PageUse`], in its order.
static POLICIES: LazyLock<[Option<HeaderValue>; 3]> = LazyLock::new(|| {
    let alone = "frame-ancestors 'none'; form-action";
    [format!("{alone} 'none'"), format!("{alone} 'self'"), "form-action 'none'".to_owned()]
        .map(|rest| content_security_policy(&rest))
});

/// What a page may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageUse {
    /// To be read in a window of its own.
    Read,
    /// To send a form of it, too.
    Form,
    /// To be read in a frame of any site: it has nothing to click but a link to a new tab.
    Framed,
}

/// Adds the headers of a page, all but those about caching. `form_leads_to` is the origin that the
/// answer to its form redirects to: browsers look at that, too.
pub(super) fn insert(headers: &mut HeaderMap, page_use: PageUse, form_leads_to: Option<&str>) {
    let policy = match form_leads_to.and_then(source) {
        Some(source) => {
            content_security_policy(&format!("frame-ancestors 'none'; form-action 'self' {source}"))
        }
        None => POLICIES[page_use as usize].clone(),
    };
    // A value that cannot be made blocks everything, the style too.
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    // Chromium sends `Origin: null` with a form of a page that has `no-referrer`.
    let has_form = page_use == PageUse::Form;
    let referrer = if has_form { "same-origin" } else { "no-referrer" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// An origin as a source expression (Content Security Policy Level 3), which has no form for the address
/// of an IPv6 host.
fn source(origin: &str) -> Option<&str> {
    let is_address = origin.contains('[');
    let source = if is_address { origin.split_inclusive(':').next()? } else { origin };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    source.bytes().all(is_plain).then_some(source)
}

fn content_security_policy(rest: &str) -> Option<HeaderValue> {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let style = STANDARD.encode(digest);
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; {rest}");
    HeaderValue::from_str(&policy).ok()
}
