//! Sessions and bindings in cookies.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use ring::rand::SecureRandom;

use super::{
    names::{CookieNames, RequestCookies},
    pieces::{self, MAX_PIECES, SplitError},
    set_cookie::CookieAttributes,
};
use crate::identity::{
    binding::{BINDING_LIFE_S, BrowserBinding},
    provider_tokens::WantedTokens,
    seal::{SealPurpose, Seals},
    session::{ProviderId, Session},
    spec::{CookieSpec, SameSite},
    wire::{FieldReader, FieldWriter},
};

/// Reads and writes our cookies. One for each configuration.
#[derive(Debug)]
pub(crate) struct IdentityCookies {
    /// What seals the cookies, and the parameters of the flow.
    pub(crate) seals: Arc<Seals>,
    /// What the cookies are called.
    pub(crate) names: CookieNames,
    spec: CookieSpec,
}

/// A session from a cookie of a route's host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenedSession {
    /// The session.
    pub(crate) session: Session,
    /// A previous secret opened the cookie: it should be sealed again.
    pub(crate) by_previous: bool,
}

/// What the cookie of the authenticate host holds.
#[derive(Clone, PartialEq)]
pub(crate) struct MasterSession {
    /// The session.
    pub(crate) session: Session,
    /// For sign-out at the provider; left out where it makes the cookie too long.
    pub(crate) id_token: Option<Box<str>>,
}

/// Why a session has no cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionCookieError {
    /// It is longer than browsers keep.
    TooLarge {
        /// The longest of its claims.
        claim: Box<str>,
    },
    /// The random generator failed.
    Random,
}

impl IdentityCookies {
    /// The cookies by the configuration.
    pub(crate) fn new(spec: &CookieSpec, seals: Arc<Seals>) -> IdentityCookies {
        IdentityCookies { seals, names: CookieNames::new(spec), spec: spec.clone() }
    }

    /// The cookies of a route's own client.
    pub(crate) fn of_client(&self, client: ProviderId) -> IdentityCookies {
        IdentityCookies {
            names: CookieNames::of_client(&self.spec, client),
            seals: Arc::clone(&self.seals),
            spec: self.spec.clone(),
        }
    }

