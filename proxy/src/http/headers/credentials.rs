//! Removing our own session from `Cookie` and `Authorization`.

use http::{HeaderMap, HeaderValue, header};

/// Name of the session cookie, and with `_` behind it the prefix of its companions.
const SESSION_COOKIE: &[u8] = b"_pomerium";

/// Removes our cookies, and leaves at most one `Cookie` field.
///
/// HTTP/2 clients send cookies in several fields; HTTP/1.1 and most applications expect one (RFC 9113
/// section 8.2.3).
pub(super) fn strip_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(header::COOKIE).iter();
    let (Some(first), None) = (fields.next(), fields.next()) else {
        return join_cookies(headers);
    };
    if cookies(first).any(is_ours) {
        join_cookies(headers);
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for cookie in headers.get_all(header::COOKIE).iter().flat_map(cookies) {
        if is_ours(cookie) {
            continue;
        }
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie);
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        Ok(value) if !value.is_empty() => {
            headers.insert(header::COOKIE, value);
        }
        _ => {
            headers.remove(header::COOKIE);
        }
    }
}

fn cookies(field: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|c| !c.is_empty())
}

fn is_ours(cookie: &[u8]) -> bool {
    let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    name.strip_prefix(SESSION_COOKIE).is_some_and(|rest| rest.is_empty() || rest[0] == b'_')
}

/// Removes `Authorization` fields that carry our session: `Pomerium x` and `Bearer Pomerium-x`.
pub(super) fn strip_authorization(headers: &mut HeaderMap) {
    if !headers.get_all(header::AUTHORIZATION).iter().any(carries_session) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter(|value| !carries_session(value))
        .cloned()
        .collect();
    headers.remove(header::AUTHORIZATION);
    for value in kept {
        headers.append(header::AUTHORIZATION, value);
    }
}

fn carries_session(value: &HeaderValue) -> bool {
    let value = value.as_bytes().trim_ascii();
    let end_of_scheme = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, token) = value.split_at(end_of_scheme);
    scheme.eq_ignore_ascii_case(b"pomerium")
        || scheme.eq_ignore_ascii_case(b"bearer")
            && token
                .trim_ascii()
                .get(..9)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"pomerium-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(name: header::HeaderName, values: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        strip_cookies(&mut headers);
        strip_authorization(&mut headers);
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_session_cookie_is_taken_out_and_the_others_stay() {
        assert_eq!(after(header::COOKIE, &["a=1; _pomerium=x; b=2"]), ["a=1; b=2"]);
        assert_eq!(after(header::COOKIE, &["_pomerium_1=x;_pomerium=y"]), Vec::<String>::new());
        assert_eq!(after(header::COOKIE, &["a=_pomerium=1"]), ["a=_pomerium=1"]);
        assert_eq!(after(header::COOKIE, &["_pomeriumx=1"]), ["_pomeriumx=1"]);
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        assert_eq!(after(header::COOKIE, &["a=1", "_pomerium=x", "b=2; c=3"]), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_authorization_with_our_session_is_removed_and_others_stay() {
        for ours in ["Pomerium abc", "pomerium abc", "Bearer Pomerium-abc", "bearer  pomerium-a"] {
            assert_eq!(after(header::AUTHORIZATION, &[ours]), Vec::<String>::new(), "{ours}");
        }
        let kept = ["Bearer abc", "Basic cG9tZXJpdW0="];
        assert_eq!(after(header::AUTHORIZATION, &["Pomerium x", kept[0], kept[1]]), kept);
    }
}
