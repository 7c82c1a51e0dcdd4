//! Which cookies are ours.

use http::{HeaderMap, header};

use super::{pieces::MAX_PIECES, split::split_cookies};
use crate::{
    digest,
    identity::{session::ProviderId, spec::CookieSpec},
};

/// How many cookies of one name are looked at.
const MAX_SAME_NAME: usize = 8;

/// The names of our cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieNames {
    /// `N`; its pieces have `_1` … `_4` behind it.
    pub(super) session: Box<str>,
    /// `N_authenticate`.
    pub(super) master: Box<str>,
    /// `__Host-<N without prefix>_csrf`.
    pub(super) binding: Box<str>,
    /// What the names of other clients of the provider begin with; empty for such a client.
    family: Box<str>,
}

/// Between the configured name and what tells clients apart.
const CLIENT: &str = "_client_";
/// So many bytes of a [`ProviderId`] are in the names of a client's cookies.
const TAG_BYTES: usize = 4;

/// The cookies of a request that have one of our names, at most eight of each.
#[derive(Default)]
pub(crate) struct RequestCookies<'a> {
    /// The piece by name, and the value.
    pub(super) session: Vec<(u8, &'a [u8])>,
    pub(super) master: Vec<(u8, &'a [u8])>,
    pub(super) binding: Vec<&'a [u8]>,
}

/// One of our cookies, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum OwnCookie {
    /// A piece of the session of a route's host.
    Session(u8),
    /// A piece of the session of the authenticate host.
    Master(u8),
    /// The binding of the browser to the host.
    Binding,
}

impl OwnCookie {
    /// Another number for each name, from 0 on.
    fn number(self) -> usize {
        match self {
            OwnCookie::Binding => 0,
            OwnCookie::Session(piece) => 1 + usize::from(piece),
            OwnCookie::Master(piece) => 1 + MAX_PIECES + usize::from(piece),
        }
    }
}

impl CookieNames {
    /// The names by the configuration.
    pub(crate) fn new(spec: &CookieSpec) -> CookieNames {
        let name = &*spec.name;
        let family = format!("{name}{CLIENT}").into();
        CookieNames { family, ..CookieNames::of_session(spec, name.into()) }
    }

    /// The names of a route's own client. A browser may have sessions of several clients at a host, and
    /// one binding.
    pub(crate) fn of_client(spec: &CookieSpec, client: ProviderId) -> CookieNames {
        let name = format!("{}{CLIENT}{}", spec.name, client_tag(client)).into();
        CookieNames::of_session(spec, name)
    }

    fn of_session(spec: &CookieSpec, session: Box<str>) -> CookieNames {
        CookieNames {
            master: format!("{session}_authenticate").into(),
            session,
            binding: format!("__Host-{}_csrf", without_prefix(&spec.name)).into(),
            family: Box::default(),
        }
    }

    /// Whether a request has a session of this client, by its names.
    pub(crate) fn are_in(&self, headers: &HeaderMap) -> bool {
        self.tried(headers).any(|(which, ..)| which != OwnCookie::Binding)
    }

    /// Whether a cookie of this name is ours or Pomerium's: such cookies are neither sent to
    /// upstreams nor accepted from them.
    pub(crate) fn is_ours(&self, name: &[u8]) -> bool {
        self.which(name).is_some() || is_pomerium(name) || self.is_of_client(name)
    }

    /// The cookies of a request that are tried, each as it stands and its value: eight of a name at
    /// most.
    pub(in crate::identity) fn tried<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (OwnCookie, &'a [u8], &'a [u8])> {
        let fields = headers.get_all(header::COOKIE).iter();
        let cookies = fields.flat_map(|field| split_cookies(field.as_bytes()));
        let mut counts = [0; 2 * MAX_PIECES + 1];
        cookies.filter_map(move |cookie| {
            let at = cookie.iter().position(|byte| *byte == b'=')?;
            let (name, value) = cookie.split_at_checked(at)?;
            let which = self.which(name.trim_ascii())?;
            let count = counts.get_mut(which.number()).filter(|count| **count < MAX_SAME_NAME)?;
            *count += 1;
            Some((which, cookie, value.get(1..).unwrap_or_default().trim_ascii()))
        })
    }

