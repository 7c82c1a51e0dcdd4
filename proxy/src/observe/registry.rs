//! What is counted for each route and for each upstream, kept across reloads.
//!
//! A configuration may have 100,000 routes of which few are used: cells are made by the first
//! request of a route, and a route that was never used is not in the metrics.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    Cell, Histogram,
    labels::{CodeClass, CodeClassCells, RequestRefusal, RequestRefusalCells},
};

/// The cells that are in use, by name. A name keeps its counts from one configuration to the next.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    workers: usize,
    entries: Mutex<BTreeMap<Arc<str>, Arc<PerWorker<C>>>>,
}

/// The metrics of routes, by the route's name.
pub(crate) type RouteRegistry = Registry<RouteCells>;

/// The metrics of one route.
pub(crate) type RouteMetrics = CountedOnUse<RouteCells>;

/// The metrics of upstreams, by the upstream's authority.
pub(crate) type EndpointRegistry = Registry<EndpointCells>;

/// The metrics of one upstream.
pub(crate) type EndpointMetrics = CountedOnUse<EndpointCells>;

/// The routes of a configuration, as status and metrics show them.
pub(crate) trait ConfiguredRoutes: Send + Sync + fmt::Debug {
    /// The names of all routes.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// What is shown of each route, in the order of the configuration.
    fn shown(&self) -> Box<dyn Iterator<Item = RouteFacts> + '_>;

    /// Takes the authorities of all upstreams that there are now; one may come several times.
    fn each_endpoint(&self, take: &mut dyn FnMut(&str));
}

/// What is shown of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteFacts {
    /// Its name, under which [`super::Metrics::routes`] counts.
    pub name: String,
    /// Its `from` URL.
    pub from: String,
    /// Clients are asked for a certificate.
    pub asks_certificate: bool,
}

impl<C> Registry<C> {
    /// Nothing counted yet.
    pub(crate) fn new(workers: usize) -> Self {
        Registry { workers, entries: Mutex::default() }
    }

    /// The number of workers that count.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// The metrics under a name. Its cells are made when it counts for the first time, unless an
    /// earlier configuration has made them.
    pub(crate) fn get(self: &Arc<Self>, name: impl Into<Arc<str>>) -> Arc<CountedOnUse<C>> {
        let (name, registry) = (name.into(), Arc::clone(self));
        Arc::new(CountedOnUse { name, registry, cells: OnceLock::new() })
    }

    /// The cells of a name that has been used.
    pub(super) fn used(&self, name: &str) -> Option<Arc<PerWorker<C>>> {
        self.lock().get(name).cloned()
    }

    /// Forgets all other names: what left the configuration leaves the metrics.
    pub(crate) fn retain<N: Borrow<str> + Eq + Hash>(&self, names: &HashSet<N>) {
        self.lock().retain(|name, _| names.contains(&**name));
    }

    /// All names that have been used, with their cells, in order.
    pub(super) fn entries(&self) -> Vec<(Arc<str>, Arc<PerWorker<C>>)> {
        self.lock().iter().map(|(name, cells)| (name.clone(), cells.clone())).collect()
    }

