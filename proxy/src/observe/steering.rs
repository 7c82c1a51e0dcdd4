//! What is seen of steering: the room itself says it when asked.

use std::fmt::Debug;

use super::{SegmentOutcome, SteeringOutcome, SteeringView};

/// Steering, as far as it shows.
pub trait SteeringSource: Debug + Send + Sync {
    /// For status.
    fn view(&self) -> SteeringView;

    /// Every worker's load, by its number.
    fn loads(&self) -> Vec<WorkerLoad>;

    /// What the kernel has counted; nothing where it steers nothing.
    fn kernel_counts(&self) -> KernelCounts;
}

/// One worker's line in the table of loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLoad {
    /// In connections: open ones and what is left of those lately taken.
    pub load: u32,
    /// Whether connections may be sent to it.
    pub available: bool,
    /// Whether an operator has taken it out.
    pub drained: bool,
}

/// What the kernel has counted.
#[derive(Debug, Clone, Default)]
pub struct KernelCounts {
    /// Connections.
    pub connections: Vec<(SteeringOutcome, u64)>,
    /// Segments that place none.
    pub segments: Vec<(SegmentOutcome, u64)>,
}
