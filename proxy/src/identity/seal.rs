//! Sealed objects: what a browser carries for us and can neither read nor change. Pure.
//!
//! ```text
//! sealed = version 1 | key id (4) | salt (16) | AES-256-GCM(plaintext) | tag (16)
//! key    = HKDF-SHA256(secret, salt, label | purpose | scope, each with its length in front)
//! ```
//!
//! Each object has a key of its own, so the nonce is zero. Purpose and scope (a host) are part of the
//! key: an object that is offered in the place of another kind, or at another host, does not open.
//! As text it is unpadded base64url.

mod text;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hkdf,
    rand::SecureRandom,
};

use super::spec::SealSecret;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + KEY_ID_LEN;
const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;
const LABEL: &[u8] = b"portcullis sealed object v1";

/// The bytes by which a sealed object is longer than its plaintext.
pub(crate) const SEAL_OVERHEAD: usize = HEAD_LEN + SALT_LEN + TAG_LEN;

/// The longest object that is looked at, in bytes; as text a third more.
const MAX_SEALED_LEN: usize = 32 * 1024;

/// What an object is for. No object opens in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealPurpose {
    /// The session cookie of a host, or of `cookie_domain`.
    Session,
    /// The session cookie of the authenticate host.
    Master,
    /// The cookie that binds a sign-in to a browser.
    Binding,
    /// From a host to the authenticate host: sign somebody in.
    Request,
    /// From the authenticate host to itself, by way of the provider.
    State,
    /// From a host to the authenticate host: sign out there too.
    SignOut,
    /// From the authenticate host to a host: who signed in.
    Handover,
    /// From a host to a further one: sign in there too.
    Dependent,
    /// From a host to itself, by way of a program and a browser: a program wants a token.
    ProgramRequest,
    /// The token of a program.
    ProgramToken,
    /// From a process to the next one: ended sessions and refresh tokens.
    StateFile,
}

/// The keys that seal and open. One set for each configuration.
pub(crate) struct Seals {
    cookie: Keyring,
    shared: Keyring,
}

/// What a sealed object held.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Unsealed {
    /// The content.
    pub(crate) plaintext: Vec<u8>,
    /// A previous secret opened it: it should be sealed again.
    pub(crate) by_previous: bool,
}

impl Seals {
    /// Keys from `shared_secret` and `cookie_secret`; the latter is derived from the former where
    /// there is none. Objects of `previous` secrets are opened, whatever these secrets were for.
    pub(crate) fn new(
        shared: &SealSecret,
        cookie: Option<&SealSecret>,
        previous: &[SealSecret],
    ) -> Seals {
        let mut seals = Seals {
            cookie: Keyring(vec![SealKey::new(cookie.unwrap_or(&cookie_secret(shared)))]),
            shared: Keyring(vec![SealKey::new(shared)]),
        };
        for secret in previous {
            seals.shared.0.push(SealKey::new(secret));
            seals.cookie.0.push(SealKey::new(secret));
            seals.cookie.0.push(SealKey::new(&cookie_secret(secret)));
        }
        seals
    }

