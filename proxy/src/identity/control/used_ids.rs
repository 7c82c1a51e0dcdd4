//! Ids that were presented once. Pure.

use super::expiring::ExpiringMap;
use crate::identity::calls::UseOnce;

/// Maximum number of ids; some 20 MiB.
const MOST_IDS: usize = 1 << 18;
/// Nothing that is used once is good for longer than this, in seconds.
const LONGEST_S: u64 = 2 * 60 * 60;

/// An id stays for as long as it could be presented again: when there is no more room, no further
/// id is taken.
#[derive(Debug)]
pub(super) struct UsedIds {
    ids: ExpiringMap<[u8; 16], ()>,
    most: usize,
}

impl UsedIds {
    /// Uses an id up that could be presented until this second.
    pub(super) fn use_once(&mut self, id: [u8; 16], until_s: u64, now_s: u64) -> UseOnce {
        self.remove_expired(now_s);
        if self.ids.get(id).is_some() {
            return UseOnce::Again;
        }
        if self.ids.len() >= self.most {
            return UseOnce::Full;
        }
        self.ids.insert(id, until_s.min(now_s.saturating_add(LONGEST_S)), ());
        UseOnce::First
    }

    /// Forgets ids that can no longer be presented.
    pub(super) fn remove_expired(&mut self, now_s: u64) {
        self.ids.remove_expired(now_s);
    }
}

impl Default for UsedIds {
    fn default() -> Self {
        UsedIds { ids: ExpiringMap::default(), most: MOST_IDS }
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
        let mut ids = UsedIds::default();
        assert_eq!(ids.use_once(id(1), 60, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(1), 60, 1), UseOnce::Again);
        assert_eq!(ids.use_once(id(1), 60, 60), UseOnce::Again);
        assert_eq!(ids.use_once(id(2), 60, 60), UseOnce::First);
    }

    #[test]
    fn a_full_set_takes_no_id_and_forgets_none() {
        let mut ids = UsedIds { most: 2, ..UsedIds::default() };
        assert_eq!(ids.use_once(id(1), 60, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(2), 90, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(3), 90, 0), UseOnce::Full);
        assert_eq!(ids.use_once(id(1), 60, 59), UseOnce::Again);
        assert_eq!(ids.use_once(id(3), 200, 61), UseOnce::First, "the first has expired");
        assert_eq!(ids.use_once(id(2), 90, 61), UseOnce::Again);
    }

    #[test]
    fn an_id_with_an_absurd_end_does_not_stay_forever() {
        let mut ids = UsedIds { most: 1, ..UsedIds::default() };
        assert_eq!(ids.use_once(id(1), u64::MAX, 0), UseOnce::First);
        assert_eq!(ids.use_once(id(2), 1, LONGEST_S), UseOnce::Full);
        assert_eq!(ids.use_once(id(2), 1, LONGEST_S + 1), UseOnce::First);
    }
}
