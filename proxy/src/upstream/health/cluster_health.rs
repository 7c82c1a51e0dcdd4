//! What is known of the endpoints of a cluster that is checked, or ejects.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{
    Availability, EjectionProposal, EjectionSender, EjectionTrigger, EndpointHealth, EndpointShare,
};
use crate::upstream::{Endpoint, EndpointKey, ResilienceSpec};

/// What is known of the endpoints of a cluster that is checked, or ejects.
#[derive(Debug)]
pub(crate) struct ClusterHealth {
    /// Its name in metrics and the log: that of its route, or of the first of several routes.
    pub name: Arc<str>,
    /// How it is checked, and when it ejects.
    pub spec: Arc<ResilienceSpec>,
    endpoints: Box<[Arc<EndpointHealth>]>,
    ejections: EjectionSender,
}

/// Tells the endpoints of a cluster apart over a reload. Checks name the authority.
type ReloadKey<'a> = (EndpointKey, &'a str);

impl ClusterHealth {
    /// Nothing is known, but for what `former` knows of endpoints that stay.
    pub(in crate::upstream) fn new(
        (name, spec): (&Arc<str>, &Arc<ResilienceSpec>),
        endpoints: &[Arc<Endpoint>],
        former: Option<(&ClusterHealth, &[Arc<Endpoint>])>,
        (workers, ejections): (usize, &EjectionSender),
    ) -> ClusterHealth {
        let mut known = former.map(|(former, endpoints)| Known::new(former, endpoints));
        let health = |endpoint: &Arc<Endpoint>| {
            let former = known.as_mut().and_then(|known| known.take(endpoint, spec));
            former.unwrap_or_else(|| EndpointHealth::new(workers).into())
        };
        let endpoints: Vec<_> = endpoints.iter().map(health).collect();
        ClusterHealth {
            name: Arc::clone(name),
            spec: Arc::clone(spec),
            endpoints: endpoints.into(),
            ejections: ejections.clone(),
        }
    }

    /// One for each endpoint of the cluster, in its order.
    pub(crate) fn endpoints(&self) -> &[Arc<EndpointHealth>] {
        &self.endpoints
    }

    /// Which endpoints get requests now.
    pub(in crate::upstream) fn availability(&self, now: Instant) -> Availability {
        let share = |health: &Arc<EndpointHealth>| health.share(self.spec.slow_start, now);
        let shares = self.endpoints.iter().map(share).collect();
        Availability::new(shares, self.spec.panic_threshold_percent)
    }

    /// Whether an endpoint is in its slow start: its share grows with time.
    pub(crate) fn is_warming(&self, now: Instant) -> bool {
        let is_warming = |health: &Arc<EndpointHealth>| {
            let share = health.share(self.spec.slow_start, now);
            share.is_some() && share != EndpointShare::FULL
        };
        self.spec.slow_start.is_some() && self.endpoints.iter().any(is_warming)
    }

    /// Proposes to eject an endpoint.
    pub(super) fn propose(&self, cluster: u64, index: usize, trigger: EjectionTrigger) {
        if let Some(endpoint) = self.endpoints.get(index) {
            let endpoint = Arc::clone(endpoint);
            self.ejections.propose(EjectionProposal { cluster, endpoint, trigger });
        }
    }
}

/// What the former configuration knows, by endpoint. An endpoint that is listed twice is there twice.
struct Known<'a> {
    spec: &'a ResilienceSpec,
    workers: usize,
    endpoints: HashMap<ReloadKey<'a>, Vec<&'a Arc<EndpointHealth>>>,
}

impl<'a> Known<'a> {
    fn new(former: &'a ClusterHealth, endpoints: &'a [Arc<Endpoint>]) -> Known<'a> {
        let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
        // The last one comes first out of the list.
        for (endpoint, health) in endpoints.iter().zip(&former.endpoints).rev() {
            by_key.entry((endpoint.key, &*endpoint.spec.authority)).or_default().push(health);
        }
        let workers = former.endpoints.first().map_or(0, |health| health.counts.workers());
        Known { spec: &former.spec, workers, endpoints: by_key }
    }

    fn take(&mut self, endpoint: &Endpoint, spec: &ResilienceSpec) -> Option<Arc<EndpointHealth>> {
        let key = (endpoint.key, &*endpoint.spec.authority);
        let former = self.endpoints.get_mut(&key)?.pop()?;
        if self.spec.checks != spec.checks {
            return None;
        }
        Some(match self.spec.outlier == spec.outlier {
            true => Arc::clone(former),
            false => EndpointHealth::with_check_of(former, self.workers).into(),
        })
    }
}
