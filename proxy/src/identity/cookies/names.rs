//! Which cookies are ours.

use http::{HeaderMap, header};

use super::pieces::MAX_PIECES;
use crate::identity::spec::CookieSpec;

/// How many cookies of one name are looked at.
pub(crate) const MAX_SAME_NAME: usize = 8;

/// The names of our cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieNames {
    /// `N`; its pieces have `_1` … `_4` behind it.
    pub(super) session: Box<str>,
    /// `N_authenticate`.
    pub(super) master: Box<str>,
    /// `__Host-<N without prefix>_csrf`.
    pub(super) binding: Box<str>,
}

/// The cookies of a request that have one of our names, at most eight of each.
#[derive(Default)]
pub(crate) struct RequestCookies<'a> {
    /// The piece by name, and the value.
    pub(super) session: Vec<(u8, &'a [u8])>,
    pub(super) master: Vec<(u8, &'a [u8])>,
    pub(super) binding: Vec<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnCookie {
    Session(u8),
    Master(u8),
    Binding,
}

impl CookieNames {
    /// The names by the configuration.
    pub(crate) fn new(spec: &CookieSpec) -> CookieNames {
        let name = &*spec.name;
        CookieNames {
            session: name.into(),
            master: format!("{name}_authenticate").into(),
            binding: format!("__Host-{}_csrf", without_prefix(name)).into(),
        }
    }

    /// The name of the session cookie.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// The name of the cookie that binds the steps of a sign-in to a browser.
    pub(crate) fn binding(&self) -> &str {
        &self.binding
    }

    /// Whether a cookie of this name is ours or Pomerium's: such cookies are neither sent to
    /// upstreams nor accepted from them.
    pub(crate) fn is_ours(&self, name: &[u8]) -> bool {
        self.which(name).is_some() || is_pomerium(name)
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
        let fields = headers.get_all(header::COOKIE).iter();
        for cookie in fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')) {
            let Some(at) = cookie.iter().position(|byte| *byte == b'=') else { continue };
            let Some((name, value)) = cookie.split_at_checked(at) else { continue };
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if let Some(which) = names.which(name.trim_ascii()) {
                cookies.add(which, value);
            }
        }
        cookies
    }

    fn add(&mut self, which: OwnCookie, value: &'a [u8]) {
        match which {
            OwnCookie::Session(piece) => add_piece(&mut self.session, piece, value),
            OwnCookie::Master(piece) => add_piece(&mut self.master, piece, value),
            OwnCookie::Binding if self.binding.len() < MAX_SAME_NAME => self.binding.push(value),
            OwnCookie::Binding => {}
        }
    }

    /// The session cookies of a request to a route, as they came: equal values mean the same session.
    pub(crate) fn session_values(&self) -> &[(u8, &'a [u8])] {
        &self.session
    }

    /// The values of the binding cookie, as they came.
    pub(crate) fn binding_values(&self) -> &[&'a [u8]] {
        &self.binding
    }
}

fn add_piece<'a>(pieces: &mut Vec<(u8, &'a [u8])>, piece: u8, value: &'a [u8]) {
    if pieces.iter().filter(|(other, _)| *other == piece).count() < MAX_SAME_NAME {
        pieces.push((piece, value));
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
fn without_prefix(name: &str) -> &str {
    ["__host-", "__secure-"]
        .iter()
        .find_map(|prefix| {
            let (start, rest) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        })
        .unwrap_or(name)
}
