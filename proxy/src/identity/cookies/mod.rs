//! Our cookies: names, pieces, the choice among several, and `Set-Cookie`. Pure.
//!
//! | name | host | holds |
//! |---|---|---|
//! | `N`, `N_1` … `N_4` | a route's, or `cookie_domain` | the session, in pieces |
//! | `N_authenticate`, `_1` … `_4` | the authenticate host | the session and the ID token |
//! | `__Host-<N without prefix>_csrf` | each | the binding to this browser |
//!
//! A host below the same domain can plant cookies of the first two names, so each cookie of a name is
//! tried, and those that do not open count as absent.

mod names;
mod pieces;
mod sessions;
mod set_cookie;
mod split;

pub(in crate::identity) use names::OwnCookie;
pub(crate) use names::{CookieNames, RequestCookies, is_pomerium};
pub(crate) use sessions::{IdentityCookies, MasterSession, SessionCookieError, choose};

#[cfg(test)]
mod tests;
