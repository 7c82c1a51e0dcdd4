//! The service manager's watchdog: it is told that the process works only if every worker does.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{ServiceManager, watchdog_interval};

/// Workers move ten times a second; a shorter interval than this would be a matter of chance.
const SHORTEST: Duration = Duration::from_secs(1);

/// Tells the service manager, three times within its interval, that the process works. Where no
/// watchdog is asked for, it does nothing.
#[derive(Debug)]
pub(crate) struct ServiceWatchdog {
    manager: ServiceManager,
    interval: Option<Interval>,
    /// The workers' counts at the last look.
    seen: Vec<u64>,
}

impl ServiceWatchdog {
    /// Needs a tokio runtime with time.
    pub(crate) fn new(manager: ServiceManager) -> ServiceWatchdog {
        ServiceWatchdog::with(manager, watchdog_interval())
    }

    pub(super) fn with(manager: ServiceManager, interval: Option<Duration>) -> ServiceWatchdog {
        let interval = interval.filter(|_| manager.is_there()).map(|interval| {
            let period = (interval / 3).max(SHORTEST);
            let mut interval = interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        ServiceWatchdog { manager, interval, seen: Vec::new() }
    }

    /// Awaits the time for the next look; forever without a watchdog. Cancel-safe.
    pub(crate) async fn due(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Looks at a count of each worker that should run, by the worker's number. If all of them have
    /// changed, says that the process works; otherwise logs which worker stands still.
    pub(crate) fn look(&mut self, counts: &[(usize, u64)]) {
        let stuck: Vec<usize> = counts
            .iter()
            .filter(|(worker, count)| self.seen.get(*worker) == Some(count))
            .map(|(worker, _)| *worker)
            .collect();
        for &(worker, count) in counts {
            if self.seen.len() <= worker {
                self.seen.resize(worker + 1, u64::MAX);
            }
            if let Some(seen) = self.seen.get_mut(worker) {
                *seen = count;
            }
        }
        if stuck.is_empty() {
            self.manager.alive();
        } else {
            tracing::error!(
                workers = ?stuck,
                "workers stand still: the service manager will restart the process if they do not move"
            );
        }
    }

    /// Another process is the main one from now on, and it alone is watched.
    pub(crate) fn stop(&mut self) {
        self.interval = None;
    }
}
