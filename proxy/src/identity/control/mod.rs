//! Sign-in on the control thread: it alone calls the provider, holds refresh tokens, and knows which
//! ids were used and which sessions have ended.

mod end_user;
mod ended;
mod expiring;
mod failure_log;
mod gate;
mod handovers;
mod logout_limits;
mod provider_logout;
mod recheck;
mod saved_state;
mod session_table;
mod sign_in;
mod state_file;
mod state_keeper;
#[cfg(test)]
mod tests;
mod token_keys;
mod used_ids;

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Semaphore, task::spawn_local, time::MissedTickBehavior};

use super::{
    calls::{IdentityCall, IdentityReply, ProviderFailure},
    provider::{Clock, Provider},
    session::{ProviderId, SessionId},
    shared::IdentityShared,
    spec::SignInSpec,
};
use crate::{
    control_call::{ControlCall, ControlCalls},
    observe::{IdentityMetrics, Metrics},
    upstream::DnsNames,
};
use ended::EndedSessions;
use failure_log::FailureLog;
use gate::{CallGate, CallPurpose};
use handovers::Handovers;
use provider_logout::ProviderLogouts;
use recheck::no_provider;
use session_table::{SessionEntry, SessionTable};
use state_keeper::StateKeeper;
use token_keys::TokenIssuers;
use used_ids::UsedIds;

/// How often what has expired is forgotten, if no call does it.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// Refresh tokens that are revoked at once, and those that wait for it. With more than these, a token
/// ends at the provider by its own time.
const MOST_REVOCATIONS: usize = 4;
const MOST_WAITING_REVOCATIONS: usize = 256;

/// Why a process that was replaced ends no session.
const REPLACED: &str = "another process has replaced this one";
/// Why a process that replaces another ends no session for the provider yet.
const AWAITS: &str = "the sessions of the process that this one replaces are still to come";

type Call = ControlCall<IdentityCall, IdentityReply>;

/// The control thread's part of sign-in. Clones share one state; it lives on one thread.
#[derive(Clone)]
pub(crate) struct IdentityControl(Rc<Inner>);

struct Inner {
    shared: Arc<IdentityShared>,
    names: Arc<DnsNames>,
    metrics: Arc<IdentityMetrics>,
    clock: Clock,
    provider: RefCell<Option<Rc<Provider>>>,
    sessions: RefCell<SessionTable>,
    ended: RefCell<EndedSessions>,
    used_ids: RefCell<UsedIds>,
    handovers: RefCell<Handovers>,
    logouts: ProviderLogouts,
    failures: FailureLog,
    state: StateKeeper,
    gate: Rc<CallGate>,
    /// The callers that wait for a check of a session, one check for all of them.
    in_flight: RefCell<HashMap<SessionId, Vec<Call>>>,
    revocations: Semaphore,
    /// Those under way count too.
    waiting_revocations: std::cell::Cell<usize>,
    token_issuers: RefCell<TokenIssuers>,
}

impl IdentityControl {
    /// Without a provider yet.
    pub(crate) fn new(
        shared: Arc<IdentityShared>,
        names: Arc<DnsNames>,
        metrics: &Metrics,
    ) -> IdentityControl {
        let epoch_s =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        IdentityControl::with_clock(shared, names, Arc::clone(metrics.identity()), Rc::new(epoch_s))
    }

    fn with_clock(
        shared: Arc<IdentityShared>,
        names: Arc<DnsNames>,
        metrics: Arc<IdentityMetrics>,
        clock: Clock,
    ) -> IdentityControl {
        IdentityControl(Rc::new(Inner {
            shared,
            names,
            metrics,
            clock,
            provider: RefCell::default(),
            sessions: RefCell::default(),
            ended: RefCell::default(),
            used_ids: RefCell::default(),
            handovers: RefCell::default(),
            logouts: ProviderLogouts::default(),
            failures: FailureLog::default(),
            state: StateKeeper::default(),
            gate: CallGate::new(),
            in_flight: RefCell::default(),
            revocations: Semaphore::new(MOST_REVOCATIONS),
            waiting_revocations: std::cell::Cell::default(),
            token_issuers: RefCell::default(),
        }))
    }

    /// Takes the settings at start and after a reload. Fetches the provider's metadata in the
    /// background, so that the first sign-in need not wait; nothing waits for that. Needs a
    /// `LocalSet`.
    pub(crate) fn configure(&self, sign_in: Option<Arc<SignInSpec>>) {
        let inner = &self.0;
        inner.metrics.configured(sign_in.is_some());
        let former = inner.provider.borrow().clone();
        let Some(spec) = sign_in else {
            inner.provider.replace(None);
            return inner.forget_sessions(|_| false);
        };
        inner.forget_sessions(|client| spec.client(client).is_some());
        if former.as_ref().is_some_and(|former| former.reconfigure(&spec)) {
            return;
        }
        let provider = Rc::new(Provider::new(
            spec,
            Arc::clone(&inner.names),
            Arc::clone(&inner.shared),
            Arc::clone(&inner.metrics),
            Rc::clone(&inner.clock),
        ));
        inner.provider.replace(Some(Rc::clone(&provider)));
        spawn_local(async move {
            // A failure is in the log already, and the next sign-in tries again.
            let _ = provider.metadata().await;
        });
    }

