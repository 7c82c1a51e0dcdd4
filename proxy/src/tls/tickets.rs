//! Session tickets: stateless, shared by all workers, and good only where they were made.
//!
//! A ticket is opened only under the *scope* it was made in: the server name and the digest of all
//! that decides who is let in (client-auth mode, trust anchors, depth, ALPN). The scope is part of
//! the key derivation, so a ticket from elsewhere does not decrypt and the client does a full
//! handshake. rustls itself compares no more than the server name and the cipher suite, and a
//! resumed handshake asks for no certificate.
//!
//! In front of rustls's plaintext stands our [`Session`], judged anew whenever a ticket is opened.
//!
//! ```text
//! ticket = key name (16) | nonce (12) | AES-256-GCM(session | plaintext) | tag (16)
//! key    = HKDF-SHA256(ticket key, label | scope | nonce | server name), one for each ticket
//! ```

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use rustls::{
    server::ProducesTickets,
    time_provider::{DefaultTimeProvider, TimeProvider},
};

use super::{
    context,
    session::{self, Session},
    validity::seconds,
};

/// How long a ticket is good for at most, in seconds. Kept by forgetting its key; where keys are
/// given, it is what clients are told, and a session's own limits are what holds.
const LIFETIME_S: i64 = 12 * 60 * 60;

/// How long a key makes tickets, in seconds.
const ROTATION_S: i64 = 6 * 60 * 60;

/// Neither a longer plaintext is sealed nor a longer ticket opened, in bytes. Only a client with
/// very long chain comes near; without a bound its ticket could outgrow its 16-bit length.
const MAX_PLAINTEXT_LEN: usize = 16 * 1024;

const KEY_NAME_LEN: usize = 16;
const TAG_LEN: usize = 16;
const MAX_OVERHEAD_LEN: usize = KEY_NAME_LEN + NONCE_LEN + session::MAX_ENCODED_LEN + TAG_LEN;
const LABEL: &[u8] = b"portcullis session ticket v1";

type KeyName = [u8; KEY_NAME_LEN];

/// The keys under which tickets are made and opened. One for the whole process, over all reloads;
/// workers read it without a lock, the control thread rotates it.
pub struct TicketKeys {
    keys: ArcSwap<Vec<TicketKey>>,
    clock: Arc<dyn TimeProvider>,
}

/// A key from a file, in the form that nginx has them: 16 bytes that name it, then 32 or 64 secret
/// ones. nginx uses these as they are; here a key for each ticket is derived from them, so that
/// tickets of the one do not open at the other.
#[derive(Clone)]
pub struct TicketSecret {
    name: KeyName,
    secret: Box<[u8]>,
}

/// Why a file holds no key for tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketSecretError {
    /// It is too short or too long.
    #[error("it has {0} bytes, where a ticket key has 48 or 80")]
    Length(usize),
    /// A file of zeros is no secret.
    #[error("all its bytes are the same")]
    Uniform,
}

impl TicketSecret {
    /// Takes the content of a file.
    pub fn new(content: &[u8]) -> Result<TicketSecret, TicketSecretError> {
        let (Some((name, secret)), 48 | 80) = (content.split_first_chunk(), content.len()) else {
            return Err(TicketSecretError::Length(content.len()));
        };
        if secret.iter().all(|byte| Some(byte) == secret.first()) {
            return Err(TicketSecretError::Uniform);
        }
        Ok(TicketSecret { name: *name, secret: secret.into() })
    }

    /// Whether the two could not be told apart in a ticket.
    pub fn has_name_of(&self, other: &TicketSecret) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret").finish_non_exhaustive()
    }
}

/// No randomness could be had from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

impl TicketKeys {
    /// Starts with one random key: tickets of an earlier process are not opened.
    pub fn generate() -> Result<TicketKeys, RandomError> {
        TicketKeys::with_clock(Arc::new(DefaultTimeProvider))
    }

