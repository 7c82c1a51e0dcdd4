//! What is known of the endpoints of a cluster that is checked, or ejects.

use std::{sync::Arc, time::Instant};

use super::{Availability, EjectionProposal, EjectionSender, EndpointHealth, RequestOutcome};
use crate::upstream::ResilienceSpec;

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

impl ClusterHealth {
    /// `endpoints` are the states of the cluster's endpoints, in its order.
    pub(super) fn new(
        name: &Arc<str>,
        spec: &Arc<ResilienceSpec>,
        endpoints: Box<[Arc<EndpointHealth>]>,
        ejections: &EjectionSender,
    ) -> ClusterHealth {
        ClusterHealth {
            name: Arc::clone(name),
            spec: Arc::clone(spec),
            endpoints,
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

    /// Counts how a request of a worker to an endpoint ended, and proposes to eject the endpoint if that
    /// was one failure too many.
    pub(in crate::upstream) fn record(&self, worker: usize, index: usize, outcome: RequestOutcome) {
        let Some(spec) = &self.spec.outlier else { return };
        let Some(endpoint) = self.endpoints.get(index) else { return };
        endpoint.counts.record(worker, outcome, spec, |trigger| {
            let endpoint = Arc::clone(endpoint);
            // If the channel is full, the endpoint will reach the threshold again.
            let _ = self.ejections.propose(EjectionProposal { endpoint, trigger });
        });
    }
}
