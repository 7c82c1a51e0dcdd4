//! The cookies of a `Cookie` field. Each request with a session has a long one.

/// What stands between semicolons, without white space around it (6265bis section 4.2.1).
pub(super) fn split_cookies(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    let each = std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let (cookie, after) = match bytes.split_at_checked(before_semicolon(bytes)) {
            Some((cookie, [_, after @ ..])) => (cookie, Some(after)),
            _ => (bytes, None),
        };
        rest = after;
        Some(cookie)
    });
    each.map(<[u8]>::trim_ascii)
}

/// The number of bytes before the first semicolon, or of all bytes. 16 bytes are looked at together.
fn before_semicolon(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    let without = chunks
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, |found, byte| found | (*byte == b';')));
    let start = 16 * without.count();
    let tail = bytes.get(start..).unwrap_or_default();
    start + tail.iter().position(|byte| *byte == b';').unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cookies_are_what_stands_between_semicolons(field in "[a-c; ]{0,70}") {
            let plain = field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            prop_assert!(split_cookies(field.as_bytes()).eq(plain));
        }
    }
}
