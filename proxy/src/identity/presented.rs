//! The bytes of a request by which a worker knows its session.

use std::borrow::Cow;

/// How many cookies of one name are tried (`cookies::names`). A session stands for all that were tried:
/// if one were left out, what a sibling host planted in front of it could stand for the session.
const MAX_SAME_NAME: u8 = 8;

/// Our session cookies in these fields: one as it stands, several joined with the cookies that bind
/// them to the browser, since those decide between them. `None` if there is no session cookie.
pub(super) fn presented<'h>(
    name: &str,
    binding: &str,
    fields: impl Iterator<Item = &'h [u8]>,
) -> Option<Cow<'h, [u8]>> {
    let (mut first, mut others): (Option<&[u8]>, Vec<&[u8]>) = (None, Vec::new());
    let mut bound: Vec<&[u8]> = Vec::new();
    let mut counts = [0; 10];
    for cookie in fields.flat_map(cookies) {
        let Some(own) = own_name(cookie) else { continue };
        if let Some(piece) = piece(own, name.as_bytes()) {
            let Some(count) = counts.get_mut(piece).filter(|count| **count < MAX_SAME_NAME) else {
                continue;
            };
            *count += 1;
            match first {
                None => first = Some(cookie),
                Some(_) => others.push(cookie),
            }
        } else if own == binding.as_bytes() && bound.len() < usize::from(MAX_SAME_NAME) {
            bound.push(cookie);
        }
    }
    let first = first?;
    if others.is_empty() {
        return Some(Cow::Borrowed(first));
    }
    // The bindings in front: the end of the last session cookie is what the memory goes by.
    others.splice(0..0, bound.into_iter().chain([first]));
    Some(Cow::Owned(others.join(&b';')))
}

fn cookies(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

/// What is in front of `=`.
fn own_name(cookie: &[u8]) -> Option<&[u8]> {
    let at = cookie.iter().position(|byte| *byte == b'=')?;
    cookie.get(..at).map(<[u8]>::trim_ascii)
}

/// The digit of `name_1`, or 0 for `name`.
fn piece(own: &[u8], name: &[u8]) -> Option<usize> {
    match own.strip_prefix(name)? {
        [] => Some(0),
        [b'_', digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_cookie_that_is_tried_is_there_whatever_is_in_front_of_it() {
        let planted: Vec<String> = (0..500).map(|number| format!("s_9=x{number}")).collect();
        let planted = planted.join(";");
        let presented = |last: &str| {
            let field = format!("{planted}; {last}");
            let found = presented("s", "__Host-s_csrf", [field.as_bytes()].into_iter());
            String::from_utf8(found.unwrap().into_owned()).unwrap()
        };
        assert!(presented("s=a; s_1=b").ends_with(";s_9=x7;s=a;s_1=b"));
        assert_ne!(presented("s=a"), presented("s=b"));
        assert_ne!(presented("s=a"), presented("s =a"));
    }

    #[test]
    fn several_pieces_are_joined_with_the_binding() {
        let joined = "__Host-s_csrf=y;s=a;s_1=b;s=c";
        assert_eq!(of(&["s=a; s_1=b; __Host-s_csrf=y", "s=c"]).as_deref(), Some(joined));
        assert_eq!(of(&["s=a; s_1=b"]).as_deref(), Some("s=a;s_1=b"));
    }
}
