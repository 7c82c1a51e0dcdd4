//! The workers' threads, and what each is started with, once more if need be.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::{mpsc::UnboundedSender, watch};

use crate::{
    conn::{self, OpenConnections},
    listener::Listener,
    observe::{Log, Metrics},
    steering::{Mailboxes, Steering},
    worker::{self, Phase, Snapshot, WorkerSpec},
};

/// More ends than this within [`RESTARTS_WITHIN`] are no accident.
const MAX_RESTARTS: usize = 3;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// What all workers are given.
pub(super) struct Common {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) steering: Arc<Steering>,
    /// Is told the number of each that ends.
    pub(super) ended: UnboundedSender<usize>,
}

/// The workers.
pub(super) struct Workers {
    common: Common,
    open_connections: OpenConnections,
    mailboxes: Mailboxes<conn::Accepted>,
    seats: Vec<Seat>,
    restarts: Restarts,
}

/// One worker's place, whoever has it.
struct Seat {
    core: Option<usize>,
    /// Beside the worker's own, so that they go on listening when it ends.
    listeners: Vec<Listener>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts a worker for each set of sockets.
    pub(super) fn start(
        common: Common,
        cores: &[Option<usize>],
        listeners: Vec<Vec<Listener>>,
    ) -> anyhow::Result<Workers> {
        let seat =
            |(core, listeners): (&Option<usize>, _)| Seat { core: *core, listeners, thread: None };
        let mut workers = Workers {
            common,
            open_connections: OpenConnections::new(cores.len()),
            mailboxes: Mailboxes::new(cores.len()),
            seats: cores.iter().zip(listeners).map(seat).collect(),
            restarts: Restarts::default(),
        };
        for id in 0..workers.seats.len() {
            workers.seat(id).with_context(|| format!("cannot start worker {id}"))?;
        }
        Ok(workers)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Puts another thread in the place of one that has ended: it serves what waits at the same
    /// sockets. Fails where that happens too often.
    pub(super) fn restart(&mut self, id: usize) -> anyhow::Result<()> {
        if !self.restarts.allow(Instant::now()) {
            bail!("worker {id} has ended, as others before it");
        }
        tracing::error!(worker = id, "a worker has ended; another takes its place");
        self.common.metrics.worker_restarted();
        self.seat(id).with_context(|| format!("worker {id} has ended, and another cannot start"))
    }

    fn seat(&mut self, id: usize) -> anyhow::Result<()> {
        let Workers { common, open_connections, mailboxes, seats, .. } = self;
        let seat = seats.get_mut(id).context("a worker without a place")?;
        common.metrics.set_worker_cpu(id, seat.core);
        let listeners = seat.listeners.iter().map(Listener::try_clone);
        let spec = WorkerSpec {
            id,
            core: seat.core,
            listeners: listeners.collect::<io::Result<_>>()?,
            snapshot: common.snapshots.clone(),
            phase: common.phase.clone(),
            metrics: common.metrics.worker(id).context("a worker without cells")?,
            log: common.log.clone(),
            open_connections: open_connections.clone(),
            steering: Arc::clone(&common.steering),
            mailboxes: mailboxes.clone(),
        };
        seat.thread = Some(worker::start(spec, common.ended.clone())?);
        Ok(())
    }

    /// Waits until all have ended, which they were told to.
    pub(super) fn join(self) -> anyhow::Result<()> {
        let Workers { seats, .. } = self;
        let threads: Vec<_> = seats.into_iter().filter_map(|seat| seat.thread).collect();
        threads.into_iter().try_for_each(JoinHandle::join).map_err(|_| anyhow!("a worker panicked"))
    }
}

/// When workers were put in the place of others.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Notes one more, unless there were too many of late.
    fn allow(&mut self, now: Instant) -> bool {
        let is_past = |at: &Instant| now.saturating_duration_since(*at) >= RESTARTS_WITHIN;
        while self.0.front().is_some_and(is_past) {
            self.0.pop_front();
        }
        let allowed = self.0.len() < MAX_RESTARTS;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_workers_may_be_replaced_within_a_minute_and_no_fourth() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let mut at = |s| restarts.allow(start + Duration::from_secs(s));
        assert_eq!(
            [0, 1, 2, 3, 59, 60, 60, 61].map(&mut at),
            [true, true, true, false, false, true, false, true]
        );
    }
}
