//! The count of open connections, of which each worker keeps its own part.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The open connections of all workers. Each worker writes a line of its own, so that no line is
/// written by two; the sum is exact for connections in a queue between two workers as well. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(crate) struct OpenConnections(Arc<[Line]>);

/// One worker's line, alone in its cache lines (two, since processors fetch them in pairs). Both
/// only grow, and wrap.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line {
    /// Connections that this worker has accepted.
    admitted: AtomicUsize,
    /// Connections that ended at this worker, including those that another worker accepted.
    released: AtomicUsize,
}

impl OpenConnections {
    /// None yet.
    pub(crate) fn new(workers: usize) -> OpenConnections {
        OpenConnections((0..workers).map(|_| Line::default()).collect())
    }

    /// How many are open. While workers write, it may be off by the connections of that moment.
    pub(crate) fn count(&self) -> usize {
        let sum = |cell: fn(&Line) -> &AtomicUsize| {
            self.0.iter().fold(0_usize, |sum, line| sum.wrapping_add(cell(line).load(Relaxed)))
        };
        // Read first, so that a connection that ends meanwhile is counted rather than subtracted
        // without having been added.
        let released = sum(|line| &line.released);
        sum(|line| &line.admitted).saturating_sub(released)
    }
}

/// One worker's hold on [`OpenConnections`]. It stays on its worker's thread.
#[derive(Debug, Clone)]
pub(crate) struct WorkerConnections(Rc<WorkerLine>);

#[derive(Debug)]
struct WorkerLine {
    all: OpenConnections,
    worker: usize,
}

impl WorkerConnections {
    /// For a worker, of which only one thread runs at a time.
    pub(crate) fn new(all: OpenConnections, worker: usize) -> WorkerConnections {
        WorkerConnections(Rc::new(WorkerLine { all, worker }))
    }

    /// The open connections of all workers.
    pub(crate) fn count_all(&self) -> usize {
        self.0.all.count()
    }

    /// The number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.0.all.0.len()
    }

    /// Counts a new connection.
    pub(crate) fn admit(&self) -> Admission {
        self.0.grow(|line| &line.admitted);
        Admission(())
    }

    /// Takes over a connection, of this worker or another: it ends here.
    pub(crate) fn take_over(&self, Admission(()): Admission) -> Permit {
        Permit(Some(Rc::clone(&self.0)))
    }
}

impl WorkerLine {
    /// This thread alone writes: no other core waits for the line.
    fn grow(&self, cell: impl FnOnce(&Line) -> &AtomicUsize) {
        if let Some(line) = self.all.0.get(self.worker) {
            let cell = cell(line);
            cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }
}

/// A counted connection on its way to the worker that serves it. It must be taken over there: only
/// a [`Permit`] ends the count.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admission(());

/// A counted connection at its worker, until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Option<Rc<WorkerLine>>);

impl Permit {
    /// Lets the connection go to another worker.
    pub(crate) fn hand_over(mut self) -> Admission {
        self.0 = None;
        Admission(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.grow(|line| &line.released);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> (OpenConnections, [WorkerConnections; 2]) {
        let all = OpenConnections::new(2);
        let workers = [0, 1].map(|worker| WorkerConnections::new(all.clone(), worker));
        (all, workers)
    }

    #[test]
    fn a_connection_is_counted_once_wherever_it_is() {
        let (all, [first, second]) = workers();
        let admission = first.admit();
        assert_eq!(all.count(), 1);
        let permit = first.take_over(admission);
        assert_eq!(all.count(), 1);
        let on_its_way = permit.hand_over();
        assert_eq!(all.count(), 1);
        let permit = second.take_over(on_its_way);
        assert_eq!(all.count(), 1);
        drop(permit);
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn each_worker_writes_its_own_line_alone() {
        let (all, [first, second]) = workers();
        let shared = Arc::strong_count(&all.0);
        let permit = second.take_over(first.take_over(first.admit()).hand_over());
        assert_eq!(Arc::strong_count(&all.0), shared, "no count is shared");
        drop(permit);
        let lines: Vec<_> = all
            .0
            .iter()
            .map(|line| (line.admitted.load(Relaxed), line.released.load(Relaxed)))
            .collect();
        assert_eq!(lines, [(1, 0), (0, 1)]);
    }
}
