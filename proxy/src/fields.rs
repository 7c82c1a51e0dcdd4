//! Header fields that belong to one connection, and values that are lists. Pure.

use http::{HeaderMap, HeaderName, header};

/// Fields that concern one connection alone, and never the next (RFC 9110 section 7.6.1). `Trailer`
/// is not among them: hyper sends to an HTTP/1.1 client only the trailers that it announces.
pub(crate) const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The elements of a comma-separated field, over all its lines (RFC 9110 section 5.6.1).
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Whether an element is this one, in any case.
pub(crate) fn is(token: &[u8], expected: &str) -> bool {
    token.eq_ignore_ascii_case(expected.as_bytes())
}

/// Whether a comma-separated field has an element, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, expected: &str) -> bool {
    tokens(headers, name).any(|token| is(token, expected))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_list_is_read_over_all_lines_and_without_empty_elements() {
        let mut headers = HeaderMap::new();
        headers.append(header::TE, HeaderValue::from_static(" a,,B \t, "));
        headers.append(header::TE, HeaderValue::from_static("c"));
        let all: Vec<_> = tokens(&headers, &header::TE).collect();
        assert_eq!(all, [b"a", b"B", b"c"]);
        assert!(has_token(&headers, &header::TE, "b"));
        assert!(!has_token(&headers, &header::TE, "a,"));
        assert!(!has_token(&headers, &header::CONNECTION, "a"));
    }
}
