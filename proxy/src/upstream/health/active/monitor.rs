//! The control thread's end of the thread `health`.

use std::{
    io,
    sync::{Arc, Weak, mpsc as blocking_mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{board::HealthBoard, inherited, thread::HealthThread};
use crate::{
    observe::HealthMetrics,
    upstream::{Cluster, EjectionProposal},
};

/// How long a start waits for the thread to take over what is known, which is a matter of milliseconds.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(1);

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
pub(super) struct WatchCommand {
    pub(super) clusters: Vec<Weak<Cluster>>,
    /// Hears that the command was followed.
    pub(super) followed: Option<blocking_mpsc::SyncSender<()>>,
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
        // It is gone only if it could not start.
        let _ = self.commands.send(WatchCommand { clusters, followed });
        Ok(())
    }

    /// Resolves once each endpoint of the first configuration has a result of each of its checks; `None`
    /// if that is so, or if another process has told what it knew.
    pub(crate) fn first_round(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut first_round = self.first_round.clone();
        let is_over = self.idle.is_some() || self.inherits || *first_round.borrow();
        (!is_over).then_some(async move {
            // An error is the end of the thread, which could not start.
            let _ = first_round.wait_for(|is_over| *is_over).await;
        })
    }

    /// What is known, in a line for the process that takes the place of this one.
    pub(crate) fn verdicts(&self) -> String {
        inherited::write(&self.board.verdicts())
    }
}
