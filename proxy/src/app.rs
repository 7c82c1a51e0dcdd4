//! The start-up order. The only file that sees every room.

mod control;
mod control_socket;
mod drain;
mod expiry;
mod explain;
mod handover;
mod identity;
mod listeners;
mod loader;
mod log_level;
mod reload_orders;
mod signals;
mod steering;
mod successor;
mod supervision;
mod upgrade;
mod workers;

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    runtime::Builder,
    sync::{mpsc::UnboundedReceiver, watch},
    task::LocalSet,
};

use crate::{
    admin,
    config::{Config, ConfigLocation, Environment, FileSource, Loaded, Source},
    descriptors::{DescriptorBudget, DescriptorUsers},
    identity::{control::IdentityControl, jose},
    observe::{Log, Metrics},
    service_manager::inherited_descriptors,
    snapshot::{Compiler, StagedParts},
    steering::{CatcherKeeper, CatcherSize, ModeChoice, NoRoomForCatcher, Steering},
    sys,
    tls::TicketKeys,
    upstream::{DnsNames, EjectionSender, HealthMonitor},
    worker::{ProcessPhase, Snapshot},
};
use control::StopReason;
use control_socket::ControlSocket;
use handover::Predecessor;
use listeners::KeptListeners;
use loader::{Compiled, ControlSettings, Loader, Publisher};
use log_level::LogLevel;
use reload_orders::ReloadOrders;
use signals::Signals;
use supervision::Supervision;
use upgrade::{PendingUpgrade, SuccessorEnd};
use workers::{WorkerChannels, WorkerResources, Workers};

pub(crate) use control_socket::{
    LONGEST_LOG_LEVEL, LogLevelOrder, LogLevelState, RunningProcess, recorded_admin_addresses,
};
pub(crate) use explain::{ExplainedConnection, Explanation, Visit, explain};

/// How long the log may take to write what is left at the end.
const LOG_FLUSH: Duration = Duration::from_secs(2);

/// Runs the proxy until it is told to stop and has drained. `replaced` is the ID of a process that
/// serves at the same addresses: once this process serves too, it tells that one to drain and exit.
pub(crate) fn run(location: &ConfigLocation, replaced: Option<u32>) -> anyhow::Result<()> {
    sys::require_supported_kernel()?;
    // Before anything secret is read.
    sys::forbid_core_dumps()?;
    jose::install();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = LocalSet::new().block_on(&runtime, Box::pin(serve(location, replaced)));
    // Nothing that still runs may hold up the end of the process.
    runtime.shutdown_background();
    ended
}

async fn serve(location: &ConfigLocation, replaced: Option<u32>) -> anyhow::Result<()> {
    let started = start(location, replaced).await;
    if let (Some(id), Err(error)) = (replaced, &started) {
        handover::tell_failure(id, error).await;
    }
    let (app, admin) = started?;
    let log = app.log.log().clone();
    let ended = app.run(admin).await;
    log.flush(LOG_FLUSH);
    ended
}

async fn start(
    location: &ConfigLocation,
    replaced: Option<u32>,
) -> anyhow::Result<(App, admin::Server)> {
    let predecessor = match replaced {
        Some(id) => Predecessor::find(id).await?,
        None => None,
    };
    let mut source = FileSource::new(location.clone(), Environment::of_process());
    let Loaded { config, warnings } = source.load().await?;
    sys::settle_core_dumps(config.core_dumps)?;
    let cores = worker_cores(config.workers)?;
    let metrics = Arc::new(Metrics::new(cores.len()));
    let log = Log::start(config.log.clone(), &metrics)?;
    log.install();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(process) = replaced.filter(|_| predecessor.is_none()) {
        tracing::warn!(process, "the process to replace has ended: this one starts in its place");
    }
    let started = App::start(source, config, &cores, predecessor, metrics, log.clone());
    if started.is_err() {
        log.flush(LOG_FLUSH);
    }
    started
}

