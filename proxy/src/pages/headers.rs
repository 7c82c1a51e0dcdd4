//! The headers of every page.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};

use super::{branding::Branding, page::STYLE};

static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| style_source(STYLE));

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

/// What the policy of a page depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSecurity<'a> {
    pub(super) page_use: PageUse,
    /// The origin that the answer to its form redirects to: browsers look at that, too.
    pub(super) form_leads_to: Option<&'a str>,
    /// It is about an error, so that it shows images of the branding.
    pub(super) is_error: bool,
    pub(super) branding: &'a Branding,
}

/// Adds the headers of a page, all but those about caching.
pub(super) fn insert(headers: &mut HeaderMap, security: PageSecurity<'_>) {
    let policy = HeaderValue::from_str(&security.content_security_policy());
    // A value that cannot be made blocks everything, the style too.
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    // Chromium sends `Origin: null` with a form of a page that has `no-referrer`.
    let has_form = security.page_use == PageUse::Form;
    let referrer = if has_form { "same-origin" } else { "no-referrer" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

impl PageSecurity<'_> {
    fn content_security_policy(self) -> String {
        let (styles, images) = self.branding.sources(self.is_error);
        let style = &*STYLE_SOURCE;
        let ancestors = match self.page_use {
            PageUse::Read | PageUse::Form => "frame-ancestors 'none'; ",
            PageUse::Framed => "",
        };
        let action = match (self.page_use, self.form_leads_to.and_then(source)) {
            (_, Some(source)) => format!("'self' {source}"),
            (PageUse::Form, None) => "'self'".to_owned(),
            (PageUse::Read | PageUse::Framed, None) => "'none'".to_owned(),
        };
        format!(
            "default-src 'none'; style-src {style}{styles}; {images}base-uri 'none'; \
             {ancestors}form-action {action}"
        )
    }
}

/// An origin as a source expression (Content Security Policy Level 3), which has no form for the address
/// of an IPv6 host.
fn source(origin: &str) -> Option<&str> {
    let is_address = origin.contains('[');
    let source = if is_address { origin.split_inclusive(':').next()? } else { origin };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    source.bytes().all(is_plain).then_some(source)
}

/// The source expression of an inline style: its digest.
pub(crate) fn style_source(style: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(digest))
}
