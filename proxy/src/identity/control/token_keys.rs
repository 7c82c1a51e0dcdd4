//! Fetches the keys that bearer tokens are verified with, and publishes them to the workers.

use std::{cell::Cell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};

use super::{Call, IdentityControl, Inner, recheck::no_provider};
use crate::identity::{
    bearer::{
        keys::TokenKeys,
        spec::{TokenIssuerId, TokenIssuerSpec},
    },
    calls::{IdentityCall, IdentityReply, ProviderFailure},
    jose::ProviderKeys,
    provider::{Provider, TokenIssuer},
};

/// Metadata and keys together: a request waits.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that wait for keys at the same time.
const MOST_WAITING: usize = 1_024;
/// An issuer without any keys yet is not asked again for so many seconds after a failure.
const PAUSE_S: u64 = 5;

/// Everybody whose keys verify tokens.
#[derive(Default)]
pub(super) struct TokenIssuers {
    /// `identity_providers`.
    issuers: HashMap<TokenIssuerId, Rc<TokenIssuer>>,
    failed: HashMap<TokenIssuerId, (u64, ProviderFailure)>,
    serial: u64,
    waiting: Rc<Cell<usize>>,
}

/// Whose keys are fetched.
enum KeySource {
    Provider(Rc<Provider>),
    Issuer(Rc<TokenIssuer>),
}

impl KeySource {
    async fn fetch(
        &self,
        lacking: Option<&Arc<ProviderKeys>>,
    ) -> Result<TokenKeys, ProviderFailure> {
        match self {
            KeySource::Provider(provider) => provider.token_keys(lacking).await,
            KeySource::Issuer(issuer) => issuer.token_keys(lacking).await,
        }
    }
}

/// Counts as waiting until it is dropped.
struct WaitingForKeys(Rc<Cell<usize>>);

impl Drop for WaitingForKeys {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl IdentityControl {
    /// Takes `identity_providers` at start and after a reload, after
    /// [`IdentityControl::configure`]. Their keys are fetched when the first token comes.
    pub(crate) fn configure_tokens(&self, specs: &[Arc<TokenIssuerSpec>]) {
        let inner = &self.0;
        let mut tokens = inner.token_issuers.borrow_mut();
        let mut former = std::mem::take(&mut tokens.issuers);
        for spec in specs {
            let id = spec.id();
            let issuer = former.remove(&id).unwrap_or_else(|| {
                let (names, clock) = (Arc::clone(&inner.names), Rc::clone(&inner.clock));
                Rc::new(TokenIssuer::new(Arc::clone(spec), names, clock))
            });
            tokens.issuers.insert(id, issuer);
        }
        tokens.failed.clear();
        let provider = inner.provider().map(|provider| id_of(&provider));
        let issuers = &tokens.issuers;
        let is_kept = |id| issuers.contains_key(&id) || provider == Some(id);
        inner.shared.token_keys.retain(is_kept);
    }
}

fn id_of(provider: &Provider) -> TokenIssuerId {
    TokenIssuerId::of_provider(&provider.spec())
}

impl Inner {
    pub(super) fn token_keys(self: &Rc<Self>, call: Call) {
        let &IdentityCall::TokenKeys { issuer, lacking } = &call.request else { return };
        let Some(source) = self.key_source(issuer) else { return call.answer(no_provider()) };
        let published = self.shared.token_keys.get(issuer);
        // Whoever waited for the same fetch has had it.
        let is_newer =
            |keys: &Arc<TokenKeys>| lacking != Some(keys.serial) && keys.are_fresh((self.clock)());
        if published.as_ref().is_some_and(is_newer) {
            return call.answer(IdentityReply::Ready);
        }
        let Some(waiting) = self.wait_for_keys() else {
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        };
        if let (None, Some(failure)) = (&published, self.late_failure(issuer)) {
            return call.answer(IdentityReply::Failed(failure));
        }
        let lacking = published.filter(|keys| lacking == Some(keys.serial));
        let control = Rc::clone(self);
        spawn_local(async move {
            let fetch = source.fetch(lacking.as_ref().map(|lacking| &lacking.keys));
            let slow = || Err(ProviderFailure::Away(format!("no keys within {TIMEOUT:?}")));
            let fetched = timeout(TIMEOUT, fetch).await.unwrap_or_else(|_| slow());
            drop(waiting);
            call.answer(match fetched {
                Ok(keys) => {
                    control.publish_keys(issuer, keys);
                    IdentityReply::Ready
                }
                Err(failure) => {
                    control.note_failure(issuer, failure.clone());
                    IdentityReply::Failed(failure)
                }
            });
        });
    }

    fn key_source(&self, id: TokenIssuerId) -> Option<KeySource> {
        let provider = self.provider().filter(|provider| id_of(provider) == id);
        provider.map(KeySource::Provider).or_else(|| {
            let tokens = self.token_issuers.borrow();
            tokens.issuers.get(&id).map(|issuer| KeySource::Issuer(Rc::clone(issuer)))
        })
    }

    fn publish_keys(&self, id: TokenIssuerId, keys: TokenKeys) {
        if self.key_source(id).is_none() {
            return; // A reload has removed it.
        }
        let mut tokens = self.token_issuers.borrow_mut();
        tokens.failed.remove(&id);
        if self.shared.token_keys.get(id).is_some_and(|published| published.is_same(&keys)) {
            return;
        }
        tokens.serial += 1;
        self.shared.token_keys.set(id, TokenKeys { serial: tokens.serial, ..keys });
    }

    fn wait_for_keys(&self) -> Option<WaitingForKeys> {
        let waiting = Rc::clone(&self.token_issuers.borrow().waiting);
        if waiting.get() >= MOST_WAITING {
            return None;
        }
        waiting.set(waiting.get() + 1);
        Some(WaitingForKeys(waiting))
    }

    fn note_failure(&self, id: TokenIssuerId, failure: ProviderFailure) {
        let now_s = (self.clock)();
        if self.key_source(id).is_some() {
            self.token_issuers.borrow_mut().failed.insert(id, (now_s, failure));
        }
    }

    fn late_failure(&self, id: TokenIssuerId) -> Option<ProviderFailure> {
        let tokens = self.token_issuers.borrow();
        let (at_s, failure) = tokens.failed.get(&id)?;
        (at_s.abs_diff((self.clock)()) < PAUSE_S).then(|| failure.clone())
    }
}