    fn make(&self, name: &Arc<str>) -> Arc<PerWorker<C>> {
        let mut entries = self.lock();
        let cells = entries.entry(Arc::clone(name));
        Arc::clone(cells.or_insert_with(|| Arc::new(PerWorker::new(self.workers))))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<PerWorker<C>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics under one name of one configuration. The first use takes a lock; later uses do not.
pub(crate) struct CountedOnUse<C> {
    name: Arc<str>,
    registry: Arc<Registry<C>>,
    cells: OnceLock<Arc<PerWorker<C>>>,
}

impl<C> CountedOnUse<C> {
    /// The name under which it counts.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether anything was counted under the name.
    pub(crate) fn is_used(&self) -> bool {
        self.cells.get().is_some() || self.registry.used(&self.name).is_some()
    }

    fn cells(&self) -> &PerWorker<C> {
        self.cells.get_or_init(|| self.registry.make(&self.name))
    }
}

impl<C: Default> CountedOnUse<C> {
    /// Of no registry that anybody reads, for tests and fuzz targets.
    pub(crate) fn new(workers: usize) -> Self {
        let registry = Arc::new(Registry::new(workers));
        CountedOnUse { name: Arc::from(""), registry, cells: OnceLock::new() }
    }

    /// The cells that this worker alone writes; `None` if there is no such worker.
    pub(crate) fn worker(&self, worker: usize) -> Option<&C> {
        self.cells().worker(worker)
    }
}

impl<C> fmt::Debug for CountedOnUse<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedOnUse").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One set of cells for each worker that has counted.
#[derive(Debug)]
pub(crate) struct PerWorker<C> {
    cells: Box<[OnceLock<Box<Aligned<C>>>]>,
}

/// Keeps the cells of two workers on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned<C>(C);

impl<C> PerWorker<C> {
    /// Nothing counted yet.
    pub(crate) fn new(workers: usize) -> Self {
        PerWorker { cells: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// The sets of cells there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &C> {
        self.cells.iter().filter_map(OnceLock::get).map(|cells| &cells.0)
    }

    pub(super) fn sum(&self, read: impl Fn(&C) -> u64) -> u64 {
        self.all().map(read).fold(0, u64::wrapping_add)
    }
}

impl<C: Default> PerWorker<C> {
    /// The cells that this worker alone writes, made by it; `None` if there is no such worker.
    fn worker(&self, worker: usize) -> Option<&C> {
        self.cells.get(worker).map(|cells| &cells.get_or_init(Box::default).0)
    }
}

/// What one worker counts for one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCells {
    pub(super) requests: CodeClassCells,
    pub(super) refusals: RequestRefusalCells,
    pub(super) duration: Histogram,
    pub(super) received_bytes: Cell,
    pub(super) sent_bytes: Cell,
}

impl RouteMetrics {
    /// Counts one request. Only ever called by that worker.
    ///
    /// A `status` of 0 says that no response was sent; bytes are those of bodies, as received from
    /// and sent to the client.
    pub(crate) fn record(
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

    /// Counts that a request is refused. Only ever called by that worker.
    pub(crate) fn refuse(&self, worker: usize, reason: RequestRefusal) {
        if let Some(cells) = self.worker(worker) {
            cells.refusals.inc(reason);
        }
    }
}

/// What one worker counts for one upstream.
#[derive(Debug, Default)]
pub(crate) struct EndpointCells {
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
pub(super) mod testing {
    use super::*;

    /// Routes and upstreams of these names.
    #[derive(Debug)]
    pub(in crate::observe) struct Listed {
        routes: Vec<String>,
        endpoints: Vec<String>,
    }

    impl Listed {
        pub(in crate::observe) fn of(routes: &[&str], endpoints: &[&str]) -> Listed {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Listed { routes: owned(routes), endpoints: owned(endpoints) }
        }
    }

    impl ConfiguredRoutes for Listed {
        fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
            Box::new(self.routes.iter().map(String::as_str))
        }

        fn shown(&self) -> Box<dyn Iterator<Item = RouteFacts> + '_> {
            let route = |name: &String| RouteFacts {
                name: name.clone(),
                from: format!("from {name}"),
                asks_certificate: false,
            };
            Box::new(self.routes.iter().map(route))
        }

        fn each_endpoint(&self, take: &mut dyn FnMut(&str)) {
            self.endpoints.iter().for_each(|endpoint| take(endpoint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(registry: &Arc<RouteRegistry>, name: &str) -> Option<u64> {
        Some(registry.used(name)?.sum(|cells| cells.requests.sum()))
    }

    #[test]
    fn a_route_keeps_its_counts_across_reloads() {
        let registry = Arc::new(RouteRegistry::new(2));
        registry.get("a").record(1, 200, 10, 1, 2);
        registry.retain(&HashSet::from(["a", "b"]));
        registry.get("a").record(0, 200, 10, 1, 2);
        assert_eq!(requests(&registry, "a"), Some(2));
    }

    #[test]
    fn a_route_that_left_the_configuration_is_forgotten() {
        let registry = Arc::new(RouteRegistry::new(1));
        let old = registry.get("old");
        old.record(0, 200, 10, 1, 2);
        registry.get("kept").record(0, 200, 10, 1, 2);
        registry.retain(&HashSet::from(["kept"]));
        let names: Vec<_> = registry.entries().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kept".into()]);
        old.record(0, 200, 10, 1, 2); // a request of the old configuration may still end
        assert_eq!(requests(&registry, "old"), None);
    }

    #[test]
    fn a_route_that_was_never_used_has_no_cells() {
        let registry = Arc::new(RouteRegistry::new(2));
        let route = registry.get("a");
        assert_eq!(requests(&registry, "a"), None);
        route.record(1, 200, 10, 1, 2);
        let cells = registry.used("a").unwrap();
        assert_eq!(cells.all().count(), 1, "the other worker has counted nothing");
    }

    #[test]
    fn a_worker_that_does_not_exist_counts_nothing() {
        let registry = Arc::new(RouteRegistry::new(1));
        registry.get("a").record(1, 200, 10, 1, 2);
        assert_eq!(requests(&registry, "a"), Some(0));
    }
}
