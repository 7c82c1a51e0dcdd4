//! The session of a request.

use std::rc::Rc;

use http::{HeaderMap, request::Parts};

use super::{active_request::ActiveRequest, request_handler::RequestHandler};
use crate::{
    identity::{
        calls::{CheckOutcome, CheckRequest, IdentityCall, IdentityReply},
        config::{IdentityConfig, SignInConfig},
        cookies::OpenedSession,
        memory::{CheckDue, KnownSession},
        session::Session,
        shared::SessionUpdate,
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
    let sign_in = people.sign_in.as_ref()?;
    let now_s = active.account.conn.handler.now()?.as_secs();
    let request = SessionRequest { people, sign_in, host, now_s };
    let known = request.find(active, &parts.headers)?;
    let known = match request.check_due(active, &known) {
        CheckDue::No => known,
        CheckDue::Notice => {
            request.notice(active, &known);
            known
        }
        // Boxed: few requests wait, and all others would have to keep room for it.
        due @ (CheckDue::Overdue | CheckDue::Suspect) => {
            Box::pin(request.checked(active, known, due)).await?
        }
    };
    let random = &active.account.conn.handler.identity.random;
    known.seal(|session| sign_in.seal((host, &parts.headers), session, now_s, random));
    active.account.set_session(&known);
    Some(known)
}

/// What a request's session depends on.
#[derive(Clone, Copy)]
struct SessionRequest<'a> {
    people: &'a IdentityConfig,
    sign_in: &'a SignInConfig,
    host: &'a str,
    now_s: u64,
}

impl SessionRequest<'_> {
    /// Remembered, or opened.
    fn find(self, active: &mut ActiveRequest, headers: &HeaderMap) -> Option<Rc<KnownSession>> {
        let presented = self.sign_in.presented(headers)?;
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
        let Some(opened) = self.sign_in.open(self.host, headers, self.now_s) else {
            active.junk_cookies = self.sign_in.delete(self.host, headers);
            return None;
        };
        let OpenedSession { session, by_previous } = opened;
        let known = Rc::new(KnownSession::new(presented, self.host, session, by_previous));
        handler.identity.sessions.insert(self.people.epoch, &known);
        Some(known)
    }

    /// The session with what the control thread has published; `None` if it has ended.
    fn current(self, handler: &RequestHandler, known: Rc<KnownSession>) -> Option<Rc<KnownSession>> {
        let shared = handler.identity.shared();
        let mark = shared.suspect_before_s();
        let known = match known.news(shared) {
            None => known,
            Some(SessionUpdate::Ended { .. }) => {
                handler.identity.sessions.forget(&known);
                return None;
            }
            Some(SessionUpdate::Renewed(renewed)) => {
                self.renew(handler, &known, renewed.apply(&known.session), mark)
            }
        };
        self.sign_in.counts(&known.session, self.now_s).then_some(known)
    }

    fn renew(
        self,
        handler: &RequestHandler,
        known: &KnownSession,
        session: Session,
        mark: u64,
    ) -> Rc<KnownSession> {
        let renewed = Rc::new(known.renewed(session, mark));
        handler.identity.sessions.insert(self.people.epoch, &renewed);
        renewed
    }

    fn check_due(self, active: &ActiveRequest, known: &KnownSession) -> CheckDue {
        let shared = active.account.conn.handler.identity.shared();
        known.check_due(shared, self.sign_in.claims_digest, self.now_s)
    }

    fn check(self, active: &ActiveRequest, known: &KnownSession) -> IdentityCall {
        IdentityCall::Check(CheckRequest {
            session: known.session.id,
            ends_at_s: known.session.ends_at_s,
            check_at_s: known.session.check_at_s,
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
        due: CheckDue,
    ) -> Option<Rc<KnownSession>> {
        let handler = &active.account.conn.handler;
        let mark = handler.identity.shared().suspect_before_s();
        let reply = handler.identity.call(self.check(active, &known)).await;
        match reply {
            Ok(IdentityReply::Checked(CheckOutcome::Good(renewed))) => {
                let known = self.renew(handler, &known, renewed.apply(&known.session), mark);
                self.current(handler, known)
            }
            Ok(IdentityReply::Checked(CheckOutcome::Ended)) => {
                handler.identity.sessions.forget(&known);
                None
            }
            _ if due == CheckDue::Suspect => None,
            Ok(IdentityReply::Checked(CheckOutcome::Unknown)) => {
                known.note_undecided(self.now_s);
                known.counts_unknown(self.now_s).then_some(known)
            }
            _ => {
                known.note_undecided(self.now_s);
                Some(known)
            }
        }
    }
}

#[cfg(test)]
mod tests;
