//! What can be seen from outside: metrics, access records, log.

mod cells;
mod spec;
mod standin;

pub use cells::Cell;
pub use spec::{AccessField, Level, LogFormat, LogSpec};
pub use standin::{
    EndpointCells, EndpointMetrics, EndpointRegistry, UpstreamCells, UpstreamFailure,
    UpstreamFailureCells, WorkerMetrics,
};

/// What a worker counts and logs into.
#[derive(Debug)]
pub struct WorkerObserver {
    /// Which worker, from 0.
    pub worker: usize,
    /// What it counts.
    pub metrics: std::sync::Arc<WorkerMetrics>,
}
