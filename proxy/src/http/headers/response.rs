//! Rewriting a response's headers.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{names::is_configurable, request::remove_nominated};
use crate::{
    fields::{HOP_BY_HOP, has_token},
    http::{
        certificate::{CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_CLIENT_CERT},
        request_id::REQUEST_ID,
        spec::{HeaderPrefixRewrite, ResponseHeaderRules},
    },
};

/// Turns an upstream's headers into the client's. `set` is the result of [`merged`].
pub(in crate::http) fn forward_response(
    headers: &mut HeaderMap,
    rewrite: &[HeaderPrefixRewrite],
    set: &[(HeaderName, HeaderValue)],
    request_id: &HeaderValue,
) {
    remove_nominated(headers);
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // It was not obeyed, and the next recipient must not find it alone (RFC 9112 section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    for rule in rewrite {
        rewrite_prefix(headers, rule);
    }
    finish(headers, set, request_id);
}

/// Turns an upstream's interim headers into the client's.
pub(in crate::http) fn forward_interim(headers: &mut HeaderMap) {
    remove_nominated(headers);
    headers.remove(header::CONTENT_LENGTH);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Sets `Vary: *` on a response that varies by client certificate: caches in front of us never see
/// the headers that carry it (RFC 9440 section 2.4).
pub(in crate::http) fn hide_variance(headers: &mut HeaderMap) {
    let varies = |name: &HeaderName| has_token(headers, &header::VARY, name.as_str());
    if [CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_CLIENT_CERT].iter().any(varies) {
        headers.insert(header::VARY, HeaderValue::from_static("*"));
    }
}

/// [`forward_response`] for a 101, which keeps `Upgrade`.
pub(in crate::http) fn forward_switching_protocols(
    headers: &mut HeaderMap,
    rewrite: &[HeaderPrefixRewrite],
    set: &[(HeaderName, HeaderValue)],
    request_id: &HeaderValue,
) {
    let protocol = headers.get(header::UPGRADE).cloned();
    forward_response(headers, rewrite, set, request_id);
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Sets the headers that every response carries, ours included.
fn finish(headers: &mut HeaderMap, set: &[(HeaderName, HeaderValue)], request_id: &HeaderValue) {
    for (name, value) in set {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(REQUEST_ID, request_id.clone());
}

/// [`finish`] for an answer of ours: the configuration cannot take away what protects a page or the
/// parameters of a sign-in.
pub(in crate::http) fn finish_own(
    headers: &mut HeaderMap,
    set: &[(HeaderName, HeaderValue)],
    request_id: &HeaderValue,
) {
    let policy = headers.get(header::CONTENT_SECURITY_POLICY).cloned();
    let referrer = headers.get(header::REFERRER_POLICY).cloned();
    let caching = headers.get(header::CACHE_CONTROL).filter(|value| *value == "no-store").cloned();
    finish(headers, set, request_id);
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, referrer),
        (header::CACHE_CONTROL, caching),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// The headers set on a route's responses: the global ones, overridden by the route's own; none if
/// the route says `disable`.
pub(in crate::http) fn merged(
    global: &[(HeaderName, HeaderValue)],
    rules: &ResponseHeaderRules,
) -> Vec<(HeaderName, HeaderValue)> {
    if rules.disable {
        return Vec::new();
    }
    let overridden = |name: &HeaderName| rules.set.iter().any(|(other, _)| other == name);
    let kept = global.iter().filter(|(name, _)| !overridden(name));
    kept.chain(&rules.set).filter(|(name, _)| is_configurable(name.as_str())).cloned().collect()
}

fn rewrite_prefix(headers: &mut HeaderMap, rule: &HeaderPrefixRewrite) {
    let header::Entry::Occupied(mut entry) = headers.entry(&rule.header) else {
        return;
    };
    for value in entry.iter_mut() {
        let Some(rest) = value.as_bytes().strip_prefix(rule.prefix.as_bytes()) else {
            continue;
        };
        let rewritten = [rule.value.as_bytes(), rest].concat();
        if let Ok(rewritten) = HeaderValue::from_maybe_shared(bytes::Bytes::from(rewritten)) {
            *value = rewritten;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("id-1");

    #[test]
    fn the_configuration_cannot_weaken_a_page_of_ours() {
        const OURS: [(&str, &str); 3] = [
            ("content-security-policy", "default-src 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ];
        let set =
            OURS.map(|(name, _)| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        let mut page = map(&OURS);
        finish_own(&mut page, &set, &ID);
        for (name, value) in OURS {
            assert_eq!(page[name], value);
        }
        let mut other = map(&[("cache-control", "no-cache")]);
        finish_own(&mut other, &set, &ID);
        for (name, _) in OURS {
            assert_eq!(other[name], "x");
        }
        assert_eq!(other["x-request-id"], "id-1");
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn connection_headers_are_removed_and_trailer_stays() {
        let mut headers = map(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "grpc-status"),
            ("content-type", "text/plain"),
        ]);
        forward_response(&mut headers, &[], &[], &ID);
        let expected = map(&[
            ("trailer", "grpc-status"),
            ("content-type", "text/plain"),
            ("x-request-id", "id-1"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_removed_with_it() {
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        let mut headers = map(&both);
        forward_response(&mut headers, &[], &[], &ID);
        assert_eq!(headers, map(&[("x-request-id", "id-1")]));
        let mut headers = map(&both[1..]);
        forward_response(&mut headers, &[], &[], &ID);
        assert_eq!(headers["content-length"], "3");
    }

    #[test]
    fn a_switch_of_protocols_keeps_its_upgrade() {
        let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        forward_switching_protocols(&mut headers, &[], &[], &ID);
        assert_eq!(headers["connection"], "upgrade");
        assert_eq!(headers["upgrade"], "websocket");
    }

    #[test]
    fn headers_of_the_configuration_replace_the_upstreams() {
        let mut headers = map(&[
            ("x-frame-options", "DENY"),
            ("x-frame-options", "x"),
            ("x-request-id", "theirs"),
        ]);
        forward_response(&mut headers, &[], &[pair("x-frame-options", "SAMEORIGIN")], &ID);
        let expected = map(&[("x-frame-options", "SAMEORIGIN"), ("x-request-id", "id-1")]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_routes_headers_override_and_disable_clears_all() {
        let global = [pair("x-a", "global"), pair("x-b", "global")];
        let mut rules =
            ResponseHeaderRules { set: vec![pair("x-a", "route")], ..Default::default() };
        assert_eq!(merged(&global, &rules), [pair("x-b", "global"), pair("x-a", "route")]);
        rules.disable = true;
        assert_eq!(merged(&global, &rules), []);
    }

    #[test]
    fn the_configuration_cannot_set_what_frames_a_message() {
        let global = [pair("transfer-encoding", "chunked"), pair("content-length", "0")];
        assert_eq!(merged(&global, &ResponseHeaderRules::default()), []);
    }

    #[test]
    fn only_values_that_begin_with_the_prefix_are_rewritten() {
        let mut headers =
            map(&[("location", "http://internal:8080/a"), ("location", "https://internal/b")]);
        let rule = HeaderPrefixRewrite {
            header: header::LOCATION,
            prefix: "http://internal:8080/".into(),
            value: "https://app.example/".into(),
        };
        forward_response(&mut headers, &[rule], &[], &ID);
        let locations: Vec<_> = headers.get_all("location").iter().collect();
        assert_eq!(locations, ["https://app.example/a", "https://internal/b"]);
    }

    #[test]
    fn what_varies_with_the_certificate_is_cached_by_nobody() {
        for (vary, expected) in [
            ("Accept-Encoding", "Accept-Encoding"),
            ("accept, Client-Cert", "*"),
            ("client-cert-chain", "*"),
            ("X-Forwarded-Client-Cert", "*"),
            ("*", "*"),
        ] {
            let mut headers = map(&[("vary", "origin"), ("vary", vary)]);
            hide_variance(&mut headers);
            let last = headers.get_all("vary").iter().next_back().unwrap();
            assert_eq!(last, expected);
            assert_eq!(headers.get_all("vary").iter().count() == 1, vary.contains("ert"));
        }
        let mut headers = HeaderMap::new();
        hide_variance(&mut headers);
        assert!(headers.is_empty());
    }
}
