//! Session tickets: stateless, shared by all workers, and valid only under the policy they were made
//! under.
//!
//! A ticket is bound to the server name and to a digest of every setting that affects authorization
//! (client-auth mode, trust anchors, depth, CRLs, ALPN). The binding is part of the key derivation, so a
//! ticket sealed under another one does not decrypt, and the client does a full handshake. rustls
//! itself compares only the server name and the cipher suite, and a resumed handshake asks for no
//! certificate.
//!
//! Our [`TlsSession`] precedes rustls's plaintext, and is checked whenever a ticket is opened.
//!
//! ```text
//! ticket = key name (16) | nonce (12) | AES-256-GCM(session | plaintext) | tag (16)
//! key    = HKDF-SHA256(ticket key, label | which parts | policy | CRLs | nonce | server name)
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
    crl::CrlStore,
    session::{self, TlsSession},
    validity::seconds,
};

/// How long a ticket is valid at most, in seconds: after that its key is forgotten. Keys from files
/// are not; there it is only what clients are told, and a session's own limits hold.
const LIFETIME_S: i64 = 12 * 60 * 60;

/// How long a key seals tickets, in seconds.
const ROTATION_S: i64 = 6 * 60 * 60;

/// The longest plaintext of a ticket, in bytes. Only a client with a very long chain comes near it;
/// without a limit its ticket could outgrow its 16-bit length.
const MAX_PLAINTEXT_LEN: usize = 16 * 1024;

const KEY_NAME_LEN: usize = 16;
const TAG_LEN: usize = 16;
const MAX_OVERHEAD_LEN: usize = KEY_NAME_LEN + NONCE_LEN + session::MAX_ENCODED_LEN + TAG_LEN;
const LABEL: &[u8] = b"portcullis session ticket v1";

type KeyName = [u8; KEY_NAME_LEN];

/// The keys that seal and open tickets: one set for the whole process, over all reloads. Workers read
/// it without a lock, the control thread rotates it.
pub struct TicketKeys {
    keys: ArcSwap<Vec<TicketKey>>,
    clock: Arc<dyn TimeProvider>,
}

/// A key from a file in nginx's form: a name of 16 bytes, then 32 or 64 secret bytes. nginx uses them
/// directly; here a key for each ticket is derived from them, so neither opens the other's tickets.
#[derive(Clone)]
pub struct TicketSecret {
    name: KeyName,
    secret: Box<[u8]>,
}

/// Why a file is not a ticket key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketSecretError {
    /// It is too short or too long.
    #[error("it has {0} bytes; a ticket key has 48 or 80")]
    Length(usize),
    /// A file of zeros is no secret.
    #[error("all its bytes are the same")]
    Uniform,
}

impl TicketSecret {
    /// Reads the content of a file.
    pub fn new(content: &[u8]) -> Result<TicketSecret, TicketSecretError> {
        let (Some((name, secret)), 48 | 80) = (content.split_first_chunk(), content.len()) else {
            return Err(TicketSecretError::Length(content.len()));
        };
        if secret.iter().all(|byte| Some(byte) == secret.first()) {
            return Err(TicketSecretError::Uniform);
        }
        Ok(TicketSecret { name: *name, secret: secret.into() })
    }

    /// Whether both have the same name, so that a ticket does not say which one sealed it.
    pub fn has_name_of(&self, other: &TicketSecret) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret").finish_non_exhaustive()
    }
}

/// The system gave the system's random generator failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

impl TicketKeys {
    /// Starts with one random key: tickets of an earlier process are not opened.
    pub fn generate() -> Result<TicketKeys, RandomError> {
        TicketKeys::with_clock(Arc::new(DefaultTimeProvider))
    }

    /// With another clock than the system's. TLS configurations with these keys use it too.
    pub fn with_clock(clock: Arc<dyn TimeProvider>) -> Result<TicketKeys, RandomError> {
        let first = TicketKey::generate(now_s(&*clock).unwrap_or(0))?;
        Ok(TicketKeys { keys: ArcSwap::from_pointee(vec![first]), clock })
    }

    /// Keys from files, of which the first seals tickets, with the clock of `others`. They do not
    /// rotate: the operator replaces them.
    pub fn given(secrets: &[TicketSecret], others: &TicketKeys) -> TicketKeys {
        let clock = Arc::clone(&others.clock);
        let now_s = now_s(&*clock).unwrap_or(0);
        TicketKeys { keys: ArcSwap::from_pointee(from_secrets(secrets, now_s)), clock }
    }

    /// Replaces keys from files by those of files that have changed. Tickets of a key that is still
    /// among them are opened as before.
    pub(crate) fn replace(&self, secrets: &[TicketSecret]) {
        let now_s = now_s(&*self.clock).unwrap_or(0);
        self.keys.store(Arc::new(from_secrets(secrets, now_s)));
    }

    /// Replaces the sealing key once it has been in use for six hours, and forgets keys that were
    /// replaced twelve hours ago. The control thread calls it every few minutes; a late call keeps
    /// keys longer. Says whether a new key is in use.
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

