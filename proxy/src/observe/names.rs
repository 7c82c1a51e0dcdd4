//! Every metric there is, in one table: name, type, labels and help. Units are seconds and bytes,
//! and labels take values from closed sets or from the configuration, never from the network.

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) unit: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// A metric's type, as Prometheus has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal in $unit:literal by [$($label:literal)*]: $help:literal;)+) => {
        $(pub(super) const $id: Metric = Metric {
            name: $name,
            kind: MetricKind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// All of them, in the order of the reference.
        pub(super) const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    // The process and its configuration.
    BUILD_INFO = Gauge "portcullis_build_info" in "" by ["version"]:
        "Always 1; the label is the version that runs.";
    START_TIME = Gauge "portcullis_start_timestamp_seconds" in "seconds" by []:
        "Time at which the process started, in seconds since the epoch.";
    WORKERS = Gauge "portcullis_workers" in "" by []:
        "Number of worker threads.";
    WORKER_TASKS = Gauge "portcullis_worker_tasks" in "" by ["worker"]:
        "Tasks of a worker, updated every tenth of a second: a few of its own, one for each client or upstream connection, and one for each HTTP/2 stream.";
    READY = Gauge "portcullis_ready" in "" by []:
        "1 while connections are accepted, 0 while starting or draining.";
    CONFIG_GENERATION = Gauge "portcullis_config_generation" in "" by []:
        "1 at start; each applied configuration adds 1, and so does each renewal of certificates, CRLs or ticket keys alone.";
    CONFIG_RELOADS = Counter "portcullis_config_reloads_total" in "" by ["result"]:
        "Configurations read, including the first one: applied, refused, or renewed if only server certificates, CRLs or ticket keys were read.";
    CONFIG_RELOAD_SUCCESS = Gauge "portcullis_config_last_reload_success" in "" by []:
        "1 if the last configuration read was applied, 0 if it was rejected.";
    CONFIG_RELOAD_TIMESTAMP = Gauge "portcullis_config_last_reload_success_timestamp_seconds" in "seconds" by []:
        "Time at which the configuration in use was applied, in seconds since the epoch.";
    CERTIFICATE_NOT_AFTER = Gauge "portcullis_certificate_not_after_timestamp_seconds" in "seconds" by ["name" "usage" "origin"]:
        "End of the validity of a certificate of our own, or of a CA of clients, in seconds since the epoch.";
    CRL_THIS_UPDATE = Gauge "portcullis_crl_this_update_timestamp_seconds" in "seconds" by ["issuer"]:
        "Time at which a certificate revocation list was issued, in seconds since the epoch.";
    CRL_NEXT_UPDATE = Gauge "portcullis_crl_next_update_timestamp_seconds" in "seconds" by ["issuer"]:
        "Time at which the next certificate revocation list is due, in seconds since the epoch; absent if the list does not say.";
    CRL_REVOKED = Gauge "portcullis_crl_revoked_certificates" in "" by ["issuer"]:
        "Number of certificates in a certificate revocation list.";
    TICKET_KEY_ROTATIONS = Counter "portcullis_tls_ticket_key_rotations_total" in "" by []:
        "Rotations of the keys for session tickets.";
    WORKER_RESTARTS = Counter "portcullis_worker_restarts_total" in "" by []:
        "Workers started to replace one that ended unexpectedly, which is a bug.";
    DESCRIPTOR_LIMIT = Gauge "portcullis_descriptor_limit" in "" by []:
        "Limit on open files (RLIMIT_NOFILE).";
    DESCRIPTOR_SHARE = Gauge "portcullis_descriptor_share" in "" by ["share"]:
        "How the limit on open files is divided: the most client connections and upstream connections, and what is reserved for everything else.";
    LOG_RECORDS_DROPPED = Counter "portcullis_log_records_dropped_total" in "" by []:
        "Log records dropped because the log could not be written, as on a full disk, or not fast enough.";

    // Connections of clients.
    CONNECTIONS_ACCEPTED = Counter "portcullis_connections_accepted_total" in "" by ["worker"]:
        "Connections accepted from clients, including those closed at once.";
    CONNECTIONS_ACTIVE = Gauge "portcullis_connections_active" in "" by ["worker"]:
        "Open client connections.";
    CONNECTIONS_REFUSED = Counter "portcullis_connections_refused_total" in "" by ["reason"]:
        "Connections closed at once because a limit of open connections was reached.";
    CONNECTIONS_CLOSED = Counter "portcullis_connections_closed_total" in "" by ["reason"]:
        "Connections that ended, by reason.";
    STEERING_MODE = Gauge "portcullis_steering_mode" in "" by ["mode"]:
        "1 for the mode by which connections find their worker, 0 for the others.";
    STEERING_COOKIES = Gauge "portcullis_steering_cookie_source" in "" by ["source"]:
        "1 for where the SYN cookies of kernel steering come from (the SYN catcher, or net.ipv4.tcp_syncookies=2), 0 for the others; `none` without kernel steering.";
    STEERING_HELD = Gauge "portcullis_steering_held_connections" in "" by []:
        "Half-open connections of this process to itself that keep the queues of its SYN catchers full.";
    STEERING_HELD_LOST = Counter "portcullis_steering_held_connections_lost_total" in "" by []:
        "Held connections of the SYN catchers that were gone before they were renewed; connections may have been handed over meanwhile.";
    STEERING_LANDED = Counter "portcullis_steering_catcher_connections_total" in "" by []:
        "Connections accepted at SYN catchers, which got no SYN cookie: from ports in TIME_WAIT, or while too few connections were held.";
    STEERING_CONNECTIONS = Counter "portcullis_steering_connections_total" in "" by ["outcome"]:
        "Connections by how they were steered to their worker; a connection that was handed over by another worker also counts as handed_off.";
    STEERING_SEGMENTS = Counter "portcullis_steering_segments_total" in "" by ["outcome"]:
        "TCP segments that kernel steering did not steer by name: passed on, or dropped to be retransmitted; and SYNs by the handshake that they get.";
    WORKER_LOAD = Gauge "portcullis_worker_load" in "" by ["worker"]:
        "Load of a worker as steering counts it: open connections and recently accepted ones.";
    WORKER_AVAILABLE = Gauge "portcullis_worker_available" in "" by ["worker"]:
        "1 while connections may be sent to a worker, 0 while it is full, drained or ending.";
    TLS_HANDSHAKES = Counter "portcullis_tls_handshakes_total" in "" by ["result" "version" "resumed"]:
        "TLS handshakes with clients. `server_certificate_rejected` counts clients that reject our \
         certificate: the chain may be incomplete, or the client may lack the CA; the access log has \
         the alert.";
    TLS_HANDSHAKE_DURATION = Histogram "portcullis_tls_handshake_duration_seconds" in "seconds" by []:
        "Time from the accept of a connection to the end of its completed TLS handshake.";
    TLS_ALERTS_SENT = Counter "portcullis_tls_alerts_sent_total" in "" by []:
        "Fatal TLS alerts sent to clients.";

    // Requests of clients.
    HTTP_REQUESTS = Counter "portcullis_http_requests_total" in "" by ["protocol"]:
        "Requests received.";
    HTTP_REQUESTS_ACTIVE = Gauge "portcullis_http_requests_active" in "" by ["worker"]:
        "Requests under way.";
    HTTP_REQUEST_DURATION = Histogram "portcullis_http_request_duration_seconds" in "seconds" by []:
        "Time from the end of a request's head to the end of its response.";
    HTTP_FAILURES = Counter "portcullis_http_failures_total" in "" by ["blame"]:
        "Requests answered with an error page of the proxy, by the cause of the error: the client, \
         the upstream with the network to it, or the proxy with its configuration.";
    REFUSALS = Counter "portcullis_refusals_total" in "" by ["code" "reason"]:
        "Requests refused by the proxy, by status code and reason: denied by a policy, without a valid \
         client certificate or token, without a route, or malformed. Each reason has one code.";
    SESSION_COOKIES = Counter "portcullis_session_cookies_total" in "" by ["outcome"]:
        "Requests with session cookies or tokens of programs to routes that depend on the user: the \
         session was cached, opened or rejected, or it has ended.";
    SIGN_INS = Counter "portcullis_sign_ins_total" in "" by ["outcome"]:
        "Steps of sign-ins and sign-outs, by outcome: each sign-in begins once and ends once at \
         each host.";
    ASSERTIONS_SIGNED = Counter "portcullis_assertions_signed_total" in "" by []:
        "Assertions signed for upstreams.";
    ROUTE_REQUESTS = Counter "portcullis_route_requests_total" in "" by ["route" "code"]:
        "Completed requests of a route, by class of the response's status code.";
    ROUTE_REQUEST_DURATION = Histogram "portcullis_route_request_duration_seconds" in "seconds" by ["route"]:
        "Time from the end of a request's head to the end of its response.";
    ROUTE_RECEIVED_BYTES = Counter "portcullis_route_received_bytes_total" in "bytes" by ["route"]:
        "Bytes of request bodies received from clients.";
    ROUTE_SENT_BYTES = Counter "portcullis_route_sent_bytes_total" in "bytes" by ["route"]:
        "Bytes of response bodies sent to clients.";

    // Upstreams.
    UPSTREAM_CONNECTS = Counter "portcullis_upstream_connects_total" in "" by []:
        "Attempts to connect to an upstream.";
    UPSTREAM_CONNECTIONS = Gauge "portcullis_upstream_connections" in "" by ["state"]:
        "Connections to upstreams: active with a request, or idle in the pool.";
    UPSTREAM_REQUESTS = Counter "portcullis_upstream_requests_total" in "" by ["connection"]:
        "Requests sent to upstreams, over a new connection or a reused one.";
    UPSTREAM_FAILURES = Counter "portcullis_upstream_failures_total" in "" by ["reason"]:
        "Attempts to get a response from an upstream that failed. A request that is sent to several \
         endpoints may count several times.";
    UPSTREAM_RETRIES = Counter "portcullis_upstream_retries_total" in "" by ["reason"]:
        "Requests sent again: to another endpoint because no connection could be made, because the \
         endpoint refused the stream or because its response was a gateway error; or over a new \
         connection because a pooled one had been closed.";
    CIRCUIT_OPEN = Counter "portcullis_circuit_open_total" in "" by ["limit"]:
        "Requests that were refused, or not sent again, since a limit of `circuit_breaker_thresholds` \
         was reached, or the connections to upstreams that the limit on open files allows.";
    UPSTREAM_TLS_HANDSHAKES = Counter "portcullis_upstream_tls_handshakes_total" in "" by ["resumed"]:
        "Completed TLS handshakes with upstreams.";
    UPSTREAM_CERTIFICATE_ERRORS = Counter "portcullis_upstream_certificate_errors_total" in "" by ["reason"]:
        "TLS handshakes with upstreams that failed because the upstream's certificate was refused; the \
         access log has the names and the issuer of the certificate.";
    ENDPOINT_CONNECTS = Counter "portcullis_endpoint_connects_total" in "" by ["endpoint"]:
        "Attempts to connect to one endpoint.";
    ENDPOINT_CONNECTIONS = Gauge "portcullis_endpoint_connections" in "" by ["endpoint" "state"]:
        "Connections to one endpoint: active with a request, or idle in the pool.";
    ENDPOINT_HEALTHY = Gauge "portcullis_endpoint_healthy" in "" by ["cluster" "endpoint"]:
        "1 while an endpoint that is checked or may be ejected gets requests, 0 while it is down or ejected. The cluster is named after its route.";
    ENDPOINTS_UNREACHABLE = Gauge "portcullis_endpoints_unreachable" in "" by []:
        "Number of endpoints that no connection could be made to when a request tried last; 0 if all is well.";
    ENDPOINTS_UNHEALTHY = Gauge "portcullis_endpoints_unhealthy" in "" by []:
        "Number of endpoints that are down or ejected; 0 if all is well.";
    HEALTH_CHECKS = Counter "portcullis_health_checks_total" in "" by ["result"]:
        "Health checks of endpoints: passed, failed, or discarded if one failed while this process could not run.";
    HEALTH_THREAD_PANICS = Counter "portcullis_health_thread_panics_total" in "" by []:
        "Panics of the thread that checks and ejects endpoints, which are a bug. It begins again, and all endpoints count as available meanwhile.";
    ENDPOINT_EJECTIONS = Counter "portcullis_endpoint_ejections_total" in "" by ["reason"]:
        "Ejections of endpoints for their responses, or for requests without one (`outlier_detection`).";
    CLUSTER_PANIC_REQUESTS = Counter "portcullis_cluster_panic_requests_total" in "" by []:
        "Requests that could go to any endpoint of their route, down or not, because too few are available (`healthy_panic_threshold`).";
    ENDPOINT_FAILURES = Counter "portcullis_endpoint_failures_total" in "" by ["endpoint"]:
        "Requests that got no response from one endpoint.";
    ENDPOINT_REUSED = Counter "portcullis_endpoint_requests_reused_total" in "" by ["endpoint"]:
        "Requests sent to one endpoint over a pooled connection.";

    // Sign-in; absent without an identity provider.
    PROVIDER_UP = Gauge "portcullis_identity_provider_up" in "" by []:
        "1 if the identity provider answered the last call to it, 0 if it did not; absent before the first call.";
    PROVIDER_CALLS = Counter "portcullis_identity_provider_calls_total" in "" by ["endpoint" "outcome"]:
        "Calls to the identity provider.";
    SESSION_RECHECKS = Counter "portcullis_session_rechecks_total" in "" by ["outcome"]:
        "Checks whether the identity provider still accepts a signed-in user.";
    BACKCHANNEL_LOGOUTS = Counter "portcullis_backchannel_logouts_total" in "" by ["outcome"]:
        "Logout tokens of the identity provider (back-channel logout).";

    // The process, under the names that Prometheus's own clients give to this.
    PROCESS_CPU = Counter "process_cpu_seconds_total" in "seconds" by []:
        "CPU time of all threads, in user mode and in the kernel.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" in "bytes" by []:
        "Memory that the process holds.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" in "bytes" by []:
        "Size of the process's address space.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" in "" by []:
        "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" in "" by []:
        "Limit on open file descriptors.";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" in "seconds" by []:
        "Same as portcullis_start_timestamp_seconds.";

    // The same under the names Pomerium has for them, so that its alerts go on working.
    POMERIUM_BUILD_INFO = Gauge "pomerium_build_info" in "" by ["version"]:
        "Same as portcullis_build_info.";
    POMERIUM_RELOAD_SUCCESS = Gauge "pomerium_config_last_reload_success" in "" by []:
        "Same as portcullis_config_last_reload_success.";
    POMERIUM_RELOAD_TIMESTAMP = Gauge "pomerium_config_last_reload_success_timestamp" in "seconds" by []:
        "Same as portcullis_config_last_reload_success_timestamp_seconds.";
}

/// The page `docs/metrics.md`, made from the table.
pub(crate) fn metrics_reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` on `portcullis.admin_address` and on `metrics_address`. \
         This page is made from the\ntable in `proxy/src/observe/names.rs`; a test compares the \
         two.\n\nSeries with a `route` or `endpoint` label appear with the first use: a route that \
         no request has\nused, and an upstream that no request was sent to, are absent. An alert \
         on one of them must treat absence\nas zero, for example \
         `rate(portcullis_route_requests_total{code=\"5xx\"}[5m]) > 0`, which an absent\nseries \
         does not fire, and never `absent(portcullis_route_requests_total{...})`.\n\n| name | type \
         | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for metric in ALL {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            metric.unit,
            labels.join(", "),
            metric.help
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

    /// `UPDATE_DOCS=1 cargo test` writes the page instead.
    #[test]
    fn the_reference_page_is_what_the_table_says() {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PAGE, metrics_reference()).unwrap();
        }
        let page = std::fs::read_to_string(PAGE).unwrap();
        assert_eq!(page, metrics_reference(), "run with UPDATE_DOCS=1 to write docs/metrics.md");
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut seen = std::collections::BTreeSet::new();
        for Metric { name, kind, unit, .. } in ALL {
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
            if name.starts_with("pomerium_") || name.starts_with("process_") {
                continue; // named by others
            }
            assert!(name.starts_with("portcullis_"), "{name}");
            let base = name.trim_end_matches("_total");
            assert!(unit.is_empty() || base.ends_with(&format!("_{unit}")), "{name} in {unit}");
        }
    }

    #[test]
    fn every_metric_says_what_it_means_in_a_sentence() {
        for metric in ALL {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.help.contains(['|', '\n']), "{}", metric.name);
        }
    }
}
