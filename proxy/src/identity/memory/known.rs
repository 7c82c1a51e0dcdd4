//! One session that a worker knows.

use std::cell::{Cell, OnceCell};

use http::HeaderValue;

use super::AssertionMemory;
use crate::identity::{flow::SessionState, session::Session, shared::IdentityShared};

/// The control thread hears of a due check at most once in so many seconds, and requests go on for so
/// long after a check that decided nothing.
const PAUSE_S: u64 = 10;
/// The version of a session that is still to be judged; no version is 0.
const NEVER: u64 = 0;

/// A session as a worker knows it: what the cookie says, with what the control thread has published.
pub(crate) struct KnownSession {
    presented: Box<[u8]>,
    scope: Box<str>,
    /// The session, with what checks brought.
    pub(crate) session: Session,
    /// Assertions about it.
    pub(crate) assertions: AssertionMemory,
    /// The number of the published updates under which it was judged.
    version: Cell<u64>,
    /// It may be one that was signed out: it must be checked first.
    suspect: Cell<bool>,
    /// When the control thread was last told that a check is due.
    noticed_at_s: Cell<u64>,
    /// When a check last decided nothing.
    undecided_at_s: Cell<u64>,
    /// The cookie is to be sealed anew: a check brought something, or a previous secret opened it.
    renewed: bool,
    /// Only tokens of the provider are new. A cookie that cannot hold them needs no seal.
    only_tokens: bool,
    /// The `Set-Cookie` fields that do that.
    sealed: OnceCell<Box<[HeaderValue]>>,
    /// About how many bytes it takes.
    weight: usize,
}

impl KnownSession {
    /// A session as the bytes of a `Cookie` header say it, opened in this scope. It is still
    /// to be judged. `renewed` says that the cookie is to be sealed anew.
    pub(crate) fn new(
        presented: &[u8],
        scope: &str,
        session: Session,
        renewed: bool,
    ) -> KnownSession {
        KnownSession {
            weight: weight(presented, &session),
            presented: presented.into(),
            scope: scope.into(),
            session,
            assertions: AssertionMemory::default(),
            version: Cell::new(NEVER),
            suspect: Cell::new(false),
            noticed_at_s: Cell::new(0),
            undecided_at_s: Cell::new(0),
            renewed,
            only_tokens: false,
            sealed: OnceCell::new(),
        }
    }

    /// The same, with whether only tokens of the provider are new.
    pub(crate) fn with_only_tokens(self, only_tokens: bool) -> KnownSession {
        KnownSession { only_tokens, ..self }
    }

    /// The same cookie, which now stands for this session.
    pub(crate) fn renewed(&self, session: Session) -> KnownSession {
        let only_tokens =
            (!self.renewed || self.only_tokens) && session.is_same_but_tokens(&self.session);
        let renewed = KnownSession::new(&self.presented, &self.scope, session, true);
        // A check may have brought more claims than the cookie holds.
        let weight = renewed.weight + claims_len(&renewed.session);
        KnownSession { only_tokens, weight, ..renewed }
    }

    /// Whether something was published since the session was judged. The caller judges it.
    pub(crate) fn is_to_be_judged(&self, shared: &IdentityShared) -> bool {
        let version = shared.version();
        self.version.replace(version) != version
    }

    /// Notes whether the session may be one that was signed out.
    pub(crate) fn set_suspect(&self, suspect: bool) {
        self.suspect.set(suspect);
    }

    /// See [`KnownSession::set_suspect`].
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.get()
    }

    /// What is to be done for this state now: no more than one notice in ten seconds, and no request
    /// waits for a check shortly after one that decided nothing.
    pub(crate) fn paced(&self, state: SessionState, now_s: u64) -> SessionState {
        let pause = match state {
            SessionState::CheckSoon => self.noticed_at_s.get(),
            SessionState::CheckNow => self.undecided_at_s.get(),
            SessionState::Good | SessionState::MustCheck | SessionState::Invalid => return state,
        };
        if (pause..pause.saturating_add(PAUSE_S)).contains(&now_s) {
            return SessionState::Good;
        }
        if state == SessionState::CheckSoon {
            self.noticed_at_s.set(now_s);
        }
        state
    }

    /// Notes that a check decided nothing.
    pub(crate) fn note_undecided(&self, now_s: u64) {
        self.undecided_at_s.set(now_s);
    }

    /// Makes the `Set-Cookie` fields of a session that is to be sealed anew, once.
    /// `seal` also learns whether only tokens are new.
    pub(crate) fn seal(&self, seal: impl FnOnce(&Session, bool) -> Vec<HeaderValue>) {
        if self.renewed {
            self.sealed.get_or_init(|| seal(&self.session, self.only_tokens).into());
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

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

/// The cookie, the claims in it as values, one assertion and cookies that were sealed anew; and tokens of
/// the provider, which may have come without the cookie.
fn weight(presented: &[u8], session: &Session) -> usize {
    1_024 + 6 * presented.len() + session.tokens.as_ref().map_or(0, |tokens| tokens.len())
}

fn claims_len(session: &Session) -> usize {
    let text = |value| serde_json::to_string(value).map_or(0, |text: String| text.len());
    session.identity.claims.iter().map(|(name, value)| name.len() + text(value)).sum()
}

/// It has the cookies.
impl std::fmt::Debug for KnownSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownSession(..)")
    }
}
