//! A session: what a sealed cookie says of who somebody is. Pure.

use std::sync::Arc;

use ring::{error::Unspecified, rand::SecureRandom};

use super::{
    provider_tokens::{ProviderTokens, WantedTokens},
    wire::{FieldReader, FieldWriter},
};
use crate::policy;

/// A session without tokens of the provider, and one with them.
const VERSION: u8 = 1;
const VERSION_WITH_TOKENS: u8 = 2;

/// A random id, an UUIDv4 where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub [u8; 16]);

/// A digest of the provider's configured URL and our client id: a session of another provider does
/// not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProviderId(pub [u8; 16]);

/// Random bytes that one browser keeps in a cookie of one host; every step of a sign-in is bound to
/// them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BindingId(pub [u8; 16]);

/// A session of a person who signed in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    /// The same at all hosts; new with each sign-in.
    pub id: SessionId,
    /// Who vouched for it.
    pub provider: ProviderId,
    /// A digest of the binding at the host it was made for; no binding opens another's.
    pub binding: [u8; 16],
    /// The user, as policies see it. An address that does not count is not in it.
    pub identity: policy::Identity,
    /// The user's name; empty if the provider gave none.
    pub name: Box<str>,
    /// A digest of the list of claims that were kept ([`super::spec::SignInSpec::kept_claims`]).
    pub claims_digest: [u8; 8],
    /// When the person signed in, in seconds since 1970.
    pub signed_in_at_s: u64,
    /// When the session ends.
    pub ends_at_s: u64,
    /// When the provider is to be asked whether the person may stay signed in.
    pub check_at_s: u64,
    /// For the upstreams of the host it was made for. Most hosts have none that get any.
    pub tokens: Option<Arc<ProviderTokens>>,
}

impl SessionId {
    /// A new id, a UUIDv4.
    pub(crate) fn generate(random: &dyn SecureRandom) -> Result<SessionId, Unspecified> {
        let mut id = random_bytes::<16>(random)?;
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        Ok(SessionId(id))
    }
}

/// Random bytes.
pub(super) fn random_bytes<const N: usize>(
    random: &dyn SecureRandom,
) -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}

impl Session {
    /// The content of a cookie or handover; `None` if a part is longer than 64 KiB.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let claims = serde_json::to_vec(&self.identity.claims).ok()?;
        let mut fields = FieldWriter::default();
        fields
            .fixed(&[self.tokens.as_ref().map_or(VERSION, |_| VERSION_WITH_TOKENS)])
            .fixed(&self.id.0)
            .fixed(&self.provider.0)
            .fixed(&self.binding)
            .fixed(&self.claims_digest)
            .number(self.signed_in_at_s)
            .number(self.ends_at_s)
            .number(self.check_at_s)
            .text(self.identity.user_id.as_bytes())
            .text(self.identity.email.as_bytes())
            .text(self.name.as_bytes())
            .text(&claims);
        if let Some(tokens) = &self.tokens {
            fields.text(tokens.access.as_bytes()).text(tokens.id.as_bytes());
        }
        fields.finish()
    }

    /// The same with no other tokens than these.
    pub(crate) fn with_tokens(self, wanted: WantedTokens) -> Session {
        Session { tokens: wanted.of(self.tokens.as_ref()), ..self }
    }

    /// Whether the other one differs in its tokens at most.
    pub(crate) fn is_same_but_tokens(&self, other: &Session) -> bool {
        let without = |session: &Session| Session { tokens: None, ..session.clone() };
        without(self) == without(other)
    }

    /// Reads the whole of what [`Session::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Session> {
        let mut fields = FieldReader::new(bytes);
        let has_tokens = match fields.byte()? {
            VERSION => false,
            VERSION_WITH_TOKENS => true,
            _ => return None,
        };
        let session = Session {
            id: SessionId(fields.fixed()?),
            provider: ProviderId(fields.fixed()?),
            binding: fields.fixed()?,
            claims_digest: fields.fixed()?,
            signed_in_at_s: fields.number()?,
            ends_at_s: fields.number()?,
            check_at_s: fields.number()?,
            identity: policy::Identity {
                user_id: fields.text()?.into(),
                email: fields.text()?.into(),
                ..policy::Identity::default()
            },
            name: fields.text()?.into(),
            tokens: None,
        };
        // Whether it is UTF-8 is looked at once, and not for each text in it.
        let claims = serde_json::from_str(fields.text()?).ok()?;
        let tokens = match has_tokens {
            true => Some(ProviderTokens::read(&mut fields)?),
            false => None,
        };
        fields.end()?;
        let identity = policy::Identity { claims, ..session.identity };
        Some(Session { identity, tokens: tokens.map(Arc::new), ..session })
    }
}

