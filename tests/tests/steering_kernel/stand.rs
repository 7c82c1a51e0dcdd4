//! A proxy of four workers in a network with steering.

use std::net::SocketAddr;

use portcullis_tests::{
    Proxy, Raw,
    metrics::Metrics,
    netns::{Network, private},
    proxy::Config,
    steering::outcome,
    tools::require_root,
};

pub(crate) const DOMAIN: &str = "localhost.pomerium.io";

/// The counters of the kernel programs, by outcome.
pub(crate) const BY_KERNEL: [&str; 10] = [
    "steered",
    "spilled",
    "worker_unavailable",
    "no_sni",
    "truncated",
    "not_tls",
    "unsupported",
    "unknown",
    "unknown_refused",
    "select_failed",
];

/// Runs a test in its own network, if that is possible. Every sysctl has its default, and segments
/// are as long as on a usual interface: a SYN cookie does not keep loopback's segment size.
pub(crate) fn in_network(test: impl FnOnce(&Network) + Send) {
    if require_root("kernel steering: BPF programs and network namespaces need root") {
        private(|network| {
            network.ip("link set lo mtu 1500");
            test(network);
        });
    }
}

/// The same with SYN cookies for every listener of the network.
pub(crate) fn in_network_with_cookies(test: impl FnOnce(&Network) + Send) {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        test(network);
    });
}

/// The number of segments with this outcome.
pub(crate) fn segments(proxy: &Proxy, outcome: &str) -> f64 {
    let name = "portcullis_steering_segments_total";
    proxy.metrics().sum(name, &[("outcome", outcome)])
}

/// The connections of our own that keep the catchers' queues full.
pub(crate) fn held(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("portcullis_steering_held_connections", &[])
}

pub(crate) fn host(number: usize) -> String {
    format!("h{number}.{DOMAIN}")
}

/// A proxy steered by the kernel, with this number of hosts; each responds with a redirect.
pub(crate) fn config(hosts: usize, more: &str) -> Config {
    let config = Proxy::config()
        .addresses(&["127.0.0.1:{port}", "[::1]:{port}"])
        .global("access_log_fields: [path, worker, authority]")
        .own("workers", "4")
        .own("steering", &format!("{{mode: kernel, {more}}}"));
    (0..hosts).fold(config, |config, n| with_host(config, &host(n)))
}

pub(crate) fn with_host(config: Config, host: &str) -> Config {
    config.route(&format!("from: https://{host}\nredirect: {{path_redirect: /there}}"))
}

/// Requests a path and receives the response.
pub(crate) fn ask(raw: &mut Raw, host: &str, path: &str) {
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(raw.response().status, 301);
}

/// Connects, and requests a path.
pub(crate) fn visit(address: SocketAddr, host: &str, path: &str) -> Raw {
    let mut raw = Raw::tls(address, host);
    ask(&mut raw, host, path);
    raw
}

/// The worker that served the request for this path.
pub(crate) fn worker_of(proxy: &Proxy, path: &str) -> usize {
    let record = proxy.wait_for_access(path);
    usize::try_from(record["worker"].as_u64().expect("a worker")).expect("a small number")
}

/// The counters by outcome, without zeros.
pub(crate) fn outcomes(metrics: &Metrics) -> Vec<(&'static str, f64)> {
    let all = BY_KERNEL.into_iter().chain(["handed_off"]);
    all.map(|name| (name, outcome(metrics, name))).filter(|(_, count)| *count > 0.0).collect()
}
