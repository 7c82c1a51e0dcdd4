//! The view of steering, which that room provides.

use std::fmt::Debug;

use super::{SegmentOutcome, SteeringOutcome, SteeringView};

/// The observable state of steering.
pub(crate) trait SteeringSource: Debug + Send + Sync {
    /// The settings, for status.
    fn view(&self) -> SteeringView;

    /// The load of each worker, by number.
    fn loads(&self) -> Vec<WorkerLoad>;

    /// The SYN catchers; zeros without them.
    fn catchers(&self) -> CatcherCounts;

    /// The kernel's counters; empty without kernel steering.
    fn kernel_counts(&self) -> KernelCounts;
}

/// One worker's line in the table of loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerLoad {
    /// In connections: the open ones, and the weights of recently accepted ones.
    pub load: u32,
    /// Whether connections may be sent to it.
    pub available: bool,
    /// Whether an operator has drained it.
    pub drained: bool,
}

/// What the SYN catchers count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CatcherCounts {
    /// Half-open connections that are held.
    pub held: u64,
    /// How many of them were gone before they were renewed.
    pub lost: u64,
    /// Connections that were accepted at catchers.
    pub landed: u64,
}

/// The kernel's counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct KernelCounts {
    /// Connections.
    pub connections: Vec<(SteeringOutcome, u64)>,
    /// Segments that select no worker.
    pub segments: Vec<(SegmentOutcome, u64)>,
}
