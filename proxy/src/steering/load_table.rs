//! The table of loads: a line for each worker, written by that worker and read by all that choose.

use std::{fmt, ops::Deref, sync::Arc};

use portcullis_abi::{Loads, WorkerSlot};

/// The lines of all workers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LoadTable(Arc<dyn Deref<Target = [WorkerSlot]> + Send + Sync>);

impl LoadTable {
    /// A table in our own memory.
    pub(crate) fn new(workers: usize) -> LoadTable {
        let slots: Box<[WorkerSlot]> = (0..workers).map(|_| WorkerSlot::default()).collect();
        LoadTable(Arc::new(slots))
    }

    /// A table in memory that the kernel programs read too.
    pub(crate) fn over(
        slots: Arc<impl Deref<Target = [WorkerSlot]> + Send + Sync + 'static>,
    ) -> LoadTable {
        LoadTable(slots)
    }

    /// A worker's line.
    pub(crate) fn slot(&self, worker: u32) -> Option<&WorkerSlot> {
        self.get(usize::try_from(worker).ok()?)
    }
}

impl Deref for LoadTable {
    type Target = [WorkerSlot];

    fn deref(&self) -> &[WorkerSlot] {
        &self.0
    }
}

impl fmt::Debug for LoadTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The loads without one connection of one worker: the connection that is being placed, which the
/// worker already counts among its open ones.
pub(super) struct Without<'a, L: ?Sized> {
    pub(super) loads: &'a L,
    pub(super) worker: u32,
}

impl<L: Loads + ?Sized> Loads for Without<'_, L> {
    fn load(&self, worker: u32) -> Option<u32> {
        let load = self.loads.load(worker)?;
        Some(load.saturating_sub(u32::from(worker == self.worker)))
    }
}
