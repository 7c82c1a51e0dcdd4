//! The addresses that a page may lead to.

/// An absolute `https` or `http` URL without user information, or an absolute path on the host that
/// shows the page. A browser reads it as leading to the host that it names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PageUrl(Box<str>);

impl PageUrl {
    /// The address, if it is one of the allowed forms: visible ASCII characters alone.
    pub(crate) fn parse(text: &str) -> Option<PageUrl> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && (is_path(text) || is_absolute(text))).then(|| PageUrl(text.into()))
    }

    /// The text of the URL.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Queries hold sealed parameters.
impl std::fmt::Debug for PageUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.0.split(['?', '#']).next().unwrap_or_default();
        write!(f, "PageUrl({shown})")
    }
}

/// An absolute `https` URL of an image, whose host is a name or an IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageUrl {
    url: Box<str>,
    /// Of the URL, where the origin ends.
    origin_end: usize,
}

impl ImageUrl {
    /// The URL, if it is one: visible ASCII characters alone.
    pub(crate) fn parse(text: &str) -> Option<ImageUrl> {
        const SCHEME: &str = "https://";
        let rest = text.strip_prefix(SCHEME)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        // A source expression has no form for the address of an IPv6 host, and no user.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let is_host = !authority.is_empty() && authority.bytes().all(is_plain);
        (visible && is_host)
            .then(|| ImageUrl { url: text.into(), origin_end: SCHEME.len() + authority.len() })
    }

    /// The text of the URL.
    pub(super) fn as_str(&self) -> &str {
        &self.url
    }

    /// Its scheme, host and port: a source expression of Content Security Policy.
    pub(super) fn origin(&self) -> &str {
        self.url.get(..self.origin_end).unwrap_or_default()
    }
}

/// `/path`; browsers read `//host` and `/\host` as another host.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\")
}

fn is_absolute(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !authority.is_empty() && authority.bytes().all(of_a_host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_paths_and_web_addresses_are_links() {
        for good in [
            "/",
            "/a/b?c=https://x/&d#e",
            "https://a.example.com",
            "https://a.example.com:8443/x'\"<>?y",
            "http://127.0.0.1:9400/auth?x=1",
            "https://[::1]:8443/",
        ] {
            assert_eq!(PageUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a",
            "//evil",
            "/\\evil",
            "\\evil",
            "javascript:alert(1)",
            "data:text/html,x",
            "HTTPS://a",
            "https:evil",
            "https:///evil",
            "https://",
            "https://a@evil/",
            "https://a\\@evil/",
            "https://a\\evil/",
            "/a b",
            "/a\n",
            "/é",
        ] {
            assert_eq!(PageUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_query_of_an_address_is_not_shown_in_debug_output() {
        let url = PageUrl::parse("https://a/b?code=secret").unwrap();
        assert_eq!(format!("{url:?}"), "PageUrl(https://a/b)");
    }

    #[test]
    fn an_image_comes_over_tls_from_a_host_with_a_name() {
        let url = ImageUrl::parse("https://cdn.example.com:8443/a/logo.svg?v=2#x").unwrap();
        assert_eq!(url.origin(), "https://cdn.example.com:8443");
        assert_eq!(ImageUrl::parse("https://a.example").unwrap().origin(), "https://a.example");
        for bad in [
            "",
            "/logo.png",
            "http://a.example/logo.png",
            "data:image/png;base64,xx",
            "https://",
            "https:///x",
            "https://a b/x",
            "https://a;script-src *",
            "https://u@a/x",
            "https://[::1]/x",
            "https://a/x y",
            "https://a/\u{e9}",
        ] {
            assert_eq!(ImageUrl::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_origin_adds_no_directive(text in "https://[ -~]{0,40}") {
            if let Some(url) = ImageUrl::parse(&text) {
                prop_assert!(!url.origin().contains([';', ',', ' ', '\'', '*']), "{}", text);
            }
        }

        #[test]
        fn no_address_makes_it_panic(text in "\\PC{0,40}|https?://[a-z@:\\\\/?#\\[\\]]{0,20}") {
            let _ = (PageUrl::parse(&text), ImageUrl::parse(&text));
        }
    }
}
