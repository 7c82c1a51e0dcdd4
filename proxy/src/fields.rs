//! Header fields that belong to one connection, and values that are lists. Pure.

use http::{HeaderMap, HeaderName};

/// Makes the table of hop-by-hop fields and the look-up in it from one list of names.
macro_rules! hop_by_hop {
    ($($name:literal,)*) => {
        /// Fields that concern one connection alone, and never the next (RFC 9110 section 7.6.1).
        pub(crate) const HOP_BY_HOP: [HeaderName; [$($name),*].len()] =
            [$(HeaderName::from_static($name)),*];

        /// The names in [`HOP_BY_HOP`] as a pattern, so that a `match` compares each name once.
        macro_rules! hop_by_hop_names {
            () => { $($name)|* };
        }
        pub(crate) use hop_by_hop_names;

        /// Whether a name in lower case is in [`HOP_BY_HOP`].
        pub(crate) fn is_hop_by_hop(name: &str) -> bool {
            matches!(name, $($name)|*)
        }
    };
}

// `Trailer` is left out: hyper sends to an HTTP/1.1 client only the trailers that it announces.
hop_by_hop! {
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "keep-alive",
    "proxy-connection",
}

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
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn the_look_up_finds_the_fields_of_the_table_and_no_others() {
        assert!(HOP_BY_HOP.iter().all(|name| is_hop_by_hop(name.as_str())));
        for other in ["trailer", "host", "content-length", "expect", "Connection", ""] {
            assert!(!is_hop_by_hop(other), "{other}");
        }
    }

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
