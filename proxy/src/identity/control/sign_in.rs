//! Exchanges the code of a sign-in, and begins the session.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};

use super::{
    Call, Inner,
    gate::CallPurpose,
    recheck::{check_at_s, ends_at_s, kept_tokens, no_provider, tokens_end_s},
    session_table::{Grant, SessionEntry},
};
use crate::identity::{
    calls::{CodeExchange, IdentityCall, IdentityReply, ProviderFailure, RenewedSession, SignedIn},
    provider::VerifiedSignIn,
    spec::SignInSpec,
};

/// All calls to the provider for one sign-in together: a person waits.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Inner {
    pub(super) fn exchange(self: &Rc<Self>, call: Call) {
        let IdentityCall::Exchange(exchange) = &call.request else { return };
        let exchange = exchange.clone();
        let Some(provider) = self.provider() else { return call.answer(no_provider()) };
        let Some(turn) = self.gate.enter(CallPurpose::SignIn, Some(exchange.client)) else {
            self.failures.queue_is_full((self.clock)());
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        };
        let control = Rc::clone(self);
        spawn_local(async move {
            let _slot = turn.slot().await;
            if !call.is_awaited() {
                return;
            }
            let slow = || {
                let why = format!("its answers took more than {TIMEOUT:?}");
                Err(ProviderFailure::Away(why))
            };
            let verified = timeout(TIMEOUT, provider.exchange(&exchange)).await;
            match verified.unwrap_or_else(|_| slow()) {
                Ok(verified) => control.begin(verified, &exchange, &provider.spec(), call),
                Err(failure) => {
                    control.failures.sign_in(&failure, (control.clock)());
                    call.answer(IdentityReply::Failed(failure));
                }
            }
        });
    }

    fn begin(
        self: &Rc<Self>,
        verified: VerifiedSignIn,
        exchange: &CodeExchange,
        spec: &SignInSpec,
        call: Call,
    ) {
        let VerifiedSignIn { person, id_token, tokens } = verified;
        if !call.is_awaited() {
            // The browser has gone, so that nobody will ever hold this session.
            return self.revoke_later(exchange.provider, tokens.refresh_token);
        }
        let now_s = (self.clock)();
        let access_ends_at_s = tokens
            .expires_in_s
            .map_or(id_token.expires_at_s, |life_s| now_s.saturating_add(life_s));
        let wanted = spec.wanted_tokens(exchange.provider);
        let for_upstreams = kept_tokens(&tokens, None, wanted);
        let tokens_end_s = tokens_end_s(&tokens, Some(&id_token), wanted, now_s);
        let (grant, ends_at_s, tokens_end_s) = match tokens.refresh_token {
            Some(token) => (Grant::RefreshToken(token.into()), exchange.ends_at_s, tokens_end_s),
            None => {
                let token = tokens.access_token.into();
                let ends_at_s = ends_at_s(exchange.ends_at_s, access_ends_at_s, spec);
                (Grant::AccessToken { token, ends_at_s: access_ends_at_s }, ends_at_s, None)
            }
        };
        let current = Arc::new(RenewedSession {
            identity: person.identity,
            name: person.name,
            claims_digest: spec.claims_digest(),
            check_at_s: check_at_s(now_s, ends_at_s, tokens_end_s, spec),
            ends_at_s,
            tokens: for_upstreams,
        });
        let signed_in_at_s = self.shared.user_end(&current.identity).next_begin_s(now_s);
        let begins = Arc::clone(&current);
        let entry = SessionEntry::new(exchange.provider, grant, &id_token, begins, signed_in_at_s);
        let gone = self.sessions.borrow_mut().insert(exchange.session, entry);
        self.shared.remove_updates(gone);
        self.state.note_change();
        call.answer(IdentityReply::SignedIn(Box::new(SignedIn {
            identity: current.identity.clone(),
            name: current.name.clone(),
            signed_in_at_s,
            ends_at_s,
            check_at_s: current.check_at_s,
            id_token: tokens.id_token,
            tokens: current.tokens.clone(),
        })));
    }
}
