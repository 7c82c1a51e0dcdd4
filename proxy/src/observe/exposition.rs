//! All counts as Prometheus reads them.
//!
//! Cells are summed into a recorder made for this one scrape, so that what left the configuration
//! leaves the metrics too. The recorder takes no counts already sorted into buckets: histograms
//! are written behind its text with the exporter's own formatting.

use std::collections::BTreeMap;

use metrics_exporter_prometheus::{LabelSet, PrometheusBuilder, formatting};

use super::{
    DescriptorView, EndpointHealthFacts, EndpointHealthState, HealthCheckOutcome, Histogram,
    Metrics, Readiness, SteeringView,
    control::Control,
    histogram::Distribution,
    labels::{BackchannelLogoutOutcome, ProviderCallOutcome, ProviderEndpoint, RecheckOutcome},
    labels::{
        Blame, RequestRefusal, SessionCookieOutcome, SignInOutcome, UpstreamCertificateReason,
    },
    labels::{CircuitLimit, CodeClass, EjectionReason, SegmentOutcome, SteeringOutcome},
    labels::{ClosedReason, HandshakeResult, HttpProtocol, Label, RefusedReason, TlsVersion},
    labels::{UpstreamFailure, UpstreamRetry},
    names::{self, Metric, MetricKind},
    process::ProcessUsage,
    worker::WorkerMetrics,
};

/// The text format, version 0.0.4.
pub(super) fn render(metrics: &Metrics) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let usage = ProcessUsage::now();
    metrics::with_local_recorder(&recorder, || {
        names::ALL.iter().for_each(describe);
        control(metrics, &metrics.control());
        connections(metrics);
        steering(metrics);
        requests(metrics);
        people(metrics);
        routes(metrics);
        upstreams(metrics);
        endpoints(metrics);
        health(metrics);
        ejections(metrics);
        identity(metrics);
        process(metrics, &usage);
    });
    let mut text = recorder.handle().render();
    cpu_time(&usage, &mut text);
    histograms(metrics, &mut text);
    text
}

type Labels<'a> = &'a [(&'static str, &'a str)];

fn describe(metric: &Metric) {
    match metric.kind {
        MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
        MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        MetricKind::Histogram => (),
    }
}

fn counter(metric: Metric, labels: Labels<'_>, value: u64) {
    metrics::counter!(metric.name, owned(metric, labels)).absolute(value);
}

fn gauge(metric: Metric, labels: Labels<'_>, value: f64) {
    metrics::gauge!(metric.name, owned(metric, labels)).set(value);
}

fn owned(metric: Metric, labels: Labels<'_>) -> Vec<metrics::Label> {
    debug_assert!(
        labels.iter().map(|(key, _)| key).eq(metric.labels),
        "{} has other labels than the table says",
        metric.name
    );
    labels.iter().map(|(key, value)| metrics::Label::new(*key, (*value).to_owned())).collect()
}

fn control(metrics: &Metrics, control: &Control) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    gauge(names::BUILD_INFO, &version, 1.0);
    gauge(names::POMERIUM_BUILD_INFO, &version, 1.0);
    gauge(names::START_TIME, &[], metrics.started_ms() as f64 / 1e3);
    gauge(names::WORKERS, &[], metrics.workers.len() as f64);
    gauge(names::READY, &[], flag(control.state == Readiness::Ready));
    gauge(names::CONFIG_GENERATION, &[], control.generation as f64);
    counter(names::CONFIG_RELOADS, &[("result", "applied")], control.reloads_applied);
    counter(names::CONFIG_RELOADS, &[("result", "renewed")], control.reloads_renewed);
    counter(names::CONFIG_RELOADS, &[("result", "refused")], control.reloads_refused);
    if let Some(reload) = &control.last_reload {
        gauge(names::CONFIG_RELOAD_SUCCESS, &[], flag(reload.error.is_none()));
        gauge(names::POMERIUM_RELOAD_SUCCESS, &[], flag(reload.error.is_none()));
    }
    if let Some(time_ms) = control.last_success_ms {
        gauge(names::CONFIG_RELOAD_TIMESTAMP, &[], time_ms as f64 / 1e3);
        gauge(names::POMERIUM_RELOAD_TIMESTAMP, &[], time_ms as f64 / 1e3);
    }
    counter(names::TICKET_KEY_ROTATIONS, &[], control.ticket_key_rotations);
    counter(names::WORKER_RESTARTS, &[], control.worker_restarts);
    counter(names::LOG_RECORDS_DROPPED, &[], metrics.log_records_dropped());
    descriptors(&control.descriptors);
    certificates(control);
    crls(control);
}