    /// With another clock than the system's. It is also that of the TLS configurations which use
    /// these keys.
    pub fn with_clock(clock: Arc<dyn TimeProvider>) -> Result<TicketKeys, RandomError> {
        let first = TicketKey::generate(now_s(&*clock).unwrap_or(0))?;
        Ok(TicketKeys { keys: ArcSwap::from_pointee(vec![first]), clock })
    }

    /// Takes the keys that are given, the first of which makes tickets, and the clock of others. They
    /// do not rotate: their owner replaces them.
    pub fn given(secrets: &[TicketSecret], others: &TicketKeys) -> TicketKeys {
        let clock = Arc::clone(&others.clock);
        let now_s = now_s(&*clock).unwrap_or(0);
        let key = |given: &TicketSecret| TicketKey::from_secret(given.name, &given.secret, now_s);
        let keys = secrets.iter().map(key).collect();
        TicketKeys { keys: ArcSwap::from_pointee(keys), clock }
    }

    /// Replaces the key that makes tickets once it has been in use for six hours, and forgets those
    /// replaced twelve hours ago. To be called by the control thread every few minutes; to call it
    /// late keeps keys longer. Says whether a new key is in use.
    pub fn rotate(&self) -> Result<bool, RandomError> {
        let Some(now_s) = now_s(&*self.clock) else {
            return Ok(false);
        };
        let keys = self.keys.load();
        let due = keys.first().is_none_or(|key| differ_by(ROTATION_S, key.created_s, now_s));
        let mut next = Vec::with_capacity(keys.len() + 1);
        if due {
            next.push(TicketKey::generate(now_s)?);
        }
        next.extend(keys.iter().map(|key| key.retired(due.then_some(now_s))));
        next.retain(|key| !key.is_spent(now_s));
        self.keys.store(Arc::new(next));
        Ok(due)
    }

    /// The clock given to [`TicketKeys::with_clock`].
    pub(super) fn clock(&self) -> &Arc<dyn TimeProvider> {
        &self.clock
    }

    fn seal(&self, scope: &Scope<'_>, session: &Session, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.keys.load().first()?.seal(scope, session, plaintext)
    }

    fn open(&self, scope: &Scope<'_>, ticket: &[u8]) -> Option<(Session, Vec<u8>)> {
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.name == *name)?;
        key.open(scope, rest)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

/// Where a ticket is good.
struct Scope<'a> {
    /// Digest of all that decides who is let in.
    policy: &'a [u8; 32],
    /// As the client named it, normalised.
    server_name: Option<&'a str>,
}

#[derive(Clone)]
struct TicketKey {
    /// In clear in front of each ticket, to find the key again. Secret from nobody.
    name: KeyName,
    secret: hkdf::Prk,
    created_s: i64,
    /// When another took its place; it only opens tickets since.
    retired_s: Option<i64>,
}

impl TicketKey {
    fn generate(now_s: i64) -> Result<TicketKey, RandomError> {
        let mut name = [0; KEY_NAME_LEN];
        let mut secret = [0; 32];
        let random = SystemRandom::new();
        random.fill(&mut name).map_err(|_| RandomError)?;
        random.fill(&mut secret).map_err(|_| RandomError)?;
        Ok(TicketKey::from_secret(name, &secret, now_s))
    }

