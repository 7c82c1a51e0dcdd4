//! Upstreams that no connection can be made to, as all workers see them.

mod outage;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use outage::Reachability;
pub(crate) use outage::ReachabilityChange;

use super::{UnreachableView, time};

/// The most upstreams that are remembered.
const MOST: usize = 10_000;

/// Identifies connections that are interchangeable: the same address may be reached with one client
/// certificate and not with another.
type EndpointId = [u8; 32];

/// Upstreams that no connection could be made to lately. Workers write when a connection fails, and
/// when one succeeds after that.
#[derive(Debug, Default)]
pub(crate) struct UnreachableEndpoints {
    /// How many cannot be reached now.
    count: AtomicUsize,
    endpoints: Mutex<HashMap<EndpointId, KnownEndpoint>>,
}

#[derive(Debug)]
struct KnownEndpoint {
    /// Its authority.
    name: Arc<str>,
    reachability: Reachability,
}

impl UnreachableEndpoints {
    /// Whether all upstreams can be reached, as far as is known. Costs one read.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// How many upstreams cannot be reached.
    pub(super) fn count(&self) -> usize {
        self.with(|endpoints| {
            forget(endpoints, Instant::now());
            unreachable(endpoints)
        })
    }

    /// No connection could be made. Gives the change if it is one for the log.
    pub(crate) fn failed(
        &self,
        id: EndpointId,
        name: &str,
        error: &str,
        now: Instant,
    ) -> Option<ReachabilityChange> {
        self.with(|endpoints| {
            if endpoints.len() >= MOST && !endpoints.contains_key(&id) {
                forget(endpoints, now);
                if endpoints.len() >= MOST {
                    return None;
                }
            }
            let known = endpoints.entry(id).or_insert_with(|| KnownEndpoint {
                name: name.into(),
                reachability: Reachability::default(),
            });
            known.reachability.failed(error, now)
        })
    }

    /// An upstream has answered over a connection that was made at `connected`. Gives the change if it is
    /// one for the log.
    pub(crate) fn answered(
        &self,
        id: EndpointId,
        connected: Instant,
        now: Instant,
    ) -> Option<ReachabilityChange> {
        self.with(|endpoints| endpoints.get_mut(&id)?.reachability.answered(connected, now))
    }

    /// Forgets all upstreams but those of these names.
    pub(super) fn retain(&self, names: &HashSet<String>) {
        self.with(|endpoints| endpoints.retain(|_, known| names.contains(&*known.name)));
    }

    /// Those that cannot be reached, by name.
    pub(super) fn views(&self) -> Vec<UnreachableView> {
        let mut views: Vec<_> = self.with(|endpoints| {
            forget(endpoints, Instant::now());
            endpoints.values().filter_map(view).collect()
        });
        views.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
        views
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<EndpointId, KnownEndpoint>) -> T) -> T {
        let mut endpoints = self.lock();
        let result = change(&mut endpoints);
        self.count.store(unreachable(&endpoints), Relaxed);
        result
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, KnownEndpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreachable(endpoints: &HashMap<EndpointId, KnownEndpoint>) -> usize {
    endpoints.values().filter(|known| known.reachability.outage().is_some()).count()
}

fn forget(endpoints: &mut HashMap<EndpointId, KnownEndpoint>, now: Instant) {
    endpoints.retain(|_, known| !known.reachability.is_forgotten(now));
}

fn view(known: &KnownEndpoint) -> Option<UnreachableView> {
    let outage = known.reachability.outage()?;
    let since = SystemTime::now().checked_sub(outage.begun.elapsed());
    let since_ms = time::epoch_ms(since.unwrap_or(SystemTime::UNIX_EPOCH));
    Some(UnreachableView {
        endpoint: known.name.to_string(),
        since: time::rfc3339_ms(since_ms).to_string(),
        failures: outage.failures,
        last_error: outage.last_error.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = [1; 32];
    const OTHER: EndpointId = [2; 32];

    fn shown(endpoints: &UnreachableEndpoints) -> Vec<(String, u64, String)> {
        let views = endpoints.views().into_iter();
        views.map(|view| (view.endpoint, view.failures, view.last_error)).collect()
    }

    #[test]
    fn what_cannot_be_reached_is_shown_until_it_answers() {
        let (endpoints, now) = (UnreachableEndpoints::default(), Instant::now());
        assert!(endpoints.failed(OTHER, "b:1", "refused", now).is_some());
        endpoints.failed(ONE, "a:1", "refused", now);
        endpoints.failed(ONE, "a:1", "no answer", now);
        let of = |name: &str, count, error: &str| (name.to_owned(), count, error.to_owned());
        assert_eq!(shown(&endpoints), [of("a:1", 2, "no answer"), of("b:1", 1, "refused")]);
        assert_eq!(endpoints.count(), 2);
        let later = now + std::time::Duration::from_secs(1);
        assert!(endpoints.answered(ONE, later, later).is_some());
        assert!(endpoints.answered([3; 32], later, later).is_none(), "it never failed");
        assert_eq!(shown(&endpoints), [of("b:1", 1, "refused")]);
        endpoints.answered(OTHER, later, later);
        assert!(endpoints.is_empty());
    }

    #[test]
    fn what_leaves_the_configuration_is_forgotten() {
        let (endpoints, now) = (UnreachableEndpoints::default(), Instant::now());
        endpoints.failed(ONE, "a:1", "refused", now);
        endpoints.failed(OTHER, "b:1", "refused", now);
        endpoints.retain(&HashSet::from(["b:1".to_owned()]));
        assert_eq!(shown(&endpoints).len(), 1);
        endpoints.retain(&HashSet::new());
        assert!(endpoints.is_empty());
    }

    #[test]
    fn the_number_of_upstreams_is_bounded() {
        let (endpoints, now) = (UnreachableEndpoints::default(), Instant::now());
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_ne_bytes());
            id
        };
        for n in 0..=MOST {
            endpoints.lock().insert(
                id(n),
                KnownEndpoint { name: "a".into(), reachability: Reachability::default() },
            );
        }
        assert!(endpoints.failed([255; 32], "b:1", "refused", now).is_some(), "others are over");
        assert_eq!(endpoints.lock().len(), 1);
    }
}
