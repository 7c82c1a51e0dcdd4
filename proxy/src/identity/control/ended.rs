//! Sessions that ended before their time.

use super::expiring::ExpiringMap;
use crate::identity::{
    session::SessionId,
    shared::{IdentityShared, SessionUpdate},
};

/// Maximum number of sessions.
const MOST: usize = 1 << 16;
/// No session lives longer, in seconds.
const LONGEST_S: u64 = 400 * 86_400;

/// Each stays until its cookies would have expired. When there is no more room, all sessions from
/// before that moment have to be checked, which those that ended do not survive.
#[derive(Debug)]
pub(super) struct EndedSessions {
    ids: ExpiringMap<SessionId, ()>,
    most: usize,
}

impl EndedSessions {
    /// Ends a session. Every worker sees it once this returns.
    pub(super) fn end(&mut self, id: SessionId, until_s: u64, now_s: u64, shared: &IdentityShared) {
        self.remove_expired(now_s, shared);
        let until_s = until_s.min(now_s.saturating_add(LONGEST_S));
        if self.ids.len() >= self.most && self.ids.get(id).is_none() {
            tracing::warn!(
                ended = self.ids.len(),
                "too many sessions have ended to remember each; all older ones will be checked with \
                 the identity provider"
            );
            self.ids.drain().for_each(drop);
            shared.set_suspect_before(now_s.saturating_add(1));
        }
        self.ids.insert(id, until_s, ());
        shared.set_update(id, Some(SessionUpdate::Ended));
    }

    /// Whether a session has ended, as far as is known.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.ids.get(id).is_some()
    }

    /// Forgets sessions whose cookies have expired.
    pub(super) fn remove_expired(&mut self, now_s: u64, shared: &IdentityShared) {
        shared.remove_updates(self.ids.remove_expired(now_s).into_iter().map(|(id, ())| id));
    }
}

impl Default for EndedSessions {
    fn default() -> Self {
        EndedSessions { ids: ExpiringMap::default(), most: MOST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ended(shared: &IdentityShared, id: u8) -> bool {
        matches!(shared.update(SessionId([id; 16])), Some(SessionUpdate::Ended))
    }

    #[test]
    fn an_ended_session_is_known_until_its_cookies_expire() {
        let (mut ended, shared) = (EndedSessions::default(), IdentityShared::new([0; 16]));
        let version = shared.version();
        ended.end(SessionId([1; 16]), 100, 0, &shared);
        assert!(is_ended(&shared, 1) && shared.version() != version);
        ended.remove_expired(100, &shared);
        assert!(is_ended(&shared, 1));
        ended.remove_expired(101, &shared);
        assert!(!is_ended(&shared, 1) && !ended.has(SessionId([1; 16])));
    }

    #[test]
    fn a_full_set_makes_all_older_sessions_suspect() {
        let mut ended = EndedSessions { most: 2, ..EndedSessions::default() };
        let shared = IdentityShared::new([0; 16]);
        for id in 1..=2 {
            ended.end(SessionId([id; 16]), 1000, 50, &shared);
        }
        ended.end(SessionId([2; 16]), 1000, 50, &shared);
        assert_eq!(shared.suspect_before_s(), 0, "the same session needs no room");
        ended.end(SessionId([3; 16]), 1000, 50, &shared);
        assert_eq!(shared.suspect_before_s(), 51, "those who signed in at 50 are suspect too");
        assert!(is_ended(&shared, 3) && !is_ended(&shared, 1));
    }

    #[test]
    fn a_session_with_an_absurd_end_does_not_stay_forever() {
        let (mut ended, shared) = (EndedSessions::default(), IdentityShared::new([0; 16]));
        ended.end(SessionId([1; 16]), u64::MAX, 0, &shared);
        ended.remove_expired(LONGEST_S + 1, &shared);
        assert!(!is_ended(&shared, 1));
    }
}
