use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::observe::{
    BackchannelLogoutOutcome, Blame, CatcherCounts, CertificateUsage, ConfigFacts,
    ConfiguredCertificate, ConfiguredCrl, EndpointHealthFacts, EndpointHealthState,
    HandshakeResult, HealthCheckOutcome, HealthSource, KernelCounts, Metrics, ProviderCallOutcome,
    ProviderEndpoint, RecheckOutcome, SegmentOutcome, SteeringOutcome, SteeringSource,
    SteeringView, TlsVersion, UpstreamCertificateReason, UpstreamFailure, WorkerLoad,
    names::{self, MetricKind},
    registry::testing::Listed,
};

/// One line of values: name, labels in order, value.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A whole exposition, read by the rules of the text format 0.0.4 and nothing looser.
#[derive(Debug, Default)]
struct Exposition {
    help: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Exposition {
    fn read(text: &str) -> Exposition {
        assert!(text.ends_with('\n'));
        let mut all = Exposition::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(all.help.insert(name.into(), help.into()).is_none(), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(all.types.insert(name.into(), kind.into()).is_none(), "{line}");
            } else {
                all.samples.push(sample(line));
            }
        }
        let series: BTreeSet<_> =
            all.samples.iter().map(|s| (s.name.clone(), s.labels.clone())).collect();
        assert_eq!(series.len(), all.samples.len(), "a series is there twice");
        all
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matches = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels.iter().all(|(k, v)| sample.labels.contains(&((*k).into(), (*v).into())))
        };
        self.samples.iter().find(matches).map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(name_end);
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b)), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, after) = rest.split_once("=\"").unwrap();
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            let (value, after) = quoted(after);
            labels.push((key.to_owned(), value));
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = after.strip_prefix('}').unwrap(),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    Sample { name: name.into(), labels, value: value.parse().unwrap() }
}

/// Reads up to the closing quote.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next().unwrap() {
            (place, '"') => return (value, &text[place + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                other => panic!("no such escape: {other}"),
            }),
            (_, char) => value.push(char),
        }
    }
}

#[derive(Debug)]
struct Steering;

impl SteeringSource for Steering {
    fn view(&self) -> SteeringView {
        SteeringView { mode: "kernel".into(), cookies: "catcher".into(), ..SteeringView::default() }
    }

    fn loads(&self) -> Vec<WorkerLoad> {
        let line = |load| WorkerLoad { load, available: load == 3, drained: false };
        vec![line(3), line(4)]
    }

    fn catchers(&self) -> CatcherCounts {
        CatcherCounts { held: 256, lost: 3, landed: 5 }
    }

    fn kernel_counts(&self) -> KernelCounts {
        KernelCounts {
            connections: vec![(SteeringOutcome::Steered, 10), (SteeringOutcome::NoSni, 1)],
            segments: vec![(SegmentOutcome::Deferred, 7)],
        }
    }
}

#[derive(Debug)]
struct Health;

impl HealthSource for Health {
    fn endpoints(&self) -> Vec<EndpointHealthFacts> {
        let facts = |endpoint: &str, state| EndpointHealthFacts {
            cluster: "app".into(),
            endpoint: endpoint.into(),
            state,
            since: SystemTime::UNIX_EPOCH,
            last_error: "status 503".into(),
        };
        vec![
            facts("a:1", EndpointHealthState::Up),
            facts("b:1", EndpointHealthState::Down),
            facts("c:1", EndpointHealthState::Ejected),
        ]
    }
}

fn used() -> Metrics {
    let metrics = Metrics::new(2);
    metrics.set_steering(Arc::new(Steering));
    metrics.health().set_source(Arc::new(Health));
    metrics.health().checked(HealthCheckOutcome::Failed);
    metrics.health().panics.inc();
    metrics.unreachable.failed([0; 32], "up:1", "refused", Instant::now());
    let certificate = |not_after_s| ConfiguredCertificate {
        names: vec!["a.example".into()],
        origin: "c:\\a \"b\".pem".into(),
        usage: CertificateUsage::Server,
        not_after_s,
    };
    metrics.config_applied(
        1,
        ConfigFacts {
            file: "config.yaml".into(),
            routes: Some(Arc::new(Listed::of(&["a"], &["up:1"]))),
            certificates: vec![certificate(2_000), certificate(1_000), certificate(3_000)],
            crls: vec![ConfiguredCrl {
                issuer: "CN=\"CA\"".into(),
                this_update_s: 4_000,
                next_update_s: Some(5_000),
                revoked: 6,
            }],
        },
    );
    let route = metrics.routes().get("a");
    let endpoint = metrics.endpoints().get("up:1");
    for id in 0..2 {
        let worker = metrics.worker(id).unwrap();
        worker.connections_active.set(id as u64 + 5);
        worker.tasks.set(id as u64 + 7);
        let took = Duration::from_millis(2);
        worker.handshakes.record(HandshakeResult::Ok, TlsVersion::Tls13, true, took);
        worker.handshakes.record(HandshakeResult::Timeout, TlsVersion::Unknown, false, took);
        worker.upstream.connect_failures.inc(UpstreamFailure::Tls);
        worker.upstream.certificate_errors.inc(UpstreamCertificateReason::NotYetValid);
        worker.failures.inc(Blame::Proxy);
        worker.upstream.idle_connections.inc();
        worker.log_records_dropped.add(3);
        route.record(id, 200, 700, 10, 20);
        endpoint.worker(id).unwrap().connects.inc();
    }
    metrics.identity().configured(true);
    metrics.identity().called(ProviderEndpoint::Token, ProviderCallOutcome::Refused);
    metrics.identity().rechecked(RecheckOutcome::Ended);
    metrics.identity().logged_out(BackchannelLogoutOutcome::Refused);
    metrics
}

