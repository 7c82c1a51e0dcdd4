//! `application/x-www-form-urlencoded`, as OAuth sends it (RFC 6749, appendix B).

/// Pairs as a form or a query.
pub(in crate::identity) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        push(&mut text, name);
        text.push('=');
        push(&mut text, value);
    }
    text
}

/// One value.
pub(super) fn encode_value(value: &str) -> String {
    let mut text = String::new();
    push(&mut text, value);
    text
}

/// Whether a query names this parameter, in whatever encoding.
pub(super) fn query_names(query: &str, name: &str) -> bool {
    query
        .split(['&', ';'])
        .any(|pair| decoded(pair.split('=').next().unwrap_or("")) == name.as_bytes())
}

fn push(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            _ => {
                let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
                text.push('%');
                text.push(digit(byte >> 4).to_ascii_uppercase());
                text.push(digit(byte & 15).to_ascii_uppercase());
            }
        }
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex_byte(*high, *low),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => bytes.push(if first == b'+' { b' ' } else { first }),
        }
    }
    bytes
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_could_end_a_value_is_escaped() {
        assert_eq!(
            encode(&[("a b", "c&d=e"), ("ü", "%+/:\r\n"), ("", "")]),
            "a+b=c%26d%3De&%C3%BC=%25%2B%2F%3A%0D%0A&="
        );
    }

    #[test]
    fn a_name_is_found_in_a_query_whatever_its_encoding() {
        for query in ["a=1&state=2", "state", "st%61te=", "%73tate=1", "a;state=1"] {
            assert!(query_names(query, "state"), "{query}");
        }
        for query in ["", "a=state", "states=1", "%2573tate=1", "st%6"] {
            assert!(!query_names(query, "state"), "{query}");
        }
    }
}