    /// Answers calls until no caller is left. Never waits for the provider itself: each call to it
    /// is a task of its own. Needs a `LocalSet` of a runtime with I/O and time.
    pub(crate) async fn run(self, mut calls: ControlCalls<IdentityCall, IdentityReply>) {
        let mut purge = tokio::time::interval(PURGE_INTERVAL);
        purge.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                call = calls.next() => match call {
                    Some(call) => self.0.serve(call),
                    None => return,
                },
                _ = purge.tick() => self.0.remove_expired(),
            }
        }
    }
}

impl Inner {
    fn serve(self: &Rc<Self>, call: Call) {
        let now_s = (self.clock)();
        match &call.request {
            IdentityCall::Discover => self.discover(call),
            IdentityCall::Exchange(_) => self.exchange(call),
            IdentityCall::Check(request) => {
                let request = request.clone();
                self.check(&request, call);
            }
            &IdentityCall::UseOnce { object, id, until_s } => {
                let used = self.used_ids.borrow_mut().use_once(object, id, until_s, now_s);
                call.answer(IdentityReply::Used(used));
            }
            IdentityCall::KeepHandover { id, sealed } => {
                let is_kept = self.handovers.borrow_mut().keep(*id, sealed.clone(), now_s);
                call.answer(match is_kept {
                    true => IdentityReply::Ready,
                    false => IdentityReply::Failed(ProviderFailure::Busy),
                });
            }
            &IdentityCall::TakeHandover { id } => {
                let sealed = self.handovers.borrow_mut().take(id, now_s);
                call.answer(IdentityReply::Handover(sealed));
            }
            IdentityCall::TokenKeys { .. } => self.token_keys(call),
            &IdentityCall::RenewTokenKeys { issuer } => self.renew_token_keys(issuer),
            // It could not tell the process that has replaced this one.
            IdentityCall::SignOut { revoke: true, .. } | IdentityCall::ProviderLogout { .. }
                if self.state.is_handed_over() =>
            {
                call.answer(IdentityReply::Failed(ProviderFailure::Away(REPLACED.to_owned())));
            }
            IdentityCall::ProviderLogout { .. } if self.state.is_awaited() => {
                call.answer(IdentityReply::Failed(ProviderFailure::Away(AWAITS.to_owned())));
            }
            IdentityCall::ProviderLogout { .. } => self.provider_logout(call),
            &IdentityCall::SignOut { session, ends_at_s, revoke } => {
                // First of all: every worker knows before the answer is sent.
                match revoke {
                    true => self.end_and_revoke(session, ends_at_s),
                    false => drop(self.end(session, ends_at_s)),
                }
                call.answer(IdentityReply::SignedOut);
            }
        }
    }

    fn discover(self: &Rc<Self>, call: Call) {
        let Some(provider) = self.provider() else { return call.answer(no_provider()) };
        let Some(turn) = self.gate.enter(CallPurpose::SignIn, None) else {
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        };
        spawn_local(async move {
            let _slot = turn.slot().await;
            if call.is_awaited() {
                call.answer(match provider.metadata().await {
                    Ok(_) => IdentityReply::Ready,
                    Err(failure) => IdentityReply::Failed(failure),
                });
            }
        });
    }

    /// Ends a session on all workers, and gives back what was known of it.
    fn end(&self, id: SessionId, ends_at_s: u64) -> Option<SessionEntry> {
        let entry = self.sessions.borrow_mut().remove(id);
        let known_s = entry.as_ref().map_or(0, |entry| entry.current.ends_at_s);
        let until_s = ends_at_s.max(known_s);
        self.ended.borrow_mut().end(id, until_s, (self.clock)(), &self.shared);
        if let Some(provider_session) = entry.as_ref().and_then(SessionEntry::provider_session) {
            self.logouts.note_ended(provider_session, until_s);
        }
        self.state.note_change();
        entry
    }

    /// Revokes a refresh token in the background. Nobody waits for the result.
    fn revoke_later(self: &Rc<Self>, client: ProviderId, token: Option<impl Into<Arc<str>>>) {
        let (Some(token), Some(provider)) = (token, self.provider()) else { return };
        let token: Arc<str> = token.into();
        if self.waiting_revocations.get() >= MOST_WAITING_REVOCATIONS {
            let why = "too many wait for that";
            return self.failures.revocation(&why, (self.clock)());
        }
        self.waiting_revocations.set(self.waiting_revocations.get() + 1);
        let control = Rc::clone(self);
        spawn_local(async move {
            {
                // It is never closed.
                let _slot = control.revocations.acquire().await;
                if let Err(failure) = provider.revoke(client, &token).await {
                    control.failures.revocation(&failure, (control.clock)());
                }
            }
            control.waiting_revocations.set(control.waiting_revocations.get() - 1);
        });
    }

    fn provider(&self) -> Option<Rc<Provider>> {
        self.provider.borrow().clone()
    }

    /// Forgets the sessions of clients that are no longer configured.
    fn forget_sessions(&self, is_configured: impl Fn(ProviderId) -> bool) {
        let gone = self.sessions.borrow_mut().retain_clients(is_configured);
        if !gone.is_empty() {
            self.shared.remove_updates(gone);
            self.state.note_change();
        }
    }

    fn remove_expired(&self) {
        let now_s = (self.clock)();
        let over = self.sessions.borrow_mut().remove_expired(now_s);
        self.shared.remove_updates(over);
        self.ended.borrow_mut().remove_expired(now_s, &self.shared);
        self.used_ids.borrow_mut().remove_expired(now_s);
        self.handovers.borrow_mut().remove_expired(now_s);
        self.logouts.remove_expired(now_s);
    }
}

impl fmt::Debug for IdentityControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityControl(..)")
    }
}
