//! Who a request is from, by its session.

use super::context::SignInContext;
use crate::identity::{
    binding::BrowserBinding,
    calls::CheckOutcome,
    cookies::{RequestCookies, choose},
    provider_tokens::WantedTokens,
    session::Session,
    shared::{IdentityShared, SessionUpdate},
};

/// How much a check may be overdue before requests wait for it, in seconds.
const OVERDUE_S: u64 = 60;

/// How long a session of an earlier process counts after its check was due, in seconds.
const UNKNOWN_GRACE_S: u64 = 600;

/// Whether a session counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// It counts.
    Good,
    /// It counts, and the control thread is to be told that its check is due.
    CheckSoon,
    /// The request waits for a check first, and goes on if the provider is away.
    CheckNow,
    /// The request waits for a check first, and goes on only if it was good: the session may be one
    /// that was signed out.
    MustCheck,
    /// It does not count: expired, or of another provider.
    Invalid,
}

/// The session of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestSession {
    /// With what the last check brought.
    pub(crate) session: Session,
    /// Never [`SessionState::Invalid`].
    pub(crate) state: SessionState,
    /// The cookie is older than the session, or was sealed by a previous secret.
    pub(crate) seal_again: bool,
    /// Only tokens of the provider are new. A cookie that cannot hold them needs no seal.
    pub(crate) only_tokens: bool,
}

/// What a session is at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// Never [`SessionState::Invalid`].
    pub(crate) state: SessionState,
    /// The session as it is now, if it differs: most sessions have not changed since their cookie was
    /// made, and their claims are not copied.
    pub(crate) changed: Option<Session>,
}

/// The session of a request after a check that it waited for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CheckedSession {
    /// It counts. The cookie is to be sealed again if the session differs from before.
    Good(Session),
    /// Nobody is signed in: the session ended, or the control thread does not know it any more.
    Nobody,
}

impl SignInContext {
    /// The session that counts among the cookies of a request to a route's host.
    pub(crate) fn who(
        &self,
        host: &str,
        cookies: &RequestCookies<'_>,
        shared: &IdentityShared,
        now_s: u64,
    ) -> Option<RequestSession> {
        let wanted = self.wanted_tokens(host);
        let good = self.cookies.sessions(host, cookies).into_iter().filter_map(|opened| {
            let Judgement { state, changed } =
                self.judge(&opened.session, shared, now_s, wanted)?;
            let seal_again = changed.is_some() || opened.by_previous;
            let only_tokens = !opened.by_previous
                && changed.as_ref().is_some_and(|it| it.is_same_but_tokens(&opened.session));
            let session = changed.unwrap_or(opened.session);
            Some(RequestSession { session, state, seal_again, only_tokens })
        });
        self.chosen(good, || self.cookies.binding(host, cookies, now_s), |judged| &judged.session)
    }

    /// Most requests have one session; only several of them need the binding.
    pub(super) fn chosen<S>(
        &self,
        good: impl Iterator<Item = S>,
        binding: impl FnOnce() -> Option<BrowserBinding>,
        session: impl Fn(&S) -> &Session,
    ) -> Option<S> {
        let mut good: Vec<S> = good.collect();
        match good.len() {
            0 | 1 => good.pop(),
            _ => choose(good, session, binding().as_ref()),
        }
    }

    /// Judges one session, with what the control thread knows of it; `None` if it does not count. It
    /// has no other tokens than those that are wanted.
    pub(crate) fn judge(
        &self,
        session: &Session,
        shared: &IdentityShared,
        now_s: u64,
        wanted: WantedTokens,
    ) -> Option<Judgement> {
        let update = shared.update(session.id);
        let checked = match &update {
            Some(SessionUpdate::Ended) => return None,
            Some(SessionUpdate::Renewed(renewed)) => Some(renewed),
            None => None,
        };
        let newer = checked.filter(|renewed| renewed.check_at_s >= session.check_at_s);
        let changed = match newer {
            Some(renewed) => Some(renewed.apply(session).with_tokens(wanted)),
            None if wanted.are_exceeded_by(session.tokens.as_deref()) => {
                Some(session.clone().with_tokens(wanted))
            }
            None => None,
        };
        let changed = changed.filter(|changed| changed != session);
        let current = changed.as_ref().unwrap_or(session);
        // The mark after all else: the control thread sets it, then forgets updates and ends of
        // users, so who misses one of these sees the mark.
        let user = shared.user_end(&current.identity);
        let suspect_before_s = shared.suspect_before_s().max(user.suspect_before_s);
        if session.signed_in_at_s < user.ended_before_s {
            return None;
        }
        let suspect = session.signed_in_at_s < suspect_before_s && checked.is_none();
        let state = self.state(current, suspect, now_s);
        (state != SessionState::Invalid).then_some(Judgement { state, changed })
    }

    /// Whether a session counts now. `suspect` sessions may be signed out without a trace.
    pub(crate) fn state(&self, session: &Session, suspect: bool, now_s: u64) -> SessionState {
        if session.provider != self.provider || now_s >= session.ends_at_s {
            return SessionState::Invalid;
        }
        if suspect {
            return SessionState::MustCheck;
        }
        if session.claims_digest != self.claims_digest {
            return SessionState::CheckNow;
        }
        match now_s.checked_sub(session.check_at_s) {
            None => SessionState::Good,
            Some(0..=OVERDUE_S) => SessionState::CheckSoon,
            Some(_) => SessionState::CheckNow,
        }
    }

    /// What a check that a request waited for makes of its session. `state` is the one from before.
    /// No outcome means that the check failed or took too long.
    pub(crate) fn after_check(
        &self,
        session: &Session,
        state: SessionState,
        outcome: Option<&CheckOutcome>,
        now_s: u64,
        wanted: WantedTokens,
    ) -> CheckedSession {
        let must = state == SessionState::MustCheck;
        let kept = match outcome {
            Some(CheckOutcome::Good(renewed)) => Some(renewed.apply(session).with_tokens(wanted)),
            Some(CheckOutcome::ProviderAway) | None if !must => Some(session.clone()),
            Some(CheckOutcome::Unknown)
                if !must && now_s < session.check_at_s.saturating_add(UNKNOWN_GRACE_S) =>
            {
                Some(session.clone())
            }
            Some(_) | None => None,
        };
        let alive = kept.filter(|session| now_s < session.ends_at_s);
        alive.map_or(CheckedSession::Nobody, CheckedSession::Good)
    }
}
