//! Steering as one worker has it.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use portcullis_abi::WorkerSlot;

use super::{
    Choice, Inbox, Mailboxes, Mode, Steering, SteeringRules,
    choose::{PlacementRequest, choose},
    load::{Recent, load},
};
use crate::observe::{SteeringOutcome, WorkerObserver};

/// A worker's place among the others: it says what it carries, and where connections go. `T` is
/// what passes from one to another. It stays on its worker's thread.
#[derive(Debug)]
pub struct WorkerSteering<T> {
    worker: u32,
    steering: Arc<Steering>,
    mailboxes: Mailboxes<T>,
    observer: Rc<WorkerObserver>,
    open: Cell<usize>,
    recent: Cell<Recent>,
    /// No more connections: as many are open as may be, or the process ends.
    closed: Cell<bool>,
    queues: Cell<usize>,
    empty_queues: Cell<usize>,
}

impl<T> WorkerSteering<T> {
    /// For the observer's worker.
    pub fn new(
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

    /// How connections find their worker.
    pub fn mode(&self) -> Mode {
        self.steering.mode()
    }

    /// Where a connection belongs that this worker has accepted and is not to serve yet. Counts
    /// it, by why it goes there.
    pub fn choose(&self, rules: &SteeringRules, name: Option<&str>, peer: SocketAddr) -> Choice {
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

    /// Hands something to a worker, or gives it back when that one has ended.
    pub fn hand_to(&self, worker: u32, item: T) -> Result<(), T> {
        let Some(slot) = self.steering.load_table().slot(worker) else { return Err(item) };
        // First, so that it is never taken before it was sent.
        slot.send();
        let sent = self.mailboxes.send(worker, item);
        let outcome = match &sent {
            Ok(()) => SteeringOutcome::HandedOff,
            Err(_) => SteeringOutcome::WorkerUnavailable,
        };
        self.observer.metrics.steering.inc(outcome);
        sent
    }

    /// What other workers hand to this one; `None` while another thread serves in its name.
    pub fn inbox(&self) -> Option<Inbox<T>> {
        self.mailboxes.open(self.worker)
    }

    /// Notes that a connection is served here.
    pub fn settle(&self) {
        let now = Instant::now();
        let mut recent = self.recent.get();
        recent.add(now);
        self.recent.set(recent);
        self.publish(now);
    }

    /// Notes how many connections are open, and whether there may be more.
    pub fn set_open(&self, open: usize, limit: usize) {
        self.open.set(open);
        if let Some(slot) = self.slot() {
            slot.set_available(
                !self.closed.get() && open < limit && !self.steering.is_drained(self.worker),
            );
        }
        self.publish(Instant::now());
    }

    /// Is chosen no more, for good.
    pub fn close(&self) {
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

    /// One of the queues in which connections wait that were sent to this worker.
    pub fn queue(self: &Rc<Self>) -> Queue<T> {
        self.queues.set(self.queues.get() + 1);
        Queue { worker: Rc::clone(self), empty: Cell::new(false) }
    }

    fn slot(&self) -> Option<&WorkerSlot> {
        self.steering.load_table().slot(self.worker)
    }
}

/// Tells what is on its way to a worker from what has come: while one of its queues holds
/// something, what was sent may be in there.
pub struct Queue<T> {
    worker: Rc<WorkerSteering<T>>,
    empty: Cell<bool>,
}

impl<T> Queue<T> {
    /// Notes that something was taken from it.
    pub fn took(&self) {
        self.set_empty(false);
        if let Some(slot) = self.worker.slot() {
            slot.take();
        }
    }

    /// Notes that it was found empty. Once all are, what was sent and never came was dropped.
    pub fn found_empty(&self) {
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
