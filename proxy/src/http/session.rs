//! The session of a request.

use std::rc::Rc;

use http::{HeaderMap, request::Parts};

use super::{active_request::ActiveRequest, request_handler::RequestHandler};
use crate::{
    identity::{
        calls::{CheckOutcome, CheckRequest, IdentityCall, IdentityReply},
        config::IdentityConfig,
        flow::{CheckedSession, RequestSession, SessionState, SignInContext},
        memory::KnownSession,
        session::Session,
        worker::CALL_TIMEOUT,
    },
    observe::SessionCookieOutcome,
    rt,
};

/// The session of the person who makes a request, if there is one that counts. Waits for the control
/// thread if the session must be checked first.
pub(super) async fn session(
    active: &mut ActiveRequest,
    parts: &Parts,
    host: &str,
) -> Option<Rc<KnownSession>> {
    let config = Rc::clone(&active.config);
    let people = config.people.as_deref()?;
    let context = people.sign_in.as_ref()?;
    let now_s = active.account.conn.handler.now()?.as_secs();
    let request = SessionRequest { people, context, host, now_s };
    let known = request.find(active, &parts.headers)?;
    let state = request.context.state(&known.session, known.is_suspect(), now_s);
    let known = match known.paced(state, now_s) {
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
    let random = &active.account.conn.handler.identity.random;
    known.seal(|session| context.seal((host, &parts.headers), session, now_s, random));
    active.account.set_session(&known);
    Some(known)
}

/// What a request's session depends on.
#[derive(Clone, Copy)]
struct SessionRequest<'a> {
    people: &'a IdentityConfig,
    context: &'a SignInContext,
    host: &'a str,
    now_s: u64,
}

impl SessionRequest<'_> {
    /// Remembered, or opened.
    fn find(self, active: &mut ActiveRequest, headers: &HeaderMap) -> Option<Rc<KnownSession>> {
        let presented = self.context.presented(headers)?;
        let conn = Rc::clone(&active.account.conn);
        let handler = &*conn.handler;
        let outcomes = &handler.observer.metrics.session_cookies;
        let remembered = handler.identity.sessions.find(self.people.epoch, self.host, &presented);
        let known = match remembered {
            Some(known) => {
                outcomes.inc(SessionCookieOutcome::Remembered);
                known
            }
            None => match self.open(active, headers, &presented) {
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
        headers: &HeaderMap,
        presented: &[u8],
    ) -> Option<Rc<KnownSession>> {
        let handler = &active.account.conn.handler;
        let (cookies, shared) = (self.context.cookies.read(headers), handler.identity.shared());
        let Some(found) = self.context.who(self.host, &cookies, shared, self.now_s) else {
            active.junk_cookies = self.context.cookies.delete_session(self.host, &cookies);
            return None;
        };
        let RequestSession { session, seal_again, .. } = found;
        let known = Rc::new(KnownSession::new(presented, self.host, session, seal_again));
        handler.identity.sessions.insert(self.people.epoch, &known);
        Some(known)
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
        let Some(judged) = self.context.judge(&known.session, shared, self.now_s) else {
            handler.identity.sessions.forget(&known);
            return None;
        };
        let known = match judged.session == known.session {
            true => known,
            false => self.renew(handler, &known, judged.session),
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
        match self.context.after_check(&known.session, state, outcome.as_ref(), self.now_s) {
            CheckedSession::Good(session) if session == known.session => Some(known),
            CheckedSession::Good(session) => Some(self.renew(handler, &known, session)),
            CheckedSession::Nobody => {
                handler.identity.sessions.forget(&known);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
