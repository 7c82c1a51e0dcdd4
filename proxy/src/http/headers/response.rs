//! Rewriting a response's headers.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    framing::{self, InvalidResponse},
    names::is_configurable,
    request::remove_nominated,
};
use crate::{
    fields::{HOP_BY_HOP, has_token, trimmed},
    http::{
        certificate::{CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_CLIENT_CERT},
        request_id::REQUEST_ID,
        spec::{HeaderPrefixRewrite, ResponseHeaderRules},
    },
};

/// What is done to the headers of a route's responses.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct ResponseRules<'a> {
    /// Prefixes to replace in values.
    pub(in crate::http) rewrite: &'a [HeaderPrefixRewrite],
    /// The result of [`merged`].
    pub(in crate::http) set: &'a [(HeaderName, HeaderValue)],
    pub(in crate::http) request_id: &'a HeaderValue,
}

/// Turns an upstream's headers into the client's. A 101 keeps `Upgrade`.
///
/// # Errors
/// The response has no clear end.
pub(in crate::http) fn forward_response(
    headers: &mut HeaderMap,
    status: StatusCode,
    rules: ResponseRules<'_>,
) -> Result<(), InvalidResponse> {
    let protocol = match status {
        StatusCode::SWITCHING_PROTOCOLS => headers.get(header::UPGRADE).cloned(),
        _ => None,
    };
    // First: `Connection` may name the fields that frame the message.
    framing::frame(headers, status)?;
    remove_nominated(headers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    for rule in rules.rewrite {
        rewrite_prefix(headers, rule);
    }
    finish(headers, rules.set, rules.request_id);
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    Ok(())
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
            *value = trimmed(&rewritten).unwrap_or(rewritten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("id-1");

    fn forward(
        headers: &mut HeaderMap,
        rewrite: &[HeaderPrefixRewrite],
        set: &[(HeaderName, HeaderValue)],
    ) {
        let rules = ResponseRules { rewrite, set, request_id: &ID };
        forward_response(headers, StatusCode::OK, rules).unwrap();
    }

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
        forward(&mut headers, &[], &[]);
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
        forward(&mut headers, &[], &[]);
        assert_eq!(headers, map(&[("x-request-id", "id-1")]));
        let mut headers = map(&both[1..]);
        forward(&mut headers, &[], &[]);
        assert_eq!(headers["content-length"], "3");
    }

    #[test]
    fn a_coding_that_connection_names_still_frames_the_message() {
        let nominated = |coding| {
            let fields = [("connection", "Transfer-Encoding"), ("content-length", "5")];
            let mut headers = map(&[&fields[..], &[("transfer-encoding", coding)]].concat());
            let rules = ResponseRules { rewrite: &[], set: &[], request_id: &ID };
            forward_response(&mut headers, StatusCode::OK, rules).map(|()| headers)
        };
        assert_eq!(nominated("chunked").unwrap(), map(&[("x-request-id", "id-1")]));
        assert!(nominated("gzip, chunked").is_err());
    }

    #[test]
    fn a_switch_of_protocols_keeps_its_upgrade() {
        let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        let rules = ResponseRules { rewrite: &[], set: &[], request_id: &ID };
        forward_response(&mut headers, StatusCode::SWITCHING_PROTOCOLS, rules).unwrap();
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
        forward(&mut headers, &[], &[pair("x-frame-options", "SAMEORIGIN")]);
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
        forward(&mut headers, &[rule], &[]);
        let locations: Vec<_> = headers.get_all("location").iter().collect();
        assert_eq!(locations, ["https://app.example/a", "https://internal/b"]);
    }

    #[test]
    fn a_rewritten_value_has_no_white_space_around_it() {
        let mut headers = map(&[("x-a", "<"), ("x-a", "<b c")]);
        let rule = HeaderPrefixRewrite {
            header: HeaderName::from_static("x-a"),
            prefix: "<".into(),
            value: "a ".into(),
        };
        forward(&mut headers, &[rule], &[]);
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["a", "a b c"]);
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
