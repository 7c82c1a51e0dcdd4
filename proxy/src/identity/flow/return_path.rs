//! Where a sign-in leads back to. Pure.
//!
//! A return path is always sent as an absolute URL of the host that answers, so no form of it
//! (`//evil`, `/\evil`, …) leads to another host.

use std::fmt::Write as _;

use crate::identity::spec::origin;

/// The longest path that is kept, in bytes.
const MAX_LEN: usize = 1024;

/// A path with its query: `/` first, visible ASCII, at most 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnPath(Box<str>);

impl ReturnPath {
    /// The path and query of a request. Without its query where it is too long, or `/`.
    pub(crate) fn of_request(path_and_query: &str) -> ReturnPath {
        let text = escape_non_ascii(path_and_query);
        let path = text.split('?').next().unwrap_or_default();
        ReturnPath::parse(&text)
            .or_else(|| ReturnPath::parse(path))
            .unwrap_or_else(ReturnPath::root)
    }

    /// Reads a path that this type wrote.
    pub(super) fn parse(text: &str) -> Option<ReturnPath> {
        let is_valid = text.starts_with('/')
            && text.len() <= MAX_LEN
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| ReturnPath(text.into()))
    }

    /// `/`
    pub(super) fn root() -> ReturnPath {
        ReturnPath("/".into())
    }

    /// Without the query, or `/` if there is none: for objects that must be short.
    pub(super) fn shorter(&self) -> ReturnPath {
        match self.0.split_once('?') {
            Some((path, _)) => ReturnPath(path.into()),
            None => ReturnPath::root(),
        }
    }

    /// The path and query.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a URL of a host.
    pub(crate) fn absolute(&self, host: &str, port: u16) -> String {
        let mut url = origin(host, port);
        url.push_str(&self.0);
        url
    }
}

/// The port of a return URL: what the request asked for, if it is the route's or one that we listen
/// on. Any other port in `Host` is dropped.
pub(crate) fn return_port(asked: Option<u16>, route: Option<u16>, listen: &[u16]) -> u16 {
    match asked {
        Some(port) if route == Some(port) || listen.contains(&port) => port,
        Some(_) => route.unwrap_or(443),
        None => 443,
    }
}

/// Browsers escape these bytes; other clients may not, and a header cannot hold them.
fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            escaped.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::prelude::*;

    use super::*;

    fn url(path: &str) -> String {
        ReturnPath::of_request(path).absolute("r.example", 443)
    }

    #[test]
    fn no_form_of_a_path_leads_to_another_host() {
        for path in [
            "//evil.example",
            "/\\evil.example",
            "/%5Cevil.example",
            "/%09/evil.example",
            "/;@evil.example",
            "///evil.example",
            "@evil.example",
            ".evil.example",
            ":1@evil.example",
            "https:evil.example",
            "https://evil.example",
            "\\\\evil.example",
            "/\u{3002}evil\u{ff0e}example",
            "/\t/evil.example",
            "/\r\nLocation: https://evil.example",
            "/\0",
            "",
            "?a",
        ] {
            let url = url(path);
            assert!(url.starts_with("https://r.example/"), "{path:?} {url}");
            assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?} {url}");
        }
    }

    #[test]
    fn a_path_that_holds_a_url_comes_back_as_it_was() {
        for path in [
            "/a?next=https://b.example/c?d=e&f=%26&g=h#i",
            "/a?b=%23%26%3D%2F+c&&=",
            "/a;b/%2e%2e/c//d?e?f",
            "/{\"a\":[1]}|`^<>",
        ] {
            assert_eq!(url(path), format!("https://r.example{path}"));
        }
        assert_eq!(url("/\u{e9}"), "https://r.example/%C3%A9");
    }

    #[test]
    fn a_path_that_is_too_long_loses_its_query_then_itself() {
        let (short, long) = ("a".repeat(1000), "a".repeat(1024));
        assert_eq!(url(&format!("/{short}?b=c")), format!("https://r.example/{short}?b=c"));
        assert_eq!(url(&format!("/{short}?{short}")), format!("https://r.example/{short}"));
        assert_eq!(url(&format!("/{long}?b=c")), "https://r.example/");
        assert_eq!(ReturnPath::of_request("/a?b").shorter().as_str(), "/a");
        assert_eq!(ReturnPath::of_request("/a").shorter().as_str(), "/");
    }

    #[test]
    fn the_port_is_kept_if_it_is_ours_and_dropped_otherwise() {
        assert_eq!(return_port(None, None, &[8443]), 443);
        assert_eq!(return_port(None, Some(8443), &[]), 443);
        assert_eq!(return_port(Some(8443), None, &[443, 8443]), 8443);
        assert_eq!(return_port(Some(8443), Some(8443), &[443]), 8443);
        assert_eq!(return_port(Some(9), None, &[8443]), 443);
        assert_eq!(return_port(Some(9), Some(8443), &[443]), 8443);
        assert_eq!(ReturnPath::root().absolute("r.example", 8443), "https://r.example:8443/");
        assert_eq!(ReturnPath::root().absolute("::1", 443), "https://[::1]/");
    }

    proptest! {
        #[test]
        fn any_path_stays_at_its_host(path in "\\PC{0,60}|[/\\\\.@:;%#?a-z\t\r\n]{0,30}") {
            let url = url(&path);
            prop_assert!(url.starts_with("https://r.example/"));
            if let Ok(uri) = url.parse::<Uri>() {
                prop_assert_eq!(uri.authority().unwrap().as_str(), "r.example");
            }
            prop_assert!(http::HeaderValue::from_str(&url).is_ok());
        }
    }
}
