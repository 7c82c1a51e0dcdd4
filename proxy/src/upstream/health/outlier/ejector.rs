//! The ejections of all clusters: asks the detectors, and puts into effect what they say. On the
//! health thread.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    EjectionProposal,
    detector::{EjectionDecision, HostEjections, IntervalRates, OutlierDetector},
    rates::RequestRates,
};
use crate::{
    observe::{EjectionReason, HealthMetrics},
    upstream::{Cluster, ClusterHealth, EndpointHealth, OutlierSpec},
};

/// The ejections of all clusters that eject.
#[derive(Debug)]
pub(crate) struct Ejector {
    metrics: Arc<HealthMetrics>,
    clusters: Vec<EjectingCluster>,
    /// The cluster and the index in it, by [`key`].
    by_endpoint: HashMap<usize, (usize, usize)>,
}

/// One cluster that ejects.
#[derive(Debug)]
struct EjectingCluster {
    cluster: Weak<Cluster>,
    health: Arc<ClusterHealth>,
    metrics: Arc<HealthMetrics>,
    detector: OutlierDetector,
    /// What had been counted of each endpoint when the interval began.
    totals: Vec<Totals>,
    /// Outliers that are not ejected, and the intervals that have ended since: their error is shown for one
    /// interval.
    tolerated: HashMap<usize, u8>,
}

/// Requests since the start that got an answer, and requests that could be sent.
type Totals = (RequestRates, RequestRates);

impl Ejector {
    /// No cluster yet.
    pub(crate) fn new(metrics: Arc<HealthMetrics>) -> Ejector {
        Ejector { metrics, clusters: Vec::new(), by_endpoint: HashMap::new() }
    }

    /// Goes over to the clusters of another configuration. What is known of endpoints that stay is kept.
    pub(crate) fn follow(&mut self, clusters: &[Weak<Cluster>], now: Instant) {
        let mut known = Known::of(std::mem::take(&mut self.clusters));
        let metrics = &self.metrics;
        let follow = |weak: &Weak<Cluster>| {
            let health = weak.upgrade()?.health()?;
            let spec = health.spec.outlier.clone()?;
            Some(EjectingCluster::new((weak, health), &spec, &mut known, metrics, now))
        };
        self.clusters = clusters.iter().filter_map(follow).collect();
        let each = self.clusters.iter().enumerate().flat_map(|(at, cluster)| {
            let endpoints = cluster.health.endpoints().iter().enumerate();
            endpoints.map(move |(index, endpoint)| (key(endpoint), (at, index)))
        });
        self.by_endpoint = each.collect();
    }

    /// A worker has seen an endpoint reach a threshold.
    pub(crate) fn propose(&mut self, proposal: &EjectionProposal, now: Instant) {
        let Some((cluster, host)) = self.find(&proposal.endpoint) else { return };
        let decision = cluster.detector.reached(host, proposal.trigger, now);
        if decision == EjectionDecision::Ignore {
            return;
        }
        proposal.endpoint.counts.reset_one(proposal.trigger);
        cluster.carry_out(host, proposal.trigger.into(), decision, now);
        cluster.refresh(now);
    }

    /// A check of an endpoint has succeeded: it may return before its time.
    pub(crate) fn check_succeeded(&mut self, endpoint: &Arc<EndpointHealth>, now: Instant) {
        if !endpoint.is_ejected() || endpoint.has_failed_check() {
            return;
        }
        let Some((cluster, host)) = self.find(endpoint) else { return };
        if cluster.detector.check_succeeded(host, now) {
            cluster.give_back(host, "a check succeeded", now);
            cluster.refresh(now);
        }
    }

    /// When [`Ejector::end_intervals`] is due; `None` if no cluster ejects.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.clusters.iter().map(|cluster| cluster.detector.interval_ends()).min()
    }

    /// Ends the intervals whose time has come.
    pub(crate) fn end_intervals(&mut self, now: Instant) {
        for cluster in &mut self.clusters {
            if cluster.detector.interval_ends() <= now {
                cluster.end_interval(now);
            }
        }
    }

    fn find(&mut self, endpoint: &Arc<EndpointHealth>) -> Option<(&mut EjectingCluster, usize)> {
        let (cluster, host) = self.by_endpoint.get(&key(endpoint))?;
        Some((self.clusters.get_mut(*cluster)?, *host))
    }
}

/// Identifies the state of an endpoint while somebody holds it.
fn key(endpoint: &Arc<EndpointHealth>) -> usize {
    Arc::as_ptr(endpoint).addr()
}

impl EjectingCluster {
    fn new(
        (cluster, health): (&Weak<Cluster>, Arc<ClusterHealth>),
        spec: &OutlierSpec,
        known: &mut Known,
        metrics: &Arc<HealthMetrics>,
        now: Instant,
    ) -> EjectingCluster {
        let endpoints = health.endpoints();
        let hosts = endpoints.iter().map(|endpoint| known.hosts.remove(&key(endpoint)));
        let (hosts, totals): (Vec<_>, Vec<_>) = hosts.zip(endpoints).map(or_new).unzip();
        // Reloads that follow one another closely must not put the end of the interval off.
        let began = endpoints.iter().find_map(|endpoint| known.began.get(&key(endpoint)));
        let began = began.copied().unwrap_or(now);
        let seed = RandomState::new().hash_one(cluster.as_ptr().addr());
        let detector = OutlierDetector::new(spec, hosts, began, seed);
        EjectingCluster {
            cluster: Weak::clone(cluster),
            health,
            metrics: Arc::clone(metrics),
            detector,
            totals,
            tolerated: HashMap::new(),
        }
    }