    /// Seals for a host, as text. It fails only if the random generator does.
    pub(crate) fn seal(
        &self,
        purpose: SealPurpose,
        scope: &str,
        plaintext: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<String, Unspecified> {
        self.seal_raw(purpose, scope, plaintext, random).map(|sealed| text::encode(&sealed))
    }

    /// The same as bytes.
    pub(crate) fn seal_raw(
        &self,
        purpose: SealPurpose,
        scope: &str,
        plaintext: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Unspecified> {
        let key = self.keyring(purpose).0.first().ok_or(Unspecified)?;
        key.seal(purpose, scope, plaintext, random)
    }

    /// Opens a text that was sealed for this purpose and host.
    pub(crate) fn open(&self, purpose: SealPurpose, scope: &str, text: &[u8]) -> Option<Unsealed> {
        if text.len() > MAX_SEALED_LEN.div_ceil(3) * 4 {
            return None;
        }
        let sealed = text::decode(text)?;
        self.open_raw(purpose, scope, &sealed)
    }

    /// Opens the bytes of [`Seals::seal_raw`].
    pub(crate) fn open_raw(
        &self,
        purpose: SealPurpose,
        scope: &str,
        sealed: &[u8],
    ) -> Option<Unsealed> {
        if sealed.len() > MAX_SEALED_LEN {
            return None;
        }
        self.open_of_any_length(purpose, scope, sealed)
    }

    /// The same for an object whose length the caller has bounded.
    pub(crate) fn open_of_any_length(
        &self,
        purpose: SealPurpose,
        scope: &str,
        sealed: &[u8],
    ) -> Option<Unsealed> {
        let (head, rest) = sealed.split_first_chunk::<HEAD_LEN>()?;
        self.keyring(purpose)
            .0
            .iter()
            .enumerate()
            .filter(|(_, key)| key.head == *head)
            .find_map(|(index, key)| Some((index, key.open(purpose, scope, rest)?)))
            .map(|(index, plaintext)| Unsealed { plaintext, by_previous: index > 0 })
    }

    fn keyring(&self, purpose: SealPurpose) -> &Keyring {
        use SealPurpose::*;
        match purpose {
            // The file opens where the cookies of its sessions open.
            Session | Master | Binding | StateFile => &self.cookie,
            Request | State | SignOut | Handover | Dependent | ProgramRequest | ProgramToken => {
                &self.shared
            }
        }
    }
}

/// The first key seals, all open.
struct Keyring(Vec<SealKey>);

struct SealKey {
    /// Version and key id. The id stands in clear text in front of each object and says nothing of
    /// the secret.
    head: [u8; HEAD_LEN],
    secret: SealSecret,
}

impl SealKey {
    fn new(secret: &SealSecret) -> SealKey {
        let [a, b, c, d, ..] = derive_secret(secret, b"key id").0;
        SealKey { head: [VERSION, a, b, c, d], secret: secret.clone() }
    }

    fn seal(
        &self,
        purpose: SealPurpose,
        scope: &str,
        plaintext: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Unspecified> {
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt)?;
        let mut sealed = Vec::with_capacity(SEAL_OVERHEAD + plaintext.len());
        sealed.extend(self.head);
        sealed.extend(salt);
        sealed.extend(plaintext);
        let content = sealed.get_mut(HEAD_LEN + SALT_LEN..).ok_or(Unspecified)?;
        let tag = self.key(purpose, scope, &salt)?.seal_in_place_separate_tag(
            nonce(),
            Aad::from(self.head),
            content,
        )?;
        sealed.extend(tag.as_ref());
        Ok(sealed)
    }

    fn open(&self, purpose: SealPurpose, scope: &str, rest: &[u8]) -> Option<Vec<u8>> {
        let (salt, content) = rest.split_first_chunk::<SALT_LEN>()?;
        let mut content = content.to_vec();
        let key = self.key(purpose, scope, salt).ok()?;
        let length = key.open_in_place(nonce(), Aad::from(self.head), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }

    fn key(
        &self,
        purpose: SealPurpose,
        scope: &str,
        salt: &[u8; SALT_LEN],
    ) -> Result<LessSafeKey, Unspecified> {
        let purpose = name(purpose);
        let lengths =
            [LABEL, purpose, scope.as_bytes()].map(|part| (part.len() as u64).to_be_bytes());
        let info = [&lengths[0][..], LABEL, &lengths[1], purpose, &lengths[2], scope.as_bytes()];
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.secret.0);
        let key = key.expand(&info, &AES_256_GCM)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

fn name(purpose: SealPurpose) -> &'static [u8] {
    match purpose {
        SealPurpose::Session => b"session",
        SealPurpose::Master => b"master",
        SealPurpose::Binding => b"binding",
        SealPurpose::Request => b"request",
        SealPurpose::State => b"state",
        SealPurpose::SignOut => b"sign-out",
        SealPurpose::Handover => b"handover",
        SealPurpose::Dependent => b"dependent",
        SealPurpose::ProgramRequest => b"program request",
        SealPurpose::ProgramToken => b"program token",
        SealPurpose::StateFile => b"state file",
    }
}

/// A key seals once, so its nonce may always be the same.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The `cookie_secret` of a configuration that has none.
fn cookie_secret(shared: &SealSecret) -> SealSecret {
    derive_secret(shared, b"cookie secret")
}

fn derive_secret(secret: &SealSecret, label: &[u8]) -> SealSecret {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret.0);
    let mut text = LABEL.to_vec();
    text.push(0);
    text.extend(label);
    let mut derived = [0; 32];
    let tag = ring::hmac::sign(&key, &text);
    derived.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    SealSecret(derived)
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seals(..)")
    }
}

impl std::fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unsealed(..)")
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    use super::*;

