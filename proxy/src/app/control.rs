//! What the control thread does while the workers serve: signals, orders, the results of loads, DNS,
//! the admin listeners, ticket keys, workers that end. Nothing here reads a file or takes
//! long.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::interval;

use super::{
    App,
    control_socket::{Acknowledgment, ControlSocket, Order, ReceivedOrder},
    expiry::ExpiryLog,
    handover::Predecessor,
    identity,
    loader::{Compiled, ControlSettings, LoadOutcome, Loader},
    signals::SignalOrder,
    successor,
    upgrade::PendingUpgrade,
};
use crate::{admin, upstream::Resolver};

/// How often ticket keys are checked for a rotation that is due.
const TICKET_KEY_CHECK: Duration = Duration::from_secs(60);

/// How often the log is told of certificates whose end is near.
const EXPIRY_CHECK: Duration = Duration::from_secs(60 * 60);

/// What a fault in the loader costs.
const LOADER_ENDED: &str = "the thread that loads configurations crashed; this process keeps its \
    configuration until it is replaced (`run --replace`)";

/// What may happen.
enum ControlEvent {
    Signal(SignalOrder),
    Order(ReceivedOrder),
    /// `None` if the loader's thread has ended.
    Loaded(Option<LoadOutcome>),
    TicketKeysDue,
    ExpiryCheckDue,
    /// The level of the log by order is over.
    LogLevelOver,
    WatchdogDue,
    SteeringChanged,
    UpgradeFailed(String),
    WorkerEnded(usize),
}

/// Why a process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A signal, by its name.
    Signal(&'static str),
    /// Too many workers have ended.
    Failure,
    /// Another process serves in its place.
    Replaced,
}

impl App {
    /// Runs until told to stop. Needs to be within a `LocalSet`.
    pub(super) async fn control(&mut self) -> anyhow::Result<StopReason> {
        tokio::task::spawn_local(Resolver::run(Arc::clone(&self.names)));
        let (mut ticket_keys, mut expiry) = (interval(TICKET_KEY_CHECK), interval(EXPIRY_CHECK));
        let mut expiry_log = ExpiryLog::default();
        self.become_ready();
        self.replace_predecessor();
        loop {
            let event = tokio::select! {
                order = self.signals.next() => ControlEvent::Signal(order),
                order = ControlSocket::next(&mut self.orders) => ControlEvent::Order(order),
                outcome = Loader::outcome(&mut self.loader) => ControlEvent::Loaded(outcome),
                _ = ticket_keys.tick() => ControlEvent::TicketKeysDue,
                _ = expiry.tick() => ControlEvent::ExpiryCheckDue,
                () = self.log.over() => ControlEvent::LogLevelOver,
                () = self.supervision.watchdog.due() => ControlEvent::WatchdogDue,
                () = self.steering.cookies().changed() => ControlEvent::SteeringChanged,
                reason = PendingUpgrade::failure(&mut self.upgrade) => {
                    ControlEvent::UpgradeFailed(reason)
                }
                Some(worker) = self.ended.recv() => ControlEvent::WorkerEnded(worker),
            };
            match event {
                ControlEvent::Signal(SignalOrder::Stop(name)) => {
                    return Ok(StopReason::Signal(name));
                }
                ControlEvent::Signal(SignalOrder::Reload) => {
                    // The log says what comes of it.
                    let _ = self.request_load();
                }
                ControlEvent::Signal(SignalOrder::ReopenLogs) => say_that_no_log_is_reopened(),
                ControlEvent::Signal(SignalOrder::Replaced) => {
                    if self.has_successor().await {
                        self.stop_catchers();
                        self.hand_supervision_over(None).await;
                        self.conclude_upgrade(None);
                        // A signal has no answer: the process that sent it takes no session over.
                        let _ = self.identity.hand_state_over().await;
                        return Ok(replaced("signal", None));
                    }
                }
                ControlEvent::Order(order) => {
                    if let Some(reason) = self.follow(order).await {
                        return Ok(reason);
                    }
                }
                ControlEvent::Loaded(Some(outcome)) => {
                    self.take_over(outcome);
                    expiry_log.look(&self.metrics);
                }
                ControlEvent::Loaded(None) => self.loader_ended(),
                ControlEvent::UpgradeFailed(reason) => self.upgrade_failed(&reason),
                ControlEvent::TicketKeysDue => self.rotate_ticket_keys(),
                ControlEvent::LogLevelOver => self.log.go_back(),
                ControlEvent::ExpiryCheckDue => expiry_log.look(&self.metrics),
                ControlEvent::WatchdogDue => self.look_after_workers(),
                ControlEvent::SteeringChanged => self.tell_status(),
                ControlEvent::WorkerEnded(worker) => self.workers.restart(worker)?,
            }
        }
    }

