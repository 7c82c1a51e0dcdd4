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
/// Fetches of one issuer's keys that are under way or wait for the one that is.
const MOST_WAITING: usize = 256;
/// An issuer without any keys is not asked again for so many seconds after a failure.
const PAUSE_S: u64 = 5;

/// Everybody whose keys verify tokens.
#[derive(Default)]
pub(super) struct TokenIssuers {
    /// `identity_providers`.
    issuers: HashMap<TokenIssuerId, Rc<TokenIssuer>>,
    failed: HashMap<TokenIssuerId, (u64, ProviderFailure)>,
    serial: u64,
    waiting: HashMap<TokenIssuerId, Rc<Cell<usize>>>,
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
        tokens.waiting.retain(|_, waiting| waiting.get() > 0);
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
        let Some(waiting) = self.wait_for_keys(issuer) else {
            return call.answer(IdentityReply::Failed(ProviderFailure::Busy));
        };
        if let Some(failure) = self.late_failure(issuer) {
            return call.answer(IdentityReply::Failed(failure));
        }
        let lacking = published.filter(|keys| lacking == Some(keys.serial));
        let fetch = Rc::clone(self).fetch_keys(issuer, source, lacking, waiting);
        spawn_local(async move {
            if !call.is_awaited() {
                return;
            }
            // A task of its own: its failure must be noted although nobody waits so long.
            let fetched = timeout(TIMEOUT, spawn_local(fetch)).await;
            let away = |why: String| IdentityReply::Failed(ProviderFailure::Away(why));
            call.answer(match fetched {
                Ok(Ok(Ok(()))) => IdentityReply::Ready,
                Ok(Ok(Err(failure))) => IdentityReply::Failed(failure),
                Ok(Err(_)) => away("the fetch of its keys was stopped".to_owned()),
                Err(_) => away(format!("no keys within {TIMEOUT:?}")),
            });
        });
    }

    pub(super) fn renew_token_keys(self: &Rc<Self>, issuer: TokenIssuerId) {
        let Some(source) = self.key_source(issuer) else { return };
        let published = self.shared.token_keys.get(issuer);
        let are_fresh = published.is_some_and(|keys| keys.are_fresh((self.clock)()));
        if are_fresh || self.are_fetched(issuer) || self.late_failure(issuer).is_some() {
            return;
        }
        if let Some(waiting) = self.wait_for_keys(issuer) {
            spawn_local(Rc::clone(self).fetch_keys(issuer, source, None, waiting));
        }
    }

    /// Publishes keys or notes the failure.
    async fn fetch_keys(
        self: Rc<Self>,
        issuer: TokenIssuerId,
        source: KeySource,
        lacking: Option<Arc<TokenKeys>>,
        _waiting: WaitingForKeys,
    ) -> Result<(), ProviderFailure> {
        match source.fetch(lacking.as_ref().map(|lacking| &lacking.keys)).await {
            Ok(keys) => {
                self.publish_keys(issuer, keys);
                Ok(())
            }
            Err(failure) => {
                self.note_failure(issuer, failure.clone());
                Err(failure)
            }
        }
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

    fn wait_for_keys(&self, id: TokenIssuerId) -> Option<WaitingForKeys> {
        let waiting = Rc::clone(self.token_issuers.borrow_mut().waiting.entry(id).or_default());
        if waiting.get() >= MOST_WAITING {
            return None;
        }
        waiting.set(waiting.get() + 1);
        Some(WaitingForKeys(waiting))
    }

    pub(super) fn are_fetched(&self, id: TokenIssuerId) -> bool {
        let tokens = self.token_issuers.borrow();
        tokens.waiting.get(&id).is_some_and(|waiting| waiting.get() > 0)
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
