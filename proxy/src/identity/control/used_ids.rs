//! Ids that were presented once. Pure.

use super::expiring::ExpiringMap;
use crate::identity::calls::{OneTimeObject, UseOnce};

/// Maximum number of ids of one kind; all kinds together some 40 MiB. States live longest.
const MOST_REQUESTS: usize = 1 << 16;
const MOST_STATES: usize = 1 << 18;
const MOST_HANDOVERS: usize = 1 << 16;
/// Only tokens that the provider signed count, so that nobody else can fill it.
const MOST_LOGOUT_TOKENS: usize = 1 << 16;
/// Nothing that is used once is good for longer than this, in seconds.
const LONGEST_S: u64 = 2 * 60 * 60;
/// A set that is full says so at most this often, in seconds.
const WARN_PAUSE_S: u64 = 60;

/// An id stays for as long as it could be presented again. Anybody can make requests and states, so
/// a full set must not stop sign-ins: the id that ends first makes room, and nothing as old as that
/// is taken from then on. Under a flood people have less time to sign in, and nothing counts twice.
#[derive(Debug)]
pub(super) struct UsedIds {
    requests: UsedIdsOfKind,
    states: UsedIdsOfKind,
    handovers: UsedIdsOfKind,
    logout_tokens: UsedIdsOfKind,
}

#[derive(Debug)]
struct UsedIdsOfKind {
    ids: ExpiringMap<[u8; 16], ()>,
    most: usize,
    /// Ids that end then or before may have been forgotten.
    forgotten_until_s: u64,
    warned_at_s: u64,
}

impl UsedIds {
    /// Uses an id up that could be presented until this second. That second is always the same for
    /// an id.
    pub(super) fn use_once(
        &mut self,
        object: OneTimeObject,
        id: [u8; 16],
        until_s: u64,
        now_s: u64,
    ) -> UseOnce {
        let ids = match object {
            OneTimeObject::Request => &mut self.requests,
            OneTimeObject::State => &mut self.states,
            OneTimeObject::Handover => &mut self.handovers,
            OneTimeObject::LogoutToken => &mut self.logout_tokens,
        };
        ids.use_once(id, until_s, now_s)
    }

    /// Forgets ids that can no longer be presented.
    pub(super) fn remove_expired(&mut self, now_s: u64) {
        let UsedIds { requests, states, handovers, logout_tokens } = self;
        for kind in [requests, states, handovers, logout_tokens] {
            kind.ids.remove_expired(now_s);
        }
    }
}

impl UsedIdsOfKind {
    fn new(most: usize) -> UsedIdsOfKind {
        UsedIdsOfKind { ids: ExpiringMap::default(), most, forgotten_until_s: 0, warned_at_s: 0 }
    }

    fn use_once(&mut self, id: [u8; 16], until_s: u64, now_s: u64) -> UseOnce {
        self.ids.remove_expired(now_s);
        if self.ids.get(id).is_some() {
            return UseOnce::Again;
        }
        if until_s > now_s.saturating_add(LONGEST_S) {
            return UseOnce::Full;
        }
        if until_s > self.forgotten_until_s && self.ids.len() >= self.most {
            self.make_room(now_s);
        }
        if until_s <= self.forgotten_until_s {
            return UseOnce::Full;
        }
        self.ids.insert(id, until_s, ());
        UseOnce::First
    }

    fn make_room(&mut self, now_s: u64) {
        let Some(until_s) = self.ids.first_end_s() else { return };
        self.ids.remove_first();
        self.forgotten_until_s = self.forgotten_until_s.max(until_s);
        if now_s >= self.warned_at_s.saturating_add(WARN_PAUSE_S) {
            self.warned_at_s = now_s;
            tracing::warn!(
                ids = self.most,
                "too many sign-ins begin to remember each for its whole time: people have less time \
                 to finish one"
            );
        }
    }
}

impl Default for UsedIds {
    fn default() -> Self {
        UsedIds {
            requests: UsedIdsOfKind::new(MOST_REQUESTS),
            states: UsedIdsOfKind::new(MOST_STATES),
            handovers: UsedIdsOfKind::new(MOST_HANDOVERS),
            logout_tokens: UsedIdsOfKind::new(MOST_LOGOUT_TOKENS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> [u8; 16] {
        [number; 16]
    }

    #[test]
    fn an_id_is_used_once_in_its_time() {
        let mut ids = UsedIdsOfKind::new(10);
        assert_eq!(ids.use_once(id(1), 60, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(1), 60, 1), UseOnce::Again);
        assert_eq!(ids.use_once(id(1), 60, 60), UseOnce::Again);
        assert_eq!(ids.use_once(id(2), 60, 60), UseOnce::First);
    }

    #[test]
    fn a_full_set_takes_new_ids_and_none_that_it_forgot() {
        let mut ids = UsedIdsOfKind::new(2);
        assert_eq!(ids.use_once(id(1), 60, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(2), 90, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(3), 95, 5), UseOnce::First, "the first makes room");
        assert_eq!(ids.use_once(id(1), 60, 5), UseOnce::Full, "it may not count twice");
        assert_eq!(ids.use_once(id(3), 95, 5), UseOnce::Again);
        assert_eq!(ids.use_once(id(4), 60, 5), UseOnce::Full, "as old as what was forgotten");
        assert_eq!(ids.ids.len(), 2, "an id that is refused needs no room");
        assert_eq!(ids.use_once(id(2), 90, 5), UseOnce::Again);
        assert_eq!(ids.use_once(id(5), 200, 100), UseOnce::First);
    }

    #[test]
    fn a_flood_of_states_leaves_requests_and_handovers_alone() {
        let small = || UsedIdsOfKind::new(2);
        let mut ids = UsedIds {
            requests: small(),
            states: small(),
            handovers: small(),
            logout_tokens: small(),
        };
        for number in 0..200 {
            let used = ids.use_once(OneTimeObject::State, id(number), 4_000, 0);
            assert_eq!(used, if number < 2 { UseOnce::First } else { UseOnce::Full });
        }
        assert_eq!(ids.use_once(OneTimeObject::State, id(201), 4_001, 1), UseOnce::First);
        assert_eq!(ids.use_once(OneTimeObject::Handover, id(1), 120, 0), UseOnce::First);
        assert_eq!(ids.use_once(OneTimeObject::Request, id(1), 360, 0), UseOnce::First);
    }

    #[test]
    fn an_id_with_an_absurd_end_is_not_taken() {
        let mut ids = UsedIdsOfKind::new(1);
        assert_eq!(ids.use_once(id(1), u64::MAX, 0), UseOnce::Full);
        assert_eq!(ids.use_once(id(1), LONGEST_S + 1, 0), UseOnce::Full);
        assert_eq!(ids.use_once(id(1), LONGEST_S, 0), UseOnce::First);
    }
}