/// One core for each worker if there are enough cores; otherwise no worker is pinned.
fn worker_cores(workers: Option<NonZeroUsize>) -> io::Result<Vec<Option<usize>>> {
    let cores = sys::allowed_cores()?;
    let workers = workers.map_or(cores.len(), NonZeroUsize::get);
    let pinned = workers <= cores.len();
    Ok((0..workers).map(|worker| cores.get(worker).copied().filter(|_| pinned)).collect())
}

/// A running proxy, seen from its control thread.
struct App {
    /// Of the configuration in use.
    settings: ControlSettings,
    /// `None` while it cannot load: its thread has ended, or the process drains.
    loader: Option<Loader>,
    access: admin::AccessHandle,
    names: Arc<DnsNames>,
    tickets: Arc<TicketKeys>,
    predecessor: Option<Predecessor>,
    health: HealthMonitor,
    orders: Option<ControlSocket>,
    descriptors: DescriptorBudget,
    signals: Signals,
    supervision: Supervision,
    reload_orders: ReloadOrders,
    upgrade: Option<PendingUpgrade>,
    /// Of a process that this one has started and that has taken its place.
    successor: Option<SuccessorEnd>,
    /// The file that `run` was given, if there is one.
    location: ConfigLocation,
    snapshots: watch::Sender<Arc<Snapshot>>,
    phase: watch::Sender<ProcessPhase>,
    identity: IdentityControl,
    workers: Workers,
    ended: UnboundedReceiver<usize>,
    steering: Arc<Steering>,
    catchers: Option<CatcherKeeper>,
    metrics: Arc<Metrics>,
    log: LogLevel,
}