    /// The names of the session cookies of other clients, configured now or not, with the length of each
    /// cookie.
    pub(in crate::identity) fn of_clients<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> impl Iterator<Item = (&'h str, usize)> {
        let fields = headers.get_all(header::COOKIE).iter();
        let cookies = fields.flat_map(|field| split_cookies(field.as_bytes()));
        cookies.filter_map(|cookie| {
            let name = cookie.split(|byte| *byte == b'=').next()?.trim_ascii();
            let name =
                str::from_utf8(name).ok().filter(|name| self.is_of_client(name.as_bytes()))?;
            Some((name, cookie.len()))
        })
    }

    /// Whether a cookie of this name is a piece of a session of this client.
    pub(in crate::identity) fn is_session(&self, name: &[u8]) -> bool {
        matches!(self.which(name), Some(OwnCookie::Session(_) | OwnCookie::Master(_)))
    }

    fn which(&self, name: &[u8]) -> Option<OwnCookie> {
        if name == self.binding.as_bytes() {
            return Some(OwnCookie::Binding);
        }
        if let Some(rest) = name.strip_prefix(self.master.as_bytes()) {
            return piece(rest).map(OwnCookie::Master);
        }
        piece(name.strip_prefix(self.session.as_bytes())?).map(OwnCookie::Session)
    }

    /// Whether it is a name of any client, configured now or not.
    fn is_of_client(&self, name: &[u8]) -> bool {
        let Some(rest) = name.strip_prefix(self.family.as_bytes()) else { return false };
        let Some((tag, rest)) = rest.split_at_checked(2 * TAG_BYTES) else { return false };
        let is_tag = tag.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let rest = rest.strip_prefix(b"_authenticate").unwrap_or(rest);
        !self.family.is_empty() && is_tag && piece(rest).is_some()
    }
}

/// Whether a cookie of this name is one of Pomerium's with its default `cookie_name`, or one of ours.
pub(crate) fn is_pomerium(name: &[u8]) -> bool {
    name == b"__Host-_pomerium_csrf"
        || name
            .strip_prefix(b"_pomerium")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"))
}

impl<'a> RequestCookies<'a> {
    /// Reads all `Cookie` fields: HTTP/2 splits them.
    pub(crate) fn read(names: &CookieNames, headers: &'a HeaderMap) -> RequestCookies<'a> {
        let mut cookies = RequestCookies::default();
        for (which, _, value) in names.tried(headers) {
            match which {
                OwnCookie::Session(piece) => cookies.session.push((piece, value)),
                OwnCookie::Master(piece) => cookies.master.push((piece, value)),
                OwnCookie::Binding => cookies.binding.push(value),
            }
        }
        cookies
    }

    /// The session cookies of a request to a route, as they came: equal values mean the same session.
    pub(crate) fn session_values(&self) -> &[(u8, &'a [u8])] {
        &self.session
    }
}

/// The piece that the end of a name stands for.
fn piece(end: &[u8]) -> Option<u8> {
    match end {
        [] => Some(0),
        [b'_', digit @ b'1'..=b'9'] => {
            let piece = digit - b'0';
            (usize::from(piece) < MAX_PIECES).then_some(piece)
        }
        _ => None,
    }
}

/// Browsers read the prefixes in any case (6265bis section 4.1.3).
fn client_tag(ProviderId(id): ProviderId) -> String {
    digest::hex(id.first_chunk::<TAG_BYTES>().map_or(&[], |tag| tag))
}

fn without_prefix(name: &str) -> &str {
    ["__host-", "__secure-"]
        .iter()
        .find_map(|prefix| {
            let (start, rest) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        })
        .unwrap_or(name)
}
