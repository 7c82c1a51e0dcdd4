//! What the clusters of another configuration keep of what is known.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{ClusterHealth, EjectionSender, EndpointHealth, OutlierSpec};
use crate::upstream::{Endpoint, EndpointKey, EndpointSet, ResilienceSpec};

/// Gives the clusters of one configuration what the former one knows of their endpoints.
#[derive(Debug)]
pub(in crate::upstream) struct HealthInheritance<'a> {
    workers: usize,
    ejections: &'a EjectionSender,
    /// The states that a cluster of this configuration has taken over, by address: one state is of one
    /// cluster.
    taken: HashSet<usize>,
}

/// Tells the endpoints of a cluster apart over a reload. Checks name the authority.
type ReloadKey<'a> = (EndpointKey, &'a str);

/// The states of a former cluster, by endpoint. An endpoint that is listed twice has two.
type FormerStates<'a> = HashMap<ReloadKey<'a>, Vec<&'a Arc<EndpointHealth>>>;

impl<'a> HealthInheritance<'a> {
    /// For so many workers, which propose to `ejections`.
    pub(in crate::upstream) fn new(
        workers: usize,
        ejections: &'a EjectionSender,
    ) -> HealthInheritance<'a> {
        HealthInheritance { workers, ejections, taken: HashSet::new() }
    }

    /// What is known of the endpoints of a cluster of this name, which took the place of `former`.
    pub(in crate::upstream) fn compile<'e>(
        &mut self,
        name: &Arc<str>,
        spec: &Arc<ResilienceSpec>,
        endpoints: &'e [Arc<Endpoint>],
        former: Option<&'e EndpointSet>,
    ) -> ClusterHealth {
        let workers = match &spec.outlier {
            Some(outlier) if outlier.analyses_rates(endpoints.len()) => self.workers,
            _ => 0,
        };
        let mut states = former.map(former_states).unwrap_or_default();
        let former = former.and_then(|former| former.health()).map(|former| &*former.spec);
        let mut health = |endpoint: &'e Arc<Endpoint>| {
            let state = states.get_mut(&(endpoint.key, &*endpoint.spec.authority));
            match state.and_then(Vec::pop).zip(former) {
                Some((state, former)) => self.inherit(state, (former, spec), workers),
                None => EndpointHealth::new(workers).into(),
            }
        };
        let endpoints = endpoints.iter().map(&mut health).collect();
        ClusterHealth::new(name, spec, endpoints, self.ejections)
    }

    /// The same state if it is of the same checks and the same ejection, or else the last verdict of the
    /// same checks.
    fn inherit(
        &mut self,
        state: &Arc<EndpointHealth>,
        (former, spec): (&ResilienceSpec, &ResilienceSpec),
        workers: usize,
    ) -> Arc<EndpointHealth> {
        if former.checks != spec.checks {
            return EndpointHealth::new(workers).into();
        }
        if former.outlier == spec.outlier
            && state.counts.workers() == workers
            && self.taken.insert(Arc::as_ptr(state).addr())
        {
            return Arc::clone(state);
        }
        EndpointHealth::with_check_of(state, workers).into()
    }
}

fn former_states(former: &EndpointSet) -> FormerStates<'_> {
    let health = former.health().map(|health| health.endpoints()).unwrap_or_default();
    let mut states = FormerStates::new();
    // The last one comes first out of the list.
    for (endpoint, state) in former.endpoints().iter().zip(health).rev() {
        states.entry((endpoint.key, &*endpoint.spec.authority)).or_default().push(state);
    }
    states
}

impl OutlierSpec {
    /// Whether the rates of so many endpoints are ever compared.
    fn analyses_rates(&self, endpoints: usize) -> bool {
        let is_enough = |minimum_hosts: u32| endpoints as u64 >= u64::from(minimum_hosts);
        is_enough(self.success_rate.minimum_hosts)
            || is_enough(self.failure_percentage.minimum_hosts)
    }
}
