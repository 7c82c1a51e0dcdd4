//! The proxy's reports about steering.

use serde_json::Value;

use crate::{Proxy, metrics::Metrics};

/// The metric of connections by outcome.
pub const OUTCOMES: &str = "portcullis_steering_connections_total";

/// The number of connections with this outcome.
pub fn outcome(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum(OUTCOMES, &[("outcome", outcome)])
}

/// The values of a gauge or counter, one for each of four workers.
pub fn per_worker(metrics: &Metrics, name: &str) -> Vec<f64> {
    (0..4).map(|worker| metrics.sum(name, &[("worker", &worker.to_string())])).collect()
}

/// The proxy's report about a host.
///
/// # Panics
/// When it says nothing.
pub fn explain(proxy: &Proxy, host: &str) -> Value {
    let answer = proxy.admin(&format!("/steering?host={host}")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// The first worker in a host's order of preference.
///
/// # Panics
/// When the proxy has no order for it.
pub fn first_choice(proxy: &Proxy, host: &str) -> usize {
    let worker = explain(proxy, host)["order"][0]["worker"].as_u64().expect("an order");
    usize::try_from(worker).expect("a small number")
}
