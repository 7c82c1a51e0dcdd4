//! Upstreams that no connection can be made to: status and a metric show them, and each change is a line
//! in the log, whether the route has health checks or not.

use std::time::Instant;

use super::{Endpoint, SendFailure};
use crate::observe::{ReachabilityChange, WorkerObserver};

/// A request did not reach the endpoint.
pub(super) fn failed(observer: &WorkerObserver, endpoint: &Endpoint, failure: &SendFailure) {
    let id = *endpoint.key.as_bytes();
    let error = &*failure.error.detail;
    let unreachable = &observer.metrics.unreachable;
    let change = unreachable.failed(id, &endpoint.spec.authority, error, Instant::now());
    log(endpoint, error, change);
}

/// A request was answered; a connection was made at `connected`.
pub(super) fn answered(observer: &WorkerObserver, endpoint: &Endpoint, connected: Instant) {
    let id = *endpoint.key.as_bytes();
    let change = observer.metrics.unreachable.answered(id, connected, Instant::now());
    log(endpoint, "", change);
}

fn log(endpoint: &Endpoint, error: &str, change: Option<ReachabilityChange>) {
    match change {
        Some(ReachabilityChange::Unreachable { outages_before }) => tracing::warn!(
            %endpoint,
            error,
            outages_before,
            "an upstream cannot be reached: its requests go to other upstreams of their routes, or fail"
        ),
        Some(ReachabilityChange::Reachable { failures, lasted }) => {
            let lasted_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%endpoint, failures, lasted_ms, "an upstream can be reached again");
        }
        None => {}
    }
}