impl ProviderTokens {
    fn read(fields: &mut FieldReader<'_>) -> Option<ProviderTokens> {
        Some(ProviderTokens { access: fields.text()?.into(), id: fields.text()?.into() })
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = crate::digest::hex(&self.0);
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        let parts = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)];
        f.write_str(&parts.join("-"))
    }
}

impl std::fmt::Debug for BindingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BindingId(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use serde_json::json;

    use super::*;

    pub(super) fn session() -> Session {
        let claims = json!({"groups": ["a", "b"], "n": 1.5, "deep": {"x": [null, true]}});
        Session {
            id: SessionId([1; 16]),
            provider: ProviderId([2; 16]),
            binding: [3; 16],
            identity: policy::Identity {
                user_id: "alice".into(),
                email: "alice@example.com".into(),
                claims: claims.as_object().unwrap().clone(),
            },
            name: "Alice \u{e9}".into(),
            claims_digest: [4; 8],
            signed_in_at_s: 1_700_000_000,
            ends_at_s: 1_700_050_400,
            check_at_s: 1_700_000_600,
            tokens: None,
        }
    }

    #[test]
    fn a_session_comes_back_as_it_was() {
        let session = session();
        assert_eq!(Session::decode(&session.encode().unwrap()), Some(session));
    }

    #[test]
    fn a_session_with_tokens_comes_back_and_one_without_is_as_before() {
        let tokens = ProviderTokens { access: "access".into(), id: "".into() };
        let with = Session { tokens: Some(Arc::new(tokens)), ..session() };
        let bytes = with.encode().unwrap();
        assert_eq!(Session::decode(&bytes), Some(with.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Session::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(with.with_tokens(WantedTokens::default()), session());
        assert_eq!(session().encode().unwrap()[0], 1);
    }

    #[test]
    fn a_session_that_is_cut_or_longer_is_refused() {
        let mut bytes = session().encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Session::decode(&bytes[..length]), None, "{length}");
        }
        bytes.push(b' ');
        assert_eq!(Session::decode(&bytes), None);
    }

    #[test]
    fn a_session_of_another_version_is_refused() {
        let mut bytes = session().encode().unwrap();
        for version in [0, 2, 3] {
            bytes[0] = version;
            assert_eq!(Session::decode(&bytes), None, "{version}");
        }
    }

    #[test]
    fn a_session_with_a_claim_of_64_kib_has_no_encoding() {
        let mut session = session();
        session.identity.claims.insert("groups".into(), "g".repeat(65_536).into());
        assert_eq!(session.encode(), None);
    }

    #[test]
    fn a_new_id_is_a_uuid_of_version_4_and_another_each_time() {
        let random = SystemRandom::new();
        let (a, b) = (SessionId::generate(&random).unwrap(), SessionId::generate(&random).unwrap());
        assert_ne!(a, b);
        let text = a.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.match_indices('-').map(|(at, _)| at).collect::<Vec<_>>(), [8, 13, 18, 23]);
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_decode_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..200usize,
            byte: u8,
        ) {
            let _ = Session::decode(&bytes);
            let mut changed = session().encode().unwrap();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            if let Some(decoded) = Session::decode(&changed) {
                prop_assert!(decoded.encode().is_some());
            }
        }
    }
}
