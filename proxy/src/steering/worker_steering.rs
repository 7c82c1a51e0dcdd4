//! The steering state of one worker.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use portcullis_abi::WorkerSlot;

use super::{
    Choice, Inbox, Mailboxes, Mode, Steering, SteeringRules,
    choose::{PlacementRequest, choose},
    load::{Recent, load},
};
use crate::observe::{SteeringOutcome, WorkerObserver};

/// Publishes a worker's load and chooses where its new connections go. `T` is the connection that
/// one worker hands to another. Stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct WorkerSteering<T> {
    worker: u32,
    steering: Arc<Steering>,
    mailboxes: Mailboxes<T>,
    observer: Rc<WorkerObserver>,
    open: Cell<usize>,
    recent: Cell<Recent>,
    /// The worker accepts no more connections, because it ends.
    closed: Cell<bool>,
    queues: Cell<usize>,
    empty_queues: Cell<usize>,
}

impl<T> WorkerSteering<T> {
    /// Steering of the observer's worker.
    pub(crate) fn new(
        steering: Arc<Steering>,
        mailboxes: Mailboxes<T>,
        observer: Rc<WorkerObserver>,
    ) -> WorkerSteering<T> {
        WorkerSteering {
            worker: u32::try_from(observer.worker).unwrap_or(u32::MAX),
            steering,
            mailboxes,
            observer,
            open: Cell::new(0),
            recent: Cell::new(Recent::new(Instant::now())),
            closed: Cell::new(false),
            queues: Cell::new(0),
            empty_queues: Cell::new(0),
        }
    }

    /// How connections are steered.
    pub(crate) fn mode(&self) -> Mode {
        self.steering.mode()
    }

    /// Whether the kernel programs are attached.
    pub(crate) fn has_programs(&self) -> bool {
        self.steering.has_programs()
    }

    /// Whether connections usually have their hello when they are accepted, because it is what
    /// completes their TCP handshake.
    pub(crate) fn come_with_hello(&self) -> bool {
        self.mode() == Mode::Kernel
    }

    /// Counts a connection that this worker has accepted at a SYN catcher.
    pub(crate) fn land(&self) {
        self.steering.cookies().land();
    }

    /// Chooses the worker for a connection that this worker has accepted, and counts the outcome.
    pub(crate) fn choose(
        &self,
        rules: &SteeringRules,
        name: Option<&str>,
        peer: SocketAddr,
    ) -> Choice {
        let request = PlacementRequest {
            worker: self.worker,
            name: name.map(str::as_bytes),
            flow: u32::from(peer.port()),
        };
        let (choice, outcome) = choose(self.mode(), rules, request, &**self.steering.load_table());
        if let Some(outcome) = outcome {
            self.observer.metrics.steering.inc(outcome);
        }
        choice
    }

    /// Hands a connection over to a worker, or returns it if that worker has ended.
    pub(crate) fn hand_to(&self, worker: u32, item: T) -> Result<(), T> {
        let Some(slot) = self.steering.load_table().slot(worker) else { return Err(item) };
        // First, so that it is never counted as taken before it was counted as sent.
        slot.send();
        let sent = self.mailboxes.send(worker, item);
        let outcome = match &sent {
            Ok(()) => SteeringOutcome::HandedOff,
            Err(_) => SteeringOutcome::WorkerUnavailable,
        };
        self.observer.metrics.steering.inc(outcome);
        sent
    }

    /// The connections that other workers hand to this one; `None` while another thread runs as this
    /// worker.
    pub(crate) fn inbox(&self) -> Option<Inbox<T>> {
        self.mailboxes.open(self.worker)
    }

    /// Records that this worker serves another connection.
    pub(crate) fn settle(&self) {
        let now = Instant::now();
        let mut recent = self.recent.get();
        recent.add(now);
        self.recent.set(recent);
        self.publish(now);
    }

    /// Records the number of open connections, and whether there may be more.
    pub(crate) fn set_open(&self, open: usize, limit: usize) {
        self.open.set(open);
        if let Some(slot) = self.slot() {
            slot.set_available(
                !self.closed.get() && open < limit && !self.steering.is_drained(self.worker),
            );
        }
        self.publish(Instant::now());
    }

    /// Makes this worker unavailable for good.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        if let Some(slot) = self.slot() {
            slot.set_available(false);
        }
    }

    fn publish(&self, now: Instant) {
        if let Some(slot) = self.slot() {
            slot.set_load(load(self.open.get(), &self.recent.get(), now));
        }
    }

    /// Adds a queue of connections that were sent to this worker.
    pub(crate) fn queue(self: &Rc<Self>) -> Queue<T> {
        self.queues.set(self.queues.get() + 1);
        Queue { worker: Rc::clone(self), empty: Cell::new(false) }
    }

    fn slot(&self) -> Option<&WorkerSlot> {
        self.steering.load_table().slot(self.worker)
    }
}

/// Counts connections that were sent to a worker and have not arrived: while one of its queues is
/// not empty, they may be in it.
pub(crate) struct Queue<T> {
    worker: Rc<WorkerSteering<T>>,
    empty: Cell<bool>,
}

impl<T> Queue<T> {
    /// Records that a connection was taken from the queue.
    pub(crate) fn took(&self) {
        self.set_empty(false);
        if let Some(slot) = self.worker.slot() {
            slot.take();
        }
    }

    /// Records that the queue was found empty. Once all are, connections that were sent and never
    /// arrived were dropped.
    pub(crate) fn found_empty(&self) {
        self.set_empty(true);
        if self.worker.empty_queues == self.worker.queues
            && let Some(slot) = self.worker.slot()
        {
            slot.take_all();
        }
    }

    fn set_empty(&self, empty: bool) {
        let empty_queues = &self.worker.empty_queues;
        match (self.empty.replace(empty), empty) {
            (false, true) => empty_queues.set(empty_queues.get() + 1),
            (true, false) => empty_queues.set(empty_queues.get() - 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
