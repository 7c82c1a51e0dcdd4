//! Sessions that ended before their time, one by one or all those of a user.

use super::expiring::ExpiringMap;
use crate::identity::{
    ended_users::{EndedUsers, UserEnd, UserSelector},
    session::SessionId,
    shared::{IdentityShared, SessionUpdate},
};

/// Maximum number of sessions.
const MOST: usize = 1 << 16;
/// Maximum number of users.
const MOST_USERS: usize = 1 << 14;
/// No session lives longer, in seconds: the largest `cookie_expire`.
const LONGEST_S: u64 = 400 * 86_400;

/// Each stays until its cookies would have expired. When there is no more room, all sessions from
/// before that moment have to be checked, which those that ended do not survive.
#[derive(Debug)]
pub(super) struct EndedSessions {
    ids: ExpiringMap<SessionId, ()>,
    most: usize,
    most_users: usize,
}

/// What becomes of the sessions of a user that began before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserVerdict {
    /// They have ended.
    Ended,
    /// They must be checked before they count.
    Suspect,
}

impl EndedSessions {
    /// Ends a session. Every worker sees it once this returns.
    pub(super) fn end(&mut self, id: SessionId, until_s: u64, now_s: u64, shared: &IdentityShared) {
        self.remove_expired(now_s, shared);
        let until_s = until_s.min(now_s.saturating_add(LONGEST_S));
        if self.ids.len() >= self.most && self.ids.get(id).is_none() {
            self.suspect_all(now_s, shared);
        }
        self.ids.insert(id, until_s, ());
        shared.set_update(id, Some(SessionUpdate::Ended));
    }

    /// Gives all sessions of users that began before now this verdict, also those that this process
    /// does not know. Every worker sees it once this returns. Known sessions have to be ended beside
    /// it.
    ///
    /// It is remembered for as long as any session may live: cookies of another process or of a
    /// former configuration may have had a longer `cookie_expire` than today's.
    pub(super) fn end_users(
        &mut self,
        named: &[UserSelector],
        verdict: UserVerdict,
        now_s: u64,
        shared: &IdentityShared,
    ) {
        self.remove_expired(now_s, shared);
        let known = shared.ended_users();
        let added = named.iter().filter(|user| !known.has(user)).count();
        if added > 0 && known.len() + added > self.most_users {
            return self.suspect_all(now_s, shared);
        }
        let before_s = now_s.saturating_add(1);
        let end = match verdict {
            UserVerdict::Ended => UserEnd { ended_before_s: before_s, ..UserEnd::default() },
            UserVerdict::Suspect => UserEnd { suspect_before_s: before_s, ..UserEnd::default() },
        };
        let end = UserEnd { until_s: now_s.saturating_add(LONGEST_S), ..end };
        let mut next = (*known).clone();
        named.iter().for_each(|user| next.set(user, end));
        shared.set_ended_users(next);
    }

    /// Without room for each: a session from before now counts once it was checked.
    fn suspect_all(&mut self, now_s: u64, shared: &IdentityShared) {
        tracing::warn!(
            sessions = self.ids.len(),
            users = shared.ended_users().len(),
            "too many sessions have ended to remember each; all older ones will be checked with \
             the identity provider"
        );
        self.ids.drain().for_each(drop);
        shared.set_suspect_before(now_s.saturating_add(1));
    }

    /// The ids of ended sessions, each with the second until which it is kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, u64)> {
        self.ids.iter_until().map(|(id, until_s, _)| (id, until_s))
    }

    /// Adds what another process has remembered. Every worker sees it once this returns.
    pub(super) fn restore(
        &mut self,
        ids: impl IntoIterator<Item = (SessionId, u64)>,
        users: &EndedUsers,
        now_s: u64,
        shared: &IdentityShared,
    ) {
        let mut next = (*shared.ended_users()).clone();
        users.iter().for_each(|(user, end)| next.set(&user, end));
        next.remove_expired(now_s);
        let latest_s = now_s.saturating_add(LONGEST_S);
        let left = ids.into_iter().map(|(id, until_s)| (id, until_s.min(latest_s)));
        let left: Vec<_> = left.filter(|(_, until_s)| *until_s >= now_s).collect();
        let added = left.iter().filter(|(id, _)| !self.has(*id)).count();
        if next.len() > self.most_users || self.ids.len() + added > self.most {
            return self.suspect_all(now_s, shared);
        }
        left.iter().for_each(|(id, until_s)| self.ids.insert(*id, *until_s, ()));
        shared.set_updates(left.into_iter().map(|(id, _)| (id, SessionUpdate::Ended)));
        shared.set_ended_users(next);
    }

    /// Whether a session has ended, as far as is known.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.ids.get(id).is_some()
    }

    #[cfg(test)]
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Forgets sessions whose cookies have expired.
    pub(super) fn remove_expired(&mut self, now_s: u64, shared: &IdentityShared) {
        shared.remove_updates(self.ids.remove_expired(now_s).into_iter().map(|(id, ())| id));
        if shared.ended_users().is_expired(now_s) {
            let mut users = (*shared.ended_users()).clone();
            users.remove_expired(now_s);
            shared.set_ended_users(users);
        }
    }
}

