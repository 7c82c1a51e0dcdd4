//! The health of endpoints, which the room of upstreams provides, and the counts of their checks.

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use super::{
    Cell, EndpointHealthState, EndpointHealthView, HealthCheckOutcome,
    labels::{EjectionCells, HealthCheckCells},
    time,
};

/// What the health thread counts, and where the health of endpoints is known.
#[derive(Debug, Default)]
pub(crate) struct HealthMetrics {
    /// Checks by outcome. Only the health thread writes them.
    pub(super) checks: HealthCheckCells,
    /// Ejections of endpoints.
    pub ejections: EjectionCells,
    /// How often the health thread has panicked. It alone writes this.
    pub panics: Cell,
    source: OnceLock<Arc<dyn HealthSource>>,
}

/// The endpoints that are checked, or may be ejected.
pub(crate) trait HealthSource: Debug + Send + Sync {
    /// All of them, in the order of the configuration.
    fn endpoints(&self) -> Vec<EndpointHealthFacts>;
}

/// What is known of one endpoint of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointHealthFacts {
    /// The cluster's name: that of its route, or of the first of several routes.
    pub cluster: Arc<str>,
    /// The endpoint's authority.
    pub endpoint: String,
    /// Whether it gets requests.
    pub state: EndpointHealthState,
    /// Since when.
    pub since: SystemTime,
    /// The last error of a check, or the reason of the last ejection; empty if there was none, or if it has
    /// recovered.
    pub last_error: String,
}

impl HealthMetrics {
    /// Says whom to ask about endpoints. The first one stays.
    pub(crate) fn set_source(&self, source: Arc<dyn HealthSource>) {
        let _ = self.source.set(source);
    }

    /// Counts a check.
    pub(crate) fn checked(&self, outcome: HealthCheckOutcome) {
        self.checks.inc(outcome);
    }

    /// The endpoints that are checked, or may be ejected.
    pub(super) fn endpoints(&self) -> Vec<EndpointHealthFacts> {
        self.source.get().map(|source| source.endpoints()).unwrap_or_default()
    }

    /// The same, for status.
    pub(super) fn views(&self) -> Vec<EndpointHealthView> {
        let view = |facts: EndpointHealthFacts| EndpointHealthView {
            cluster: facts.cluster.to_string(),
            endpoint: facts.endpoint,
            state: facts.state,
            since: time::rfc3339_ms(time::epoch_ms(facts.since)).to_string(),
            last_error: Some(facts.last_error).filter(|text| !text.is_empty()),
        };
        self.endpoints().into_iter().map(view).collect()
    }
}
