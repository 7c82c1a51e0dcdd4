//! What is counted for each route and for each upstream, kept across reloads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Cell, Histogram, labels::CodeClassCells};
use crate::observe::labels::CodeClass;

/// Metrics by name. A name keeps its counts from one configuration to the next.
#[derive(Debug)]
pub struct Registry<C> {
    workers: usize,
    entries: Mutex<BTreeMap<Box<str>, Arc<PerWorker<C>>>>,
}

/// The metrics of routes, by the route's name.
pub type RouteRegistry = Registry<RouteCells>;

/// The metrics of one route.
pub type RouteMetrics = PerWorker<RouteCells>;

/// The metrics of upstreams, by the upstream's authority.
pub type EndpointRegistry = Registry<EndpointCells>;

/// The metrics of one upstream.
pub type EndpointMetrics = PerWorker<EndpointCells>;

impl<C: Default> Registry<C> {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        Registry { workers, entries: Mutex::default() }
    }

    /// The metrics under a name, which are made where there are none.
    pub fn get(&self, name: &str) -> Arc<PerWorker<C>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = entries.get(name) {
            return found.clone();
        }
        let made = Arc::new(PerWorker::new(self.workers));
        entries.insert(name.into(), made.clone());
        made
    }

    /// Forgets every other name: what left the configuration leaves the metrics.
    pub fn retain(&self, names: &BTreeSet<&str>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|name, _| names.contains(&**name));
    }

    /// All names with their metrics, in order.
    pub(super) fn entries(&self) -> Vec<(Box<str>, Arc<PerWorker<C>>)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(name, metrics)| (name.clone(), metrics.clone())).collect()
    }
}

/// One set of cells for each worker.
#[derive(Debug)]
pub struct PerWorker<C> {
    cells: Box<[Aligned<C>]>,
}

/// Keeps the cells of two workers on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned<C>(C);

impl<C: Default> PerWorker<C> {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        PerWorker { cells: (0..workers).map(|_| Aligned::default()).collect() }
    }
}

impl<C> PerWorker<C> {
    /// The cells that this worker alone writes; `None` for a worker that there is not.
    pub fn worker(&self, worker: usize) -> Option<&C> {
        self.cells.get(worker).map(|cells| &cells.0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &C> {
        self.cells.iter().map(|cells| &cells.0)
    }

    pub(super) fn sum(&self, read: impl Fn(&C) -> u64) -> u64 {
        self.all().map(read).fold(0, u64::wrapping_add)
    }
}

/// What one worker counts for one route.
#[derive(Debug, Default)]
pub struct RouteCells {
    pub(super) requests: CodeClassCells,
    pub(super) duration: Histogram,
    pub(super) received_bytes: Cell,
    pub(super) sent_bytes: Cell,
}

impl RouteMetrics {
    /// Counts one request. Only ever called by that worker.
    ///
    /// A `status` of 0 says that no response was sent; bytes are those of bodies, as received from
    /// and sent to the client.
    pub fn record(
        &self,
        worker: usize,
        status: u16,
        duration_us: u64,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let Some(cells) = self.worker(worker) else { return };
        cells.requests.inc(CodeClass::of(status));
        cells.duration.record_us(duration_us);
        cells.received_bytes.add(bytes_in);
        cells.sent_bytes.add(bytes_out);
    }
}

/// What one worker counts for one upstream.
#[derive(Debug, Default)]
pub struct EndpointCells {
    /// Connections begun.
    pub connects: Cell,
    /// Requests that got no response.
    pub failures: Cell,
    /// Requests sent over a pooled connection.
    pub requests_reused: Cell,
    /// Connections in the pool that serve no request (a gauge).
    pub idle_connections: Cell,
    /// Connections that serve a request (a gauge).
    pub active_connections: Cell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_keeps_its_counts_across_reloads() {
        let registry = RouteRegistry::new(2);
        registry.get("a").record(1, 200, 10, 1, 2);
        registry.retain(&BTreeSet::from(["a", "b"]));
        registry.get("a").record(0, 200, 10, 1, 2);
        let sum = registry.get("a").sum(|cells| cells.requests.get(CodeClass::Success));
        assert_eq!(sum, 2);
    }

    #[test]
    fn a_route_that_left_the_configuration_is_forgotten() {
        let registry = RouteRegistry::new(1);
        let old = registry.get("old");
        registry.get("kept");
        registry.retain(&BTreeSet::from(["kept"]));
        let names: Vec<_> = registry.entries().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kept".into()]);
        old.record(0, 200, 10, 1, 2); // a request of the old configuration may still end
    }

    #[test]
    fn a_worker_that_there_is_not_counts_nothing() {
        let route = RouteMetrics::new(1);
        route.record(1, 200, 10, 1, 2);
        assert_eq!(route.sum(|cells| cells.requests.sum()), 0);
    }
}