    fn from_secret(name: KeyName, secret: &[u8], now_s: i64) -> TicketKey {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, LABEL).extract(secret);
        TicketKey { name, secret, created_s: now_s, retired_s: None }
    }

    fn retired(&self, now_s: Option<i64>) -> TicketKey {
        TicketKey { retired_s: self.retired_s.or(now_s), ..self.clone() }
    }

    fn is_spent(&self, now_s: i64) -> bool {
        self.retired_s.is_some_and(|retired_s| differ_by(LIFETIME_S, retired_s, now_s))
    }

    fn seal(&self, scope: &Scope<'_>, session: &Session, plaintext: &[u8]) -> Option<Vec<u8>> {
        if plaintext.len() > MAX_PLAINTEXT_LEN {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(MAX_OVERHEAD_LEN + plaintext.len());
        sealed.extend(self.name);
        sealed.extend(nonce);
        session.encode(&mut sealed);
        sealed.extend(plaintext);
        let (_, secret_part) = sealed.split_at_mut_checked(KEY_NAME_LEN + NONCE_LEN)?;
        let tag = self
            .derive(scope, &nonce)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.name),
                secret_part,
            )
            .ok()?;
        sealed.extend(tag.as_ref());
        Some(sealed)
    }

    fn open(&self, scope: &Scope<'_>, rest: &[u8]) -> Option<(Session, Vec<u8>)> {
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() > MAX_PLAINTEXT_LEN + MAX_OVERHEAD_LEN {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let opened = self
            .derive(scope, nonce)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(self.name), &mut sealed)
            .ok()?;
        let (session, plaintext) = Session::decode(opened)?;
        Some((session, plaintext.to_vec()))
    }

    /// A key for each ticket: the server name asks for a derivation of its own anyway, and so the
    /// random nonces of all tickets together need not stay below the 2^32 of one AES-GCM key.
    fn derive(&self, scope: &Scope<'_>, nonce: &[u8; NONCE_LEN]) -> Option<LessSafeKey> {
        let (named, server_name) = match scope.server_name {
            Some(name) => ([1], name.as_bytes()),
            None => ([0], &[][..]),
        };
        // Only the last part varies in length.
        let info = [LABEL, scope.policy, nonce, &named, server_name];
        let key = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Makes and opens the tickets of one server configuration.
pub(super) struct Ticketer {
    keys: Arc<TicketKeys>,
    /// Digest of all that decides who is let in.
    policy: [u8; 32],
    /// A session without a client certificate must not be resumed.
    needs_client_certificate: bool,
}

impl Ticketer {
    pub(super) fn new(
        keys: Arc<TicketKeys>,
        policy: [u8; 32],
        needs_client_certificate: bool,
    ) -> Ticketer {
        Ticketer { keys, policy, needs_client_certificate }
    }

    fn remaining_s(&self, session: &Session) -> i64 {
        if self.needs_client_certificate && session.client_validity.is_none() {
            return 0;
        }
        now_s(&*self.keys.clock).map_or(0, |now_s| session.remaining_s(now_s))
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    /// rustls asks right after `encrypt`, on the same connection.
    fn lifetime(&self) -> u32 {
        let session = context::current(|context| context.session()).flatten();
        let remaining_s = session.map_or(LIFETIME_S, |session| self.remaining_s(&session));
        u32::try_from(remaining_s.clamp(0, LIFETIME_S)).unwrap_or(0)
    }

    /// The session is that of the full handshake just done, or the one this connection resumed. No
    /// ticket is made that could not be opened.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        context::current(|context| {
            let session = match context.session() {
                Some(session) => session,
                None => {
                    Session { authenticated_at_s: now_s(&*self.keys.clock)?, client_validity: None }
                }
            };
            if self.remaining_s(&session) <= 0 {
                return None;
            }
            context.set_session(session);
            let scope = Scope { policy: &self.policy, server_name: context.server_name() };
            self.keys.seal(&scope, &session, plain)
        })?
    }

    /// The last session opened is the connection's if the handshake is a resumed one; if it is a
    /// full one after all, the client's certificate replaces it.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        context::current(|context| {
            let scope = Scope { policy: &self.policy, server_name: context.server_name() };
            let (session, plaintext) = self.keys.open(&scope, cipher)?;
            if self.remaining_s(&session) <= 0 {
                return None;
            }
            context.set_session(session);
            Some(plaintext)
        })?
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

fn now_s(clock: &dyn TimeProvider) -> Option<i64> {
    clock.current_time().map(seconds)
}

/// In either direction: a clock that was set back must not keep a key for years.
fn differ_by(limit_s: i64, then_s: i64, now_s: i64) -> bool {
    now_s.saturating_sub(then_s).saturating_abs() >= limit_s
}

#[cfg(test)]
mod tests;
