//! Asks the provider whether a user may stay signed in.

use std::{rc::Rc, sync::Arc};

use super::{
    Call, Inner,
    gate::CallPurpose,
    session_table::{Grant, SessionEntry},
};
use crate::{
    identity::{
        calls::{CheckOutcome, CheckRequest, IdentityReply, ProviderFailure, RenewedSession},
        jose::IdTokenClaims,
        provider::{Person, PersonFailure, Provider, TokenResponse},
        provider_tokens::{ProviderTokens, WantedTokens},
        session::{ProviderId, SessionId},
        shared::SessionUpdate,
        spec::{SignInSpec, WithoutRefreshToken},
    },
    observe::RecheckOutcome,
};

/// A token that upstreams get is renewed so long before it ends, in seconds. A minute after that, requests
/// wait for it ([`crate::identity::flow::SessionState`]), so that none of them carries an older one.
const RENEWED_BEFORE_S: u64 = 90;
/// Maximum number of callers that wait for checks.
const MOST_WAITERS: usize = 4096;

/// What the provider said of a session.
struct Renewal {
    /// If a new one came.
    id_token: Option<IdTokenClaims>,
    /// `None` if the provider had no way to say anything: all stays as it is.
    person: Option<Person>,
    /// If new ones came.
    tokens: Option<TokenResponse>,
}

impl Renewal {
    /// The provider could not be asked.
    const NOTHING: Renewal = Renewal { id_token: None, person: None, tokens: None };
}

