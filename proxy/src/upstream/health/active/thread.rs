//! The thread `health`. If it panics, which is a bug, no endpoint may stay down for it: all of them count
//! as available, and it begins again with what is known.

use std::{
    hash::{BuildHasher as _, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
};

use super::{
    board::HealthBoard,
    monitor::WatchCommand,
    monitor_loop::{LoopEnd, MonitorLoop},
};
use crate::{
    observe::HealthMetrics,
    upstream::{Cluster, EjectionProposal},
};

/// The pause after the first panic. After each further one it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A panic after this time is another first one.
const CALM: Duration = Duration::from_secs(10 * 60);

/// What the thread works with. It outlives a panic.
#[derive(Debug)]
pub(super) struct HealthThread {
    pub(super) board: Arc<HealthBoard>,
    pub(super) metrics: Arc<HealthMetrics>,
    pub(super) commands: mpsc::UnboundedReceiver<WatchCommand>,
    pub(super) proposals: mpsc::Receiver<EjectionProposal>,
    pub(super) is_first_round_over: watch::Sender<bool>,
    pub(super) descriptors: usize,
}

impl HealthThread {
    /// Ends with the control thread's end.
    pub(super) fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            if let Ok(LoopEnd::Closed) = catch_unwind(AssertUnwindSafe(|| self.watch())) {
                return;
            }
            if begun.elapsed() >= CALM {
                pause = FIRST_PAUSE;
            }
            self.metrics.panics.inc();
            self.board.clusters().iter().for_each(|cluster| make_available(cluster));
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::error!(
                pause_ms,
                "the thread that checks and ejects endpoints has panicked, which is a bug: all \
                 endpoints count as available until it begins again"
            );
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn watch(&mut self) -> LoopEnd {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot check endpoints; all of them count as available");
                return LoopEnd::Closed;
            }
        };
        let seed = RandomState::new().hash_one(std::process::id());
        LocalSet::new().block_on(&runtime, MonitorLoop::new(self, seed).run())
    }
}

/// A cluster that causes the panic again is left as it is.
fn make_available(cluster: &Cluster) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let (health, now) = (cluster.health(), Instant::now());
        for endpoint in health.iter().flat_map(|health| health.endpoints()) {
            endpoint.make_available(now);
        }
        cluster.refresh_available(now);
    }));
}

#[cfg(test)]
mod tests;