impl Default for EndedSessions {
    fn default() -> Self {
        EndedSessions { ids: ExpiringMap::default(), most: MOST, most_users: MOST_USERS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

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

    fn user(id: &str) -> policy::Identity {
        policy::Identity { user_id: id.into(), ..policy::Identity::default() }
    }

    fn named(id: &str) -> [UserSelector; 1] {
        [UserSelector::Id(id.into())]
    }

    #[test]
    fn the_end_of_a_user_holds_for_as_long_as_a_session_may_live() {
        let (mut ended, shared) = (EndedSessions::default(), IdentityShared::new([0; 16]));
        let version = shared.version();
        ended.end_users(&named("ann"), UserVerdict::Ended, 50, &shared);
        assert_ne!(shared.version(), version, "workers judge their sessions again");
        assert_eq!(shared.user_end(&user("ann")).ended_before_s, 51, "this second is included");
        assert_eq!(shared.user_end(&user("bob")), UserEnd::default());
        ended.end_users(&named("ann"), UserVerdict::Suspect, 60, &shared);
        let end = shared.user_end(&user("ann"));
        assert_eq!((end.ended_before_s, end.suspect_before_s), (51, 61));
        ended.remove_expired(60 + LONGEST_S, &shared);
        assert_eq!(shared.user_end(&user("ann")), end);
        ended.remove_expired(61 + LONGEST_S, &shared);
        assert_eq!(shared.user_end(&user("ann")), UserEnd::default());
    }

    #[test]
    fn too_many_users_make_all_older_sessions_suspect() {
        let mut ended = EndedSessions { most_users: 2, ..EndedSessions::default() };
        let shared = IdentityShared::new([0; 16]);
        for id in ["ann", "bob", "ann"] {
            ended.end_users(&named(id), UserVerdict::Ended, 50, &shared);
        }
        assert_eq!(shared.suspect_before_s(), 0, "the same user needs no room");
        ended.end(SessionId([1; 16]), 1000, 50, &shared);
        ended.end_users(&named("eve"), UserVerdict::Ended, 60, &shared);
        assert_eq!(shared.suspect_before_s(), 61);
        assert_eq!(shared.user_end(&user("ann")), UserEnd::default());
        assert!(!ended.has(SessionId([1; 16])) && !is_ended(&shared, 1));
    }

    #[test]
    fn what_another_process_remembers_is_added_within_the_bounds() {
        let mut users = EndedUsers::default();
        let end = UserEnd { ended_before_s: 5, until_s: 1000, ..UserEnd::default() };
        users.set(&named("ann")[0], end);
        let ids = [(SessionId([1; 16]), 1000), (SessionId([2; 16]), 49)];
        let (mut ended, shared) = (EndedSessions::default(), IdentityShared::new([0; 16]));
        ended.restore(ids, &users, 50, &shared);
        assert!(is_ended(&shared, 1) && ended.has(ids[0].0));
        assert!(!is_ended(&shared, 2), "its cookies have expired");
        assert_eq!(shared.user_end(&user("ann")), end);
        assert_eq!(ended.iter().collect::<Vec<_>>(), ids[..1]);
        let mut full = EndedSessions { most: 1, ..EndedSessions::default() };
        for _ in 0..2 {
            full.restore(ids, &users, 50, &shared);
        }
        assert_eq!(shared.suspect_before_s(), 0, "the same session needs no room");
        for (most, most_users) in [(0, 1), (1, 0)] {
            let mut ended = EndedSessions { most, most_users, ..EndedSessions::default() };
            let shared = IdentityShared::new([0; 16]);
            ended.restore(ids, &users, 50, &shared);
            assert_eq!(shared.suspect_before_s(), 51, "{most} {most_users}");
        }
    }

    #[test]
    fn a_session_with_an_absurd_end_does_not_stay_forever() {
        let (mut ended, shared) = (EndedSessions::default(), IdentityShared::new([0; 16]));
        ended.end(SessionId([1; 16]), u64::MAX, 0, &shared);
        ended.remove_expired(LONGEST_S + 1, &shared);
        assert!(!is_ended(&shared, 1));
    }
}
