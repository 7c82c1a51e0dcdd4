//! What the control thread publishes and every worker reads: the provider's endpoints, ended
//! sessions, and what checks brought.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{
    bearer::keys::PublishedKeys,
    calls::RenewedSession,
    ended_users::{EndedUsers, UserEnd},
    provider::EndSession,
    session::{ProviderId, SessionId},
};
use crate::policy;

const SHARDS: usize = 64;

/// One for the process, over all reloads. The control thread writes, workers read without a lock.
#[derive(Debug)]
pub(crate) struct IdentityShared {
    /// The id of this process: used ids are known to the process that made them alone.
    pub(crate) process: [u8; 16],
    /// Fetched metadata; `None` before the first time.
    provider: ArcSwapOption<ProviderView>,
    /// Grows with every change of `updates`, `ended_users` and `suspect_before_s`.
    version: AtomicU64,
    updates: [ArcSwap<HashMap<SessionId, SessionUpdate>>; SHARDS],
    /// Sessions signed in before this second must be checked before they count (0: none).
    suspect_before_s: AtomicU64,
    /// Users whose sessions were ended all at once.
    ended_users: ArcSwap<EndedUsers>,
    /// The keys that bearer tokens are verified with.
    pub(crate) token_keys: PublishedKeys,
}

/// What workers need of the provider's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderView {
    pub(crate) id: ProviderId,
    pub(crate) issuer: Box<str>,
    pub(crate) authorization_endpoint: Box<str>,
    /// Where people sign out at the provider.
    pub(crate) end_session: Option<EndSession>,
    /// The provider promises `iss` in its response (RFC 9207).
    pub(crate) iss_in_response: bool,
}

/// What the control thread knows of a session that its cookie may not say yet.
#[derive(Debug, Clone)]
pub(crate) enum SessionUpdate {
    /// It does not count any more.
    Ended,
    /// A check brought this.
    Renewed(Arc<RenewedSession>),
}

impl IdentityShared {
    /// Nothing is known yet.
    pub(crate) fn new(process: [u8; 16]) -> IdentityShared {
        IdentityShared {
            process,
            provider: ArcSwapOption::empty(),
            version: AtomicU64::new(1),
            updates: std::array::from_fn(|_| ArcSwap::default()),
            suspect_before_s: AtomicU64::new(0),
            ended_users: ArcSwap::default(),
            token_keys: PublishedKeys::default(),
        }
    }

    /// A number that changes with every update: what a worker looked up under the same number holds.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The update of a session, if there is one.
    pub(crate) fn update(&self, id: SessionId) -> Option<SessionUpdate> {
        self.shard(id).load().get(&id).cloned()
    }

    /// Sessions signed in before this second must be checked before they count; 0 for none.
    pub(crate) fn suspect_before_s(&self) -> u64 {
        self.suspect_before_s.load(Ordering::Acquire)
    }

    /// From when on the sessions of a user count.
    pub(crate) fn user_end(&self, identity: &policy::Identity) -> UserEnd {
        self.ended_users.load().end_of(identity)
    }

    /// All users whose sessions were ended at once.
    pub(crate) fn ended_users(&self) -> Arc<EndedUsers> {
        self.ended_users.load_full()
    }

    /// The provider's metadata, if this provider's was fetched.
    pub(crate) fn provider(&self, id: ProviderId) -> Option<Arc<ProviderView>> {
        self.provider.load_full().filter(|view| view.id == id)
    }

    /// Publishes the provider's metadata. For the control thread.
    pub(crate) fn set_provider(&self, view: ProviderView) {
        self.provider.store(Some(Arc::new(view)));
    }

    /// Publishes an update, or removes it with `None`. For the control thread alone.
    pub(crate) fn set_update(&self, id: SessionId, update: Option<SessionUpdate>) {
        let shard = self.shard(id);
        let mut next = HashMap::clone(&shard.load());
        match update {
            Some(update) => next.insert(id, update),
            None => next.remove(&id),
        };
        shard.store(Arc::new(next));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Publishes many updates, with one copy of each shard. For the control thread alone.
    pub(crate) fn set_updates(
        &self,
        updates: impl IntoIterator<Item = (SessionId, SessionUpdate)>,
    ) {
        let mut by_shard: HashMap<usize, Vec<(SessionId, SessionUpdate)>> = HashMap::new();
        for (id, update) in updates {
            by_shard.entry(shard_of(id)).or_default().push((id, update));
        }
        for (shard, updates) in by_shard {
            let shard = &self.updates[shard];
            let mut next = HashMap::clone(&shard.load());
            next.extend(updates);
            shard.store(Arc::new(next));
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Removes many updates, with one copy of each shard. For the control thread alone.
    pub(crate) fn remove_updates(&self, ids: impl IntoIterator<Item = SessionId>) {
        let mut by_shard: HashMap<usize, Vec<SessionId>> = HashMap::new();
        for id in ids {
            by_shard.entry(shard_of(id)).or_default().push(id);
        }
        for (shard, ids) in by_shard {
            let shard = &self.updates[shard];
            let mut next = HashMap::clone(&shard.load());
            ids.iter().for_each(|id| drop(next.remove(id)));
            shard.store(Arc::new(next));
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Publishes the users whose sessions were ended at once. For the control thread alone.
    pub(crate) fn set_ended_users(&self, users: EndedUsers) {
        self.ended_users.store(Arc::new(users));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// From now on, sessions signed in before this second must be checked before they count. All
    /// updates and ends of users are forgotten: a session with a `Renewed` update was checked since,
    /// and one that has ended does not pass a check.
    pub(crate) fn set_suspect_before(&self, second: u64) {
        // Readers that see the others gone must see the mark.
        self.suspect_before_s.store(second, Ordering::Release);
        self.updates.iter().for_each(|shard| shard.store(Arc::default()));
        self.ended_users.store(Arc::default());
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The same without forgetting anything: for a mark that another process has set.
    pub(crate) fn raise_suspect_before(&self, second: u64) {
        self.suspect_before_s.fetch_max(second, Ordering::AcqRel);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn shard(&self, id: SessionId) -> &ArcSwap<HashMap<SessionId, SessionUpdate>> {
        &self.updates[shard_of(id)]
    }
}

fn shard_of(id: SessionId) -> usize {
    usize::from(id.0[0]) % SHARDS
}
