//! What the control thread knows beside the workers' cells, and the place where all counts meet.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use super::{
    CertificateUsage, CertificateView, ConfigView, CrlView, DescriptorView, HealthMetrics,
    IdentityMetrics, KernelCounts, Readiness, RefusalView, ReloadView, RouteView, StatusView,
    SteeredView, SteeringSource, SteeringView, UnreachableEndpoints, UpstreamView, WorkerMetrics,
    WorkerView, exposition,
    labels::{ClosedReason, CodeClass, Label as _, RequestRefusal, SteeringOutcome},
    registry::{ConfiguredRoutes, EndpointRegistry, RouteCells, RouteFacts, RouteRegistry},
    time,
};

/// Everything that is counted. The control thread makes it before the workers start.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(super) workers: Vec<Arc<WorkerMetrics>>,
    pub(super) routes: Arc<RouteRegistry>,
    pub(super) endpoints: Arc<EndpointRegistry>,
    /// Log records lost on their way out, those of no worker too.
    pub(super) log_records_dropped: Arc<AtomicU64>,
    started: Instant,
    started_ms: i64,
    steering: OnceLock<Arc<dyn SteeringSource>>,
    control: Mutex<Control>,
    identity: Arc<IdentityMetrics>,
    health: Arc<HealthMetrics>,
    pub(super) unreachable: Arc<UnreachableEndpoints>,
}

/// What only the control thread changes.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) state: Readiness,
    pub(super) facts: ConfigFacts,
    pub(super) generation: u64,
    pub(super) last_reload: Option<Reload>,
    pub(super) reloads_applied: u64,
    pub(super) reloads_renewed: u64,
    pub(super) reloads_refused: u64,
    /// When the configuration in use was read, in milliseconds since the epoch.
    pub(super) last_success_ms: Option<i64>,
    pub(super) ticket_key_rotations: u64,
    pub(super) worker_restarts: u64,
    pub(super) descriptors: DescriptorView,
    control_socket: Option<String>,
    cpus: Vec<Option<usize>>,
}

#[derive(Debug)]
pub(super) struct Reload {
    pub(super) time_ms: i64,
    pub(super) error: Option<String>,
}

/// What status and metrics show of a configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigFacts {
    /// The file it was read from.
    pub file: String,
    /// Its routes; `None` before the first one is applied.
    pub routes: Option<Arc<dyn ConfiguredRoutes>>,
    /// Certificates of our own, and the CAs of clients.
    pub certificates: Vec<ConfiguredCertificate>,
    /// Lists of revoked client certificates.
    pub crls: Vec<ConfiguredCrl>,
}

/// What status and metrics show of the parts of a configuration that were renewed alone. A part that
/// stays is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RenewedFacts {
    /// All server certificates.
    pub server_certificates: Option<Vec<ConfiguredCertificate>>,
    /// Lists of revoked client certificates.
    pub crls: Option<Vec<ConfiguredCrl>>,
}

/// What is shown of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfiguredCertificate {
    /// The DNS names it is for; the subject of a CA.
    pub names: Vec<String>,
    /// Where it was read from.
    pub origin: String,
    /// What it is used for.
    pub usage: CertificateUsage,
    /// End of its validity, in seconds since the epoch.
    pub not_after_s: i64,
}

impl ConfiguredCertificate {
    /// That end in RFC 3339.
    pub(crate) fn not_after(&self) -> String {
        time::rfc3339_s(self.not_after_s).to_string()
    }
}