impl Inner {
    /// Answers what is known, or joins the check that is under way, or begins one.
    pub(super) fn check(self: &Rc<Self>, request: &CheckRequest, call: Call) {
        let id = request.session;
        let Some(provider) = self.provider() else { return call.answer(no_provider()) };
        if self.state.is_handed_over() {
            return call.answer(IdentityReply::Checked(self.known_after_hand_over(id)));
        }
        if let Some(outcome) = self.known(id, &provider.spec()) {
            return call.answer(IdentityReply::Checked(outcome));
        }
        let mut in_flight = self.in_flight.borrow_mut();
        let waiters: usize = in_flight.values().map(Vec::len).sum();
        if waiters >= MOST_WAITERS {
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        }
        if let Some(waiting) = in_flight.get_mut(&id) {
            return waiting.push(call);
        }
        let Some(turn) = self.gate.enter(CallPurpose::Recheck, Some(request.client)) else {
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        };
        in_flight.insert(id, vec![call]);
        let control = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _slot = turn.slot().await;
            // It goes on if its callers go away: a refresh token that was used must not get lost.
            let outcome = control.ask(id, &provider).await;
            let waiting = control.in_flight.borrow_mut().remove(&id);
            control.state.note_change();
            for call in waiting.into_iter().flatten() {
                call.answer(IdentityReply::Checked(outcome.clone()));
            }
        });
    }

    /// What can be said without the provider.
    fn known(&self, id: SessionId, spec: &SignInSpec) -> Option<CheckOutcome> {
        if self.ended.borrow().has(id) {
            return Some(CheckOutcome::Ended);
        }
        let sessions = self.sessions.borrow();
        let Some(entry) = sessions.get(id) else {
            self.metrics.rechecked(RecheckOutcome::Unknown);
            return Some(CheckOutcome::Unknown);
        };
        let wanted = spec.wanted_tokens(entry.client);
        let known = entry.known(spec.claims_digest(), wanted, (self.clock)())?;
        if let CheckOutcome::Good(current) = &known {
            self.publish(id, current);
        }
        Some(known)
    }

    /// The process that has replaced this one has the refresh tokens now, and asks the provider.
    fn known_after_hand_over(&self, id: SessionId) -> CheckOutcome {
        if self.ended.borrow().has(id) {
            return CheckOutcome::Ended;
        }
        match self.sessions.borrow().get(id) {
            Some(_) => CheckOutcome::ProviderAway,
            None => CheckOutcome::Unknown,
        }
    }

    async fn ask(self: &Rc<Self>, id: SessionId, provider: &Provider) -> CheckOutcome {
        let outcome = match self.renewal(id, provider).await {
            Ok(renewal) => self.renew(id, renewal, &provider.spec()),
            Err(failure) if failure.ends_session() => {
                match &failure {
                    // That is for the provider to decide, and no fault.
                    PersonFailure::Provider(refusal) => {
                        tracing::info!("a session has ended: {refusal}");
                    }
                    PersonFailure::OtherSubject => {
                        self.failures.contradiction(&failure, (self.clock)());
                    }
                }
                self.end(id, 0);
                CheckOutcome::Ended
            }
            Err(failure) => {
                self.failures.check(&failure, (self.clock)());
                if let Some(entry) = self.sessions.borrow_mut().get_mut(id) {
                    (entry.checked_at_s, entry.was_answered) = ((self.clock)(), false);
                }
                CheckOutcome::ProviderAway
            }
        };
        self.metrics.rechecked(match outcome {
            CheckOutcome::Good(_) => RecheckOutcome::Good,
            CheckOutcome::ProviderAway => RecheckOutcome::Unavailable,
            CheckOutcome::Ended => RecheckOutcome::Ended,
            CheckOutcome::Unknown => RecheckOutcome::Unknown,
        });
        outcome
    }

    /// By the refresh token, else by UserInfo. A refresh alone tells of users that were barred;
    /// UserInfo often answers for them too.
    async fn renewal(
        self: &Rc<Self>,
        id: SessionId,
        provider: &Provider,
    ) -> Result<Renewal, PersonFailure> {
        let taken = self.sessions.borrow().get(id).map(|entry| (entry.clone(), entry.id_token()));
        let Some((SessionEntry { client, grant, .. }, id_token)) = taken else {
            // Signed out while it waited.
            return Ok(Renewal::NOTHING);
        };
        match grant {
            Grant::RefreshToken(token) => {
                self.refresh((id, client), &token, id_token, provider).await
            }
            Grant::AccessToken { token, ends_at_s } => {
                let is_over = ends_at_s <= (self.clock)();
                let person = match is_over {
                    true => None,
                    false => Some(provider.person(client, &id_token, &token).await?),
                };
                Ok(Renewal { person, ..Renewal::NOTHING })
            }
        }
    }

    async fn refresh(
        self: &Rc<Self>,
        (id, client): (SessionId, ProviderId),
        refresh_token: &str,
        id_token: IdTokenClaims,
        provider: &Provider,
    ) -> Result<Renewal, PersonFailure> {
        let tokens = provider.refresh(client, refresh_token).await?;
        if self.sessions.borrow().get(id).is_none() {
            // Signed out meanwhile: that revoked the token before this one.
            self.revoke_later(client, tokens.refresh_token);
            return Ok(Renewal::NOTHING);
        }
        // At once: whatever comes next, the old one may be void by now.
        if let Some(next) = &tokens.refresh_token
            && let Some(entry) = self.sessions.borrow_mut().get_mut(id)
        {
            entry.grant = Grant::RefreshToken(Arc::from(&**next));
        }
        let newer = provider.refreshed_id_token(client, &tokens, &id_token.subject).await?;
        let id_token = newer.as_ref().unwrap_or(&id_token);
        let person = provider.person(client, id_token, &tokens.access_token).await?;
        Ok(Renewal { person: Some(person), id_token: newer, tokens: Some(tokens) })
    }

    /// Takes over what a check brought.
    fn renew(&self, id: SessionId, renewal: Renewal, spec: &SignInSpec) -> CheckOutcome {
        let now_s = (self.clock)();
        let mut sessions = self.sessions.borrow_mut();
        let Some(entry) = sessions.get_mut(id) else { return CheckOutcome::Ended };
        let mut next = RenewedSession::clone(&entry.current);
        if let Some(person) = renewal.person {
            (next.identity, next.name) = (person.identity, person.name);
        }
        if let Some(id_token) = &renewal.id_token {
            entry.set_id_token(id_token);
        }
        let wanted = spec.wanted_tokens(entry.client);
        let mut tokens_end_s = None;
        if let Some(tokens) = &renewal.tokens {
            entry.asked = wanted;
            next.tokens = kept_tokens(tokens, next.tokens.as_ref(), wanted);
            tokens_end_s = self::tokens_end_s(tokens, renewal.id_token.as_ref(), wanted, now_s);
        }
        next.tokens = wanted.of(next.tokens.as_ref());
        next.claims_digest = spec.claims_digest();
        next.check_at_s = check_at_s(now_s, next.ends_at_s, tokens_end_s, spec);
        (entry.checked_at_s, entry.was_answered) = (now_s, true);
        let current = Arc::new(next);
        let gone = sessions.set_current(id, Arc::clone(&current));
        drop(sessions);
        self.shared.remove_updates(gone);
        self.publish(id, &current);
        CheckOutcome::Good(current)
    }

    /// Shows workers what the control thread knows of a session.
    fn publish(&self, id: SessionId, current: &Arc<RenewedSession>) {
        let is_known = match self.shared.update(id) {
            Some(SessionUpdate::Renewed(known)) => Arc::ptr_eq(&known, current),
            _ => false,
        };
        if !is_known {
            self.shared.set_update(id, Some(SessionUpdate::Renewed(Arc::clone(current))));
        }
    }
}

