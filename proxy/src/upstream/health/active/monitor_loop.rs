//! The loop of the thread `health`: it checks endpoints, and says which are available.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    checked::CheckedEndpoint,
    context::{CheckContext, CheckEvent},
    key::CheckKey,
    monitor::WatchCommand,
    probe::EndpointProbe,
    stall::TICK,
    thread::HealthThread,
    watched::WatchedEndpoint,
};
use crate::upstream::{Cluster, Ejector};

/// How many ticks are a second.
const TICKS_A_SECOND: u32 = 10;

/// The loop of the thread.
pub(super) struct MonitorLoop<'a> {
    context: Rc<CheckContext>,
    events: mpsc::UnboundedReceiver<CheckEvent>,
    thread: &'a mut HealthThread,
    clusters: Vec<Weak<Cluster>>,
    checked: HashMap<CheckKey, Rc<CheckedEndpoint>>,
    ejector: Ejector,
    ticks: u32,
}

/// Why the loop has ended.
#[derive(Debug)]
pub(super) enum LoopEnd {
    /// The control thread is gone.
    Closed,
    /// The task of a check has panicked.
    CheckPanicked,
}

impl MonitorLoop<'_> {
    /// Watches nothing yet.
    pub(super) fn new(thread: &mut HealthThread, seed: u64) -> MonitorLoop<'_> {
        let (sender, events) = mpsc::unbounded_channel();
        let context =
            CheckContext::new(&thread.board, &thread.metrics, sender, thread.descriptors, seed);
        let ejector = Ejector::new(Arc::clone(&thread.metrics));
        MonitorLoop {
            context: Rc::new(context),
            events,
            thread,
            clusters: Vec::new(),
            checked: HashMap::new(),
            ejector,
            ticks: 0,
        }
    }

    /// Begins with the clusters that were watched before a panic.
    pub(super) async fn run(mut self) -> LoopEnd {
        let clusters = self.thread.board.watched();
        if !clusters.is_empty() {
            self.watch(WatchCommand { clusters, followed: None });
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A configuration that takes the place of one that panics comes first.
                biased;
                command = self.thread.commands.recv() => match command {
                    Some(command) => self.watch(command),
                    None => return LoopEnd::Closed,
                },
                _ = ticks.tick() => self.tick(),
                Some(event) = self.events.recv() => {
                    if let Some(end) = self.take_events(event) {
                        return end;
                    }
                }
                Some(proposal) = self.thread.proposals.recv() => {
                    self.ejector.propose(&proposal, Instant::now());
                }
            }
        }
    }

    /// Takes the clusters of a configuration over: checks that stay go on, with all that they know.
    fn watch(&mut self, command: WatchCommand) {
        // First, so that a panic finds the clusters of this configuration.
        self.thread.board.set_clusters(command.clusters.clone());
        let mut former = std::mem::take(&mut self.checked);
        former.values().for_each(|checked| checked.clear_watched());
        for cluster in command.clusters.iter().filter_map(Weak::upgrade) {
            self.watch_cluster(&cluster, &mut former);
        }
        drop(former);
        let checked = &self.checked;
        self.thread.board.retain(|key| checked.contains_key(key));
        self.ejector.follow(&command.clusters, Instant::now());
        self.clusters = command.clusters;
        self.checked.values().for_each(|checked| checked.start(&self.context));
        self.end_first_round();
        if let Some(followed) = command.followed {
            let _ = followed.send(());
        }
    }

    fn watch_cluster(
        &mut self,
        cluster: &Arc<Cluster>,
        former: &mut HashMap<CheckKey, Rc<CheckedEndpoint>>,
    ) {
        let set = cluster.current();
        let Some(health) = set.health() else { return };
        let board = &self.thread.board;
        for (endpoint, known) in set.endpoints().iter().zip(health.endpoints()) {
            let watched =
                Rc::new(WatchedEndpoint::new(Arc::downgrade(cluster), &health.name, known));
            for check in &health.spec.checks {
                let key = CheckKey::new(endpoint, check);
                let checked = self.checked.entry(key).or_insert_with(|| {
                    former.remove(&key).unwrap_or_else(|| {
                        CheckedEndpoint::new(key, EndpointProbe::new(endpoint, check), board)
                    })
                });
                checked.add_watched(&watched, board);
            }
            watched.apply();
        }
        cluster.refresh_available(Instant::now());
    }

    fn take_events(&mut self, event: CheckEvent) -> Option<LoopEnd> {
        let mut changed = HashSet::new();
        let mut next = Some(event);
        // Many endpoints may change at a time, and each cluster is compiled once.
        while let Some(event) = next {
            match event {
                CheckEvent::Changed(cluster) => {
                    if changed.insert(cluster.as_ptr())
                        && let Some(cluster) = cluster.upgrade()
                    {
                        cluster.refresh_available(Instant::now());
                    }
                }
                CheckEvent::PassedWhileEjected(health) => {
                    self.ejector.check_succeeded(&health, Instant::now());
                }
                CheckEvent::FirstResult => self.end_first_round(),
                CheckEvent::Panicked => return Some(LoopEnd::CheckPanicked),
            }
            next = self.events.try_recv().ok();
        }
        None
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.context.stalls.tick(now);
        if self.ejector.next_due().is_some_and(|due| due <= now) {
            self.ejector.end_intervals(now);
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_A_SECOND) {
            for cluster in self.clusters.iter().filter_map(Weak::upgrade) {
                // The last step too: at the end of its slow start an endpoint gets its whole share.
                if cluster.health().is_some_and(|health| health.spec.slow_start.is_some()) {
                    cluster.refresh_available(now);
                }
            }
        }
    }

    fn end_first_round(&self) {
        let is_over = || self.checked.values().all(|checked| checked.is_known());
        if !*self.thread.is_first_round_over.borrow() && is_over() {
            self.thread.is_first_round_over.send_replace(true);
        }
    }
}
