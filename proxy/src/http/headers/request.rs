//! Removing from a request what must not reach the upstream.

use std::{borrow::Cow, collections::HashSet};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

use super::{
    credentials::{OwnCookies, strip_authorization, strip_cookies},
    names::{Class, class, folded},
    rules::RequestRules,
    trailers::may_be_trailer,
};
use crate::fields::{has_token, is, remove_where, tokens};

/// Whether a request asks for an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Upgrade {
    /// No, or only to `h2c`, which may be ignored (RFC 9113 section 3.1).
    None,
    /// To a protocol that the route allows.
    Allowed(HeaderValue),
    /// To a protocol that the route does not allow.
    Refused,
}

/// Header names that the configuration gives a meaning to.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Reserved<'a> {
    /// Names that only we may set, in lower case with dashes.
    pub(in crate::http) identity: &'a HashSet<Box<str>>,
    /// Our cookies.
    pub(in crate::http) cookies: &'a OwnCookies,
    /// The route's own rules.
    pub(in crate::http) rules: &'a RequestRules,
    /// The route takes bearer tokens, so that they are credentials for us and not for the upstream.
    pub(in crate::http) bearer: bool,
    /// Names with other characters than letters, digits and `-` may be there.
    pub(in crate::http) odd_names: bool,
    /// The headers of proxies that are passed on.
    pub(in crate::http) forwarding: PassedForwarding<'a>,
}

/// Which headers by which proxies describe the client are passed on.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum PassedForwarding<'a> {
    /// All: a trusted proxy sent them.
    All,
    /// These.
    Named(&'a [HeaderName]),
}

/// [`Reserved::identity`] of these names. Names that are reserved in any configuration are left out, so
/// that in most configurations no name is left to be looked up for every header.
pub(in crate::http) fn identity_names(names: &[HeaderName]) -> HashSet<Box<str>> {
    let folded = names.iter().map(|name| folded(name.as_str()));
    folded.filter(|name| class(name) != Class::Reserved).map(Into::into).collect()
}

/// The upgrade that a request asks for, if its route allows these protocols.
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

/// Removes headers that concern the client's connection alone, headers that only a proxy may set, and
/// our own session. `TE: trailers` stays, since trailers are passed on.
///
/// A name that the route's rules set or remove stays in their spelling, since a template may read it; in
/// any other spelling it is removed. This must run before anything is added to the headers: a
/// `Connection` token may name any header that the client sent, but never one of ours.
pub(in crate::http) fn strip_request(headers: &mut HeaderMap, reserved: Reserved<'_>) {
    remove_nominated(headers);
    let trailers = has_token(headers, &header::TE, "trailers");
    let (mut cookie, mut authorization) = (false, false);
    remove_where(headers, |name| {
        let folded = reserved.folded(name);
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
        strip_cookies(headers, reserved.cookies);
    }
    if authorization {
        strip_authorization(headers, reserved.bearer);
    }
}

/// Removes from a request's trailers every name that we read, remove or write in its headers, and
/// names that no trailer may have: upstreams may merge the two.
pub(in crate::http) fn strip_trailers(trailers: &mut HeaderMap, reserved: Reserved<'_>) {
    remove_where(trailers, |name| {
        let folded = reserved.folded(name);
        reserved.class(name, &folded) != Class::EndToEnd
            || reserved.rules.name(&folded)
            || !may_be_trailer(&folded)
    });
}

impl Reserved<'_> {
    /// Names that are plain need no look.
    fn folded<'n>(&self, name: &'n HeaderName) -> Cow<'n, str> {
        if self.odd_names { folded(name.as_str()) } else { Cow::Borrowed(name.as_str()) }
    }

    fn class(&self, name: &HeaderName, folded: &str) -> Class {
        match class(folded) {
            _ if !self.identity.is_empty() && self.identity.contains(folded) => Class::Reserved,
            Class::Forwarding => match self.forwarding {
                PassedForwarding::All => Class::EndToEnd,
                PassedForwarding::Named(names) if names.contains(name) => Class::EndToEnd,
                PassedForwarding::Named(_) => Class::Reserved,
            },
            // Another spelling of a name that means something to us.
            Class::Cookie | Class::Authorization | Class::Message if folded != name.as_str() => {
                Class::Reserved
            }
            class => class,
        }
    }
}

/// Removes the headers that `Connection` names, except those that describe the message.
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