fn process(metrics: &Metrics, usage: &ProcessUsage) {
    gauge(names::PROCESS_START_TIME, &[], metrics.started_ms() as f64 / 1e3);
    for (metric, value) in [
        (names::PROCESS_RESIDENT, usage.resident_bytes),
        (names::PROCESS_VIRTUAL, usage.virtual_bytes),
        (names::PROCESS_OPEN_FDS, usage.open_descriptors),
        (names::PROCESS_MAX_FDS, usage.max_descriptors),
    ] {
        if let Some(value) = value {
            gauge(metric, &[], value as f64);
        }
    }
}

/// The recorder's counters are whole numbers.
fn cpu_time(usage: &ProcessUsage, text: &mut String) {
    let metric = names::PROCESS_CPU;
    formatting::write_help_line(text, metric.name, None, None, metric.help);
    formatting::write_type_line(text, metric.name, None, None, metric.kind.as_str());
    let key = metrics::Key::from_name(metric.name);
    let labels = LabelSet::from_key_and_global(&key, &Default::default());
    formatting::write_metric_line::<&str, f64>(
        text,
        metric.name,
        None,
        &labels,
        None,
        usage.cpu_s,
        None,
    );
    text.push('\n');
}

fn descriptors(view: &DescriptorView) {
    gauge(names::DESCRIPTOR_LIMIT, &[], view.limit as f64);
    for (share, count) in
        [("clients", view.clients), ("upstreams", view.upstreams), ("reserved", view.reserved)]
    {
        gauge(names::DESCRIPTOR_SHARE, &[("share", share)], count as f64);
    }
}

/// Of certificates that no label tells apart, the last one written would win: the first to expire
/// is the one an alert is for.
fn certificates(control: &Control) {
    let mut facts: Vec<_> = control.facts.certificates.iter().collect();
    facts.sort_by_key(|facts| std::cmp::Reverse(facts.not_after_s));
    for facts in facts {
        let name = facts.names.first().map_or("", |name| name);
        let usage = facts.usage.as_str();
        let labels = [("name", name), ("usage", usage), ("origin", &*facts.origin)];
        gauge(names::CERTIFICATE_NOT_AFTER, &labels, facts.not_after_s as f64);
    }
}

fn crls(control: &Control) {
    for facts in &control.facts.crls {
        let labels = [("issuer", &*facts.issuer)];
        gauge(names::CRL_THIS_UPDATE, &labels, facts.this_update_s as f64);
        if let Some(next_update_s) = facts.next_update_s {
            gauge(names::CRL_NEXT_UPDATE, &labels, next_update_s as f64);
        }
        gauge(names::CRL_REVOKED, &labels, facts.revoked as f64);
    }
}

fn connections(metrics: &Metrics) {
    for (id, worker) in metrics.workers.iter().enumerate() {
        let id = id.to_string();
        let labels = [("worker", &*id)];
        gauge(names::WORKER_TASKS, &labels, worker.tasks.get() as f64);
        counter(names::CONNECTIONS_ACCEPTED, &labels, worker.connections_accepted.get());
        gauge(names::CONNECTIONS_ACTIVE, &labels, worker.connections_active.get() as f64);
        gauge(names::HTTP_REQUESTS_ACTIVE, &labels, worker.requests_active.get() as f64);
    }
    for reason in RefusedReason::ALL {
        let count = sum(metrics, |worker| worker.connections_refused.get(*reason));
        counter(names::CONNECTIONS_REFUSED, &[("reason", reason.as_str())], count);
    }
    for reason in ClosedReason::ALL {
        let count = sum(metrics, |worker| worker.connections_closed.get(*reason));
        counter(names::CONNECTIONS_CLOSED, &[("reason", reason.as_str())], count);
    }
    counter(names::TLS_ALERTS_SENT, &[], sum(metrics, |worker| worker.tls_alerts_sent.get()));
    handshakes(metrics);
}