    fn end_interval(&mut self, now: Instant) {
        let rates: Vec<_> =
            self.health.endpoints().iter().zip(&mut self.totals).map(since_last).collect();
        self.forget_tolerated();
        let result = self.detector.end_interval(&rates, now);
        let has_changed = !result.returned.is_empty() || !result.outliers.is_empty();
        for host in result.returned {
            self.give_back(host, "its ejection has ended", now);
        }
        for outlier in result.outliers {
            self.carry_out(outlier.host, outlier.reason, outlier.decision, now);
        }
        if has_changed {
            self.refresh(now);
        }
    }

    fn forget_tolerated(&mut self) {
        let endpoints = self.health.endpoints();
        self.tolerated.retain(|host, intervals| {
            *intervals += 1;
            let is_over = *intervals > 1;
            if let Some(endpoint) = endpoints.get(*host).filter(|_| is_over) {
                endpoint.clear_last_error();
            }
            !is_over
        });
    }

    fn carry_out(
        &mut self,
        host: usize,
        reason: EjectionReason,
        decision: EjectionDecision,
        now: Instant,
    ) {
        let Some(endpoint) = self.health.endpoints().get(host) else { return };
        let why = reason_text(reason);
        match decision {
            EjectionDecision::Eject(lasts) => {
                self.metrics.ejections.inc(reason);
                endpoint.set_last_error(format!("ejected: {why}"));
                endpoint.set_ejected(true, now);
                self.log_ejection(host, why, lasts);
            }
            EjectionDecision::TooMany => {
                let limit =
                    "not ejected, since as many endpoints are as `max_ejection_percent` allows";
                endpoint.set_last_error(format!("{why}; {limit}"));
                self.tolerated.insert(host, 0);
            }
            EjectionDecision::NotEnforced => {
                endpoint.set_last_error(format!("{why}; not ejected, by `enforcing_...`"));
                self.tolerated.insert(host, 0);
            }
            EjectionDecision::Ignore => {}
        }
    }

    fn log_ejection(&self, host: usize, reason: &str, lasts: Duration) {
        let (cluster, endpoint) = (&*self.health.name, self.endpoint_text(host));
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(cluster, endpoint, reason, lasts_ms, "endpoint ejected");
    }

    fn give_back(&self, host: usize, reason: &str, now: Instant) {
        let Some(endpoint) = self.health.endpoints().get(host) else { return };
        // An endpoint that comes back begins with no failure.
        endpoint.counts.reset();
        endpoint.set_ejected(false, now);
        let (cluster, endpoint) = (&*self.health.name, self.endpoint_text(host));
        tracing::info!(cluster, endpoint, reason, "ejected endpoint returned");
    }

    fn endpoint_text(&self, host: usize) -> String {
        let cluster = self.cluster.upgrade();
        cluster.map_or(String::new(), |cluster| cluster.current().endpoint(host).to_string())
    }

    fn refresh(&self, now: Instant) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.refresh_available(now);
        }
    }
}

fn or_new(
    (known, endpoint): (Option<(HostEjections, Totals)>, &Arc<EndpointHealth>),
) -> (HostEjections, Totals) {
    known.unwrap_or_else(|| (HostEjections::default(), endpoint.counts.totals()))
}

/// The requests to an endpoint since the last call.
fn since_last((endpoint, last): (&Arc<EndpointHealth>, &mut Totals)) -> IntervalRates {
    let now = endpoint.counts.totals();
    let before = std::mem::replace(last, now);
    IntervalRates { external: now.0.since(before.0), local_origin: now.1.since(before.1) }
}

fn reason_text(reason: EjectionReason) -> &'static str {
    match reason {
        EjectionReason::Consecutive5xx => "responses of status 5xx in a row",
        EjectionReason::ConsecutiveGatewayFailure => "gateway failures in a row",
        EjectionReason::ConsecutiveLocalOriginFailure => "requests without an answer in a row",
        EjectionReason::SuccessRate => "fewer responses without an error than the other endpoints",
        EjectionReason::LocalOriginSuccessRate => "fewer answers than the other endpoints",
        EjectionReason::FailurePercentage => "a large share of responses of status 5xx",
        EjectionReason::LocalOriginFailurePercentage => {
            "a large share of requests without an answer"
        }
    }
}

/// What is known of endpoints by the detectors of the former configuration.
struct Known {
    hosts: HashMap<usize, (HostEjections, Totals)>,
    /// When the interval of an endpoint's cluster began.
    began: HashMap<usize, Instant>,
    /// Keeps the keys from being used again.
    _health: Vec<Arc<ClusterHealth>>,
}

impl Known {
    fn of(clusters: Vec<EjectingCluster>) -> Known {
        let (mut hosts, mut began, mut kept) = (HashMap::new(), HashMap::new(), Vec::new());
        for EjectingCluster { health, detector, totals, .. } in clusters {
            let since = detector.interval_began();
            for ((endpoint, host), totals) in
                health.endpoints().iter().zip(detector.into_hosts()).zip(totals)
            {
                hosts.insert(key(endpoint), (host, totals));
                began.insert(key(endpoint), since);
            }
            kept.push(health);
        }
        Known { hosts, began, _health: kept }
    }
}

#[cfg(test)]
mod tests;
