//! What can be seen from outside: metrics, access records, log.

mod cells;
mod spec;

pub use cells::Cell;
pub use spec::{AccessField, Level, LogFormat, LogSpec};

/// What a worker counts and logs into.
#[derive(Debug)]
pub struct WorkerObserver {
    /// Which worker, from 0.
    pub worker: usize,
}
