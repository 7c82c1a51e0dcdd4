//! The bearer tokens that one worker has verified.

use std::{cell::RefCell, collections::HashMap, mem, ops::Range, rc::Rc};

use super::spec::BearerRules;
use crate::{digest::Digest, identity::memory::AssertionMemory, policy};

/// The most tokens that are remembered.
const MAX_TOKENS: usize = 4_096;
/// The most bytes that they may have, as [`KnownToken`] counts them.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A token that was verified by certain rules.
#[derive(Debug)]
pub(crate) struct KnownToken {
    /// Who presents it.
    pub(crate) identity: policy::Identity,
    /// The name; empty if the token has none.
    pub(crate) name: Box<str>,
    /// Assertions about it.
    pub(crate) assertions: AssertionMemory,
    /// The seconds in which it needs no verification.
    known_s: Range<u64>,
    weight: usize,
}

/// A digest of a token and of the rules of a route: what is good at one route says nothing of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey([u8; 32]);

/// The tokens that a worker has verified lately. The young half becomes the old one when it is full;
/// the tokens that nobody presented since then are forgotten.
#[derive(Debug, Default)]
pub(crate) struct TokenMemory(RefCell<TokenHalves>);

#[derive(Debug, Default)]
struct TokenHalves {
    /// The configuration that the tokens were verified by.
    epoch: u64,
    young: HashMap<TokenKey, Rc<KnownToken>>,
    young_bytes: usize,
    old: HashMap<TokenKey, Rc<KnownToken>>,
}

impl KnownToken {
    /// A token of so many bytes that was verified.
    pub(super) fn new(
        identity: policy::Identity,
        name: Box<str>,
        known_s: Range<u64>,
        token_len: usize,
    ) -> KnownToken {
        // The claims as values, and one assertion.
        let weight = 1_024 + 6 * token_len;
        KnownToken { identity, name, assertions: AssertionMemory::default(), known_s, weight }
    }

    /// When it must be verified again, in seconds since 1970.
    #[cfg(test)]
    pub(crate) fn known_until_s(&self) -> u64 {
        self.known_s.end
    }
}

impl TokenKey {
    /// The key of a token at routes with these rules.
    pub(crate) fn new(rules: &BearerRules, token: &str) -> TokenKey {
        let mut digest = Digest::default();
        digest.field(&rules.id);
        digest.field(token.as_bytes());
        TokenKey(digest.finish())
    }
}

impl TokenMemory {
    /// A token that was verified by the configuration with this number and needs no verification now.
    pub(crate) fn find(&self, epoch: u64, key: TokenKey, now_s: u64) -> Option<Rc<KnownToken>> {
        let mut halves = self.0.borrow_mut();
        if halves.epoch != epoch {
            return None;
        }
        let is_young = halves.young.contains_key(&key);
        let known = Rc::clone(halves.young.get(&key).or_else(|| halves.old.get(&key))?);
        if !known.known_s.contains(&now_s) {
            return None;
        }
        if !is_young {
            halves.insert(key, Rc::clone(&known));
        }
        Some(known)
    }

    /// Remembers a token. One that was verified by an older configuration than others is not kept.
    pub(crate) fn insert(&self, epoch: u64, key: TokenKey, known: &Rc<KnownToken>) {
        let mut halves = self.0.borrow_mut();
        if epoch > halves.epoch {
            *halves = TokenHalves { epoch, ..TokenHalves::default() };
        }
        if epoch == halves.epoch {
            halves.insert(key, Rc::clone(known));
        }
    }
}

impl TokenHalves {
    fn insert(&mut self, key: TokenKey, known: Rc<KnownToken>) {
        self.old.remove(&key);
        if let Some(former) = self.young.remove(&key) {
            self.young_bytes = self.young_bytes.saturating_sub(former.weight);
        }
        let is_full =
            self.young.len() >= MAX_TOKENS / 2 || self.young_bytes + known.weight > MAX_BYTES / 2;
        if is_full {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += known.weight;
        self.young.insert(key, known);
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::bearer::spec::BearerFormat;

    fn known(known_s: Range<u64>, len: usize) -> Rc<KnownToken> {
        Rc::new(KnownToken::new(policy::Identity::default(), "".into(), known_s, len))
    }

    fn key(number: usize) -> TokenKey {
        TokenKey::new(
            &BearerRules::new(BearerFormat::IdentityToken { client_id: None }),
            &number.to_string(),
        )
    }

    #[test]
    fn a_token_is_known_only_in_its_time_and_configuration() {
        let memory = TokenMemory::default();
        memory.insert(2, key(1), &known(10..20, 1));
        for (epoch, now_s, is_known) in [
            (2, 10, true),
            (2, 19, true),
            (2, 20, false),
            (2, 9, false),
            (1, 10, false),
            (3, 10, false),
        ] {
            assert_eq!(memory.find(epoch, key(1), now_s).is_some(), is_known, "{epoch} {now_s}");
        }
        memory.insert(1, key(2), &known(10..20, 1));
        assert!(memory.find(1, key(2), 10).is_none());
        memory.insert(3, key(3), &known(10..20, 1));
        assert!(memory.find(3, key(1), 10).is_none(), "a reload forgets what was verified before");
    }

    #[test]
    fn the_memory_of_tokens_is_bounded() {
        let memory = TokenMemory::default();
        for number in 0..3 * MAX_TOKENS {
            memory.insert(1, key(number), &known(0..9, 1));
            assert!(memory.find(1, key(number), 1).is_some());
        }
        let count = || {
            let halves = memory.0.borrow();
            halves.young.len() + halves.old.len()
        };
        assert!(count() <= MAX_TOKENS, "{}", count());
        for number in 0..3 * MAX_TOKENS {
            memory.insert(1, key(number), &known(0..9, 16_384));
        }
        assert!(count() * (1_024 + 6 * 16_384) <= MAX_BYTES, "{}", count());
    }
}