    fn seal(
        &self,
        binding: &TicketBinding<'_>,
        session: &TlsSession,
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        self.keys.load().first()?.seal(binding, session, plaintext)
    }

    fn open(&self, binding: &TicketBinding<'_>, ticket: &[u8]) -> Option<(TlsSession, Vec<u8>)> {
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.name == *name)?;
        key.open(binding, rest)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

fn from_secrets(secrets: &[TicketSecret], now_s: i64) -> Vec<TicketKey> {
    let key = |given: &TicketSecret| TicketKey::from_secret(given.name, &given.secret, now_s);
    secrets.iter().map(key).collect()
}

/// What a ticket is bound to.
struct TicketBinding<'a> {
    /// Digest of every setting that affects authorization.
    policy: &'a [u8; 32],
    /// Digest of the CRLs in use.
    crls: Option<[u8; 32]>,
    /// As the client named it, normalised.
    server_name: Option<&'a str>,
}

#[derive(Clone)]
struct TicketKey {
    /// Stands in clear text in front of each ticket, to find the key. Not secret.
    name: KeyName,
    secret: hkdf::Prk,
    created_s: i64,
    /// When another key replaced it; since then it only opens tickets.
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

    fn seal(
        &self,
        binding: &TicketBinding<'_>,
        session: &TlsSession,
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
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
            .derive(binding, &nonce)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.name),
                secret_part,
            )
            .ok()?;
        sealed.extend(tag.as_ref());
        Some(sealed)
    }

    fn open(&self, binding: &TicketBinding<'_>, rest: &[u8]) -> Option<(TlsSession, Vec<u8>)> {
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() > MAX_PLAINTEXT_LEN + MAX_OVERHEAD_LEN {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let opened = self
            .derive(binding, nonce)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(self.name), &mut sealed)
            .ok()?;
        let (session, plaintext) = TlsSession::decode(opened)?;
        Some((session, plaintext.to_vec()))
    }

    /// A key for each ticket: the server name needs its own derivation anyway, and the random nonces
    /// of all tickets together may exceed the 2^32 of one AES-GCM key.
    fn derive(&self, binding: &TicketBinding<'_>, nonce: &[u8; NONCE_LEN]) -> Option<LessSafeKey> {
        // The parts that are present fix the length of all parts but the last.
        let present =
            [u8::from(binding.server_name.is_some()) | u8::from(binding.crls.is_some()) << 1];
        let crls = binding.crls.as_ref().map_or(&[][..], |digest| digest);
        let server_name = binding.server_name.unwrap_or_default().as_bytes();
        let info = [LABEL, &present, binding.policy, crls, nonce, server_name];
        let key = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

/// Makes and opens the tickets of one server configuration.
pub(super) struct Ticketer {
    keys: Arc<TicketKeys>,
    /// Digest of every setting that affects authorization.
    policy: [u8; 32],
    crls: Option<Arc<CrlStore>>,
    /// A session without a client certificate must not be resumed.
    needs_client_certificate: bool,
}

impl Ticketer {
    pub(super) fn new(
        keys: Arc<TicketKeys>,
        policy: [u8; 32],
        crls: Option<Arc<CrlStore>>,
        needs_client_certificate: bool,
    ) -> Ticketer {
        Ticketer { keys, policy, crls, needs_client_certificate }
    }

    /// The CRLs may change between a handshake's verification and its ticket. That lets nobody in:
    /// each request of a resumed session is verified under the CRLs of its time.
    fn binding<'a>(&'a self, server_name: Option<&'a str>) -> TicketBinding<'a> {
        let crls = self.crls.as_ref().map(|crls| crls.current().digest);
        TicketBinding { policy: &self.policy, crls, server_name }
    }

    fn remaining_s(&self, session: &TlsSession) -> i64 {
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

    /// rustls calls this right after `encrypt`, on the same connection.
    fn lifetime(&self) -> u32 {
        let session = context::current(|context| context.session()).flatten();
        let remaining_s = session.map_or(LIFETIME_S, |session| self.remaining_s(&session));
        u32::try_from(remaining_s.clamp(0, LIFETIME_S)).unwrap_or(0)
    }

    /// Seals the session of the full handshake just done, or the one that this connection resumed.
    /// A session that could not be resumed gets no ticket.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        context::current(|context| {
            // rustls would put the certificate into the ticket as one that was proven.
            if context.ignored_certificate().is_some() {
                return None;
            }
            let session = match context.session() {
                Some(session) => session,
                None => TlsSession {
                    authenticated_at_s: now_s(&*self.keys.clock)?,
                    client_validity: None,
                },
            };
            if self.remaining_s(&session) <= 0 {
                return None;
            }
            context.set_session(session);
            let binding = self.binding(context.server_name());
            self.keys.seal(&binding, &session, plain)
        })?
    }

    /// The session is the connection's if rustls resumes it.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        context::current(|context| {
            let binding = self.binding(context.server_name());
            let (session, plaintext) = self.keys.open(&binding, cipher)?;
            if self.remaining_s(&session) <= 0 {
                return None;
            }
            context.offer_session(session);
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
