//! What the control thread keeps of a session: its refresh token, which has no other holder, and
//! what the last check brought. Pure.

use std::{collections::HashSet, fmt, sync::Arc};

use super::expiring::ExpiringMap;
use crate::identity::{
    calls::{CheckOutcome, RenewedSession},
    ended_users::UserSelector,
    jose::{self, IdTokenClaims},
    provider_tokens::WantedTokens,
    session::{ProviderId, SessionId},
};

/// Maximum number of sessions. One takes some 3 KiB with usual tokens.
const MOST: usize = 1 << 16;
/// The most bytes of the tokens that upstreams get, of all sessions together.
const MOST_TOKEN_BYTES: usize = 64 << 20;
/// A provider is asked about a session at most this often, in seconds.
const PAUSE_S: u64 = 10;

/// Sessions by their id. When there is no more room, the one that ends first is forgotten: it is
/// then as one from before a restart.
#[derive(Debug)]
pub(super) struct SessionTable {
    entries: ExpiringMap<SessionId, SessionEntry>,
    most: usize,
    token_bytes: usize,
    most_token_bytes: usize,
}

/// One session. Clones share its texts.
#[derive(Clone)]
pub(super) struct SessionEntry {
    /// Our client that it is of.
    pub(super) client: ProviderId,
    pub(super) grant: Grant,
    /// The claims of the last ID token, as JSON, which is smaller than a map.
    pub(super) id_token: Arc<str>,
    pub(super) subject: Arc<str>,
    /// The provider's session (`sid`), if its ID tokens name one.
    pub(super) provider_session: Option<Arc<str>>,
    pub(super) current: Arc<RenewedSession>,
    /// When it began.
    pub(super) began_at_s: u64,
    /// When the provider was asked last.
    pub(super) checked_at_s: u64,
    /// Whether it answered then.
    pub(super) was_answered: bool,
    /// The tokens that the last refresh was to bring. Those that it did not bring are not asked for again
    /// before the next check.
    pub(super) asked: WantedTokens,
}

/// With what the provider can be asked.
#[derive(Clone)]
pub(super) enum Grant {
    RefreshToken(Arc<str>),
    /// There is no refresh token.
    AccessToken {
        token: Arc<str>,
        ends_at_s: u64,
    },
}

impl SessionEntry {
    /// A session that begins now.
    pub(super) fn new(
        client: ProviderId,
        grant: Grant,
        id_token: &IdTokenClaims,
        current: Arc<RenewedSession>,
        began_at_s: u64,
    ) -> SessionEntry {
        SessionEntry {
            client,
            grant,
            id_token: to_json(id_token),
            subject: Arc::from(&*id_token.subject),
            provider_session: provider_session(id_token),
            current,
            began_at_s,
            checked_at_s: began_at_s,
            was_answered: true,
            asked: WantedTokens::default(),
        }
    }

    /// The claims of the last ID token.
    pub(super) fn id_token(&self) -> IdTokenClaims {
        IdTokenClaims {
            claims: jose::parse_object(self.id_token.as_bytes()).unwrap_or_default(),
            subject: Box::from(&*self.subject),
            issued_at_s: 0,
            expires_at_s: 0,
        }
    }

    /// Takes over a newer ID token.
    pub(super) fn set_id_token(&mut self, id_token: &IdTokenClaims) {
        self.id_token = to_json(id_token);
        if let Some(newer) = provider_session(id_token) {
            self.provider_session = Some(newer);
        }
    }

    /// The provider's session (`sid`), if it is known.
    pub(super) fn provider_session(&self) -> Option<&str> {
        self.provider_session.as_deref()
    }

    fn token_bytes(&self) -> usize {
        self.current.tokens.as_ref().map_or(0, |tokens| tokens.len())
    }

    /// From here on, nothing can be answered without the provider.
    pub(super) fn require_check(&mut self) {
        (self.checked_at_s, self.was_answered) = (0, true);
        let current = RenewedSession { check_at_s: 0, ..(*self.current).clone() };
        self.current = Arc::new(current);
    }

    /// What can be answered without the provider: something was learned since the caller's cookie
    /// was made, or the provider was asked a moment ago. `None` if it has to be asked.
    pub(super) fn known(
        &self,
        claims_digest: [u8; 8],
        wanted: WantedTokens,
        now_s: u64,
    ) -> Option<CheckOutcome> {
        // Without a refresh token no others come, nor if the provider gave none the last time.
        let has_tokens = matches!(self.grant, Grant::AccessToken { .. })
            || self.asked.or(wanted) == self.asked
            || !wanted.lacks(self.current.tokens.as_deref());
        let has_claims = self.current.claims_digest == claims_digest;
        // A clock that was set back must not stop checks.
        let is_fresh = self.checked_at_s.abs_diff(now_s) < PAUSE_S;
        if !self.was_answered {
            return is_fresh.then_some(CheckOutcome::ProviderAway);
        }
        let is_due = self.current.check_at_s <= now_s || !has_tokens;
        (has_claims && (is_fresh || !is_due)).then(|| CheckOutcome::Good(Arc::clone(&self.current)))
    }
}

