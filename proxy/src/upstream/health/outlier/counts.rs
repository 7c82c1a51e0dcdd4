//! What workers count for one endpoint.

use std::sync::atomic::AtomicU32;

/// What workers count for one endpoint. Each count is of failures in a row, over all workers: one
/// success sets it to 0, and writes nothing if it is 0 already.
#[derive(Debug)]
pub(in crate::upstream::health) struct FailureCounts {
    workers: usize,
    _consecutive_5xx: AtomicU32,
}

impl FailureCounts {
    pub(in crate::upstream::health) fn new(workers: usize) -> FailureCounts {
        FailureCounts { workers, _consecutive_5xx: AtomicU32::new(0) }
    }

    pub(in crate::upstream::health) fn workers(&self) -> usize {
        self.workers
    }
}
