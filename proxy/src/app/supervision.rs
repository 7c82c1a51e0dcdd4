//! What the service manager is told of this process, and what it keeps for the next one.

use std::{fmt, sync::Arc};

use super::{App, listeners, listeners::ListenerStore};
use crate::{
    observe::{CertificateUsage, Metrics, Readiness},
    service_manager::{ServiceManager, ServiceWatchdog},
    steering::Steering,
};

/// The service manager, from the side of the control thread.
#[derive(Debug)]
pub(super) struct Supervision {
    pub(super) manager: ServiceManager,
    pub(super) watchdog: ServiceWatchdog,
    pub(super) store: ListenerStore,
    /// Why the last load was rejected, if it was.
    rejected: Option<String>,
}

impl Supervision {
    /// As the environment says. Needs a tokio runtime with time.
    pub(super) fn of_environment() -> Supervision {
        let manager = ServiceManager::of_environment();
        Supervision {
            watchdog: ServiceWatchdog::new(manager.clone()),
            store: ListenerStore::new(manager.clone()),
            manager,
            rejected: None,
        }
    }
}

/// What `systemctl status` shows, in one line. The steering mode and the certificates are those of the
/// moment in which it is written.
pub(super) struct ServiceStatus {
    steering: Arc<Steering>,
    metrics: Arc<Metrics>,
    routes: usize,
    workers: usize,
    rejected: Option<String>,
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, generation) = (self.steering.mode().as_str(), self.metrics.generation());
        let ServiceStatus { routes, workers, .. } = self;
        write!(
            f,
            "serving: generation {generation}, {routes} routes, {workers} workers, steering {mode}"
        )?;
        if let Some(end) = first_end(&self.metrics) {
            write!(f, "; the first certificate ends {end}")?;
        }
        if let Some(problem) = &self.rejected {
            write!(f, "; the last reload was rejected: {problem}")?;
        }
        Ok(())
    }
}

impl App {
    /// What `systemctl status` shows.
    pub(super) fn service_status(&self) -> ServiceStatus {
        ServiceStatus {
            steering: Arc::clone(&self.steering),
            metrics: Arc::clone(&self.metrics),
            routes: self.settings.routes,
            workers: self.workers.len(),
            rejected: self.supervision.rejected.clone(),
        }
    }

    /// Tells the service manager that this process serves.
    pub(super) fn tell_ready(&self) {
        if self.supervision.manager.is_there() {
            self.supervision.manager.ready(&self.service_status().to_string());
        }
    }

    /// Tells the service manager the status, after a change of it.
    pub(super) fn tell_status(&self) {
        if self.supervision.manager.is_there() && self.metrics.readiness() == Readiness::Ready {
            self.supervision.manager.status(&self.service_status().to_string());
        }
    }

    /// Tells the service manager that a load has ended. The process serves, whatever the verdict is.
    pub(super) fn tell_reloaded(&mut self, verdict: &Result<u64, String>) {
        self.supervision.rejected = verdict.as_ref().err().cloned();
        self.tell_ready();
    }

    /// Looks after the workers for the service manager's watchdog.
    pub(super) fn look_after_workers(&mut self) {
        let counts = self.workers.rounds(&self.metrics);
        self.supervision.watchdog.look(&counts);
    }

    /// Another process serves at sockets of its own: it is the main one from now on.
    pub(super) async fn hand_supervision_over(&mut self, successor: Option<u32>) {
        self.supervision.watchdog.stop();
        if let Some(successor) = successor {
            self.supervision.manager.main_process(successor);
        }
        self.supervision.store.release().await;
    }

    /// Gives the service manager the listeners of this process, once its predecessor does not accept
    /// any more: nobody would accept at those of a process that ends before. If that one stays, it stays
    /// the service manager's main process, with its own listeners.
    pub(super) fn keep_listeners_after(
        &self,
        replaced: impl Future<Output = bool> + 'static,
    ) -> impl Future<Output = ()> + 'static {
        let manager = self.supervision.manager.clone();
        let name = self.supervision.store.name().to_owned();
        let sockets = if self.supervision.store.is_used() {
            listeners::handles(self.workers.listeners())
        } else {
            Ok(Vec::new())
        };
        let status = self.service_status();
        async move {
            if !replaced.await {
                return;
            }
            manager.main_process(std::process::id());
            manager.ready(&status.to_string());
            match sockets {
                Ok(sockets) => listeners::keep(&manager, &name, &sockets),
                Err(error) => tracing::warn!(%error, "the service manager keeps no listeners"),
            }
        }
    }
}

/// When the first of our own certificates ends.
fn first_end(metrics: &Metrics) -> Option<String> {
    let certificates = metrics.certificates_ending_before(i64::MAX);
    let own = certificates.iter().filter(|it| it.usage == CertificateUsage::Server);
    own.min_by_key(|it| it.not_after_s).map(|it| it.not_after())
}
