//! Removing our own session from `Cookie`, `Set-Cookie` and `Authorization`.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    http::bearer::bearer,
    identity::cookies::{CookieNames, is_pomerium},
};

/// The names of our cookies: those of the configuration, and Pomerium's in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::http) struct OwnCookies(pub(in crate::http) Option<CookieNames>);

impl OwnCookies {
    /// Whether a cookie, `name=value`, is ours. Browsers send one without a name, `=value`, as `value`
    /// alone, which is then read as a name and a value.
    fn contain(&self, cookie: &[u8]) -> bool {
        let nameless = |byte: &u8| *byte == b'=' || byte.is_ascii_whitespace();
        let start = cookie.iter().position(|byte| !nameless(byte)).unwrap_or(cookie.len());
        let cookie = cookie.get(start..).unwrap_or_default();
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        match &self.0 {
            Some(names) => names.is_ours(name),
            None => is_pomerium(name),
        }
    }
}

/// Removes our cookies, and leaves at most one `Cookie` field.
///
/// HTTP/2 clients send cookies in several fields; HTTP/1.1 and most applications expect one (RFC 9113
/// section 8.2.3).
pub(super) fn strip_cookies(headers: &mut HeaderMap, own: &OwnCookies) {
    let mut fields = headers.get_all(header::COOKIE).iter();
    let (Some(first), None) = (fields.next(), fields.next()) else {
        return join_cookies(headers, own);
    };
    if cookies(first).any(|cookie| own.contain(cookie)) {
        join_cookies(headers, own);
    }
}

fn join_cookies(headers: &mut HeaderMap, own: &OwnCookies) {
    let mut joined = Vec::new();
    for cookie in headers.get_all(header::COOKIE).iter().flat_map(cookies) {
        if own.contain(cookie) {
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

/// Removes from an upstream's response the `Set-Cookie` fields of our cookies: an application must
/// not be able to replace a session.
pub(in crate::http) fn strip_set_cookies(headers: &mut HeaderMap, own: &OwnCookies) {
    let is_ours = |field: &HeaderValue| own.contain(field.as_bytes().trim_ascii_start());
    if !headers.get_all(header::SET_COOKIE).iter().any(is_ours) {
        return;
    }
    let fields = headers.get_all(header::SET_COOKIE).iter();
    let kept: Vec<HeaderValue> = fields.filter(|field| !is_ours(field)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for field in kept {
        headers.append(header::SET_COOKIE, field);
    }
}

/// Removes `Authorization` fields that carry our session: `Pomerium x` and `Bearer Pomerium-x`; with
/// `all_tokens` every bearer token.
pub(super) fn strip_authorization(headers: &mut HeaderMap, all_tokens: bool) {
    match all_tokens {
        true => remove_values(headers, |value| carries_session(value) || bearer(value).is_some()),
        false => remove_values(headers, carries_session),
    }
}

fn remove_values(headers: &mut HeaderMap, goes: impl Fn(&HeaderValue) -> bool) {
    if !headers.get_all(header::AUTHORIZATION).iter().any(&goes) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter(|value| !goes(value))
        .cloned()
        .collect();
    headers.remove(header::AUTHORIZATION);
    for value in kept {
        headers.append(header::AUTHORIZATION, value);
    }
}

fn carries_session(value: &HeaderValue) -> bool {
    program_token(value).is_some()
}

/// The token of a program in an `Authorization` field: `Pomerium x` or `Bearer Pomerium-x`.
pub(in crate::http) fn program_token(field: &HeaderValue) -> Option<&[u8]> {
    let field = field.as_bytes().trim_ascii();
    let end_of_scheme = field.iter().position(u8::is_ascii_whitespace).unwrap_or(field.len());
    let (scheme, token) = field.split_at_checked(end_of_scheme)?;
    let token = token.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"pomerium") {
        return Some(token);
    }
    let (start, token) = token.split_at_checked(9)?;
    let is_ours =
        scheme.eq_ignore_ascii_case(b"bearer") && start.eq_ignore_ascii_case(b"pomerium-");
    is_ours.then_some(token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::spec::{CookieSpec, SameSite};

    fn after(name: header::HeaderName, values: &[&'static str]) -> Vec<String> {
        after_with(None, name, values)
    }

    fn spec(name: &str) -> CookieSpec {
        CookieSpec {
            name: name.into(),
            domain: None,
            http_only: true,
            expire: Duration::from_secs(60),
            same_site: SameSite::Lax,
        }
    }

    fn after_with(
        own: Option<&str>,
        name: header::HeaderName,
        values: &[&'static str],
    ) -> Vec<String> {
        let own = OwnCookies(own.map(|name| CookieNames::new(&spec(name))));
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        strip_cookies(&mut headers, &own);
        strip_set_cookies(&mut headers, &own);
        strip_authorization(&mut headers, false);
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
    fn cookies_of_a_configured_name_are_taken_out_and_no_others() {
        let ours = "s=1; s_1=2; s_authenticate=3; s_authenticate_4=5; __Host-s_csrf=6; \
                    _pomerium_2=7; __Host-_pomerium_csrf=8; s_client_0a1b2c3d=9; \
                    s_client_99999999_4=10; s_client_0a1b2c3d_authenticate_1=11";
        let theirs = "sx=1; s_=2; s_x=3; s_authenticate_x=4; __Host-s=5; s_csrf=6; \
             __Host-sx_csrf=7; s_client_=8; s_client_0a1b2c3=9; s_client_0A1B2C3D=10; \
             s_client_0a1b2c3d_5=11; s_client_0a1b2c3d_x=12";
        assert_eq!(after_with(Some("s"), header::COOKIE, &[ours]), Vec::<String>::new());
        assert_eq!(after_with(Some("s"), header::COOKIE, &[theirs]), [theirs]);
        let secure = ["__Secure-s=1; __Host-s_csrf=2; __Secure-s_csrf=3"];
        assert_eq!(after_with(Some("__Secure-s"), header::COOKIE, &secure), ["__Secure-s_csrf=3"]);
    }

    #[test]
    fn an_upstream_can_set_no_cookie_of_ours() {
        let fields = ["a=1; Path=/", " s=x; Path=/", "__Host-s_csrf=; Max-Age=0", "_pomerium=y"];
        assert_eq!(after_with(Some("s"), header::SET_COOKIE, &fields), ["a=1; Path=/"]);
        // Browsers send a cookie without a name as its value alone.
        let nameless = ["=s=x; Path=/", " = s_1=x", "==__Host-s_csrf=x", "\t=_pomerium=y"];
        assert_eq!(after_with(Some("s"), header::SET_COOKIE, &nameless), Vec::<String>::new());
        let kept = ["s2=1", "b=s=1"];
        assert_eq!(after_with(Some("s"), header::SET_COOKIE, &kept), kept);
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
