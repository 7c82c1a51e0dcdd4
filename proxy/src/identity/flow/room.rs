//! Room for the session cookies of all clients at one host.
//!
//! Each client at the provider (`idp_client_id` of routes) has sessions and cookies of its own, and a
//! browser sends all of them with each request to the authenticate host. Without a bound that they have in
//! common, its requests would be too long one day, and nobody could sign in or out with it any more.

use http::{HeaderMap, HeaderValue};

use super::{answer::StepInput, context::SignInContext};
use crate::identity::cookies::OwnCookie;

/// The most bytes of our session cookies at one host: two of the largest sessions.
const MOST_BYTES: usize = 32 * 1024;

/// A session of another client at the host of a request.
struct OtherSession<'a> {
    context: &'a SignInContext,
    bytes: usize,
    /// 0 if its cookies do not open.
    signed_in_at_s: u64,
}

/// Deletes sessions of other clients at the host of a request, the oldest first, until those that stay
/// have room beside the cookies that are about to be set. A user of a session that is deleted here is led
/// to the provider once more, mostly unseen.
pub(super) fn make_room(
    (environment, http): StepInput<'_>,
    set: &[HeaderValue],
) -> Vec<HeaderValue> {
    let (clients, context) = (environment.clients, environment.context);
    if !clients.are_several() {
        return Vec::new();
    }
    let presented = clients.presented(http.headers).into_iter();
    let others = presented.filter(|other| other.provider != context.provider);
    let mut others: Vec<_> =
        others.map(|other| OtherSession::of(other, http.host, http.headers)).collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.signed_in_at_s));
    let unknown = clients.unknown_cookies(http.headers);
    let kept = bytes(context, http.headers, set);
    let of_others = others.iter().map(|other| other.bytes).sum::<usize>();
    let mut all = kept + of_others + unknown.iter().map(|(_, bytes)| bytes).sum::<usize>();
    let mut deleted = Vec::new();
    if all > MOST_BYTES {
        // Their clients are not configured any more.
        for (name, bytes) in unknown {
            all -= bytes;
            deleted.extend(clients.main().cookies.delete_named(http.host, name));
        }
    }
    while all > MOST_BYTES {
        let Some(oldest) = others.pop() else { break };
        all -= oldest.bytes;
        let cookies = oldest.context.cookies.read(http.headers);
        deleted.extend(oldest.context.cookies.delete_session(http.host, &cookies));
        deleted.extend(oldest.context.cookies.delete_master(&cookies));
    }
    deleted
}

impl<'a> OtherSession<'a> {
    fn of(context: &'a SignInContext, host: &str, headers: &HeaderMap) -> OtherSession<'a> {
        let cookies = context.cookies.read(headers);
        let masters = context.cookies.master_sessions(host, &cookies).into_iter();
        let opened = context.cookies.sessions(host, &cookies).into_iter();
        let sessions = masters.map(|it| it.session).chain(opened.map(|it| it.session));
        let signed_in_at_s = sessions.map(|session| session.signed_in_at_s).max().unwrap_or(0);
        OtherSession { context, bytes: bytes(context, headers, &[]), signed_in_at_s }
    }
}

/// The bytes of a client's session cookies, once these are set.
fn bytes(context: &SignInContext, headers: &HeaderMap, set: &[HeaderValue]) -> usize {
    let pair = |field: &HeaderValue| {
        field.as_bytes().split(|byte| *byte == b';').next().map(<[u8]>::to_vec)
    };
    let set: Vec<Vec<u8>> = set.iter().filter_map(pair).collect();
    let is_set = |cookie: &[u8]| {
        let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        set.iter().any(|pair| pair.starts_with(name) && pair.get(name.len()) == Some(&b'='))
    };
    let sent = context.cookies.names.tried(headers);
    let sent = sent.filter(|(which, cookie, _)| *which != OwnCookie::Binding && !is_set(cookie));
    sent.map(|(_, cookie, _)| cookie.len()).sum::<usize>() + set.iter().map(Vec::len).sum::<usize>()
}