    const PURPOSES: [SealPurpose; 11] = [
        SealPurpose::Session,
        SealPurpose::Master,
        SealPurpose::Binding,
        SealPurpose::Request,
        SealPurpose::State,
        SealPurpose::SignOut,
        SealPurpose::Handover,
        SealPurpose::Dependent,
        SealPurpose::ProgramRequest,
        SealPurpose::ProgramToken,
        SealPurpose::StateFile,
    ];

    fn seals(shared: u8, previous: &[u8]) -> Seals {
        let previous: Vec<_> = previous.iter().map(|byte| SealSecret([*byte; 32])).collect();
        Seals::new(&SealSecret([shared; 32]), None, &previous)
    }

    fn sealed(seals: &Seals, purpose: SealPurpose, scope: &str, plaintext: &[u8]) -> String {
        seals.seal(purpose, scope, plaintext, &SystemRandom::new()).unwrap()
    }

    fn opened(seals: &Seals, purpose: SealPurpose, scope: &str, text: &str) -> Option<Vec<u8>> {
        seals.open(purpose, scope, text.as_bytes()).map(|opened| opened.plaintext)
    }

    #[test]
    fn an_object_opens_for_its_own_purpose_alone() {
        let seals = seals(1, &[]);
        for made_for in PURPOSES {
            let text = sealed(&seals, made_for, "a.example", b"content");
            for offered_as in PURPOSES {
                let content = opened(&seals, offered_as, "a.example", &text);
                assert_eq!(
                    content.is_some(),
                    made_for == offered_as,
                    "{made_for:?} {offered_as:?}"
                );
            }
        }
    }

    #[test]
    fn an_object_opens_for_its_own_host_alone() {
        let seals = seals(1, &[]);
        let text = sealed(&seals, SealPurpose::Session, "a.example", b"content");
        for host in ["b.example", "", "a.exampl", "a.example.", "sessiona.example", "A.example"] {
            assert_eq!(opened(&seals, SealPurpose::Session, host, &text), None, "{host}");
        }
        assert_eq!(
            opened(&seals, SealPurpose::Session, "a.example", &text).as_deref(),
            Some(&b"content"[..])
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let seals = seals(1, &[]);
        let text = sealed(&seals, SealPurpose::State, "a.example", b"content");
        for at in 0..text.len() {
            for byte in 0..=255u8 {
                let mut changed = text.clone().into_bytes();
                if std::mem::replace(&mut changed[at], byte) == byte {
                    continue;
                }
                assert_eq!(seals.open(SealPurpose::State, "a.example", &changed), None, "{at}");
            }
            assert_eq!(opened(&seals, SealPurpose::State, "a.example", &text[..at]), None);
        }
        for longer in
            [format!("{text}="), format!("{text}A"), format!("{text}\n"), format!(" {text}")]
        {
            assert_eq!(opened(&seals, SealPurpose::State, "a.example", &longer), None);
        }
    }

    #[test]
    fn every_changed_byte_of_the_raw_form_is_refused() {
        let seals = seals(1, &[]);
        let random = SystemRandom::new();
        let raw = seals.seal_raw(SealPurpose::Handover, "r.example", b"content", &random).unwrap();
        assert_eq!(raw.len(), b"content".len() + SEAL_OVERHEAD);
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            assert_eq!(seals.open_raw(SealPurpose::Handover, "r.example", &changed), None, "{at}");
        }
    }

