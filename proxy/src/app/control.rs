//! What the control thread does while the workers serve: signals, the results of loads, DNS, the
//! admin listeners, ticket keys, workers that end, a successor. Nothing here reads a file or takes
//! long.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    App,
    handover::{Predecessor, SuccessorOrder, SuccessorSocket},
    identity,
    loader::{Compiled, ControlSettings, LoadOutcome, Loader},
    signals::SignalOrder,
};
use crate::{admin, observe::Readiness, upstream::Resolver};

/// How often ticket keys are checked for a rotation that is due.
const TICKET_KEY_CHECK: Duration = Duration::from_secs(60);

/// What a fault in the loader costs.
const LOADER_ENDED: &str = "the thread that loads configurations crashed; this process keeps its \
    configuration until it is replaced (`run --replace`)";

/// What may happen.
enum ControlEvent {
    Signal(SignalOrder),
    Successor(SuccessorOrder),
    /// `None` if the loader's thread has ended.
    Loaded(Option<LoadOutcome>),
    TicketKeysDue,
    WorkerEnded(usize),
}

/// Why a process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// SIGTERM or SIGINT, or too many workers have ended.
    Signal,
    /// Another process serves in its place.
    Replaced,
}

impl App {
    /// Runs until told to stop. Needs to be within a `LocalSet`.
    pub(super) async fn control(&mut self) -> anyhow::Result<StopReason> {
        tokio::task::spawn_local(Resolver::run(Arc::clone(&self.names)));
        let mut ticket_keys = tokio::time::interval(TICKET_KEY_CHECK);
        self.metrics.set_readiness(Readiness::Ready);
        self.replace_predecessor();
        loop {
            let event = tokio::select! {
                order = self.signals.next() => ControlEvent::Signal(order),
                order = SuccessorSocket::next(&mut self.successors) => {
                    ControlEvent::Successor(order)
                }
                outcome = Loader::outcome(&mut self.loader) => ControlEvent::Loaded(outcome),
                _ = ticket_keys.tick() => ControlEvent::TicketKeysDue,
                Some(worker) = self.ended.recv() => ControlEvent::WorkerEnded(worker),
            };
            match event {
                ControlEvent::Signal(SignalOrder::Stop) => return Ok(StopReason::Signal),
                ControlEvent::Signal(SignalOrder::Reload) => self.request_load(),
                ControlEvent::Signal(SignalOrder::Replaced) => {
                    self.identity.hand_state_over().await;
                    return Ok(replaced("signal", None));
                }
                ControlEvent::Successor(order) => {
                    let successor = order.request.id;
                    self.identity.hand_state_over().await;
                    order.answer(());
                    return Ok(replaced("socket", Some(successor)));
                }
                ControlEvent::Loaded(Some(outcome)) => self.take_over(outcome),
                ControlEvent::Loaded(None) => self.loader_ended(),
                ControlEvent::TicketKeysDue => self.rotate_ticket_keys(),
                ControlEvent::WorkerEnded(worker) => self.workers.restart(worker)?,
            }
        }
    }

    /// Logs where it serves.
    pub(super) fn announce(&self, admin: &admin::Server) {
        let addresses = |list: &[SocketAddr]| {
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = addresses(&self.settings.listen.addresses),
            admin = addresses(&admin.addresses()),
            workers = self.workers.len(),
            routes = self.settings.routes,
            "serving"
        );
    }

    fn replace_predecessor(&mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            Predecessor::warn_of_losses();
            // It may take its time to answer; this process serves meanwhile.
            let identity = self.identity.clone();
            tokio::task::spawn_local(async move {
                let is_acknowledged = predecessor.finish().await;
                identity.take_over_state(is_acknowledged).await;
            });
        }
    }

    /// Applies a new configuration, or keeps the old one and says why.
    fn take_over(&mut self, outcome: LoadOutcome) {
        for warning in &outcome.warnings {
            tracing::warn!("{warning}");
        }
        match outcome.result {
            Ok(compiled) => self.apply(*compiled),
            Err(reason) => {
                tracing::error!(
                    "the new configuration is rejected; the old one stays in use: {reason}"
                );
                self.metrics.config_refused(reason);
            }
        }
    }

    fn apply(&mut self, compiled: Compiled) {
        let Compiled { snapshot, parts, access, settings, .. } = compiled;
        warn_of_restart(&self.settings, &settings);
        self.access.apply(access);
        self.names.configure(settings.dns);
        self.log.configure(settings.log.clone());
        self.settings = settings;
        tracing::info!(generation = snapshot.generation, "configuration reloaded");
        identity::configure(&self.identity, &snapshot.site);
        let replaced = (parts.publish(), self.snapshots.send_replace(snapshot));
        if let Some(loader) = &self.loader {
            loader.retire(replaced);
        }
    }

    fn request_load(&self) {
        match &self.loader {
            Some(loader) => loader.request(),
            None => tracing::error!("cannot reload the configuration: {LOADER_ENDED}"),
        }
    }

    fn loader_ended(&mut self) {
        self.loader = None;
        tracing::error!("{LOADER_ENDED}");
    }

    fn rotate_ticket_keys(&self) {
        match self.tickets.rotate() {
            Ok(true) => self.metrics.ticket_key_rotated(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot rotate the session ticket keys"),
        }
    }
}

fn replaced(told_by: &str, successor: Option<i32>) -> StopReason {
    tracing::info!(told_by, successor, "another process has replaced this one");
    StopReason::Replaced
}

/// Names the changed keys that a reload cannot apply.
fn warn_of_restart(old: &ControlSettings, new: &ControlSettings) {
    let changed = [
        ("address", old.listen != new.listen),
        ("portcullis.workers", old.workers != new.workers),
        ("portcullis.admin_address", old.admin_address != new.admin_address),
        ("portcullis.steering.mode", old.steering_mode != new.steering_mode),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "a changed key takes effect at the next start");
    }
}