fn steering(metrics: &Metrics) {
    let Some(steering) = metrics.steering() else { return };
    let SteeringView { mode, cookies, .. } = steering.view();
    for name in ["kernel", "handoff", "none"] {
        gauge(names::STEERING_MODE, &[("mode", name)], flag(mode == name));
    }
    for name in ["catcher", "sysctl", "none"] {
        gauge(names::STEERING_COOKIES, &[("source", name)], flag(cookies == name));
    }
    let catchers = steering.catchers();
    gauge(names::STEERING_HELD, &[], catchers.held as f64);
    counter(names::STEERING_HELD_LOST, &[], catchers.lost);
    counter(names::STEERING_LANDED, &[], catchers.landed);
    let kernel = steering.kernel_counts();
    for outcome in SteeringOutcome::ALL {
        let count = metrics.steered(&kernel, *outcome);
        counter(names::STEERING_CONNECTIONS, &[("outcome", outcome.as_str())], count);
    }
    for outcome in SegmentOutcome::ALL {
        let count = kernel.segments.iter().filter(|(counted, _)| counted == outcome);
        let count = count.map(|(_, count)| count).sum();
        counter(names::STEERING_SEGMENTS, &[("outcome", outcome.as_str())], count);
    }
    for (worker, line) in steering.loads().iter().enumerate() {
        let worker = worker.to_string();
        gauge(names::WORKER_LOAD, &[("worker", &*worker)], f64::from(line.load));
        gauge(names::WORKER_AVAILABLE, &[("worker", &*worker)], flag(line.available));
    }
}

/// A failed handshake is hardly ever a resumed one: those are left out until they happen. The rest
/// is there from the start, so that an alert sees the first failure as a step from 0.
fn handshakes(metrics: &Metrics) {
    for result in HandshakeResult::ALL {
        for version in TlsVersion::ALL {
            for resumed in [false, true] {
                let count = sum(metrics, |w| w.handshakes.get(*result, *version, resumed));
                if count == 0 && resumed && *result != HandshakeResult::Ok {
                    continue;
                }
                let labels = [
                    ("result", result.as_str()),
                    ("version", version.as_str()),
                    ("resumed", yes_or_no(resumed)),
                ];
                counter(names::TLS_HANDSHAKES, &labels, count);
            }
        }
    }
}

fn requests(metrics: &Metrics) {
    for protocol in HttpProtocol::ALL {
        let count = sum(metrics, |worker| worker.requests.get(*protocol));
        counter(names::HTTP_REQUESTS, &[("protocol", protocol.as_str())], count);
    }
    for blame in Blame::ALL {
        let count = sum(metrics, |worker| worker.failures.get(*blame));
        counter(names::HTTP_FAILURES, &[("blame", blame.as_str())], count);
    }
    for reason in RequestRefusal::ALL {
        let labels = [("code", reason.code()), ("reason", reason.as_str())];
        counter(names::REFUSALS, &labels, metrics.refusals(*reason));
    }
}

fn people(metrics: &Metrics) {
    for outcome in SessionCookieOutcome::ALL {
        let count = sum(metrics, |worker| worker.session_cookies.get(*outcome));
        counter(names::SESSION_COOKIES, &[("outcome", outcome.as_str())], count);
    }
    for outcome in SignInOutcome::ALL {
        let count = sum(metrics, |worker| worker.sign_ins.get(*outcome));
        counter(names::SIGN_INS, &[("outcome", outcome.as_str())], count);
    }
    counter(names::ASSERTIONS_SIGNED, &[], sum(metrics, |worker| worker.assertions_signed.get()));
}

