//! The bytes of a request by which a worker knows its session.

use std::borrow::Cow;

use http::HeaderMap;

use super::cookies::{CookieNames, OwnCookie};

/// The session cookies of a request that are tried: one as it stands, several joined with the cookies
/// that bind them to the browser, since those decide between them. `None` if there is no session
/// cookie.
///
/// A session stands for all that were tried: if one were left out, what a sibling host planted in front
/// of it could stand for the session. So the cookies are the very ones that are read.
pub(super) fn presented<'h>(names: &CookieNames, headers: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
    let (mut first, mut others): (Option<&[u8]>, Vec<&[u8]>) = (None, Vec::new());
    let mut bound: Vec<&[u8]> = Vec::new();
    for (which, cookie, _) in names.tried(headers) {
        match (which, first) {
            (OwnCookie::Session(_), None) => first = Some(cookie),
            (OwnCookie::Session(_), Some(_)) => others.push(cookie),
            (OwnCookie::Binding, _) => bound.push(cookie),
            (OwnCookie::Master(_), _) => {}
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, header};

    use super::*;
    use crate::identity::spec::{CookieSpec, SameSite};

    fn of(fields: &[&str]) -> Option<String> {
        let names = CookieNames::new(&CookieSpec {
            name: "s".into(),
            domain: None,
            http_only: true,
            expire: Duration::from_secs(60),
            same_site: SameSite::Lax,
        });
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_str(field).unwrap());
        }
        let presented = presented(&names, &headers);
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
        let planted = |name: &str, last: &str| {
            let junk: String = (0..500).map(|number| format!("{name}=x{number}; ")).collect();
            of(&[&format!("{junk}{last}")]).unwrap()
        };
        for name in ["s_0", "s_5", "s_9", "s_10", "sx", "s_authenticate", "s_authenticate_1"] {
            assert_eq!(planted(name, "s=a; s_1=b"), "s=a;s_1=b", "{name}");
        }
        for name in ["s_1", "s_4", "__Host-s_csrf"] {
            assert!(planted(name, "s=a; s_2=b").ends_with("=x7;s=a;s_2=b"), "{name}");
        }
        assert_eq!(planted("s", "s=a"), planted("s", "s=b"), "neither is tried");
        assert_ne!(planted("s_1", "s=a"), planted("s_1", "s =a"));
    }

    #[test]
    fn several_pieces_are_joined_with_the_binding() {
        let joined = "__Host-s_csrf=y;s=a;s_1=b;s=c";
        assert_eq!(of(&["s=a; s_1=b; __Host-s_csrf=y", "s=c"]).as_deref(), Some(joined));
        assert_eq!(of(&["s=a; s_1=b"]).as_deref(), Some("s=a;s_1=b"));
    }
}
