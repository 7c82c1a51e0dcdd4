//! The targets of redirects.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    request::RequestTarget,
    rewrite::replace_match,
    spec::{RedirectPath, RedirectSpec},
};
use crate::route::PathMatch;

/// The `Location` of a route's redirect. `secure` says whether the client came by HTTPS.
///
/// The request's port is kept only together with its host and scheme; a scheme's default port is left
/// out.
pub(crate) fn location(
    spec: &RedirectSpec,
    target: &RequestTarget,
    matched: &PathMatch,
    secure: bool,
) -> Option<HeaderValue> {
    let own_scheme = if secure { "https" } else { "http" };
    let scheme = spec.scheme.as_deref().unwrap_or(own_scheme);
    let stays = spec.host.is_none() && scheme == own_scheme;
    let host = spec.host.as_deref().unwrap_or(&target.host);
    let port = spec.port.or_else(|| target.port.filter(|_| stays));
    let path = match &spec.path {
        RedirectPath::Keep => target.path().to_owned(),
        RedirectPath::Literal(path) => path.to_string(),
        RedirectPath::Prefix(prefix) => replace_match(target.path(), matched, prefix),
    };
    // A path of the configuration may bring its own query.
    let query = target.query().filter(|_| !spec.strip_query && !path.contains('?'));
    absolute(scheme, host, port, &path, query)
}

/// The same target over HTTPS on the standard port, for the redirect listener.
pub(crate) fn to_https(target: &RequestTarget) -> Option<HeaderValue> {
    absolute("https", &target.host, None, target.path(), target.query())
}

/// The request's own target, normalised.
pub(crate) fn to_itself(target: &RequestTarget, secure: bool) -> Option<HeaderValue> {
    let scheme = if secure { "https" } else { "http" };
    absolute(scheme, &target.host, target.port, target.path(), target.query())
}

fn absolute(
    scheme: &str,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: Option<&str>,
) -> Option<HeaderValue> {
    let standard = if scheme == "https" { 443 } else { 80 };
    let mut url = format!("{scheme}://");
    match host.contains(':') && !host.starts_with('[') {
        true => url.extend(["[", host, "]"]),
        false => url.push_str(host),
    }
    if let Some(port) = port.filter(|port| *port != standard) {
        url.push_str(&format!(":{port}"));
    }
    if !path.starts_with('/') {
        url.push('/');
    }
    url.push_str(path);
    if let Some(query) = query {
        url.extend(["?", query]);
    }
    header(url)
}

fn header(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn target(host: &str, port: Option<u16>, target: &str) -> RequestTarget {
        RequestTarget {
            authority: HeaderValue::from_static("a.example"),
            host: host.into(),
            port,
            path_and_query: target.parse().unwrap(),
        }
    }

    fn keep() -> RedirectSpec {
        RedirectSpec {
            scheme: None,
            host: None,
            port: None,
            path: RedirectPath::Keep,
            status: StatusCode::MOVED_PERMANENTLY,
            strip_query: false,
        }
    }

    fn led(spec: RedirectSpec, from: &RequestTarget) -> String {
        let value = location(&spec, from, &PathMatch::Prefix("/old".into()), true).unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn what_the_rule_does_not_name_is_taken_from_the_request() {
        let from = target("a.example", Some(8443), "/old/x?q=1");
        assert_eq!(led(keep(), &from), "https://a.example:8443/old/x?q=1");
        let host = RedirectSpec { host: Some("b.example".into()), ..keep() };
        assert_eq!(led(host, &from), "https://b.example/old/x?q=1");
        let scheme = RedirectSpec { scheme: Some("http".into()), ..keep() };
        assert_eq!(led(scheme, &from), "http://a.example/old/x?q=1");
        let port = RedirectSpec { port: Some(9443), ..keep() };
        assert_eq!(led(port, &from), "https://a.example:9443/old/x?q=1");
    }

    #[test]
    fn path_and_query_can_be_replaced() {
        let from = target("a.example", None, "/old/x?q=1");
        let path = |path| RedirectSpec { path, ..keep() };
        assert_eq!(led(path(RedirectPath::Literal("/n".into())), &from), "https://a.example/n?q=1");
        assert_eq!(led(path(RedirectPath::Literal("/n?a".into())), &from), "https://a.example/n?a");
        assert_eq!(
            led(path(RedirectPath::Prefix("/new".into())), &from),
            "https://a.example/new/x?q=1"
        );
        let strip = RedirectSpec { strip_query: true, ..keep() };
        assert_eq!(led(strip, &from), "https://a.example/old/x");
    }

    #[test]
    fn a_path_never_becomes_a_host() {
        let from = target("a.example", None, "/old//evil.example/");
        let prefix = RedirectSpec { path: RedirectPath::Prefix("".into()), ..keep() };
        assert_eq!(led(prefix, &from), "https://a.example//evil.example/");
    }

    #[test]
    fn https_is_asked_for_on_its_own_port_and_ipv6_gets_brackets() {
        let from = target("2001:db8::1", Some(8080), "/x?q");
        assert_eq!(to_https(&from).unwrap(), "https://[2001:db8::1]/x?q");
    }
}
