//! Counters with one writer each, so that counting is a plain load and store; the control thread
//! reads them at scrape.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// Adds to the count. Only ever called by the cell's own worker.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// Takes one away, for gauges.
    pub(crate) fn dec(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// Sets it, for gauges.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Reads it, from any thread.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