    /// Picks our cookies out of a request.
    pub(crate) fn read<'a>(&self, headers: &'a HeaderMap) -> RequestCookies<'a> {
        RequestCookies::read(&self.names, headers)
    }

    /// Every session that the cookies of a request to a route hold, good or not.
    pub(crate) fn sessions(&self, host: &str, cookies: &RequestCookies<'_>) -> Vec<OpenedSession> {
        let at = (SealPurpose::Session, self.session_scope(host));
        pieces::join(&self.seals, at, &cookies.session)
            .iter()
            .filter_map(|joined| {
                let session = Session::decode(&joined.content)?;
                Some(OpenedSession { session, by_previous: joined.by_previous })
            })
            .collect()
    }

    /// Every session that the cookies of a request to the authenticate host hold, good or not.
    pub(crate) fn master_sessions(
        &self,
        host: &str,
        cookies: &RequestCookies<'_>,
    ) -> Vec<MasterSession> {
        pieces::join(&self.seals, (SealPurpose::Master, host), &cookies.master)
            .iter()
            .filter_map(|joined| MasterSession::decode(&joined.content))
            .collect()
    }

    /// The binding of a browser to a host.
    pub(crate) fn binding(
        &self,
        host: &str,
        cookies: &RequestCookies<'_>,
        now_s: u64,
    ) -> Option<BrowserBinding> {
        cookies.binding.iter().find_map(|value| {
            let unsealed = self.seals.open(SealPurpose::Binding, host, value)?;
            BrowserBinding::decode(&unsealed.plaintext, now_s)
        })
    }

    /// Keeps a session in the cookies of a route's host, and deletes what else the request had there.
    /// Tokens of the provider are left out where they make the cookies too long: workers then ask for
    /// them.
    pub(crate) fn set_session(
        &self,
        host: &str,
        session: &Session,
        replaced: &RequestCookies<'_>,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Result<Vec<HeaderValue>, SessionCookieError> {
        match self.set_whole_session(host, session, replaced, now_s, random) {
            Err(SessionCookieError::TooLarge { .. }) if session.tokens.is_some() => {
                let without = session.clone().with_tokens(WantedTokens::default());
                self.set_whole_session(host, &without, replaced, now_s, random)
            }
            set => set,
        }
    }

    /// The same without leaving anything out.
    pub(crate) fn set_whole_session(
        &self,
        host: &str,
        session: &Session,
        replaced: &RequestCookies<'_>,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Result<Vec<HeaderValue>, SessionCookieError> {
        let too_large = || SessionCookieError::TooLarge { claim: longest_claim(session) };
        let content = session.encode().ok_or_else(too_large)?;
        let at = (SealPurpose::Session, self.session_scope(host));
        let values =
            pieces::split(&self.seals, at, &content, random).map_err(|error| match error {
                SplitError::TooLong => too_large(),
                SplitError::Random => SessionCookieError::Random,
            })?;
        let max_age_s = session.ends_at_s.saturating_sub(now_s);
        Ok(self.session_pieces(host).write(&values, &replaced.session, now_s, max_age_s))
    }

    /// Deletes the session cookies that a request to a route had.
    pub(crate) fn delete_session(
        &self,
        host: &str,
        cookies: &RequestCookies<'_>,
    ) -> Vec<HeaderValue> {
        self.session_pieces(host).write(&[], &cookies.session, 0, 0)
    }

    /// Keeps a session in the cookies of the authenticate host.
    pub(crate) fn set_master(
        &self,
        host: &str,
        master: &MasterSession,
        replaced: &RequestCookies<'_>,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Result<Vec<HeaderValue>, SessionCookieError> {
        let max_age_s = master.session.ends_at_s.saturating_sub(now_s);
        // The hosts whose upstreams get tokens have them themselves, or ask for them.
        let session = master.session.clone().with_tokens(WantedTokens::default());
        let with = MasterSession { session: session.clone(), id_token: master.id_token.clone() };
        for master in [with, MasterSession { session, id_token: None }] {
            let Some(content) = master.encode() else { continue };
            match pieces::split(&self.seals, (SealPurpose::Master, host), &content, random) {
                Ok(values) => {
                    return Ok(self.master_pieces().write(
                        &values,
                        &replaced.master,
                        now_s,
                        max_age_s,
                    ));
                }
                Err(SplitError::Random) => return Err(SessionCookieError::Random),
                Err(SplitError::TooLong) => {}
            }
        }
        Err(SessionCookieError::TooLarge { claim: longest_claim(&master.session) })
    }

    /// Deletes the session cookies that a request to the authenticate host had.
    pub(crate) fn delete_master(&self, cookies: &RequestCookies<'_>) -> Vec<HeaderValue> {
        self.master_pieces().write(&[], &cookies.master, 0, 0)
    }

    /// Deletes a session cookie of any client by its name.
    pub(in crate::identity) fn delete_named(&self, host: &str, name: &str) -> Option<HeaderValue> {
        match name.contains("_authenticate") {
            true => self.master_pieces().attributes.delete(name),
            false => self.session_pieces(host).attributes.delete(name),
        }
    }

    /// Deletes the binding, if a request had one.
    pub(crate) fn delete_binding(&self, cookies: &RequestCookies<'_>) -> Option<HeaderValue> {
        let is_there = !cookies.binding.is_empty();
        is_there.then(|| self.binding_attributes().delete(&self.names.binding)).flatten()
    }

    /// Keeps a binding, for 12 hours from now.
    pub(crate) fn set_binding(
        &self,
        host: &str,
        binding: &BrowserBinding,
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Option<HeaderValue> {
        let binding = BrowserBinding { used_at_s: now_s, ..*binding };
        let content = binding.encode()?;
        let value = self.seals.seal(SealPurpose::Binding, host, &content, random).ok()?;
        self.binding_attributes().set(&self.names.binding, &value, now_s, BINDING_LIFE_S)
    }

    fn binding_attributes(&self) -> CookieAttributes<'static> {
        let same_site = match self.spec.same_site {
            SameSite::None => SameSite::None,
            // The steps begin at other sites, so `Strict` would hide it from them.
            SameSite::Unset | SameSite::Strict | SameSite::Lax => SameSite::Lax,
        };
        CookieAttributes { domain: None, http_only: true, same_site }
    }

    /// The host, or `cookie_domain` for the hosts below it.
    fn session_scope<'a>(&'a self, host: &'a str) -> &'a str {
        self.domain(host).unwrap_or(host)
    }

    /// `cookie_domain`, if a host belongs to it.
    pub(in crate::identity) fn domain(&self, host: &str) -> Option<&str> {
        self.spec.domain.as_deref().filter(|domain| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    fn session_pieces<'a>(&'a self, host: &str) -> CookiePieces<'a> {
        CookiePieces {
            name: &self.names.session,
            attributes: CookieAttributes {
                domain: self.domain(host),
                http_only: self.spec.http_only,
                same_site: self.spec.same_site,
            },
        }
    }

    fn master_pieces(&self) -> CookiePieces<'_> {
        CookiePieces {
            name: &self.names.master,
            attributes: CookieAttributes {
                domain: None,
                http_only: true,
                same_site: SameSite::Lax,
            },
        }
    }
}

