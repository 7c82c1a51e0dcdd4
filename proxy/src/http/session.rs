//! The session of a request.

use std::{borrow::Cow, rc::Rc};

use http::HeaderMap;

use super::{
    account::AccountedUser, active_request::ActiveRequest, request_handler::RequestHandler,
};
use crate::{
    identity::{
        calls::{CheckOutcome, CheckRequest, IdentityCall, IdentityReply},
        config::IdentityConfig,
        flow::{CheckedSession, RequestSession, SessionState, SignInContext},
        memory::KnownSession,
        provider_tokens::WantedTokens,
        session::{ProviderId, Session},
        worker::CALL_TIMEOUT,
    },
    observe::SessionCookieOutcome,
    rt,
};

/// What a request presents.
#[derive(Clone, Copy)]
pub(super) enum Credentials<'h> {
    /// The cookies in its headers.
    Cookies(&'h HeaderMap),
    /// The token of a program.
    Token(&'h [u8]),
}

/// Which sessions count, and what they must have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SessionNeeds {
    /// The client; `None` is that of all routes.
    pub(super) client: Option<ProviderId>,
    /// Tokens of the identity provider. Without one, the control thread is asked for it.
    pub(super) tokens: WantedTokens,
}

/// The session that a request presents, if it counts. Waits for the control thread if the session must
/// be checked first.
pub(super) async fn session(
    active: &mut ActiveRequest,
    credentials: Credentials<'_>,
    host: &str,
    needs: SessionNeeds,
) -> Option<Rc<KnownSession>> {
    let config = Rc::clone(&active.config);
    let people = config.people.as_deref()?;
    let context = people.sign_in.as_ref()?.of(needs.client)?;
    let now_s = active.account.conn.handler.now()?.as_secs();
    let request = SessionRequest { people, context, host, now_s, needs };
    let known = request.find(active, credentials)?;
    let known = match known.paced(request.state(&known), now_s) {
        SessionState::Good => known,
        SessionState::CheckSoon => {
            request.notice(active, &known);
            known
        }
        // Boxed: few requests wait, and all others would have to keep room for it.
        state @ (SessionState::CheckNow | SessionState::MustCheck) => {
            Box::pin(request.checked(active, known, state)).await?
        }
        SessionState::Invalid => return None,
    };
    if let Credentials::Cookies(headers) = credentials {
        let random = &active.account.conn.handler.identity.random;
        known.seal(|session, only_tokens| {
            let cookies = (host, headers);
            context.seal(cookies, session, only_tokens, now_s, random)
        });
    }
    active.account.set_user(AccountedUser::Session(Rc::clone(&known)));
    Some(known)
}

/// What a request's session depends on.
#[derive(Clone, Copy)]
struct SessionRequest<'a> {
    people: &'a IdentityConfig,
    context: &'a SignInContext,
    host: &'a str,
    now_s: u64,
    needs: SessionNeeds,
}