#[test]
fn every_line_parses_and_every_metric_is_present() {
    let exposition = Exposition::read(&used().render());
    for metric in names::ALL {
        let kind = exposition.types.get(metric.name).map(String::as_str);
        assert_eq!(kind, Some(metric.kind.as_str()), "{}", metric.name);
        assert_eq!(exposition.help.get(metric.name).map(String::as_str), Some(metric.help));
    }
    assert_eq!(exposition.types.len(), names::ALL.len());
}

#[test]
fn calls_to_the_provider_are_shown_once_one_is_configured() {
    let text = used().render();
    for line in [
        "portcullis_identity_provider_up 1",
        "portcullis_identity_provider_calls_total{endpoint=\"token\",outcome=\"refused\"} 1",
        "portcullis_identity_provider_calls_total{endpoint=\"jwks\",outcome=\"ok\"} 0",
        "portcullis_session_rechecks_total{outcome=\"ended\"} 1",
        "portcullis_backchannel_logouts_total{outcome=\"refused\"} 1",
        "portcullis_backchannel_logouts_total{outcome=\"ended\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let metrics = used();
    let outcome = ProviderCallOutcome::Unavailable;
    metrics.identity().called(ProviderEndpoint::Metadata, outcome);
    assert!(metrics.render().contains("portcullis_identity_provider_up 0\n"));
    metrics.identity().configured(false);
    assert!(!metrics.render().contains("portcullis_identity_provider_up "));
}

#[test]
fn what_the_kernel_and_the_workers_count_of_steering_is_summed() {
    let metrics = used();
    metrics.worker(1).unwrap().steering.inc(SteeringOutcome::HandedOff);
    metrics.worker(0).unwrap().steering.inc(SteeringOutcome::Steered);
    let text = metrics.render();
    for line in [
        "portcullis_steering_mode{mode=\"kernel\"} 1",
        "portcullis_steering_mode{mode=\"none\"} 0",
        "portcullis_steering_cookie_source{source=\"catcher\"} 1",
        "portcullis_steering_cookie_source{source=\"sysctl\"} 0",
        "portcullis_steering_held_connections 256",
        "portcullis_steering_held_connections_lost_total 3",
        "portcullis_steering_catcher_connections_total 5",
        "portcullis_steering_connections_total{outcome=\"steered\"} 11",
        "portcullis_steering_connections_total{outcome=\"handed_off\"} 1",
        "portcullis_steering_connections_total{outcome=\"spilled\"} 0",
        "portcullis_steering_segments_total{outcome=\"deferred\"} 7",
        "portcullis_worker_load{worker=\"1\"} 4",
        "portcullis_worker_available{worker=\"1\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

#[test]
fn every_series_has_the_labels_that_the_table_names() {
    for sample in Exposition::read(&used().render()).samples {
        let (metric, extra) = table_entry(&sample.name);
        let labels: BTreeSet<_> = sample.labels.iter().map(|(key, _)| key.as_str()).collect();
        let expected: BTreeSet<_> = metric.labels.iter().copied().chain(extra).collect();
        assert_eq!(labels, expected, "{}", sample.name);
    }
}

fn table_entry(sample: &str) -> (names::Metric, Option<&'static str>) {
    for metric in names::ALL {
        if metric.kind != MetricKind::Histogram && metric.name == sample {
            return (*metric, None);
        }
        match sample.strip_prefix(metric.name) {
            Some("_bucket") => return (*metric, Some("le")),
            Some("_sum" | "_count") => return (*metric, None),
            _ => (),
        }
    }
    panic!("{sample} is not in the table");
}

#[test]
fn cells_of_all_workers_are_summed() {
    let exposition = Exposition::read(&used().render());
    let value = |name, labels: &[_]| exposition.value(name, labels);
    let resumed = [("result", "ok"), ("version", "tls13"), ("resumed", "true")];
    assert_eq!(value("portcullis_tls_handshakes_total", &resumed), Some(2.0));
    let timeouts = [("result", "timeout"), ("version", "unknown"), ("resumed", "false")];
    assert_eq!(value("portcullis_tls_handshakes_total", &timeouts), Some(2.0));
    let failures = value("portcullis_upstream_failures_total", &[("reason", "tls")]);
    assert_eq!(failures, Some(2.0));
    let name = "portcullis_upstream_certificate_errors_total";
    assert_eq!(value(name, &[("reason", "not_yet_valid")]), Some(2.0));
    assert_eq!(value(name, &[("reason", "expired")]), Some(0.0));
    assert_eq!(value("portcullis_http_failures_total", &[("blame", "proxy")]), Some(2.0));
    assert_eq!(value("portcullis_log_records_dropped_total", &[]), Some(6.0));
    assert_eq!(value("portcullis_connections_active", &[("worker", "1")]), Some(6.0));
    assert_eq!(value("portcullis_worker_tasks", &[("worker", "1")]), Some(8.0));
    assert_eq!(value("portcullis_route_sent_bytes_total", &[("route", "a")]), Some(40.0));
    assert_eq!(value("portcullis_endpoint_connects_total", &[("endpoint", "up:1")]), Some(2.0));
}

#[test]
fn a_histogram_has_growing_buckets_up_to_its_count() {
    let exposition = Exposition::read(&used().render());
    let name = "portcullis_route_request_duration_seconds";
    let bucket = |le| exposition.value(&format!("{name}_bucket"), &[("route", "a"), ("le", le)]);
    assert_eq!(bucket("0.0005"), Some(0.0));
    assert_eq!(bucket("0.001"), Some(2.0));
    assert_eq!(bucket("60"), Some(2.0));
    assert_eq!(bucket("+Inf"), Some(2.0));
    assert_eq!(exposition.value(&format!("{name}_count"), &[("route", "a")]), Some(2.0));
    assert_eq!(exposition.value(&format!("{name}_sum"), &[("route", "a")]), Some(0.0014));
}

#[test]
fn an_endpoint_without_requests_is_shown_and_counted() {
    let exposition = Exposition::read(&used().render());
    let healthy = |endpoint| {
        let labels = [("cluster", "app"), ("endpoint", endpoint)];
        exposition.value("portcullis_endpoint_healthy", &labels)
    };
    assert_eq!(["a:1", "b:1", "c:1"].map(healthy), [Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(exposition.value("portcullis_endpoints_unhealthy", &[]), Some(2.0));
    assert_eq!(exposition.value("portcullis_endpoints_unreachable", &[]), Some(1.0));
    assert_eq!(exposition.value("portcullis_health_thread_panics_total", &[]), Some(1.0));
    let failed = exposition.value("portcullis_health_checks_total", &[("result", "failed")]);
    assert_eq!(failed, Some(1.0));
    let calm = Exposition::read(&Metrics::new(1).render());
    assert_eq!(calm.value("portcullis_endpoints_unhealthy", &[]), Some(0.0));
    assert_eq!(calm.value("portcullis_endpoints_unreachable", &[]), Some(0.0));
}

#[test]
fn of_equal_labels_the_first_expiry_is_shown() {
    let exposition = Exposition::read(&used().render());
    let labels = [("name", "a.example"), ("usage", "server"), ("origin", "c:\\a \"b\".pem")];
    let shown = exposition.value("portcullis_certificate_not_after_timestamp_seconds", &labels);
    assert_eq!(shown, Some(1_000.0));
}

#[test]
fn a_refused_reload_shows_under_both_names() {
    let metrics = used();
    metrics.config_refused("no".into());
    let exposition = Exposition::read(&metrics.render());
    for name in ["portcullis_config_last_reload_success", "pomerium_config_last_reload_success"] {
        assert_eq!(exposition.value(name, &[]), Some(0.0));
    }
    let refused = exposition.value("portcullis_config_reloads_total", &[("result", "refused")]);
    assert_eq!(refused, Some(1.0));
    assert!(exposition.value("pomerium_config_last_reload_success_timestamp", &[]) > Some(1e9));
}

#[test]
fn a_route_that_left_the_configuration_leaves_the_metrics() {
    let metrics = used();
    assert!(metrics.render().contains("route=\"a\""));
    metrics.config_applied(1, ConfigFacts::default());
    assert!(!metrics.render().contains("route=\"a\""));
}

#[test]
fn a_crl_is_shown_with_its_issuer_and_optional_next_update() {
    let metrics = used();
    let page = metrics.render();
    let labels = r#"{issuer="CN=\"CA\""}"#;
    for line in [
        format!("portcullis_crl_this_update_timestamp_seconds{labels} 4000"),
        format!("portcullis_crl_next_update_timestamp_seconds{labels} 5000"),
        format!("portcullis_crl_revoked_certificates{labels} 6"),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
    let crl =
        ConfiguredCrl { issuer: "CN=CA".into(), this_update_s: 1, next_update_s: None, revoked: 0 };
    metrics.config_applied(1, ConfigFacts { crls: vec![crl], ..ConfigFacts::default() });
    assert!(!metrics.render().contains("portcullis_crl_next_update_timestamp_seconds{"));
}
