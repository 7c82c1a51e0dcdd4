//! The bytes of a request by which a worker knows its session.

use std::borrow::Cow;

/// More pieces than those of all sessions that are tried.
const MAX_COOKIES: usize = 48;

/// Our session cookies in these fields: one as it stands, several joined with the cookie that binds
/// them to the browser, since that decides between them. `None` if there is no session cookie.
pub(super) fn presented<'h>(
    name: &str,
    binding: &str,
    fields: impl Iterator<Item = &'h [u8]>,
) -> Option<Cow<'h, [u8]>> {
    let (mut first, mut others): (Option<&[u8]>, Vec<&[u8]>) = (None, Vec::new());
    let mut bound: Option<&[u8]> = None;
    for cookie in fields.flat_map(cookies) {
        if is_session(cookie, name.as_bytes()) {
            match first {
                None => first = Some(cookie),
                Some(_) if others.len() < MAX_COOKIES => others.push(cookie),
                Some(_) => {}
            }
        } else if has_name(cookie, binding.as_bytes()) {
            bound = Some(cookie);
        }
    }
    let first = first?;
    if others.is_empty() {
        return Some(Cow::Borrowed(first));
    }
    // The binding in front: the end of the last session cookie is what the memory goes by.
    others.splice(0..0, bound.into_iter().chain([first]));
    Some(Cow::Owned(others.join(&b';')))
}

fn cookies(field: &[u8]) -> impl Iterator<Item = &[u8]> {
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

/// How many bytes stand before the first semicolon, or how many there are. A session is a long
/// cookie, which each request has: 16 bytes are looked at together.
fn before_semicolon(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    let without = chunks
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, |found, byte| found | (*byte == b';')));
    let start = 16 * without.count();
    let tail = bytes.get(start..).unwrap_or_default();
    start + tail.iter().position(|byte| *byte == b';').unwrap_or(tail.len())
}

/// `name=…` or `name_1=…`.
fn is_session(cookie: &[u8], name: &[u8]) -> bool {
    let rest = cookie.strip_prefix(name);
    rest.is_some_and(|rest| matches!(rest, [b'=', ..] | [b'_', b'0'..=b'9', b'=', ..]))
}

fn has_name(cookie: &[u8], name: &[u8]) -> bool {
    cookie.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(fields: &[&'static str]) -> Option<String> {
        let presented =
            presented("s", "__Host-s_csrf", fields.iter().map(|field| field.as_bytes()));
        presented.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
    }

    #[test]
    fn a_single_session_cookie_is_taken_as_it_stands() {
        assert_eq!(of(&["a=1; s=x; __Host-s_csrf=y"]).as_deref(), Some("s=x"));
        assert_eq!(of(&["a=1", "s=x=y"]).as_deref(), Some("s=x=y"));
        assert_eq!(of(&["a=1; sx=2; s; s_x=3; s_10=4"]), None);
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn cookies_are_what_stands_between_semicolons(field in "[a-c; ]{0,70}") {
            let plain = field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            prop_assert!(cookies(field.as_bytes()).eq(plain));
        }
    }

    #[test]
    fn several_pieces_are_joined_with_the_binding() {
        let joined = "__Host-s_csrf=y;s=a;s_1=b;s=c";
        assert_eq!(of(&["s=a; s_1=b; __Host-s_csrf=y", "s=c"]).as_deref(), Some(joined));
        assert_eq!(of(&["s=a; s_1=b"]).as_deref(), Some("s=a;s_1=b"));
    }
}
