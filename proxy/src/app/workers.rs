//! The workers' threads: how they start, how one that ends is replaced, and how all of them end.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    watch,
};

use crate::{
    conn::{self, OpenConnections},
    identity::worker::IdentityHandle,
    listener::{Listener, ListenerRole},
    observe::{Log, Metrics},
    steering::{Mailboxes, Steering},
    worker::{self, ProcessPhase, Snapshot, WorkerSpec},
};

/// If more workers than this end within [`RESTARTS_WITHIN`], it is no accident.
const MAX_RESTARTS: usize = 3;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// What all workers share.
pub(super) struct WorkerResources {
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) phase: watch::Receiver<ProcessPhase>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
    pub(super) steering: Arc<Steering>,
    pub(super) identity: IdentityHandle,
    /// Connections that each worker may have to upstreams.
    pub(super) upstream_connections: usize,
    /// Receives the number of each worker that ends.
    pub(super) ended: UnboundedSender<usize>,
}

/// The control thread's ends of what workers follow and report.
pub(super) struct WorkerChannels {
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(super) phase: watch::Sender<ProcessPhase>,
    /// The number of each worker that ends.
    pub(super) ended: UnboundedReceiver<usize>,
}

impl WorkerResources {
    /// For workers that begin with this snapshot.
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        metrics: &Arc<Metrics>,
        log: &Log,
        steering: &Arc<Steering>,
        identity: IdentityHandle,
        upstream_connections: usize,
    ) -> (WorkerResources, WorkerChannels) {
        let (snapshots, snapshot) = watch::channel(snapshot);
        let (phase, phases) = watch::channel(ProcessPhase::Running);
        let (ending, ended) = mpsc::unbounded_channel();
        let resources = WorkerResources {
            snapshots: snapshot,
            phase: phases,
            metrics: Arc::clone(metrics),
            log: log.clone(),
            steering: Arc::clone(steering),
            identity,
            upstream_connections,
            ended: ending,
        };
        (resources, WorkerChannels { snapshots, phase, ended })
    }
}

/// All workers.
pub(super) struct Workers {
    resources: WorkerResources,
    open_connections: OpenConnections,
    mailboxes: Mailboxes<conn::Accepted>,
    slots: Vec<WorkerSlot>,
    restarts: Restarts,
    /// A worker has panicked while it drained.
    panicked: bool,
}

/// One worker's number, with what outlives the thread that has it.
struct WorkerSlot {
    core: Option<usize>,
    /// Second handles of the worker's sockets, which keep listening when its thread ends.
    listeners: Vec<Listener>,
    /// `None` once it has ended.
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts a worker for each set of sockets.
    pub(super) fn start(
        resources: WorkerResources,
        cores: &[Option<usize>],
        listeners: Vec<Vec<Listener>>,
    ) -> anyhow::Result<Workers> {
        let slot = |(core, listeners): (&Option<usize>, _)| WorkerSlot {
            core: *core,
            listeners,
            thread: None,
        };
        let mut workers = Workers {
            resources,
            open_connections: OpenConnections::new(cores.len()),
            mailboxes: Mailboxes::new(cores.len()),
            slots: cores.iter().zip(listeners).map(slot).collect(),
            restarts: Restarts::default(),
            panicked: false,
        };
        for id in 0..workers.slots.len() {
            workers.fill(id).with_context(|| format!("cannot start worker {id}"))?;
        }
        Ok(workers)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The addresses at which each of them listens.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.slots.first().map_or(&[][..], |slot| &slot.listeners);
        let of_clients = listeners.iter().filter(|it| it.role == ListenerRole::Worker);
        of_clients.map(|listener| listener.address).collect()
    }

    /// Their listeners.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.slots.iter().flat_map(|slot| &slot.listeners)
    }

    /// The rounds of each worker that has not ended, by its number.
    pub(super) fn rounds(&self, metrics: &Metrics) -> Vec<(usize, u64)> {
        let running = self.slots.iter().enumerate().filter(|(_, slot)| slot.thread.is_some());
        running.filter_map(|(id, _)| Some((id, metrics.worker(id)?.rounds.get()))).collect()
    }

    /// Starts another thread in the slot of one that has ended: it serves the connections that wait
    /// at the same sockets.
    ///
    /// Fails if that happens too often: a restart of the whole process is better than half a proxy.
    pub(super) fn restart(&mut self, id: usize) -> anyhow::Result<()> {
        if !self.restarts.allow(Instant::now()) {
            self.ended(id);
            bail!(
                "worker {id} ended, and {MAX_RESTARTS} other workers ended within the last \
                minute"
            );
        }
        tracing::error!(worker = id, "a worker crashed; a new worker replaces it");
        self.resources.metrics.worker_restarted();
        self.fill(id)
            .with_context(|| format!("worker {id} ended, and its replacement cannot start"))
    }

    fn fill(&mut self, id: usize) -> anyhow::Result<()> {
        let Workers { resources, open_connections, mailboxes, slots, .. } = self;
        let slot = slots.get_mut(id).context("a worker without a slot")?;
        // If no thread starts, the slot is empty.
        slot.thread = None;
        resources.metrics.set_worker_cpu(id, slot.core);
        let listeners = slot.listeners.iter().map(Listener::try_clone);
        let spec = WorkerSpec {
            id,
            core: slot.core,
            listeners: listeners.collect::<io::Result<_>>()?,
            snapshot: resources.snapshots.clone(),
            phase: resources.phase.clone(),
            metrics: resources.metrics.worker(id).context("a worker without cells")?,
            log: resources.log.clone(),
            open_connections: open_connections.clone(),
            steering: Arc::clone(&resources.steering),
            identity: resources.identity.clone(),
            upstream_connections: resources.upstream_connections,
            mailboxes: mailboxes.clone(),
        };
        slot.thread = Some(worker::start(spec, resources.ended.clone())?);
        Ok(())
    }

    /// Notes that a worker has ended for good.
    pub(super) fn ended(&mut self, id: usize) {
        let thread = self.slots.get_mut(id).and_then(|slot| slot.thread.take());
        // The notice is the last thing that a worker's thread does.
        self.panicked |= thread.is_some_and(|thread| thread.join().is_err());
    }

    /// Whether any worker has not ended yet.
    pub(super) fn are_running(&self) -> bool {
        self.slots.iter().any(|slot| slot.thread.is_some())
    }

    /// How the workers have ended.
    pub(super) fn outcome(&self) -> anyhow::Result<()> {
        ensure!(!self.panicked, "a worker panicked while it drained");
        Ok(())
    }
}

/// The times at which workers were restarted.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Counts one more, unless there were too many lately.
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
    fn three_workers_may_be_restarted_within_a_minute_and_no_fourth() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let mut at = |s| restarts.allow(start + Duration::from_secs(s));
        assert_eq!(
            [0, 1, 2, 3, 59, 60, 60, 61].map(&mut at),
            [true, true, true, false, false, true, false, true]
        );
    }
}
