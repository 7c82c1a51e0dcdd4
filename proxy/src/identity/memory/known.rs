//! One session that a worker knows.

use std::cell::{Cell, OnceCell};

use http::HeaderValue;

use super::AssertionMemory;
use crate::identity::{
    session::Session,
    shared::{IdentityShared, SessionUpdate},
};

/// The control thread hears of a due check at most once in so many seconds.
const NOTICE_INTERVAL_S: u64 = 10;
/// A request waits for a check that is overdue by more seconds than this.
const OVERDUE_S: u64 = 60;
/// A session that the control thread does not know, since it was made before a restart, is good for
/// so many seconds after its check was due.
const UNKNOWN_S: u64 = 600;

/// A session as a worker knows it: what the cookie says, with what the control thread has published.
#[derive(Debug)]
pub(crate) struct KnownSession {
    presented: Box<[u8]>,
    scope: Box<str>,
    /// The session, with what checks brought.
    pub(crate) session: Session,
    /// Assertions about it.
    pub(crate) assertions: AssertionMemory,
    /// The number of the published updates that `session` agrees with.
    version: Cell<u64>,
    /// When the control thread was last told that a check is due.
    noticed_at_s: Cell<u64>,
    /// A check brought nothing: no request waits for another one before this second.
    undecided_until_s: Cell<u64>,
    /// The provider has confirmed the session since this mark (see
    /// [`IdentityShared::suspect_before_s`]).
    confirmed_since_s: Cell<u64>,
    /// The cookie is to be sealed anew: a check brought something, or a previous secret opened it.
    renewed: bool,
    /// The `Set-Cookie` fields that do that.
    sealed: OnceCell<Box<[HeaderValue]>>,
}

/// Whether a session must be checked at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckDue {
    /// Not now.
    No,
    /// The control thread is to be told, and the request goes on.
    Notice,
    /// The request waits for the check.
    Overdue,
    /// The request waits, and the session counts only if the provider confirms it.
    Suspect,
}

impl KnownSession {
    /// A session as the bytes of a `Cookie` header say it, opened in this scope. What was published
    /// about it is still to be looked up. `renewed` says that the cookie is to be sealed anew.
    pub(crate) fn new(
        presented: &[u8],
        scope: &str,
        session: Session,
        renewed: bool,
    ) -> KnownSession {
        KnownSession {
            presented: presented.into(),
            scope: scope.into(),
            session,
            assertions: AssertionMemory::default(),
            // Never published.
            version: Cell::new(0),
            noticed_at_s: Cell::new(0),
            undecided_until_s: Cell::new(0),
            confirmed_since_s: Cell::new(0),
            renewed,
            sealed: OnceCell::new(),
        }
    }

    /// The session with what a check brought. `mark` is [`IdentityShared::suspect_before_s`], read
    /// before the check's result was.
    pub(crate) fn renewed(&self, session: Session, mark: u64) -> KnownSession {
        let known = KnownSession::new(&self.presented, &self.scope, session, true);
        known.confirmed_since_s.set(mark);
        known
    }

    /// What was published about the session since it was last looked up.
    pub(crate) fn news(&self, shared: &IdentityShared) -> Option<SessionUpdate> {
        // Read before the update: one that comes in between is seen the next time.
        let version = shared.version();
        if self.version.replace(version) == version {
            return None;
        }
        shared.update(self.session.id).filter(|update| match update {
            SessionUpdate::Ended { .. } => true,
            // The cookie may have been sealed since then.
            SessionUpdate::Renewed(renewed) => renewed.check_at_s > self.session.check_at_s,
        })
    }

    /// Whether a check is due. `claims` is the digest of the claims that sessions must hold now.
    pub(crate) fn check_due(
        &self,
        shared: &IdentityShared,
        claims: [u8; 8],
        now_s: u64,
    ) -> CheckDue {
        let session = &self.session;
        let mark = shared.suspect_before_s();
        if session.signed_in_at_s < mark && self.confirmed_since_s.get() < mark {
            return CheckDue::Suspect;
        }
        if session.claims_digest == claims && now_s < session.check_at_s {
            return CheckDue::No;
        }
        let lacks_claims = session.claims_digest != claims;
        if lacks_claims || now_s > session.check_at_s.saturating_add(OVERDUE_S) {
            return match now_s < self.undecided_until_s.get() {
                true => CheckDue::No,
                false => CheckDue::Overdue,
            };
        }
        if now_s < self.noticed_at_s.get().saturating_add(NOTICE_INTERVAL_S) {
            return CheckDue::No;
        }
        self.noticed_at_s.set(now_s);
        CheckDue::Notice
    }

    /// Notes that a check decided nothing: for a while, requests go on without waiting for one.
    pub(crate) fn note_undecided(&self, now_s: u64) {
        self.undecided_until_s.set(now_s.saturating_add(NOTICE_INTERVAL_S));
    }

    /// Whether the session counts though the control thread does not know it.
    pub(crate) fn counts_unknown(&self, now_s: u64) -> bool {
        now_s < self.session.check_at_s.saturating_add(UNKNOWN_S)
    }

    /// Makes the `Set-Cookie` fields of a session that is to be sealed anew, once.
    pub(crate) fn seal(&self, seal: impl FnOnce(&Session) -> Vec<HeaderValue>) {
        if self.renewed {
            self.sealed.get_or_init(|| seal(&self.session).into());
        }
    }

    /// Those fields, if they were made.
    pub(crate) fn set_cookies(&self) -> &[HeaderValue] {
        self.sealed.get().map_or(&[], |sealed| sealed)
    }

    pub(super) fn presented(&self) -> &[u8] {
        &self.presented
    }

    pub(super) fn is_for(&self, scope: &str, presented: &[u8]) -> bool {
        *self.presented == *presented && *self.scope == *scope
    }

    /// About how many bytes it takes: the cookie, the claims in it as values, one assertion and
    /// cookies that were sealed anew.
    pub(super) fn weight(&self) -> usize {
        1_024 + 6 * self.presented.len()
    }
}
