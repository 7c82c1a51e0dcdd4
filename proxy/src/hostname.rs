//! Hosts in the one form in which they are compared: in configuration, in SNI and in requests. Pure.
//!
//! A host is a name or an IP address.
//!
//! - A name has letters, digits, `-`, `_` and dots, no empty label, and at most 253 bytes without
//!   the trailing dot (RFC 1035 section 2.3.4). That is less than the `reg-name` of RFC 3986 and a
//!   little more than RFC 952 and RFC 1123 allow: internal names often have an underscore, and the
//!   length of a label is left to DNS. Names beyond ASCII come as A-labels (`xn--…`, RFC 5890).
//!   The form is lower case without the trailing dot.
//! - An IPv4 address is text like a name.
//! - An IPv6 address has the form of RFC 5952, without brackets.
//!
//! [`portcullis_abi::HostName`] is the part of these names that a TLS client can ask for, by the
//! rules of rustls: labels of at most 63 bytes, no hyphen at the edge of a label, and no address.
//! Where both accept a text, the form is the same.

use std::net::Ipv6Addr;

/// The longest name, without a trailing dot.
const MAX_NAME_BYTES: usize = 253;

/// A name or an IPv4 address in its one form; `None` for any other text.
pub(crate) fn normalise(name: &str) -> Option<Box<str>> {
    normalise_with(name, |_| false)
}

/// The same for the host of a route, which may hold `*`.
pub(crate) fn normalise_pattern(pattern: &str) -> Option<Box<str>> {
    normalise_with(pattern, |byte| byte == b'*')
}

/// A host without a port in its one form; an IPv6 address may stand in brackets.
pub(crate) fn normalise_host(host: &str) -> Option<Box<str>> {
    match host.strip_prefix('[') {
        Some(rest) => ipv6(rest.strip_suffix(']')?),
        None if host.contains(':') => ipv6(host),
        None => normalise(host),
    }
}

/// An IPv6 address, without brackets, in its one form. A zone is no part of it.
pub(crate) fn ipv6(text: &str) -> Option<Box<str>> {
    text.parse::<Ipv6Addr>().ok().map(|address| address.to_string().into_boxed_str())
}

fn normalise_with(name: &str, also: impl Fn(u8) -> bool) -> Option<Box<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut previous = b'.';
    for byte in name.bytes() {
        let allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(allowed || also(byte)) || (byte == b'.' && previous == b'.') {
            return None;
        }
        previous = byte;
    }
    if previous == b'.' {
        return None;
    }
    Some(name.to_ascii_lowercase().into_boxed_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{http::Authority, tls::normalize_server_name};

    #[test]
    fn one_name_has_one_form() {
        for name in ["a.example", "A.Example", "a.example."] {
            assert_eq!(normalise(name).as_deref(), Some("a.example"));
        }
        for bad in ["", ".", "a..b", ".a", "a..", "a b", "*.a", "é.example", "a:1"] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
        assert!(normalise(&"a".repeat(253)).is_some());
        assert!(normalise(&"a".repeat(254)).is_none());
    }

    #[test]
    fn an_ipv6_address_has_one_form_with_and_without_brackets() {
        for text in ["2001:DB8:0::1", "[2001:db8::1]", "[2001:0db8:0:0:0:0:0:1]"] {
            assert_eq!(normalise_host(text).as_deref(), Some("2001:db8::1"), "{text}");
        }
        for bad in ["[::1", "::1]", "[a.example]", "[::1%eth0]", "[127.0.0.1]", "[]", ":"] {
            assert_eq!(normalise_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_host_of_a_route_may_hold_a_star() {
        assert_eq!(normalise_pattern("*.A.example.").as_deref(), Some("*.a.example"));
        assert_eq!(normalise("*.a.example"), None);
        assert_eq!(normalise_pattern("*..example"), None);
    }

    proptest! {
        #[test]
        fn requests_handshakes_and_the_kernel_normalise_names_alike(
            text in "([a-zA-Z0-9_-]{1,8}\\.){0,4}[a-zA-Z0-9._-]{0,70}\\.?",
        ) {
            let form = normalise(&text);
            prop_assert_eq!(&normalise_host(&text), &form);
            prop_assert_eq!(&normalise_pattern(&text), &form);
            prop_assert_eq!(&Authority::parse(&text).ok().map(|authority| authority.host), &form);
            let of_handshake = normalize_server_name(&text);
            prop_assert!(of_handshake.is_none() || of_handshake == form);
            if let Some(name) = portcullis_abi::HostName::parse(text.as_bytes()) {
                prop_assert_eq!(Some(name.as_str()), form.as_deref());
                prop_assert_eq!(Some(name.as_str()), of_handshake.as_deref());
            }
        }

        #[test]
        fn any_text_is_refused_or_gets_a_form_that_stays(text in "\\PC{0,40}|[a-zA-Z0-9.:\\[\\]*_-]{0,20}") {
            if let Some(form) = normalise_host(&text) {
                prop_assert_eq!(normalise_host(&form), Some(form));
            }
            if let Some(form) = normalise_pattern(&text) {
                prop_assert_eq!(normalise_pattern(&form), Some(form));
            }
        }
    }
}
