//! Ends all sessions of a user.

use std::rc::Rc;

use super::{
    IdentityControl, Inner, REPLACED,
    ended::UserVerdict,
    session_table::{Grant, SessionEntry},
};
use crate::identity::{ended_users::UserSelector, session::SessionId};

impl IdentityControl {
    /// Ends all sessions of a user: those that this process knows, with their refresh tokens, and
    /// those of which it may see only a cookie. Every worker sees it once this returns. The number is
    /// that of the known sessions.
    pub(crate) fn end_sessions_of(&self, user: &UserSelector) -> Result<usize, EndSessionsError> {
        if self.0.provider().is_none() {
            return Err(EndSessionsError::NoProvider);
        }
        if self.0.state.is_handed_over() {
            return Err(EndSessionsError::Replaced);
        }
        Ok(self.0.end_user(user))
    }
}

/// Why no sessions are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndSessionsError {
    /// Nobody can sign in.
    #[error("no identity provider is configured")]
    NoProvider,
    /// The sessions are those of the process that takes the place of this one.
    #[error("{REPLACED}")]
    Replaced,
}

impl Inner {
    fn end_user(self: &Rc<Self>, user: &UserSelector) -> usize {
        let (sessions, mut named) = self.sessions.borrow().of_user(user);
        if !named.contains(user) {
            named.push(user.clone());
        }
        let now_s = (self.clock)();
        self.ended.borrow_mut().end_users(&named, UserVerdict::Ended, now_s, &self.shared);
        self.state.note_change();
        for id in &sessions {
            self.end_and_revoke(*id, 0);
        }
        tracing::info!(
            sessions = sessions.len(),
            user = user.text(),
            "an operator has ended all sessions of a user"
        );
        sessions.len()
    }

    /// Ends a session on all workers, and revokes its refresh token in the background.
    pub(super) fn end_and_revoke(self: &Rc<Self>, id: SessionId, ends_at_s: u64) {
        let Some(SessionEntry { client, grant, .. }) = self.end(id, ends_at_s) else { return };
        if let Grant::RefreshToken(token) = grant {
            self.revoke_later(client, Some(token));
        }
    }
}
