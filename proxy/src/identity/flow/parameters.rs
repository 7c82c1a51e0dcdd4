//! Parameters of a query. Pure.

use std::fmt::Write as _;

/// A parameter is there more than once: neither the first nor the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TwiceError;

/// The decoded value of a parameter (`application/x-www-form-urlencoded`).
pub(super) fn single(query: &str, name: &str) -> Result<Option<String>, TwiceError> {
    let mut values = pairs(query).filter(|(other, _)| other == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(TwiceError),
        (value, None) => Ok(value),
    }
}

/// The `logout_token` of a form that the provider posts; `None` if it is not there exactly once.
pub(crate) fn logout_token(form: &[u8]) -> Option<Box<str>> {
    let form = std::str::from_utf8(form).ok()?;
    single(form, "logout_token").ok().flatten().map(Into::into)
}

/// All parameters. Bytes that are no UTF-8 are replaced.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// A query of these parameters.
pub(super) fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        escape(&mut query, name);
        query.push('=');
        escape(&mut query, value);
    }
    query
}

fn escape(query: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                query.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(query, "%{byte:02X}")),
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| {
            let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        });
        (rest, _) = match (first, escaped) {
            (b'%', Some(byte)) => (after.get(2..).unwrap_or_default(), bytes.push(byte)),
            (b'+', _) => (after, bytes.push(b' ')),
            _ => (after, bytes.push(*first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_that_is_there_twice_does_not_count() {
        assert_eq!(single("a=1&b=2", "b"), Ok(Some("2".into())));
        assert_eq!(single("a=1&b=2", "c"), Ok(None));
        assert_eq!(single("", "c"), Ok(None));
        for twice in ["b=1&b=1", "b&b=1", "b=&a=1&%62=2"] {
            assert_eq!(single(twice, "b"), Err(TwiceError), "{twice}");
        }
    }

    #[test]
    fn odd_escapes_are_kept_as_they_are() {
        assert_eq!(decode("a%2Bb+c%zz%4%"), "a+b c%zz%4%");
        assert_eq!(decode("%ff"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(name in "\\PC{1,10}", value in "\\PC{0,20}") {
            let query = encode([("first", "x"), (&*name, &*value)]);
            prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assume!(name != "first");
            prop_assert_eq!(single(&query, &name), Ok(Some(value)));
        }

        #[test]
        fn a_query_of_any_kind_is_read_without_panic(query in "\\PC{0,60}|[%&=+a0-9]{0,40}") {
            let _ = single(&query, "a");
        }
    }
}
