//! Header fields that belong to one connection, and values that are lists. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};

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

/// Removes the fields whose names are chosen.
pub(crate) fn remove_where(headers: &mut HeaderMap, mut goes: impl FnMut(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// The transfer codings of a message (RFC 9112 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferCodings {
    /// There is no such field.
    None,
    /// Only `identity`, which old servers write where there is no coding (RFC 2616 section 3.6).
    Identity,
    /// Only `chunked`, once.
    Chunked,
    /// `chunked` more than once, which no sender may do.
    ChunkedAgain,
    /// A coding that changes the content: whoever removes the field must undo it, too.
    Other,
}

/// Reads `Transfer-Encoding`, over all its lines.
pub(crate) fn transfer_codings(headers: &HeaderMap) -> TransferCodings {
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return TransferCodings::None;
    }
    let mut codings = tokens(headers, &header::TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (Some(one), None) if is(one, "chunked") => TransferCodings::Chunked,
        (Some(one), None) if is(one, "identity") => TransferCodings::Identity,
        (Some(one), Some(other)) if [one, other].iter().all(|coding| is(coding, "chunked")) => {
            match codings.all(|coding| is(coding, "chunked")) {
                true => TransferCodings::ChunkedAgain,
                false => TransferCodings::Other,
            }
        }
        _ => TransferCodings::Other,
    }
}

/// Removes spaces and tabs around values. HTTP/1 does not count them as a part of a value; HTTP/2
/// forbids them (RFC 9113 section 8.2.1), and many clients and servers refuse a message with them.
pub(crate) fn trim_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Some(trimmed) = trimmed(value) {
            *value = trimmed;
        }
    }
}

/// The value without spaces and tabs around it; `None` if there are none.
pub(crate) fn trimmed(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !is_space(bytes.first()) && !is_space(bytes.last()) {
        return None;
    }
    // A part of a value is a value.
    let mut trimmed = HeaderValue::from_bytes(bytes.trim_ascii()).ok()?;
    trimmed.set_sensitive(value.is_sensitive());
    Some(trimmed)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn transfer_codings_are_read_over_all_lines_in_any_case() {
        use TransferCodings as T;
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(line));
            }
            transfer_codings(&headers)
        };
        for (lines, expected) in [
            (&[][..], T::None),
            (&["chunked"], T::Chunked),
            (&[" , CHUNKED ,"], T::Chunked),
            (&["identity"], T::Identity),
            (&["chunked, Chunked"], T::ChunkedAgain),
            (&["chunked", "chunked", "chunked"], T::ChunkedAgain),
            (&["chunked, chunked, gzip"], T::Other),
            (&["gzip, chunked"], T::Other),
            (&["gzip", "chunked"], T::Other),
            (&["identity, chunked"], T::Other),
            (&["chunked;q=1"], T::Other),
            (&["\"chunked\""], T::Other),
            (&["gzip"], T::Other),
            (&[""], T::Other),
            (&[","], T::Other),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn values_lose_the_white_space_around_them_alone() {
        let mut headers = HeaderMap::new();
        for value in [" a b\t", "c", "", " \t ", "\td"] {
            headers.append("x", HeaderValue::from_static(value));
        }
        let mut secret = HeaderValue::from_static("s ");
        secret.set_sensitive(true);
        headers.insert("y", secret);
        trim_values(&mut headers);
        let values: Vec<_> = headers.get_all("x").iter().collect();
        assert_eq!(values, ["a b", "c", "", "", "d"]);
        assert_eq!(headers["y"], "s");
        assert!(headers["y"].is_sensitive());
    }
}