/// Among good sessions of one request, the one that counts: one made for this browser before any
/// other, since a sibling host can plant cookies but not the binding; then the newest sign-in.
pub(crate) fn choose<S>(
    sessions: impl IntoIterator<Item = S>,
    session: impl Fn(&S) -> &Session,
    binding: Option<&BrowserBinding>,
) -> Option<S> {
    let digest = binding.map(BrowserBinding::digest);
    sessions.into_iter().max_by_key(|candidate| {
        let session = session(candidate);
        (Some(session.binding) == digest, session.signed_in_at_s)
    })
}

impl MasterSession {
    fn encode(&self) -> Option<Vec<u8>> {
        let mut fields = FieldWriter::default();
        fields.text(&self.session.encode()?);
        fields.text(self.id_token.as_deref().unwrap_or_default().as_bytes());
        fields.finish()
    }

    fn decode(bytes: &[u8]) -> Option<MasterSession> {
        let mut fields = FieldReader::new(bytes);
        let session = Session::decode(fields.bytes()?)?;
        let id_token = Some(fields.text()?).filter(|token| !token.is_empty()).map(Box::from);
        fields.end()?;
        Some(MasterSession { session, id_token })
    }
}

struct CookiePieces<'a> {
    name: &'a str,
    attributes: CookieAttributes<'a>,
}

impl CookiePieces<'_> {
    /// Sets the values, and deletes the other pieces that the request had.
    fn write(
        &self,
        values: &[String],
        replaced: &[(u8, &[u8])],
        now_s: u64,
        max_age_s: u64,
    ) -> Vec<HeaderValue> {
        let mut headers = Vec::new();
        for index in 0..MAX_PIECES {
            let name = match index {
                0 => self.name.to_owned(),
                _ => format!("{}_{index}", self.name),
            };
            if let Some(value) = values.get(index) {
                headers.extend(self.attributes.set(&name, value, now_s, max_age_s));
            } else if replaced.iter().any(|(piece, _)| usize::from(*piece) == index) {
                headers.extend(self.attributes.delete(&name));
            }
        }
        headers
    }
}

fn longest_claim(session: &Session) -> Box<str> {
    let length = |value| serde_json::to_string(value).map_or(0, |text: String| text.len());
    let claims = session.identity.claims.iter();
    claims.max_by_key(|(_, value)| length(*value)).map_or("", |(name, _)| name).into()
}

impl std::fmt::Debug for MasterSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterSession(..)")
    }
}
