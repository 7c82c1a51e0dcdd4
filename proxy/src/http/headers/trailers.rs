//! Which fields trailers may have.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    fields::{is_hop_by_hop, remove_where, trim_values},
    http::request_id::REQUEST_ID,
};

/// Whether a field, its name in lower case, may be in trailers: it does not frame, route or
/// authenticate the message, and says nothing that must be known before the content (RFC 9110
/// section 6.5.1). Receivers may take trailers for header fields.
pub(super) fn may_be_trailer(name: &str) -> bool {
    let is_forbidden = match name.as_bytes().first() {
        Some(b'a') => matches!(name, "age" | "authorization"),
        Some(b'c') => {
            matches!(name, "cache-control" | "cookie")
                || name.starts_with("content-") && name != "content-digest"
        }
        Some(b'd') => name == "date",
        Some(b'e') => matches!(name, "expect" | "expires"),
        Some(b'h') => name == "host",
        Some(b'i') => name.starts_with("if-"),
        Some(b'l') => name == "location",
        Some(b'm') => name == "max-forwards",
        Some(b'p') => name == "pragma" || name.starts_with("proxy-auth"),
        Some(b'r') => matches!(name, "range" | "retry-after"),
        Some(b's') => name == "set-cookie",
        Some(b't') => name == "trailer",
        Some(b'v') => name == "vary",
        Some(b'w') => matches!(name, "warning" | "www-authenticate"),
        _ => false,
    };
    !is_forbidden && !is_hop_by_hop(name)
}

/// Removes from a response's trailers the fields that trailers may not have, and those that the
/// proxy sets on the response itself (`set` is the result of [`super::merged`]).
pub(in crate::http) fn strip_response_trailers(
    trailers: &mut HeaderMap,
    set: &[(HeaderName, HeaderValue)],
) {
    trim_values(trailers);
    let is_set = |name: &HeaderName| *name == REQUEST_ID || set.iter().any(|(set, _)| set == name);
    remove_where(trailers, |name| is_set(name) || !may_be_trailer(name.as_str()));
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn trailers_of_a_response_say_nothing_that_its_head_must_say() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "grpc-message",
            "server-timing",
            "etag",
            "content-digest",
            "x-checksum",
            "content-length",
            "content-type",
            "content-encoding",
            "set-cookie",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "trailer",
            "cache-control",
            "location",
            "x-request-id",
            "x-frame-options",
        ] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static(" 1 "));
        }
        let set = [(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))];
        strip_response_trailers(&mut trailers, &set);
        let mut kept: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        let expected = [
            "content-digest",
            "etag",
            "grpc-message",
            "grpc-status",
            "server-timing",
            "x-checksum",
        ];
        assert_eq!(kept, expected);
        assert!(trailers.values().all(|value| value == "1"));
    }
}