/// What is shown of a certificate revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfiguredCrl {
    /// Whose it is, as of RFC 4514.
    pub issuer: String,
    /// When it was issued, in seconds since the epoch.
    pub this_update_s: i64,
    /// When the next one is due, in seconds since the epoch.
    pub next_update_s: Option<i64>,
    /// Certificates in it.
    pub revoked: usize,
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new(workers: usize) -> Metrics {
        let unreachable = Arc::<UnreachableEndpoints>::default();
        let worker = |_| {
            let unreachable = Arc::clone(&unreachable);
            Arc::new(WorkerMetrics { unreachable, ..WorkerMetrics::default() })
        };
        Metrics {
            workers: (0..workers).map(worker).collect(),
            routes: Arc::new(RouteRegistry::new(workers)),
            endpoints: Arc::new(EndpointRegistry::new(workers)),
            log_records_dropped: Arc::default(),
            started: Instant::now(),
            started_ms: time::epoch_ms(SystemTime::now()),
            steering: OnceLock::new(),
            control: Mutex::default(),
            identity: Arc::default(),
            health: Arc::default(),
            unreachable,
        }
    }

    /// Says whom to ask about steering. The first one stays.
    pub(crate) fn set_steering(&self, source: Arc<dyn SteeringSource>) {
        let _ = self.steering.set(source);
    }

    pub(super) fn steering(&self) -> Option<&dyn SteeringSource> {
        self.steering.get().map(|source| &**source)
    }

    /// The cells of one worker; `None` for a worker that there is not.
    pub(crate) fn worker(&self, worker: usize) -> Option<Arc<WorkerMetrics>> {
        self.workers.get(worker).cloned()
    }

    /// The counts of calls to the identity provider.
    pub(crate) fn identity(&self) -> &Arc<IdentityMetrics> {
        &self.identity
    }

    /// What the health thread counts, and what is shown of the health of endpoints.
    pub(crate) fn health(&self) -> &Arc<HealthMetrics> {
        &self.health
    }

    /// The metrics of routes, for compiling a configuration.
    pub(crate) fn routes(&self) -> &Arc<RouteRegistry> {
        &self.routes
    }

    /// The metrics of upstreams, for compiling a configuration.
    pub(crate) fn endpoints(&self) -> &Arc<EndpointRegistry> {
        &self.endpoints
    }

    /// Open connections of clients and the requests under way, of all workers.
    pub(crate) fn active(&self) -> (u64, u64) {
        let sum =
            |of: fn(&WorkerMetrics) -> u64| self.workers.iter().map(|worker| of(worker)).sum();
        (sum(|worker| worker.connections_active.get()), sum(|worker| worker.requests_active.get()))
    }

    /// Connections that were still open when `drain_timeout` ended.
    pub(crate) fn cut_off_connections(&self) -> u64 {
        let cut_off =
            |worker: &Arc<WorkerMetrics>| worker.connections_closed.get(ClosedReason::DrainTimeout);
        self.workers.iter().map(cut_off).sum()
    }

    /// Requests refused for one reason.
    pub(super) fn refusals(&self, reason: RequestRefusal) -> u64 {
        let counts = self.workers.iter().map(|worker| worker.refusals.get(reason));
        counts.fold(0, u64::wrapping_add)
    }

    /// Connections that were steered in one way, by workers and by the kernel.
    pub(super) fn steered(&self, kernel: &KernelCounts, outcome: SteeringOutcome) -> u64 {
        let by_kernel = kernel.connections.iter().filter(|(counted, _)| *counted == outcome);
        let by_workers = self.workers.iter().map(|worker| worker.steering.get(outcome));
        by_kernel.map(|(_, count)| *count).chain(by_workers).fold(0, u64::wrapping_add)
    }

    /// Says whether connections are taken.
    pub(crate) fn set_readiness(&self, state: Readiness) {
        self.control().state = state;
    }

    /// Says that connections are taken, unless the process drains by now.
    pub(crate) fn become_ready(&self) {
        let mut control = self.control();
        if control.state == Readiness::Starting {
            control.state = Readiness::Ready;
        }
    }

    /// Whether connections are taken.
    pub(crate) fn readiness(&self) -> Readiness {
        self.control().state
    }

    /// Says how the limit on open files is divided.
    pub(crate) fn set_descriptors(&self, descriptors: DescriptorView) {
        self.control().descriptors = descriptors;
    }

    /// Says where orders are taken.
    pub(crate) fn set_control_socket(&self, path: Option<&Path>) {
        self.control().control_socket = path.map(|path| path.display().to_string());
    }

    /// Says which core a worker is pinned to.
    pub(crate) fn set_worker_cpu(&self, worker: usize, cpu: Option<usize>) {
        if worker >= self.workers.len() {
            return;
        }
        let mut control = self.control();
        control.cpus.resize(self.workers.len(), None);
        if let Some(slot) = control.cpus.get_mut(worker) {
            *slot = cpu;
        }
    }

    /// Records the configuration that is in use from now on, and its generation. Routes and upstreams
    /// that it does not name leave the metrics. Takes a time that grows with the configuration.
    pub(crate) fn config_applied(&self, generation: u64, facts: ConfigFacts) {
        let routes = facts.routes.as_deref();
        self.routes.retain(&routes.into_iter().flat_map(|routes| routes.names()).collect());
        let upstreams = routes.map(upstreams).unwrap_or_default();
        self.endpoints.retain(&upstreams);
        self.unreachable.retain(&upstreams);
        let now_ms = time::epoch_ms(SystemTime::now());
        let mut control = self.control();
        let replaced = std::mem::replace(&mut control.facts, facts);
        control.generation = generation;
        control.reloads_applied += 1;
        control.last_success_ms = Some(now_ms);
        control.last_reload = Some(Reload { time_ms: now_ms, error: None });
        // Nobody waits for the lock while 100,000 routes are freed.
        drop(control);
        drop(replaced);
    }

    /// Records that parts of the configuration in use were renewed, and the generation that this is.
    pub(crate) fn parts_renewed(&self, generation: u64, facts: RenewedFacts) {
        let now_ms = time::epoch_ms(SystemTime::now());
        let mut control = self.control();
        if let Some(mut certificates) = facts.server_certificates {
            let others = std::mem::take(&mut control.facts.certificates).into_iter();
            certificates.extend(others.filter(|facts| facts.usage != CertificateUsage::Server));
            control.facts.certificates = certificates;
        }
        if let Some(crls) = facts.crls {
            control.facts.crls = crls;
        }
        control.generation = generation;
        control.reloads_renewed += 1;
        control.last_success_ms = Some(now_ms);
        control.last_reload = Some(Reload { time_ms: now_ms, error: None });
    }

    /// The generation in use.
    pub(crate) fn generation(&self) -> u64 {
        self.control().generation
    }

    /// The certificates whose validity ends before that time, in seconds since the epoch.
    pub(crate) fn certificates_ending_before(&self, end_s: i64) -> Vec<ConfiguredCertificate> {
        let control = self.control();
        let certificates = control.facts.certificates.iter();
        certificates.filter(|facts| facts.not_after_s < end_s).cloned().collect()
    }

    /// Records that a configuration was refused, and why. The one in use stays, and so does its
    /// generation.
    pub(crate) fn config_refused(&self, error: String) {
        let mut control = self.control();
        control.reloads_refused += 1;
        let time_ms = time::epoch_ms(SystemTime::now());
        control.last_reload = Some(Reload { time_ms, error: Some(error) });
    }

    /// Counts a new key for session tickets.
    pub(crate) fn ticket_key_rotated(&self) {
        self.control().ticket_key_rotations += 1;
    }

    /// Counts a worker that took the place of one that had ended.
    pub(crate) fn worker_restarted(&self) {
        self.control().worker_restarts += 1;
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub(crate) fn render(&self) -> String {
        exposition::render(self)
    }

    /// The whole state, for `/status`.
    pub(crate) fn status(&self) -> StatusView {
        let control = self.control();
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            state: control.state,
            config: config_view(&control),
            control_socket: control.control_socket.clone(),
            descriptors: control.descriptors,
            steering: self.steering_view(),
            workers: self.worker_views(&control),
            routes: self.route_views(&control),
            certificates: control.facts.certificates.iter().map(certificate_view).collect(),
            crls: control.facts.crls.iter().map(crl_view).collect(),
            refusals: refusal_views(|reason| self.refusals(reason)),
            upstreams: self.upstream_views(),
            health: self.health.views(),
            unreachable: self.unreachable.views(),
        }
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this was made, in milliseconds since the epoch.
    pub(super) fn started_ms(&self) -> i64 {
        self.started_ms
    }

    pub(super) fn log_records_dropped(&self) -> u64 {
        let workers = self.workers.iter().map(|worker| worker.log_records_dropped.get());
        workers.fold(self.log_records_dropped.load(Relaxed), u64::wrapping_add)
    }

    fn steering_view(&self) -> SteeringView {
        let Some(steering) = self.steering() else { return SteeringView::default() };
        let kernel = steering.kernel_counts();
        let outcomes = SteeringOutcome::ALL.iter().map(|outcome| SteeredView {
            outcome: outcome.as_str().to_owned(),
            count: self.steered(&kernel, *outcome),
        });
        let outcomes = outcomes.filter(|view| view.count > 0).collect();
        SteeringView { outcomes, ..steering.view() }
    }

    fn worker_views(&self, control: &Control) -> Vec<WorkerView> {
        let loads = self.steering().map(|steering| steering.loads()).unwrap_or_default();
        let view = |(id, worker): (usize, &Arc<WorkerMetrics>)| {
            let load = loads.get(id);
            WorkerView {
                id,
                cpu: control.cpus.get(id).copied().flatten(),
                connections: worker.connections_active.get(),
                accepted: worker.connections_accepted.get(),
                requests: worker.requests.sum(),
                load: load.map_or(0, |load| load.load),
                available: load.is_some_and(|load| load.available),
                drained: load.is_some_and(|load| load.drained),
            }
        };
        self.workers.iter().enumerate().map(view).collect()
    }

    fn route_views(&self, control: &Control) -> Vec<RouteView> {
        let routes = control.facts.routes.iter().flat_map(|routes| routes.shown());
        routes.map(|route| self.route_view(route)).collect()
    }

    fn route_view(&self, route: RouteFacts) -> RouteView {
        let used = self.routes.used(&route.name);
        let sum =
            |read: &dyn Fn(&RouteCells) -> u64| used.as_ref().map_or(0, |cells| cells.sum(read));
        let failed = |cells: &RouteCells| {
            cells.requests.get(CodeClass::ServerError) + cells.requests.get(CodeClass::Other)
        };
        RouteView {
            name: route.name,
            from: route.from,
            requests: sum(&|cells| cells.requests.sum()),
            errors: sum(&failed),
            refused: sum(&|cells| cells.refusals.sum()),
            asks_certificate: route.asks_certificate,
            refusals: refusal_views(|reason| sum(&|cells| cells.refusals.get(reason))),
        }
    }

    fn upstream_views(&self) -> Vec<UpstreamView> {
        let endpoints = self.endpoints.entries().into_iter();
        let views = endpoints.map(|(name, metrics)| UpstreamView {
            endpoint: name.to_string(),
            idle: metrics.sum(|cells| cells.idle_connections.get()),
            active: metrics.sum(|cells| cells.active_connections.get()),
            connects: metrics.sum(|cells| cells.connects.get()),
            reused: metrics.sum(|cells| cells.requests_reused.get()),
        });
        views.collect()
    }
}

