//! Ends the sessions that a logout token of the provider names (OpenID Connect Back-Channel Logout
//! 1.0, section 2.7).

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::task::spawn_local;

use super::{
    Call, Inner, REPLACED, ended::UserVerdict, expiring::ExpiringMap, logout_limits::LogoutLimits,
    recheck::no_provider, session_table::SessionEntry,
};
use crate::{
    digest::sha256,
    identity::{
        calls::{
            IdentityCall, IdentityReply, OneTimeObject, ProviderFailure, ProviderLogout, UseOnce,
        },
        ended_users::UserSelector,
        provider::{NamedLogout, Provider},
        session::SessionId,
    },
    observe::BackchannelLogoutOutcome,
};

/// Tokens that are verified at once. Each waits only if the provider's keys are to be fetched.
const MOST_AT_ONCE: usize = 64;
/// After a failure to get the provider's keys, nobody asks for them again for so many seconds.
const PAUSE_S: u64 = 5;
/// Sessions of the provider that are remembered after their end.
const MOST_ENDED: usize = 1 << 16;

/// What logout tokens cost, and what they may still name.
#[derive(Default)]
pub(super) struct ProviderLogouts {
    limits: RefCell<LogoutLimits>,
    under_way: Cell<usize>,
    /// The last failure to get the provider's keys, and when it was.
    failed: RefCell<Option<(u64, ProviderFailure)>>,
    /// Sessions of the provider that ended here first. After a sign-out the provider sends a token
    /// about the very same session.
    ended: RefCell<ExpiringMap<[u8; 16], ()>>,
}

impl ProviderLogouts {
    /// Notes that the session with this `sid` has ended here.
    pub(super) fn note_ended(&self, provider_session: &str, until_s: u64) {
        let mut ended = self.ended.borrow_mut();
        if ended.len() >= MOST_ENDED {
            ended.remove_first();
        }
        ended.insert(short_digest(provider_session), until_s, ());
    }

    fn late_failure(&self, now_s: u64) -> Option<ProviderFailure> {
        let failed = self.failed.borrow();
        let (at_s, failure) = failed.as_ref()?;
        (at_s.abs_diff(now_s) < PAUSE_S).then(|| failure.clone())
    }

    fn has_ended(&self, provider_session: &str) -> bool {
        self.ended.borrow().get(short_digest(provider_session)).is_some()
    }

    /// Forgets what is over.
    pub(super) fn remove_expired(&self, now_s: u64) {
        self.limits.borrow_mut().remove_expired(now_s);
        self.ended.borrow_mut().remove_expired(now_s);
    }
}

impl Inner {
    pub(super) fn provider_logout(self: &Rc<Self>, call: Call) {
        let Some(provider) = self.provider() else { return call.answer(no_provider()) };
        let IdentityCall::ProviderLogout { token, client } = &call.request else { return };
        let (token, client) = (token.clone(), *client);
        let logouts = &self.logouts;
        let now_s = (self.clock)();
        let is_admitted = logouts.limits.borrow_mut().admits(client, now_s);
        if !is_admitted || logouts.under_way.get() >= MOST_AT_ONCE {
            self.metrics.logged_out(BackchannelLogoutOutcome::Limited);
            return call.answer(IdentityReply::LoggedOut(ProviderLogout::Limited));
        }
        if let Some(failure) = logouts.late_failure(now_s) {
            self.metrics.logged_out(BackchannelLogoutOutcome::Unavailable);
            return call.answer(IdentityReply::Failed(failure));
        }
        logouts.under_way.set(logouts.under_way.get() + 1);
        let control = Rc::clone(self);
        spawn_local(async move {
            let verified = provider.logout_token(&token).await;
            let (logouts, now_s) = (&control.logouts, (control.clock)());
            logouts.under_way.set(logouts.under_way.get() - 1);
            let reply = match verified {
                Ok(named) => {
                    logouts.limits.borrow_mut().verified(client, now_s);
                    control.log_out(named, &provider)
                }
                Err(failure @ ProviderFailure::Away(_)) => {
                    logouts.failed.replace(Some((now_s, failure.clone())));
                    IdentityReply::Failed(failure)
                }
                Err(failure) => {
                    logouts.limits.borrow_mut().failed(client, now_s);
                    IdentityReply::LoggedOut(ProviderLogout::Refused(failure.to_string()))
                }
            };
            control.metrics.logged_out(match &reply {
                IdentityReply::LoggedOut(ProviderLogout::Ended) => BackchannelLogoutOutcome::Ended,
                IdentityReply::LoggedOut(_) => BackchannelLogoutOutcome::Refused,
                _ => BackchannelLogoutOutcome::Unavailable,
            });
            call.answer(reply);
        });
    }

    /// Uses a token up.
    fn log_out(&self, named: NamedLogout, provider: &Rc<Provider>) -> IdentityReply {
        let token = &named.token;
        if self.provider().is_none_or(|current| !Rc::ptr_eq(&current, provider)) {
            let why = "the identity provider was changed by a reload".to_owned();
            return IdentityReply::Failed(ProviderFailure::Away(why));
        }
        if self.state.is_handed_over() {
            return IdentityReply::Failed(ProviderFailure::Away(REPLACED.to_owned()));
        }
        let now_s = (self.clock)();
        let (object, id) = (OneTimeObject::LogoutToken, short_digest(&token.id));
        match self.used_ids.borrow_mut().use_once(object, id, token.until_s, now_s) {
            UseOnce::First => {}
            UseOnce::Again => {
                let why = "its jti was used before".to_owned();
                return IdentityReply::LoggedOut(ProviderLogout::Refused(why));
            }
            UseOnce::Full => return IdentityReply::Failed(ProviderFailure::Busy),
        }
        let sessions = self.end_named(named, now_s);
        tracing::info!(sessions, "the identity provider has ended sessions");
        IdentityReply::LoggedOut(ProviderLogout::Ended)
    }

    /// Ends what a token names. Refresh tokens are dropped and not revoked: what becomes of them is
    /// the provider's decision (section 2.7).
    fn end_named(&self, named: NamedLogout, now_s: u64) -> usize {
        let NamedLogout { client, token, user_id } = named;
        let (subject, provider_session) =
            (token.subject.as_deref(), token.provider_session.as_deref());
        let sessions = self.sessions.borrow().of_provider(client, subject, provider_session);
        let named: Vec<_> = user_id.into_iter().map(UserSelector::Id).collect();
        let is_known = |sid| {
            let table = self.sessions.borrow();
            let of = |id: &SessionId| table.get(*id).and_then(SessionEntry::provider_session);
            sessions.iter().any(|id| of(id) == Some(sid))
        };
        let verdict = match provider_session {
            // Every session of the user, also those of which only cookies are known.
            None => Some(UserVerdict::Ended),
            // A cookie does not say which session of the provider it belongs to. A session that this
            // process does not know may be the one: none of the user's counts without a check, which
            // known ones survive.
            Some(sid) if !is_known(sid) && !self.logouts.has_ended(sid) => {
                Some(UserVerdict::Suspect)
            }
            Some(_) => None,
        };
        if let Some(verdict) = verdict {
            self.ended.borrow_mut().end_users(&named, verdict, now_s, &self.shared);
            self.state.note_change();
        }
        sessions.iter().for_each(|id| drop(self.end(*id, 0)));
        sessions.len()
    }
}

fn short_digest(text: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(sha256(text.as_bytes())).for_each(|(to, from)| *to = from);
    short
}