impl SessionRequest<'_> {
    fn state(self, known: &KnownSession) -> SessionState {
        let state = self.context.state(&known.session, known.is_suspect(), self.now_s);
        match state {
            SessionState::Good | SessionState::CheckSoon if self.lacks_tokens(known) => {
                SessionState::CheckNow
            }
            state => state,
        }
    }

    fn lacks_tokens(self, known: &KnownSession) -> bool {
        self.needs.tokens.lacks(known.session.tokens.as_deref())
    }

    /// Remembered, or opened.
    fn find(
        self,
        active: &mut ActiveRequest,
        credentials: Credentials<'_>,
    ) -> Option<Rc<KnownSession>> {
        let presented = match credentials {
            Credentials::Cookies(headers) => self.context.presented(headers)?,
            // A token is never taken for a cookie that is remembered, which has a `=`.
            Credentials::Token(token) if token.contains(&b'=') => return None,
            Credentials::Token(token) => Cow::Borrowed(token),
        };
        let conn = Rc::clone(&active.account.conn);
        let handler = &*conn.handler;
        let outcomes = &handler.observer.metrics.session_cookies;
        let remembered = handler.identity.sessions.find(self.people.epoch, self.host, &presented);
        let known = match remembered {
            Some(known) => {
                outcomes.inc(SessionCookieOutcome::Remembered);
                known
            }
            None => match self.open(active, credentials, &presented) {
                Some(known) => {
                    outcomes.inc(SessionCookieOutcome::Opened);
                    known
                }
                None => {
                    outcomes.inc(SessionCookieOutcome::Refused);
                    return None;
                }
            },
        };
        let current = self.current(handler, known);
        if current.is_none() {
            outcomes.inc(SessionCookieOutcome::Ended);
        }
        current
    }

    fn open(
        self,
        active: &mut ActiveRequest,
        credentials: Credentials<'_>,
        presented: &[u8],
    ) -> Option<Rc<KnownSession>> {
        let found = match credentials {
            Credentials::Cookies(headers) => self.open_cookies(active, headers)?,
            Credentials::Token(token) => {
                let shared = active.account.conn.handler.identity.shared();
                self.context.session_of_token(self.host, token, shared, self.now_s)?
            }
        };
        let RequestSession { session, seal_again, only_tokens, .. } = found;
        let known = KnownSession::new(presented, self.host, session, seal_again);
        let known = Rc::new(known.with_only_tokens(only_tokens));
        active.account.conn.handler.identity.sessions.insert(self.people.epoch, &known);
        Some(known)
    }

    /// Cookies that do not count are deleted with the next answer of ours.
    fn open_cookies(
        self,
        active: &mut ActiveRequest,
        headers: &HeaderMap,
    ) -> Option<RequestSession> {
        let cookies = self.context.cookies.read(headers);
        let shared = active.account.conn.handler.identity.shared();
        let found = self.context.who(self.host, &cookies, shared, self.now_s);
        if found.is_none() {
            active.junk_cookies.extend(self.context.cookies.delete_session(self.host, &cookies));
        }
        found
    }

    /// The session with what the control thread has published; `None` if it has ended.
    fn current(
        self,
        handler: &RequestHandler,
        known: Rc<KnownSession>,
    ) -> Option<Rc<KnownSession>> {
        let shared = handler.identity.shared();
        if !known.is_to_be_judged(shared) {
            return Some(known);
        }
        let wanted = self.context.wanted_tokens(self.host);
        let Some(judged) = self.context.judge(&known.session, shared, self.now_s, wanted) else {
            handler.identity.sessions.forget(&known);
            return None;
        };
        let known = match judged.changed {
            None => known,
            Some(session) => self.renew(handler, &known, session),
        };
        known.set_suspect(judged.state == SessionState::MustCheck);
        Some(known)
    }

    fn renew(
        self,
        handler: &RequestHandler,
        known: &KnownSession,
        session: Session,
    ) -> Rc<KnownSession> {
        let renewed = Rc::new(known.renewed(session));
        handler.identity.sessions.insert(self.people.epoch, &renewed);
        renewed
    }

    fn check(self, active: &ActiveRequest, known: &KnownSession) -> IdentityCall {
        IdentityCall::Check(CheckRequest {
            session: known.session.id,
            client: active.account.client,
        })
    }

    /// Tells the control thread that a check is due. What it brings, all workers learn.
    fn notice(self, active: &ActiveRequest, known: &KnownSession) {
        let call = self.check(active, known);
        let caller = active.account.conn.handler.identity.caller().clone();
        rt::spawn(async move {
            let _ = caller.call(call, CALL_TIMEOUT).await;
        });
    }

    /// Waits for a check. A provider that is away puts nobody out, unless the session is suspect.
    async fn checked(
        self,
        active: &ActiveRequest,
        known: Rc<KnownSession>,
        state: SessionState,
    ) -> Option<Rc<KnownSession>> {
        let handler = &active.account.conn.handler;
        let outcome = match handler.identity.call(self.check(active, &known)).await {
            Ok(IdentityReply::Checked(outcome)) => Some(outcome),
            Ok(_) | Err(_) => None,
        };
        if !matches!(outcome, Some(CheckOutcome::Good(_))) {
            known.note_undecided(self.now_s);
        }
        let (outcome, wanted) = (outcome.as_ref(), self.context.wanted_tokens(self.host));
        let checked = self.context.after_check(&known.session, state, outcome, self.now_s, wanted);
        let known = match checked {
            CheckedSession::Good(session) if session == known.session => known,
            CheckedSession::Good(session) => self.renew(handler, &known, session),
            CheckedSession::Nobody => {
                handler.identity.sessions.forget(&known);
                return None;
            }
        };
        if self.lacks_tokens(&known) {
            known.note_undecided(self.now_s);
        }
        Some(known)
    }
}

#[cfg(test)]
mod tests;