/// Reasons that have not occurred are left out.
fn refusal_views(count: impl Fn(RequestRefusal) -> u64) -> Vec<RefusalView> {
    let views = RequestRefusal::ALL.iter().map(|reason| RefusalView {
        reason: reason.as_str().to_owned(),
        code: reason.code().to_owned(),
        count: count(*reason),
    });
    views.filter(|view| view.count > 0).collect()
}

fn config_view(control: &Control) -> ConfigView {
    ConfigView {
        file: control.facts.file.clone(),
        generation: control.generation,
        last_reload: control.last_reload.as_ref().map(|reload| ReloadView {
            success: reload.error.is_none(),
            time: time::rfc3339_ms(reload.time_ms).to_string(),
            error: reload.error.clone(),
        }),
    }
}

/// The upstreams that there are now.
fn upstreams(routes: &dyn ConfiguredRoutes) -> HashSet<String> {
    let mut names = HashSet::new();
    routes.each_endpoint(&mut |name| {
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    });
    names
}

fn certificate_view(facts: &ConfiguredCertificate) -> CertificateView {
    let now_s = time::epoch_ms(SystemTime::now()).div_euclid(1000);
    CertificateView {
        names: facts.names.clone(),
        origin: facts.origin.clone(),
        usage: facts.usage,
        not_after: facts.not_after(),
        days_left: facts.not_after_s.saturating_sub(now_s).div_euclid(86_400),
    }
}