impl SessionTable {
    pub(super) fn get(&self, id: SessionId) -> Option<&SessionEntry> {
        self.entries.get(id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut SessionEntry> {
        self.entries.get_mut(id)
    }

    /// Adds a session; gives back those that had to go, if any.
    pub(super) fn insert(&mut self, id: SessionId, entry: SessionEntry) -> Vec<SessionId> {
        self.remove(id);
        let mut gone = Vec::new();
        if self.entries.len() >= self.most {
            gone.extend(self.remove_first());
        }
        self.token_bytes += entry.token_bytes();
        self.entries.insert(id, entry.current.ends_at_s, entry);
        gone.extend(self.make_room(id));
        gone
    }

    /// Takes over what a check brought; gives back the sessions that had to go, if any.
    pub(super) fn set_current(
        &mut self,
        id: SessionId,
        current: Arc<RenewedSession>,
    ) -> Vec<SessionId> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        self.token_bytes -= entry.token_bytes();
        entry.current = current;
        self.token_bytes += entry.token_bytes();
        self.make_room(id)
    }

    /// Removes sessions that end first, until the tokens of all others have room. This one stays.
    fn make_room(&mut self, id: SessionId) -> Vec<SessionId> {
        let mut gone = Vec::new();
        while self.token_bytes > self.most_token_bytes {
            let Some((first, entry)) = self.entries.remove_first() else { break };
            self.token_bytes -= entry.token_bytes();
            if first == id {
                // Nothing ends before it: the tokens are too many for it.
                let current = RenewedSession { tokens: None, ..(*entry.current).clone() };
                let entry = SessionEntry { current: Arc::new(current), ..entry };
                self.entries.insert(id, entry.current.ends_at_s, entry);
                continue;
            }
            gone.push(first);
        }
        gone
    }

    fn remove_first(&mut self) -> Option<SessionId> {
        let (id, entry) = self.entries.remove_first()?;
        self.token_bytes -= entry.token_bytes();
        Some(id)
    }

    /// The sessions of a user, and all ids that the user has in them. By an address that includes
    /// sessions of the same ids with another address, or with none.
    pub(super) fn of_user(&self, user: &UserSelector) -> (Vec<SessionId>, Vec<UserSelector>) {
        let identities = self.entries.iter().map(|(id, entry)| (id, &entry.current.identity));
        let named = identities.clone().filter(|(_, identity)| user.matches(identity));
        let user_ids: HashSet<&str> = named.map(|(_, identity)| &*identity.user_id).collect();
        let of_user = identities.filter(|(_, identity)| user_ids.contains(&*identity.user_id));
        let sessions = of_user.map(|(id, _)| id).collect();
        (sessions, user_ids.into_iter().map(|id| UserSelector::Id(id.into())).collect())
    }

    /// The sessions of a client that are of a subject, or of one of its provider's sessions (`sid`). If both are named, a
    /// session of the subject that has no `sid` of its own may be the one.
    pub(super) fn of_provider(
        &self,
        client: ProviderId,
        subject: Option<&str>,
        sid: Option<&str>,
    ) -> Vec<SessionId> {
        let is_named = |entry: &SessionEntry| {
            entry.client == client
                && subject.is_none_or(|subject| *entry.subject == *subject)
                && sid.is_none_or(|sid| match entry.provider_session() {
                    Some(own) => own == sid,
                    None => subject.is_some(),
                })
        };
        self.entries.iter().filter(|(_, entry)| is_named(entry)).map(|(id, _)| id).collect()
    }

    /// All sessions, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &SessionEntry)> {
        self.entries.iter()
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<SessionEntry> {
        let entry = self.entries.remove(id)?;
        self.token_bytes -= entry.token_bytes();
        Some(entry)
    }

    /// Removes sessions that are over, and gives back their ids.
    pub(super) fn remove_expired(&mut self, now_s: u64) -> Vec<SessionId> {
        let over = self.entries.remove_expired(now_s);
        self.token_bytes -= over.iter().map(|(_, entry)| entry.token_bytes()).sum::<usize>();
        over.into_iter().map(|(id, _)| id).collect()
    }

    /// Removes the sessions of other clients, and gives back their ids.
    pub(super) fn retain_clients(
        &mut self,
        is_configured: impl Fn(ProviderId) -> bool,
    ) -> Vec<SessionId> {
        let entries = self.entries.iter();
        let others = entries.filter(|(_, entry)| !is_configured(entry.client)).map(|(id, _)| id);
        let others: Vec<SessionId> = others.collect();
        others.iter().for_each(|id| drop(self.remove(*id)));
        others
    }
}

impl Default for SessionTable {
    fn default() -> Self {
        SessionTable {
            entries: ExpiringMap::default(),
            most: MOST,
            token_bytes: 0,
            most_token_bytes: MOST_TOKEN_BYTES,
        }
    }
}

fn provider_session(id_token: &IdTokenClaims) -> Option<Arc<str>> {
    jose::provider_session(&id_token.claims).map(Into::into)
}

fn to_json(id_token: &IdTokenClaims) -> Arc<str> {
    // A map of JSON values is always JSON.
    serde_json::to_string(&id_token.claims).unwrap_or_default().into()
}

impl fmt::Debug for SessionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionEntry(..)")
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::provider_tokens::ProviderTokens, policy::Identity};

    const CLIENT: ProviderId = ProviderId([9; 16]);

    fn entry(check_at_s: u64, ends_at_s: u64) -> SessionEntry {
        let current = RenewedSession {
            identity: Identity::default(),
            name: Box::default(),
            claims_digest: [1; 8],
            check_at_s,
            ends_at_s,
            tokens: None,
        };
        let id_token = IdTokenClaims {
            claims: [("a".to_owned(), 1.into())].into_iter().collect(),
            subject: "ann".into(),
            issued_at_s: 0,
            expires_at_s: 0,
        };
        let grant = Grant::RefreshToken("secret".into());
        SessionEntry::new(CLIENT, grant, &id_token, Arc::new(current), 100)
    }

    fn outcome(entry: &SessionEntry, digest: u8, now_s: u64) -> &'static str {
        match entry.known([digest; 8], WantedTokens::default(), now_s) {
            None => "ask",
            Some(CheckOutcome::Good(_)) => "good",
            Some(CheckOutcome::ProviderAway) => "away",
            Some(_) => "other",
        }
    }

    #[test]
    fn the_provider_is_asked_when_due_and_once_in_ten_seconds() {
        let mut entry = entry(200, 1000);
        assert_eq!(outcome(&entry, 1, 199), "good", "another host's cookie lags behind");
        assert_eq!(outcome(&entry, 1, 200), "ask");
        entry.checked_at_s = 195;
        assert_eq!(outcome(&entry, 1, 204), "good");
        assert_eq!(outcome(&entry, 1, 205), "ask");
        assert_eq!(outcome(&entry, 1, 185), "good");
        entry.was_answered = false;
        assert_eq!(outcome(&entry, 1, 204), "away");
        assert_eq!(outcome(&entry, 1, 205), "ask");
        assert_eq!(outcome(&entry, 1, 185), "ask", "the clock was set back");
    }

    #[test]
    fn tokens_that_upstreams_lack_are_asked_for_if_others_can_come() {
        let mut entry = entry(200, 1000);
        let known = |entry: &SessionEntry, now_s| {
            entry.known([1; 8], WantedTokens { access: true, id: false }, now_s).is_some()
        };
        assert!(known(&entry, 105) && !known(&entry, 150), "once in ten seconds");
        entry.asked = WantedTokens { access: false, id: true };
        assert!(!known(&entry, 150), "another token was asked for");
        entry.asked = WantedTokens::ALL;
        assert!(known(&entry, 150) && !known(&entry, 200), "the provider gives none");
        entry.asked = WantedTokens::default();
        set_tokens(&mut entry, 10);
        assert!(known(&entry, 150));
        set_tokens(&mut entry, 0);
        entry.grant = Grant::AccessToken { token: "access".into(), ends_at_s: 300 };
        assert!(known(&entry, 150));
    }

    fn set_tokens(entry: &mut SessionEntry, len: usize) {
        let tokens = ProviderTokens { access: "t".repeat(len).into(), id: "".into() };
        let current = RenewedSession { tokens: Some(Arc::new(tokens)), ..(*entry.current).clone() };
        entry.current = Arc::new(current);
    }

    #[test]
    fn the_tokens_that_upstreams_get_are_bounded_together() {
        let mut table = SessionTable { most_token_bytes: 100, ..SessionTable::default() };
        let of = |ends_at_s, len| {
            let mut entry = entry(0, ends_at_s);
            set_tokens(&mut entry, len);
            entry
        };
        let id = |number| SessionId([number; 16]);
        assert_eq!(table.insert(id(1), of(10, 40)), []);
        assert_eq!(table.insert(id(2), of(20, 40)), []);
        assert_eq!(table.insert(id(2), of(20, 60)), [], "it replaces its own");
        assert_eq!(table.insert(id(3), of(30, 20)), [id(1)], "the session that ends first");
        assert_eq!(table.set_current(id(3), of(30, 90).current), [id(2)]);
        assert_eq!(table.token_bytes, 90);
        assert_eq!(table.set_current(id(3), of(30, 101).current), []);
        assert_eq!((table.token_bytes, table.get(id(3)).unwrap().token_bytes()), (0, 0));
        table.insert(id(4), of(5, 50));
        assert_eq!((table.remove_expired(6), table.token_bytes), (vec![id(4)], 0));
        table.insert(id(5), of(5, 50));
        assert!(table.remove(id(5)).is_some() && table.token_bytes == 0);
    }

    #[test]
    fn a_logout_at_one_client_names_no_session_of_another() {
        let mut table = SessionTable::default();
        let mut other = entry(0, 10);
        other.client = ProviderId([8; 16]);
        table.insert(SessionId([1; 16]), entry(0, 10));
        table.insert(SessionId([2; 16]), other);
        assert_eq!(table.of_provider(CLIENT, Some("ann"), None), [SessionId([1; 16])]);
    }

    #[test]
    fn a_session_that_requires_a_check_is_asked_about() {
        let mut entry = entry(200, 1000);
        entry.require_check();
        assert_eq!(outcome(&entry, 1, 101), "ask");
    }

    #[test]
    fn a_configuration_that_needs_other_claims_asks_at_once() {
        let mut entry = entry(200, 1000);
        assert_eq!(outcome(&entry, 2, 101), "ask");
        entry.was_answered = false;
        assert_eq!(outcome(&entry, 2, 101), "away", "but not over and over");
    }

    #[test]
    fn a_full_table_forgets_the_session_that_ends_first() {
        let mut table = SessionTable { most: 2, ..SessionTable::default() };
        assert_eq!(table.insert(SessionId([1; 16]), entry(0, 30)), []);
        assert_eq!(table.insert(SessionId([2; 16]), entry(0, 20)), []);
        assert_eq!(table.insert(SessionId([2; 16]), entry(0, 20)), [], "it replaces its own");
        assert_eq!(table.insert(SessionId([3; 16]), entry(0, 40)), [SessionId([2; 16])]);
        assert_eq!(table.remove_expired(31), [SessionId([1; 16])]);
        assert_eq!(table.retain_clients(|client| client == CLIENT), []);
        assert_eq!(table.retain_clients(|_| false), [SessionId([3; 16])]);
    }

    #[test]
    fn the_sessions_of_an_address_are_those_of_its_user_s_ids_too() {
        let mut table = SessionTable::default();
        for (number, user_id, email) in [
            (1, "ann", "ann@example.com"),
            (2, "ann", ""),
            (3, "ann", "old@example.com"),
            (4, "bob", "bob@example.com"),
        ] {
            let mut entry = entry(0, 10);
            let identity =
                Identity { user_id: user_id.into(), email: email.into(), ..Identity::default() };
            entry.current = Arc::new(RenewedSession { identity, ..(*entry.current).clone() });
            table.insert(SessionId([number; 16]), entry);
        }
        let of = |user: UserSelector| {
            let (mut sessions, users) = table.of_user(&user);
            sessions.sort_unstable();
            (sessions.iter().map(|id| id.0[0]).collect::<Vec<_>>(), users)
        };
        let ann = vec![UserSelector::Id("ann".into())];
        assert_eq!(of(UserSelector::Email("Ann@example.com".into())), (vec![1, 2, 3], ann.clone()));
        assert_eq!(of(UserSelector::Id("ann".into())), (vec![1, 2, 3], ann));
        assert_eq!(of(UserSelector::Email("eve@example.com".into())), (vec![], vec![]));
    }

    #[test]
    fn an_id_token_s_claims_come_back_as_they_were() {
        let entry = entry(0, 1);
        let id_token = entry.id_token();
        assert_eq!(id_token.claims.get("a"), Some(&1.into()));
        assert_eq!(&*id_token.subject, "ann");
        assert_eq!(format!("{entry:?} {:?}", entry.grant), "SessionEntry(..) Grant(..)");
    }
}