/// When a session is to be checked next. `tokens_end_s` is when the first token ends that upstreams get:
/// they get another one before that, unless it lives for a very short time.
pub(super) fn check_at_s(
    now_s: u64,
    ends_at_s: u64,
    tokens_end_s: Option<u64>,
    spec: &SignInSpec,
) -> u64 {
    let next_s = now_s.saturating_add(spec.recheck.as_secs().max(1));
    let token_s = tokens_end_s.map_or(next_s, |ends_at_s| {
        let life_s = ends_at_s.saturating_sub(now_s);
        now_s + life_s.saturating_sub(RENEWED_BEFORE_S).max(life_s / 2).max(1)
    });
    next_s.min(token_s).min(ends_at_s)
}

/// When the first token ends that upstreams get, as far as it is known.
pub(super) fn tokens_end_s(
    tokens: &TokenResponse,
    id_token: Option<&IdTokenClaims>,
    wanted: WantedTokens,
    now_s: u64,
) -> Option<u64> {
    let access_s = tokens.expires_in_s.map(|life_s| now_s.saturating_add(life_s));
    let id_s = id_token.map(|id_token| id_token.expires_at_s);
    access_s.filter(|_| wanted.access).into_iter().chain(id_s.filter(|_| wanted.id)).min()
}

/// The tokens of an answer that upstreams get. An ID token for which no other came stays.
pub(super) fn kept_tokens(
    tokens: &TokenResponse,
    former: Option<&Arc<ProviderTokens>>,
    wanted: WantedTokens,
) -> Option<Arc<ProviderTokens>> {
    if !wanted.any() {
        return None;
    }
    let former_id = || former.map(|former| former.id.clone()).unwrap_or_default();
    let id = tokens.id_token.clone().unwrap_or_else(former_id);
    wanted.of(Some(&Arc::new(ProviderTokens { access: tokens.access_token.clone(), id })))
}

/// When a session ends that the provider gave no refresh token for.
pub(super) fn ends_at_s(ends_at_s: u64, access_ends_at_s: u64, spec: &SignInSpec) -> u64 {
    match spec.without_refresh_token {
        WithoutRefreshToken::AccessToken => ends_at_s.min(access_ends_at_s),
        WithoutRefreshToken::CookieExpire => ends_at_s,
    }
}

pub(super) fn no_provider() -> IdentityReply {
    let why = "no identity provider is configured".to_owned();
    IdentityReply::Failed(ProviderFailure::Away(why))
}
