//! Taking out of a request what must not reach the upstream.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

use super::{
    credentials::{strip_authorization, strip_cookies},
    names::{Class, class, folded},
    rules::RequestRules,
};
use crate::fields::{has_token, is, tokens};

/// Whether a request wants to leave HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Upgrade {
    /// No, or only to what we need not take notice of (`h2c`, RFC 9113 section 3.1).
    None,
    /// To one of the protocols the route allows.
    Allowed(HeaderValue),
    /// To another.
    Refused,
}

/// Names that mean something to us by the configuration.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Reserved<'a> {
    /// Those that only we may say, in lower case with dashes.
    pub(in crate::http) identity: &'a HashSet<Box<str>>,
    /// The route's own.
    pub(in crate::http) rules: &'a RequestRules,
}

/// [`Reserved::identity`] of these names: those that nobody but us may say in any configuration are
/// left out, so that mostly none is left to be looked up for every header.
pub(in crate::http) fn identity_names(names: &[HeaderName]) -> HashSet<Box<str>> {
    let folded = names.iter().map(|name| folded(name.as_str()));
    folded.filter(|name| class(name) != Class::Reserved).map(Into::into).collect()
}

/// What upgrade a request asks for, judged by the protocols its route allows.
pub(in crate::http) fn requested_upgrade(parts: &Parts, allowed: &[Box<str>]) -> Upgrade {
    if parts.version != Version::HTTP_11 {
        return Upgrade::None;
    }
    let Some(value) = parts.headers.get(header::UPGRADE) else {
        return Upgrade::None;
    };
    if !has_token(&parts.headers, &header::CONNECTION, "upgrade") {
        return Upgrade::None;
    }
    let asked = || tokens(&parts.headers, &header::UPGRADE);
    if asked().all(|protocol| is(protocol, "h2c")) {
        Upgrade::None
    } else if asked().all(|protocol| allowed.iter().any(|one| is(protocol, one))) {
        Upgrade::Allowed(value.clone())
    } else {
        Upgrade::Refused
    }
}

/// Removes what concerns the client's connection alone, what only a proxy may say, and our own
/// session. `TE: trailers` stays, since we pass trailers on.
///
/// A name that the route's rules set or remove stays for them in their own spelling, since a
/// template may read it; in any other it goes. It must run before anything is added to the headers:
/// a `Connection` token may name whatever the client sent, never what we say.
pub(in crate::http) fn strip_request(headers: &mut HeaderMap, reserved: Reserved<'_>) {
    remove_nominated(headers);
    let trailers = has_token(headers, &header::TE, "trailers");
    let (mut cookie, mut authorization) = (false, false);
    remove_where(headers, |name| {
        let folded = folded(name.as_str());
        let class = reserved.class(name, &folded);
        cookie |= class == Class::Cookie;
        authorization |= class == Class::Authorization;
        matches!(class, Class::HopByHop | Class::Reserved)
            || reserved.rules.name_in_another_spelling(name.as_str(), &folded)
    });
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if cookie {
        strip_cookies(headers);
    }
    if authorization {
        strip_authorization(headers);
    }
}

/// Removes from a request's trailers everything that we read, remove or write in its headers:
/// upstreams may merge the two.
pub(in crate::http) fn strip_trailers(trailers: &mut HeaderMap, reserved: Reserved<'_>) {
    remove_where(trailers, |name| {
        let folded = folded(name.as_str());
        reserved.class(name, &folded) != Class::EndToEnd || reserved.rules.name(&folded)
    });
}

impl Reserved<'_> {
    fn class(&self, name: &HeaderName, folded: &str) -> Class {
        match class(folded) {
            _ if !self.identity.is_empty() && self.identity.contains(folded) => Class::Reserved,
            // Another spelling of a name that means something to us.
            Class::Cookie | Class::Authorization | Class::Message if folded != name.as_str() => {
                Class::Reserved
            }
            class => class,
        }
    }
}

fn remove_where(headers: &mut HeaderMap, mut goes: impl FnMut(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Removes the headers that `Connection` names, but for those that say what the message is.
pub(super) fn remove_nominated(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let nominated: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter(|token| !is(token, "keep-alive") && !is(token, "close") && !is(token, "te"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| class(&folded(name.as_str())) != Class::Message)
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