impl App {
    fn start(
        source: FileSource,
        mut config: Config,
        cores: &[Option<usize>],
        predecessor: Option<Predecessor>,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> anyhow::Result<(App, admin::Server)> {
        let (descriptors, catchers) = descriptors(&config, cores.len(), &metrics)?;
        // Before anything runs: an address in use ends the start at once.
        let admin = admin::Sockets::bind(&config.admin, predecessor.is_some())?;
        let (supervision, location) = (Supervision::of_environment(), source.location().clone());
        let kept = KeptListeners::of(inherited_descriptors());
        let mut listeners = listeners::bind(&config, cores.len(), kept)?;
        predecessor.iter().for_each(|it| it.warn_of_lost_addresses(&listeners.addresses()));
        let (mut compiler, mut health) =
            compiler(&config, &metrics, cores.len(), &descriptors, predecessor.as_ref())?;
        let Compiled { snapshot, parts, access, settings, facts, renewable } =
            loader::compile(&mut compiler, &source.name(), &mut config)?;
        put_into_use(parts, &mut health)?;
        supervision.store.listen(&listeners, predecessor.is_none())?;
        let (mode, rules) = (settings.steering_mode, Arc::clone(&snapshot.front.steering));
        let (steering, keeper) = steering::start(mode, catchers, &mut listeners, rules, &metrics)?;
        let admin = admin::Server::listen(admin, access, &metrics, &steering, descriptors.admin)?;
        metrics.config_applied(snapshot.generation, facts);
        let (identity, control) = identity::start(&compiler.names, &metrics, &snapshot.site)?;
        let publisher = Publisher::new(&metrics, &steering);
        let upstreams = descriptors.upstreams_of_worker();
        let (resources, channels) =
            WorkerResources::new(snapshot, &metrics, &log, &steering, identity, upstreams);
        let WorkerChannels { snapshots, phase, ended } = channels;
        let app = App {
            names: Arc::clone(&compiler.names),
            tickets: Arc::clone(&compiler.tickets),
            loader: Some(Loader::start(source, config, renewable, compiler, publisher)?),
            access: admin.access(),
            orders: control_socket::listen(&metrics, admin.admin_address()),
            descriptors,
            signals: Signals::new()?,
            settings,
            identity: identity::keep_state(control, predecessor.is_some()),
            predecessor,
            health,
            snapshots,
            phase,
            supervision,
            reload_orders: ReloadOrders::default(),
            upgrade: None,
            successor: None,
            location,
            workers: Workers::start(resources, cores, listeners.workers)?,
            ended,
            steering,
            catchers: keeper,
            metrics,
            log: LogLevel::new(log),
        };
        Ok((app, admin))
    }

    /// Controls until told to stop, then lets the workers drain. The admin listeners answer to the
    /// end, unless another process serves at their addresses by then.
    async fn run(mut self, admin: admin::Server) -> anyhow::Result<()> {
        self.announce(&admin);
        let admin = tokio::task::spawn_local(async move {
            if let Err(error) = admin.run().await {
                tracing::error!(%error, "the admin listeners have stopped");
            }
        });
        let stopped = self.control().await;
        let reason = *stopped.as_ref().unwrap_or(&StopReason::Failure);
        if reason == StopReason::Replaced {
            // The successor has the address now, and it alone answers there.
            admin.abort();
        }
        self.loader = None;
        let drained = self.drain(reason, &admin).await;
        ControlSocket::send_answers(self.orders.take()).await;
        self.identity.save_state().await;
        stopped.and(drained)
    }
}

/// Puts the parts of the first configuration into use. What is known of its endpoints is applied before.
fn put_into_use(parts: StagedParts, health: &mut HealthMonitor) -> io::Result<()> {
    health.begin(parts.watched().to_vec())?;
    drop(parts.publish());
    sys::give_memory_back();
    Ok(())
}

/// The compiler, and what decides which of the endpoints it compiles are available.
fn compiler(
    config: &Config,
    metrics: &Arc<Metrics>,
    workers: usize,
    descriptors: &DescriptorBudget,
    predecessor: Option<&Predecessor>,
) -> anyhow::Result<(Compiler, HealthMonitor)> {
    let tickets = TicketKeys::generate().context(
        "cannot generate ticket keys: the system's random \
        generator failed",
    )?;
    let names = DnsNames::new(config.dns);
    names.limit_lookups(descriptors.lookups);
    let secret = identity::random_secret()?;
    let (names, tickets) = (Arc::new(names), Arc::new(tickets));
    let mut compiler = Compiler::new(Arc::clone(metrics), names, tickets, secret, workers);
    compiler.max_connections = descriptors.clients;
    let (ejections, proposals) = EjectionSender::channel();
    compiler.ejections = ejections;
    let inherited = predecessor.and_then(Predecessor::health);
    let health = HealthMonitor::new(metrics.health(), proposals, inherited, descriptors.checks);
    Ok((compiler, health))
}

/// Raises the limit on open files as far as it goes, and divides it. Logs the shares.
fn descriptors(
    config: &Config,
    workers: usize,
    metrics: &Metrics,
) -> anyhow::Result<(DescriptorBudget, Result<CatcherSize, NoRoomForCatcher>)> {
    let limit = sys::raise_descriptor_limit();
    let mut catchers = steering::catcher_size(config, limit);
    let listen = &config.listen;
    let admin = [config.admin.address.is_some(), config.admin.metrics.is_some()];
    let users = DescriptorUsers {
        workers,
        addresses: listen.addresses.len() + usize::from(listen.redirect_address.is_some()),
        admin_listeners: admin.into_iter().filter(|is_there| *is_there).count(),
        health_checks: config.health_checks(),
        catchers: steering::catcher_descriptors(config, workers, catchers),
    };
    let budget = DescriptorBudget::new(limit, users).or_else(|error| {
        if users.catchers == 0 || config.steering.mode == ModeChoice::Kernel {
            return Err(error);
        }
        // Handing connections over needs none.
        catchers = Err(NoRoomForCatcher::Descriptors(limit.map_or(0, NonZeroUsize::get)));
        DescriptorBudget::new(limit, DescriptorUsers { catchers: 0, ..users })
    })?;
    if let Err(lowered) = budget.check(config.max_connections) {
        tracing::warn!("{lowered}");
    }
    metrics.set_descriptors(budget.view());
    let clients = config.connections.max_connections.min(budget.clients);
    let DescriptorBudget { limit, reserved, upstreams, .. } = budget;
    tracing::info!(limit, clients, upstreams, reserved, "open files: the limit and its shares");
    Ok((budget, catchers))
}