fn routes(metrics: &Metrics) {
    for (name, route) in metrics.routes.entries() {
        for class in CodeClass::ALL {
            let labels = [("route", &*name), ("code", class.as_str())];
            counter(names::ROUTE_REQUESTS, &labels, route.sum(|cells| cells.requests.get(*class)));
        }
        let labels = [("route", &*name)];
        let (received, sent) = (
            route.sum(|cells| cells.received_bytes.get()),
            route.sum(|cells| cells.sent_bytes.get()),
        );
        counter(names::ROUTE_RECEIVED_BYTES, &labels, received);
        counter(names::ROUTE_SENT_BYTES, &labels, sent);
    }
}

fn upstreams(metrics: &Metrics) {
    counter(names::UPSTREAM_CONNECTS, &[], sum(metrics, |w| w.upstream.connects.get()));
    for reason in UpstreamRetry::ALL {
        let count = sum(metrics, |w| w.upstream.retries.get(*reason));
        counter(names::UPSTREAM_RETRIES, &[("reason", reason.as_str())], count);
    }
    for limit in CircuitLimit::ALL {
        let count = sum(metrics, |w| w.upstream.circuit_open.get(*limit));
        counter(names::CIRCUIT_OPEN, &[("limit", limit.as_str())], count);
    }
    let active = sum(metrics, |w| w.upstream.active_connections.get());
    let idle = sum(metrics, |w| w.upstream.idle_connections.get());
    gauge(names::UPSTREAM_CONNECTIONS, &[("state", "active")], active as f64);
    gauge(names::UPSTREAM_CONNECTIONS, &[("state", "idle")], idle as f64);
    let fresh = sum(metrics, |w| w.upstream.requests_fresh.get());
    let reused = sum(metrics, |w| w.upstream.requests_reused.get());
    counter(names::UPSTREAM_REQUESTS, &[("connection", "fresh")], fresh);
    counter(names::UPSTREAM_REQUESTS, &[("connection", "reused")], reused);
    let full = sum(metrics, |w| w.upstream.tls_handshakes_full.get());
    let resumed = sum(metrics, |w| w.upstream.tls_handshakes_resumed.get());
    counter(names::UPSTREAM_TLS_HANDSHAKES, &[("resumed", yes_or_no(false))], full);
    counter(names::UPSTREAM_TLS_HANDSHAKES, &[("resumed", yes_or_no(true))], resumed);
    for reason in UpstreamFailure::ALL {
        let count = sum(metrics, |w| w.upstream.connect_failures.get(*reason));
        counter(names::UPSTREAM_FAILURES, &[("reason", reason.as_str())], count);
    }
    for reason in UpstreamCertificateReason::ALL {
        let count = sum(metrics, |w| w.upstream.certificate_errors.get(*reason));
        counter(names::UPSTREAM_CERTIFICATE_ERRORS, &[("reason", reason.as_str())], count);
    }
}

fn ejections(metrics: &Metrics) {
    for reason in EjectionReason::ALL {
        let count = metrics.health().ejections.get(*reason);
        counter(names::ENDPOINT_EJECTIONS, &[("reason", reason.as_str())], count);
    }
    let in_panic = sum(metrics, |w| w.upstream.panic_requests.get());
    counter(names::CLUSTER_PANIC_REQUESTS, &[], in_panic);
}

fn identity(metrics: &Metrics) {
    let identity = metrics.identity();
    if !identity.is_configured() {
        return;
    }
    if let Some(is_up) = identity.is_up() {
        gauge(names::PROVIDER_UP, &[], flag(is_up));
    }
    for endpoint in ProviderEndpoint::ALL {
        for outcome in ProviderCallOutcome::ALL {
            let labels = [("endpoint", endpoint.as_str()), ("outcome", outcome.as_str())];
            counter(names::PROVIDER_CALLS, &labels, identity.calls(*endpoint, *outcome));
        }
    }
    for outcome in RecheckOutcome::ALL {
        let labels = [("outcome", outcome.as_str())];
        counter(names::SESSION_RECHECKS, &labels, identity.rechecks(*outcome));
    }
    for outcome in BackchannelLogoutOutcome::ALL {
        let labels = [("outcome", outcome.as_str())];
        counter(names::BACKCHANNEL_LOGOUTS, &labels, identity.logouts(*outcome));
    }
}

