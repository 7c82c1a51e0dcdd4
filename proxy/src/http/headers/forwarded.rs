//! The headers that name the client to an upstream: `X-Forwarded-*`.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::spec::ForwardedFor;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");

/// The client as the headers describe it.
#[derive(Debug)]
pub(in crate::http) struct ForwardedClient<'a> {
    /// The peer's address as text.
    pub(in crate::http) peer: &'a HeaderValue,
    /// The client's address as text: the peer's, unless that is a trusted proxy.
    pub(in crate::http) client: &'a HeaderValue,
    /// The connection is TLS.
    pub(in crate::http) secure: bool,
    /// The authority as the client wrote it, if the upstream gets another.
    pub(in crate::http) original_host: Option<&'a HeaderValue>,
}

/// The client's address: the peer's, or with `trusted_hops` = n > 0 the nth from the right in the
/// client's `X-Forwarded-For` (Envoy `xff_num_trusted_hops`).
pub(in crate::http) fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted_hops: u32) -> IpAddr {
    let Some(skip) = trusted_hops.checked_sub(1).and_then(|skip| usize::try_from(skip).ok()) else {
        return peer;
    };
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
        .nth(skip)
        .and_then(|element| std::str::from_utf8(element).ok()?.trim().parse::<IpAddr>().ok())
        .map_or(peer, |address| address.to_canonical())
}

/// Whether the client made the request over HTTPS: by the connection, or by the word of a trusted
/// proxy.
pub(in crate::http) fn is_secure(headers: &HeaderMap, secure: bool, trusted_hops: u32) -> bool {
    match headers.get(FORWARDED_PROTO) {
        Some(proto) if trusted_hops > 0 => proto.as_bytes().eq_ignore_ascii_case(b"https"),
        _ => secure,
    }
}

/// Writes the headers.
///
/// Without trusted hops the only thing kept of the client's own headers is the list in
/// `X-Forwarded-For`, to which the peer is appended: its readers count from the right.
pub(in crate::http) fn set(
    headers: &mut HeaderMap,
    rules: ForwardedFor,
    client: &ForwardedClient<'_>,
) {
    if !rules.skip_append {
        append(headers, FORWARDED_FOR, client.peer);
    }
    if rules.trusted_hops == 0 || !headers.contains_key(FORWARDED_PROTO) {
        let proto = if client.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    if rules.trusted_hops == 0 {
        headers.remove(FORWARDED_HOST);
    }
    if let Some(host) = client.original_host {
        append(headers, FORWARDED_HOST, host);
    }
    headers.insert(EXTERNAL_ADDRESS, client.client.clone());
}

/// An address as a header value.
pub(in crate::http) fn address_value(address: IpAddr) -> HeaderValue {
    // Hexadecimal digits, dots and colons are always a header value.
    HeaderValue::from_maybe_shared(Bytes::from(address.to_string()))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Appends to a comma-separated list, and joins its lines.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value.clone());
        return;
    }
    let mut lines: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    lines.retain(|line| !line.is_empty());
    lines.push(value.as_bytes());
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(lines.join(&b", "[..]))) {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_HOPS: ForwardedFor = ForwardedFor { skip_append: false, trusted_hops: 0 };
    const ONE_HOP: ForwardedFor = ForwardedFor { skip_append: false, trusted_hops: 1 };

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn after(rules: ForwardedFor, fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = map(fields);
        let peer = HeaderValue::from_static("192.0.2.9");
        let host = HeaderValue::from_static("app.example");
        let original_host = Some(&host);
        let client = ForwardedClient { peer: &peer, client: &peer, secure: true, original_host };
        set(&mut headers, rules, &client);
        headers
    }

    #[test]
    fn without_trusted_hops_the_peer_is_the_client_whatever_is_said() {
        let headers = map(&[("x-forwarded-for", "198.51.100.1")]);
        assert_eq!(client_ip(&headers, ip("192.0.2.9"), 0), ip("192.0.2.9"));
    }

    #[test]
    fn trusted_hops_are_counted_from_the_right_over_all_lines() {
        let headers = map(&[
            ("x-forwarded-for", "203.0.113.1, 198.51.100.1"),
            ("x-forwarded-for", "::ffff:198.51.100.2"),
        ]);
        let peer = ip("192.0.2.9");
        assert_eq!(client_ip(&headers, peer, 1), ip("198.51.100.2"));
        assert_eq!(client_ip(&headers, peer, 2), ip("198.51.100.1"));
        assert_eq!(client_ip(&headers, peer, 3), ip("203.0.113.1"));
        assert_eq!(client_ip(&headers, peer, 4), peer);
        assert_eq!(client_ip(&map(&[("x-forwarded-for", "unknown")]), peer, 1), peer);
    }

    #[test]
    fn the_peer_is_appended_to_one_list() {
        let headers = after(NO_HOPS, &[("x-forwarded-for", "a"), ("x-forwarded-for", "b, c")]);
        assert_eq!(headers["x-forwarded-for"], "a, b, c, 192.0.2.9");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(after(NO_HOPS, &[])["x-forwarded-for"], "192.0.2.9");
        let skip = ForwardedFor { skip_append: true, ..NO_HOPS };
        assert_eq!(after(skip, &[]).get("x-forwarded-for"), None);
    }

    #[test]
    fn an_untrusted_client_says_neither_scheme_nor_host_nor_address() {
        let lies = [
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil.example"),
            ("x-envoy-external-address", "127.0.0.1"),
        ];
        let headers = after(NO_HOPS, &lies);
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "app.example");
        assert_eq!(headers["x-envoy-external-address"], "192.0.2.9");
    }

    #[test]
    fn a_trusted_proxy_says_the_scheme_and_the_first_host() {
        let headers =
            after(ONE_HOP, &[("x-forwarded-proto", "http"), ("x-forwarded-host", "outer.example")]);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "outer.example, app.example");
        assert!(!is_secure(&headers, true, 1));
        assert!(is_secure(&headers, true, 0));
    }
}