fn crl_view(facts: &ConfiguredCrl) -> CrlView {
    let now_s = time::epoch_ms(SystemTime::now()).div_euclid(1000);
    CrlView {
        issuer: facts.issuer.clone(),
        revoked: facts.revoked,
        this_update: time::rfc3339_s(facts.this_update_s).to_string(),
        next_update: facts.next_update_s.map(|next_s| time::rfc3339_s(next_s).to_string()),
        days_left: facts
            .next_update_s
            .map(|next_s| next_s.saturating_sub(now_s).div_euclid(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::registry::testing::Listed;

    fn facts(routes: &[&str]) -> ConfigFacts {
        ConfigFacts {
            file: "/etc/portcullis/config.yaml".into(),
            routes: Some(Arc::new(Listed::of(routes, &["up:8443"]))),
            certificates: vec![ConfiguredCertificate {
                names: vec!["a.example".into()],
                origin: "a.pem".into(),
                usage: CertificateUsage::Server,
                not_after_s: 0,
            }],
            crls: vec![ConfiguredCrl {
                issuer: "CN=CA".into(),
                this_update_s: 0,
                next_update_s: Some(1),
                revoked: 3,
            }],
        }
    }

    #[test]
    fn status_sums_the_cells_of_all_workers() {
        let metrics = Metrics::new(2);
        metrics.config_applied(1, facts(&["a"]));
        metrics.set_worker_cpu(1, Some(3));
        for worker in 0..2 {
            metrics.worker(worker).unwrap().connections_accepted.inc();
            metrics.routes().get("a").record(worker, 502, 10, 0, 0);
            let endpoint = metrics.endpoints().get("up:8443");
            endpoint.worker(worker).unwrap().idle_connections.set(2);
        }
        metrics.routes().get("a").record(0, 200, 10, 0, 0);

        let status = metrics.status();
        assert_eq!(status.workers[1].cpu, Some(3));
        assert_eq!(status.workers[1].accepted, 1);
        assert_eq!((status.routes[0].requests, status.routes[0].errors), (3, 2));
        assert_eq!(status.upstreams[0].idle, 4);
    }

    #[test]
    fn renewed_parts_replace_their_own_facts_alone() {
        let metrics = Metrics::new(1);
        let mut before = facts(&["a"]);
        let usage = CertificateUsage::Upstream;
        before.certificates.push(ConfiguredCertificate { usage, ..before.certificates[0].clone() });
        metrics.config_applied(1, before.clone());
        let renewed = ConfiguredCertificate { not_after_s: 1, ..before.certificates[0].clone() };
        let server_certificates = Some(vec![renewed]);
        metrics.parts_renewed(2, RenewedFacts { server_certificates, crls: None });
        let status = metrics.status();
        let ends: Vec<_> = status.certificates.iter().map(|view| &*view.not_after).collect();
        assert_eq!(ends, ["1970-01-01T00:00:01Z", "1970-01-01T00:00:00Z"]);
        assert_eq!((status.routes.len(), status.crls.len()), (1, 1));
        metrics
            .parts_renewed(3, RenewedFacts { server_certificates: None, crls: Some(Vec::new()) });
        let status = metrics.status();
        assert_eq!((status.certificates.len(), status.crls.len()), (2, 0));
        assert_eq!(status.config.generation, 3);
    }

    #[test]
    fn a_refused_configuration_leaves_the_one_before_in_status() {
        let metrics = Metrics::new(1);
        metrics.config_applied(1, facts(&["a"]));
        metrics.config_refused("line 3: no such key".into());
        let status = metrics.status();
        assert_eq!(status.config.generation, 1);
        assert_eq!(status.routes[0].name, "a");
        let reload = status.config.last_reload.unwrap();
        assert!(!reload.success);
        assert_eq!(reload.error.as_deref(), Some("line 3: no such key"));
    }

    #[test]
    fn an_expired_certificate_has_less_than_no_days_left() {
        let metrics = Metrics::new(1);
        metrics.config_applied(1, facts(&[]));
        let status = metrics.status();
        assert!(status.certificates[0].days_left < 0);
        assert_eq!(status.certificates[0].not_after, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_stale_crl_has_less_than_no_days_left() {
        let metrics = Metrics::new(1);
        metrics.config_applied(1, facts(&[]));
        let [crl] = &metrics.status().crls[..] else { panic!("one CRL") };
        assert!(crl.days_left.unwrap() < 0);
        assert_eq!(crl.next_update.as_deref(), Some("1970-01-01T00:00:01Z"));
    }
}
