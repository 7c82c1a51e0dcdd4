//! The cookie that binds the steps of a sign-in to one browser. Pure.
//!
//! Without it, a link to the last step would sign a victim in as the attacker.

use ring::{error::Unspecified, rand::SecureRandom};

use super::{
    session::{BindingId, ProviderId, random_bytes},
    wire::{FieldReader, FieldWriter},
};

/// How long a binding is valid after each use in a sign-in, in seconds.
pub(crate) const BINDING_LIFE_S: u64 = 12 * 60 * 60;

const VERSION: u8 = 1;

/// What the cookie holds. Each host has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrowserBinding {
    /// The same over all sign-ins of the browser at this host.
    pub(crate) id: BindingId,
    /// When a step used it last, in seconds since 1970.
    pub(crate) used_at_s: u64,
    /// The last sign-in at this host, until the next sign-out.
    pub(crate) last_sign_in: Option<LastSignIn>,
}

/// A sign-in that was completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastSignIn {
    /// In seconds since 1970.
    pub(crate) at_s: u64,
    /// Who vouched for the person.
    pub(crate) provider: ProviderId,
}

impl BindingId {
    /// What sealed objects and sessions hold in its place: only the cookie has the id itself.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut digest = crate::digest::Digest::default();
        digest.field(b"portcullis binding v1");
        digest.field(&self.0);
        let mut first = [0; 16];
        first.iter_mut().zip(digest.finish()).for_each(|(to, from)| *to = from);
        first
    }
}

impl BrowserBinding {
    /// A binding for a browser that has none.
    pub(crate) fn generate(
        now_s: u64,
        random: &dyn SecureRandom,
    ) -> Result<BrowserBinding, Unspecified> {
        let id = BindingId(random_bytes(random)?);
        Ok(BrowserBinding { id, used_at_s: now_s, last_sign_in: None })
    }

    /// See [`BindingId::digest`].
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.id.digest()
    }

    /// The content of the cookie.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut fields = FieldWriter::default();
        fields.fixed(&[VERSION]).fixed(&self.id.0).number(self.used_at_s);
        match &self.last_sign_in {
            Some(last) => fields.fixed(&[1]).number(last.at_s).fixed(&last.provider.0),
            None => fields.fixed(&[0]),
        };
        fields.finish()
    }

    /// Reads the content of a cookie, unless it is too old.
    pub(super) fn decode(bytes: &[u8], now_s: u64) -> Option<BrowserBinding> {
        let mut fields = FieldReader::new(bytes);
        if fields.byte()? != VERSION {
            return None;
        }
        let id = BindingId(fields.fixed()?);
        let used_at_s = fields.number()?;
        let last_sign_in = match fields.byte()? {
            0 => None,
            1 => Some(LastSignIn { at_s: fields.number()?, provider: ProviderId(fields.fixed()?) }),
            _ => return None,
        };
        fields.end()?;
        let binding = BrowserBinding { id, used_at_s, last_sign_in };
        (now_s < used_at_s.saturating_add(BINDING_LIFE_S)).then_some(binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(last_sign_in: Option<LastSignIn>) -> BrowserBinding {
        BrowserBinding { id: BindingId([1; 16]), used_at_s: 1000, last_sign_in }
    }

    #[test]
    fn a_binding_comes_back_as_it_was() {
        let last = LastSignIn { at_s: 7, provider: ProviderId([9; 16]) };
        for binding in [binding(None), binding(Some(last))] {
            let bytes = binding.encode().unwrap();
            assert_eq!(BrowserBinding::decode(&bytes, 1000), Some(binding));
            for length in 0..bytes.len() {
                assert_eq!(BrowserBinding::decode(&bytes[..length], 1000), None);
            }
            assert_eq!(BrowserBinding::decode(&[&bytes[..], &[0]].concat(), 1000), None);
        }
    }

    #[test]
    fn a_binding_is_forgotten_12_hours_after_its_last_use() {
        let bytes = binding(None).encode().unwrap();
        assert!(BrowserBinding::decode(&bytes, 1000 + BINDING_LIFE_S - 1).is_some());
        assert!(BrowserBinding::decode(&bytes, 1000 + BINDING_LIFE_S).is_none());
    }

    #[test]
    fn the_digest_differs_from_the_id_and_between_ids() {
        let (a, b) = (BindingId([1; 16]), BindingId([2; 16]));
        assert_ne!(a.digest(), a.0);
        assert_ne!(a.digest(), b.digest());
    }
}