    /// Follows an order; returns the reason to stop if it is one.
    async fn follow(&mut self, received: ReceivedOrder) -> Option<StopReason> {
        let process = received.request.process;
        match received.request.order {
            Order::Leave => return Some(self.leave(received).await),
            Order::DrainWorker { worker, drained } => self.drain_worker(received, worker, drained),
            Order::EndSessions(_) => self.end_sessions(received),
            Order::TellHealth => self.tell_health(received),
            Order::TellAddresses => self.tell_addresses(received),
            Order::LogLevel(order) => {
                let state = self.log.follow(order, process);
                received.answer(Ok(Acknowledgment::LogLevel(state)));
            }
            Order::Reload => self.follow_reload(received),
            Order::Upgrade => self.follow_upgrade(received),
            Order::CannotReplace(ref problem) => {
                self.note_failed_successor(process, problem);
                received.answer(Ok(Acknowledgment::Done));
            }
            Order::TellWhetherServing => received.answer(Ok(Acknowledgment::Done)),
        }
        None
    }

    /// Leaves the place to the process that gives the order.
    async fn leave(&mut self, received: ReceivedOrder) -> StopReason {
        let process = received.request.process;
        self.stop_catchers();
        let successor = u32::try_from(process).ok().filter(|id| *id > 0);
        self.hand_supervision_over(successor).await;
        self.conclude_upgrade(successor);
        // The process that gave the order reads the state once it has the answer.
        let is_state_written = self.identity.hand_state_over().await;
        received.answer(Ok(Acknowledgment::Draining { is_state_written }));
        replaced("socket", Some(process))
    }

    fn drain_worker(&self, received: ReceivedOrder, worker: u32, drained: bool) {
        let followed = self.steering.set_drained(worker, drained);
        if followed.is_ok() {
            tracing::info!(
                worker,
                drained,
                process = received.request.process,
                "an operator has drained a worker, or put it back in use"
            );
        }
        let answer = followed.map(|()| Acknowledgment::Done);
        received.answer(answer.map_err(|error| error.to_string()));
    }

    /// Tells the process that takes the place of this one what is known of endpoints.
    pub(super) fn tell_health(&self, received: ReceivedOrder) {
        received.answer(Ok(Acknowledgment::Health(self.health.verdicts())));
    }

    /// Tells the process that takes the place of this one where clients connect.
    pub(super) fn tell_addresses(&self, received: ReceivedOrder) {
        received.answer(Ok(Acknowledgment::Addresses(self.workers.addresses())));
    }

