//! The thread `health`: it checks endpoints, and says which are available.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io,
    rc::Rc,
    sync::{Arc, Weak, mpsc as blocking_mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
    time::MissedTickBehavior,
};

use super::{
    board::HealthBoard,
    checked::{CheckContext, CheckEvent, CheckedEndpoint, WatchedEndpoint},
    inherited,
    key::CheckKey,
    probe::EndpointProbe,
    stall::TICK,
};
use crate::{
    observe::HealthMetrics,
    upstream::{Cluster, EjectionProposal, Ejector},
};

/// How long a start waits for the thread to take over what is known, which is a matter of milliseconds.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(1);
/// How many ticks are a second.
const TICKS_A_SECOND: u32 = 10;

/// The control thread's end of the thread `health`, which starts with the first cluster that is checked
/// or ejects.
#[derive(Debug)]
pub(crate) struct HealthMonitor {
    board: Arc<HealthBoard>,
    commands: mpsc::UnboundedSender<WatchCommand>,
    first_round: watch::Receiver<bool>,
    /// Another process has told what it knew.
    inherits: bool,
    idle: Option<HealthThread>,
}

/// The clusters of a new configuration.
#[derive(Debug)]
struct WatchCommand {
    clusters: Vec<Weak<Cluster>>,
    /// Hears that the command was followed.
    followed: Option<blocking_mpsc::SyncSender<()>>,
}

/// What the thread begins with.
#[derive(Debug)]
struct HealthThread {
    board: Arc<HealthBoard>,
    metrics: Arc<HealthMetrics>,
    commands: mpsc::UnboundedReceiver<WatchCommand>,
    proposals: mpsc::Receiver<EjectionProposal>,
    is_first_round_over: watch::Sender<bool>,
    descriptors: usize,
}

impl HealthMonitor {
    /// `proposals` come from workers, `inherited` is the line of a process that is replaced, and
    /// `descriptors` are the most connections that checks may have.
    pub(crate) fn new(
        metrics: &Arc<HealthMetrics>,
        proposals: mpsc::Receiver<EjectionProposal>,
        inherited: Option<&str>,
        descriptors: usize,
    ) -> HealthMonitor {
        let board = Arc::new(HealthBoard::default());
        board.inherit(inherited.map(inherited::read).unwrap_or_default());
        metrics.set_source(Arc::<HealthBoard>::clone(&board));
        let (commands, received) = mpsc::unbounded_channel();
        let (is_first_round_over, first_round) = watch::channel(false);
        let idle = HealthThread {
            board: Arc::clone(&board),
            metrics: Arc::clone(metrics),
            commands: received,
            proposals,
            is_first_round_over,
            descriptors,
        };
        let inherits = inherited.is_some();
        HealthMonitor { board, commands, first_round, inherits, idle: Some(idle) }
    }

    /// Watches the clusters of the first configuration, and returns once what is known of them by another
    /// process is applied.
    ///
    /// Fails if the thread cannot start.
    pub(crate) fn begin(&mut self, clusters: Vec<Weak<Cluster>>) -> io::Result<()> {
        let (followed, hears) = blocking_mpsc::sync_channel(1);
        self.send(clusters, Some(followed))?;
        // Without a thread, the sender is dropped and nothing is waited for.
        let _ = hears.recv_timeout(TAKE_OVER_TIMEOUT);
        Ok(())
    }

    /// Watches the clusters of a new configuration, and no others. To be called before its parts are
    /// published, so that new clusters know what is known, and after that, for those that got other
    /// endpoints.
    pub(crate) fn watch(&mut self, clusters: Vec<Weak<Cluster>>) {
        if let Err(error) = self.send(clusters, None) {
            tracing::error!(%error, "cannot start the thread that checks endpoints; all of them \
                count as available");
        }
    }

    fn send(
        &mut self,
        clusters: Vec<Weak<Cluster>>,
        followed: Option<blocking_mpsc::SyncSender<()>>,
    ) -> io::Result<()> {
        if clusters.is_empty() && self.idle.is_some() {
            return Ok(());
        }
        if let Some(idle) = self.idle.take() {
            thread::Builder::new().name("health".into()).spawn(move || idle.run())?;
        }
        // It is gone only after a panic.
        let _ = self.commands.send(WatchCommand { clusters, followed });
        Ok(())
    }

    /// Resolves once each endpoint of the first configuration has a result of each of its checks; `None`
    /// if that is so, or if another process has told what it knew.
    pub(crate) fn first_round(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut first_round = self.first_round.clone();
        let is_over = self.idle.is_some() || self.inherits || *first_round.borrow();
        (!is_over).then_some(async move {
            // An error is the end of the thread, after a panic.
            let _ = first_round.wait_for(|is_over| *is_over).await;
        })
    }

    /// What is known, in a line for the process that takes the place of this one.
    pub(crate) fn verdicts(&self) -> String {
        inherited::write(&self.board.verdicts())
    }
}

impl HealthThread {
    fn run(self) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot check endpoints; all of them count as available");
                return;
            }
        };
        LocalSet::new().block_on(&runtime, MonitorLoop::new(self).run());
    }
}

/// The loop of the thread.
struct MonitorLoop {
    context: Rc<CheckContext>,
    events: mpsc::UnboundedReceiver<CheckEvent>,
    thread: HealthThread,
    clusters: Vec<Weak<Cluster>>,
    checked: HashMap<CheckKey, Rc<CheckedEndpoint>>,
    ejector: Ejector,
    ticks: u32,
}

impl MonitorLoop {
    fn new(thread: HealthThread) -> MonitorLoop {
        let (sender, events) = mpsc::unbounded_channel();
        let seed = RandomState::new().hash_one(std::process::id());
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

    /// Ends with the control thread's end.
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.thread.commands.recv() => match command {
                    Some(command) => self.watch(command),
                    None => return,
                },
                Some(event) = self.events.recv() => self.take_events(event),
                Some(proposal) = self.thread.proposals.recv() => {
                    self.ejector.propose(&proposal, Instant::now());
                }
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// Takes the clusters of a configuration over: checks that stay go on, with all that they know.
    fn watch(&mut self, command: WatchCommand) {
        let mut former = std::mem::take(&mut self.checked);
        former.values().for_each(|checked| checked.clear_watched());
        for cluster in command.clusters.iter().filter_map(Weak::upgrade) {
            self.watch_cluster(&cluster, &mut former);
        }
        drop(former);
        let checked = &self.checked;
        self.thread.board.retain(|key| checked.contains_key(key));
        self.ejector.follow(&command.clusters, Instant::now());
        self.thread.board.set_clusters(command.clusters.clone());
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

    fn take_events(&mut self, event: CheckEvent) {
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
            }
            next = self.events.try_recv().ok();
        }
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
