//! The count of open connections that all workers share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// One of the connections that all workers together may have. It goes with its connection from
/// worker to worker.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// Counts one more.
    pub fn new(open: &Arc<AtomicUsize>) -> Permit {
        open.fetch_add(1, Relaxed);
        Permit(Arc::clone(open))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