    /// Says that it is ready: at once, or after the first health check of each endpoint, which may have
    /// some time.
    fn become_ready(&self) {
        let limit = self.settings.first_health_checks;
        let Some(first_round) = self.health.first_round().filter(|_| !limit.is_zero()) else {
            self.metrics.become_ready();
            return self.tell_ready();
        };
        let metrics = Arc::clone(&self.metrics);
        let (manager, status) = (self.supervision.manager.clone(), self.service_status());
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(limit, first_round).await.is_err() {
                tracing::warn!(
                    ?limit,
                    "some upstreams have no result of their first health check yet; they count as \
                     available"
                );
            }
            metrics.become_ready();
            manager.ready(&status.to_string());
        });
    }

    /// First, when another process serves: where no program selects a listener, the kernel's own
    /// choice may be a catcher.
    pub(super) fn stop_catchers(&mut self) {
        if let Some(catchers) = &mut self.catchers {
            catchers.stop();
        }
    }

    /// Follows the order to end all sessions of a user, also while the process drains.
    pub(super) fn end_sessions(&self, received: ReceivedOrder) {
        let Order::EndSessions(user) = &received.request.order else { return };
        let ended = self.identity.end_sessions_of(user).map(Acknowledgment::SessionsEnded);
        received.answer(ended.map_err(|error| error.to_string()));
    }

    /// Whether another process listens at the same addresses, as far as that can be told.
    pub(super) async fn listens_beside_another(&self) -> bool {
        self.is_beside_another().await.unwrap_or(false)
    }

    async fn is_beside_another(&self) -> io::Result<bool> {
        let addresses = self.workers.addresses();
        let asked = tokio::task::spawn_blocking(move || successor::listens_at(&addresses)).await;
        asked.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    /// Whether another process listens at the same addresses. Otherwise SIGUSR2 means nothing here.
    pub(super) async fn has_successor(&self) -> bool {
        match self.is_beside_another().await {
            Ok(true) => return true,
            Ok(false) => tracing::warn!(
                "SIGUSR2 is ignored: no other process listens at the addresses of this one; `portcullis \
                 run --replace` starts one"
            ),
            Err(error) => tracing::error!(
                %error,
                "SIGUSR2 is ignored: the sockets that listen on this machine cannot be listed"
            ),
        }
        false
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
            tokio::task::spawn_local(self.keep_listeners_after(async move {
                let finished = predecessor.finish().await;
                identity.take_over_state(finished == Some(true)).await;
                finished.is_some()
            }));
        }
    }

    /// Applies a new configuration, or keeps the old one and says why.
    fn take_over(&mut self, outcome: LoadOutcome) {
        for warning in &outcome.warnings {
            tracing::warn!("{warning}");
        }
        let verdict = match outcome.result {
            Ok(compiled) => {
                let generation = compiled.snapshot.generation;
                self.apply(*compiled);
                Ok(generation)
            }
            Err(reason) => {
                tracing::error!(
                    "the new configuration is rejected; the old one stays in use: {reason}"
                );
                self.metrics.config_refused(reason.clone());
                Err(reason)
            }
        };
        self.tell_reloaded(&verdict);
        self.answer_reloads(outcome.covers, &verdict);
    }

    fn apply(&mut self, compiled: Compiled) {
        let Compiled { snapshot, parts, access, settings, .. } = compiled;
        warn_of_restart(&self.settings, &settings);
        self.warn_of_lowered_connections(&settings);
        self.access.apply(access);
        self.names.configure(settings.dns);
        self.log.configure(settings.log.clone());
        self.settings = settings;
        tracing::info!(generation = snapshot.generation, "configuration reloaded");
        identity::configure(&self.identity, &snapshot.site);
        let watched = parts.watched().to_vec();
        // New clusters learn what is known before requests reach them.
        self.health.watch(watched.clone());
        let replaced = (parts.publish(), self.snapshots.send_replace(snapshot));
        self.health.watch(watched);
        if let Some(loader) = &self.loader {
            loader.retire(replaced);
        }
    }

    fn warn_of_lowered_connections(&self, settings: &ControlSettings) {
        if settings.max_connections != self.settings.max_connections
            && let Err(lowered) = self.descriptors.check(settings.max_connections)
        {
            tracing::warn!("{lowered}");
        }
    }

    /// Gives the number of the request, or why there is none.
    pub(super) fn request_load(&self) -> Result<u64, String> {
        let Some(loader) = &self.loader else {
            tracing::error!("cannot reload the configuration: {LOADER_ENDED}");
            return Err(LOADER_ENDED.to_owned());
        };
        self.supervision.manager.reloading();
        Ok(loader.request())
    }

    fn loader_ended(&mut self) {
        self.loader = None;
        tracing::error!("{LOADER_ENDED}");
        let failed = Err(LOADER_ENDED.to_owned());
        self.tell_reloaded(&failed);
        self.answer_reloads(u64::MAX, &failed);
    }

    fn rotate_ticket_keys(&self) {
        match self.tickets.rotate() {
            Ok(true) => self.metrics.ticket_key_rotated(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot rotate the session ticket keys"),
        }
    }
}

pub(super) fn say_that_no_log_is_reopened() {
    tracing::info!(
        "SIGUSR1 is ignored: there is no log file to reopen, the log goes to standard output"
    );
}

fn replaced(told_by: &str, successor: Option<i32>) -> StopReason {
    tracing::info!(told_by, successor, "another process has replaced this one");
    StopReason::Replaced
}

/// Names the changed keys that a reload cannot apply.
fn warn_of_restart(old: &ControlSettings, new: &ControlSettings) {
    let changed = [
        ("address", old.listen.addresses != new.listen.addresses),
        ("http_redirect_addr", old.listen.redirect_address != new.listen.redirect_address),
        ("portcullis.workers", old.workers != new.workers),
        ("portcullis.admin_address", old.admin_address != new.admin_address),
        ("metrics_address", old.metrics_address != new.metrics_address),
        ("portcullis.core_dumps", old.core_dumps != new.core_dumps),
        ("portcullis.steering.mode", old.steering_mode != new.steering_mode),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "a changed key takes effect at the next start");
    }
}
