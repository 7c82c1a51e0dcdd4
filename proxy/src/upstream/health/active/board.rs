//! What the health thread knows, for the control thread: status, metrics, and the process that takes
//! this one's place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{inherited::KnownVerdict, key::CheckKey};
use crate::{
    observe::{EndpointHealthFacts, EndpointHealthState, HealthSource},
    upstream::{Cluster, EndpointHealth},
};

/// What the health thread knows.
#[derive(Debug, Default)]
pub(super) struct HealthBoard {
    clusters: Mutex<Vec<Weak<Cluster>>>,
    verdicts: Mutex<HashMap<CheckKey, KnownVerdict>>,
}

impl HealthBoard {
    /// Shows these clusters from now on.
    pub(super) fn set_clusters(&self, clusters: Vec<Weak<Cluster>>) {
        *lock(&self.clusters) = clusters;
    }

    /// The clusters that are shown.
    pub(super) fn watched(&self) -> Vec<Weak<Cluster>> {
        lock(&self.clusters).clone()
    }

    /// Those of them that are in use.
    pub(super) fn clusters(&self) -> Vec<Arc<Cluster>> {
        lock(&self.clusters).iter().filter_map(Weak::upgrade).collect()
    }

    /// Notes the verdict of a check.
    pub(super) fn note(&self, key: CheckKey, verdict: KnownVerdict) {
        lock(&self.verdicts).insert(key, verdict);
    }

    /// The last verdict of a check.
    pub(super) fn verdict(&self, key: CheckKey) -> Option<KnownVerdict> {
        lock(&self.verdicts).get(&key).cloned()
    }

    /// Forgets all verdicts but those of these checks.
    pub(super) fn retain(&self, is_used: impl Fn(&CheckKey) -> bool) {
        lock(&self.verdicts).retain(|key, _| is_used(key));
    }

    /// Begins with the verdicts of another process.
    pub(super) fn inherit(&self, verdicts: HashMap<CheckKey, KnownVerdict>) {
        *lock(&self.verdicts) = verdicts;
    }

    /// All verdicts.
    pub(super) fn verdicts(&self) -> HashMap<CheckKey, KnownVerdict> {
        lock(&self.verdicts).clone()
    }
}

impl HealthSource for HealthBoard {
    fn endpoints(&self) -> Vec<EndpointHealthFacts> {
        self.clusters().iter().flat_map(|cluster| facts(cluster)).collect()
    }
}

fn facts(cluster: &Cluster) -> Vec<EndpointHealthFacts> {
    let set = cluster.current();
    let Some(health) = set.health() else { return Vec::new() };
    let endpoints = set.endpoints().iter().zip(health.endpoints());
    endpoints
        .map(|(endpoint, known)| {
            let shown = known.shown();
            EndpointHealthFacts {
                cluster: Arc::clone(&health.name),
                endpoint: endpoint.spec.authority.to_string(),
                state: state(known),
                since: shown.since,
                last_error: shown.last_error,
            }
        })
        .collect()
}

fn state(health: &EndpointHealth) -> EndpointHealthState {
    match (health.has_failed_check(), health.is_ejected()) {
        (true, _) => EndpointHealthState::Down,
        (false, true) => EndpointHealthState::Ejected,
        (false, false) => EndpointHealthState::Up,
    }
}

/// A panic of another holder cannot leave a table inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