fn endpoints(metrics: &Metrics) {
    for (name, endpoint) in metrics.endpoints.entries() {
        let labels = [("endpoint", &*name)];
        counter(names::ENDPOINT_CONNECTS, &labels, endpoint.sum(|cells| cells.connects.get()));
        counter(names::ENDPOINT_FAILURES, &labels, endpoint.sum(|cells| cells.failures.get()));
        counter(names::ENDPOINT_REUSED, &labels, endpoint.sum(|cells| cells.requests_reused.get()));
        let active = endpoint.sum(|cells| cells.active_connections.get());
        let idle = endpoint.sum(|cells| cells.idle_connections.get());
        let state = |state| [("endpoint", &*name), ("state", state)];
        gauge(names::ENDPOINT_CONNECTIONS, &state("active"), active as f64);
        gauge(names::ENDPOINT_CONNECTIONS, &state("idle"), idle as f64);
    }
}

fn health(metrics: &Metrics) {
    let endpoints = metrics.health().endpoints();
    let is_up = |facts: &EndpointHealthFacts| facts.state == EndpointHealthState::Up;
    // A cluster may have an authority twice: one series then says whether all of them are up.
    let mut healthy = BTreeMap::new();
    for facts in &endpoints {
        let name = (&*facts.cluster, facts.endpoint.as_str());
        *healthy.entry(name).or_insert(true) &= is_up(facts);
    }
    for ((cluster, endpoint), is_healthy) in healthy {
        let labels = [("cluster", cluster), ("endpoint", endpoint)];
        gauge(names::ENDPOINT_HEALTHY, &labels, flag(is_healthy));
    }
    let unhealthy = endpoints.iter().filter(|facts| !is_up(facts)).count();
    gauge(names::ENDPOINTS_UNHEALTHY, &[], unhealthy as f64);
    gauge(names::ENDPOINTS_UNREACHABLE, &[], metrics.unreachable.count() as f64);
    counter(names::HEALTH_THREAD_PANICS, &[], metrics.health().panics.get());
    for outcome in HealthCheckOutcome::ALL {
        let count = metrics.health().checks.get(*outcome);
        counter(names::HEALTH_CHECKS, &[("result", outcome.as_str())], count);
    }
}

fn histograms(metrics: &Metrics, text: &mut String) {
    let of = |read: fn(&WorkerMetrics) -> &Histogram| {
        Distribution::of(metrics.workers.iter().map(|worker| read(worker)))
    };
    let handshakes = of(|worker| worker.handshakes.duration());
    histogram(text, names::TLS_HANDSHAKE_DURATION, [(vec![], handshakes)]);
    let requests = of(|worker| &worker.request_duration);
    histogram(text, names::HTTP_REQUEST_DURATION, [(vec![], requests)]);
    let routes = metrics.routes.entries().into_iter().map(|(name, route)| {
        let label = metrics::Label::new("route", name.to_string());
        (vec![label], Distribution::of(route.all().map(|cells| &cells.duration)))
    });
    histogram(text, names::ROUTE_REQUEST_DURATION, routes);
}

/// Writes one histogram with all its series.
fn histogram(
    text: &mut String,
    metric: Metric,
    series: impl IntoIterator<Item = (Vec<metrics::Label>, Distribution)>,
) {
    formatting::write_help_line(text, metric.name, None, None, metric.help);
    formatting::write_type_line(text, metric.name, None, None, metric.kind.as_str());
    for (labels, counts) in series {
        let key = metrics::Key::from_parts(metric.name, labels);
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        let mut line = |suffix, le: Option<(&'static str, &str)>, value: &dyn std::fmt::Display| {
            formatting::write_metric_line(
                text,
                metric.name,
                Some(suffix),
                &labels,
                le,
                value,
                None,
            );
        };
        for (bound_s, count) in counts.cumulative() {
            line("bucket", Some(("le", &bound_s.to_string())), &count);
        }
        line("bucket", Some(("le", "+Inf")), &counts.count());
        line("sum", None, &counts.sum_s());
        line("count", None, &counts.count());
    }
    text.push('\n');
}

fn sum(metrics: &Metrics, read: impl Fn(&WorkerMetrics) -> u64) -> u64 {
    metrics.workers.iter().map(|worker| read(worker)).fold(0, u64::wrapping_add)
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