    #[test]
    fn two_objects_of_the_same_content_have_nothing_in_common() {
        let seals = seals(1, &[]);
        let (a, b) = (
            sealed(&seals, SealPurpose::State, "a.example", &[0; 64]),
            sealed(&seals, SealPurpose::State, "a.example", &[0; 64]),
        );
        let (a, b) =
            (BASE64_URL_SAFE_NO_PAD.decode(a).unwrap(), BASE64_URL_SAFE_NO_PAD.decode(b).unwrap());
        assert_eq!(a[..HEAD_LEN], b[..HEAD_LEN]);
        assert_ne!(a[HEAD_LEN..HEAD_LEN + SALT_LEN], b[HEAD_LEN..HEAD_LEN + SALT_LEN]);
        assert_ne!(a[HEAD_LEN + SALT_LEN..], b[HEAD_LEN + SALT_LEN..]);
    }

    #[test]
    fn a_previous_secret_opens_and_the_object_is_to_be_sealed_again() {
        let (old, new, other) = (seals(1, &[]), seals(2, &[1]), seals(2, &[]));
        for purpose in PURPOSES {
            let text = sealed(&old, purpose, "a.example", b"content");
            let unsealed = new.open(purpose, "a.example", text.as_bytes()).unwrap();
            assert!(unsealed.by_previous);
            assert_eq!(opened(&other, purpose, "a.example", &text), None);
            let again = sealed(&new, purpose, "a.example", b"content");
            assert!(!new.open(purpose, "a.example", again.as_bytes()).unwrap().by_previous);
            assert_eq!(opened(&old, purpose, "a.example", &again), None);
        }
    }

    #[test]
    fn a_previous_cookie_secret_opens_cookies() {
        let random = SystemRandom::new();
        let old = Seals::new(&SealSecret([1; 32]), Some(&SealSecret([9; 32])), &[]);
        let text = old.seal(SealPurpose::Session, "a.example", b"content", &random).unwrap();
        assert_eq!(opened(&seals(1, &[]), SealPurpose::Session, "a.example", &text), None);
        assert!(opened(&seals(1, &[9]), SealPurpose::Session, "a.example", &text).is_some());
    }

    #[test]
    fn cookies_and_parameters_are_sealed_by_different_secrets() {
        let random = SystemRandom::new();
        let (a, b) = (
            Seals::new(&SealSecret([1; 32]), Some(&SealSecret([9; 32])), &[]),
            Seals::new(&SealSecret([2; 32]), Some(&SealSecret([9; 32])), &[]),
        );
        for purpose in PURPOSES {
            let cookie = matches!(
                purpose,
                SealPurpose::Session
                    | SealPurpose::Master
                    | SealPurpose::Binding
                    | SealPurpose::StateFile
            );
            let text = a.seal(purpose, "a.example", b"content", &random).unwrap();
            assert_eq!(opened(&b, purpose, "a.example", &text).is_some(), cookie, "{purpose:?}");
        }
    }

    #[test]
    fn an_object_sealed_today_opens_in_the_next_version() {
        let text = "AZiFzywAAQIDBAUGBwgJCgsMDQ4PTzctpPea6Zgir2jvUiHP4Kc5D2pZ";
        assert_eq!(
            opened(&seals(7, &[]), SealPurpose::Handover, "app.example", text).as_deref(),
            Some(&b"fixed"[..])
        );
    }

    #[test]
    fn a_text_of_any_length_is_refused_or_opened_without_panic() {
        let seals = seals(1, &[]);
        for length in [0, 1, 2, 49, 50, 70_000] {
            assert_eq!(opened(&seals, SealPurpose::State, "a", &"A".repeat(length)), None);
        }
        let longest = vec![7; MAX_SEALED_LEN - SEAL_OVERHEAD];
        let text = sealed(&seals, SealPurpose::State, "a", &longest);
        assert_eq!(opened(&seals, SealPurpose::State, "a", &text), Some(longest));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_nothing_else_does(
            content in proptest::collection::vec(any::<u8>(), 0..200),
            junk in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let seals = seals(1, &[]);
            let text = sealed(&seals, SealPurpose::Request, "a", &content);
            prop_assert_eq!(opened(&seals, SealPurpose::Request, "a", &text), Some(content));
            prop_assert_eq!(seals.open(SealPurpose::Request, "a", &junk), None);
            prop_assert_eq!(seals.open_raw(SealPurpose::Request, "a", &junk), None);
        }
    }
}
