//! The user of a request, for its record.

use std::rc::Rc;

use super::RequestAccount;
use crate::{
    identity::{bearer::memory::KnownToken, memory::KnownSession},
    observe::UserRecord,
    policy::{Identity, SanKind},
};

/// The user whom a request is from.
#[derive(Debug)]
pub(in crate::http) enum AccountedUser {
    /// Nobody is known.
    Unknown,
    /// The user is signed in.
    Session(Rc<KnownSession>),
    /// A machine presented its token.
    Token(Rc<KnownToken>),
    /// The connection's client certificate names the user, by its first name of this kind.
    Certificate(SanKind),
}

impl RequestAccount {
    /// Notes the user.
    pub(in crate::http) fn set_user(&mut self, user: AccountedUser) {
        self.user = user;
    }

    /// The session of the user, if the user is signed in.
    pub(in crate::http) fn session(&self) -> Option<&KnownSession> {
        match &self.user {
            AccountedUser::Session(known) => Some(known),
            _ => None,
        }
    }

    /// The user for the log. `session_id` is the text of the session's id.
    pub(super) fn user_record<'a>(&'a self, session_id: Option<&'a str>) -> Option<UserRecord<'a>> {
        let Identity { user_id, email, .. } = match &self.user {
            AccountedUser::Unknown => return None,
            AccountedUser::Session(known) => &known.session.identity,
            AccountedUser::Token(known) => &known.identity,
            AccountedUser::Certificate(kind) => self.conn.peer.certificate()?.identity(*kind)?,
        };
        Some(UserRecord { id: user_id, email, session_id })
    }
}
