//! Loads configurations on a thread of its own.
//!
//! The control loop asks for a load and receives its outcome; it never reads a file, compiles, or
//! frees an old configuration. Loads run one after another, and one more load covers all changes
//! that happen during a load. A load that hangs, for example on a dead mount, blocks this thread and
//! nothing else: nobody joins it.
//!
//! If only server certificates, CRLs or ticket keys have changed, this thread reads these alone and
//! puts them into use itself: no route is compiled, and the control loop takes no part.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use crate::{
    admin::PreparedAccess,
    config::{Config, Diagnostic, ReadFile, RenewableParts, RenewedParts, Source},
    http::RequestConfig,
    listener::ListenSpec,
    observe::{ConfigFacts, LogSpec, Metrics},
    snapshot::{self, Compiler, StagedParts},
    steering::{ModeChoice, Steering, SteeringRules},
    sys,
    upstream::DnsSpec,
    worker::Snapshot,
};

/// A quarter of a core beside a busy worker (weights of 335 and 1024, sched(7)): a load must neither
/// disturb workers nor starve when they use every core. With a niceness of 10 it gets a tenth, and a
/// reload of 10,000 routes took 16 to 26 s on a saturated machine, against 2.7 s on an idle one.
const NICENESS: i32 = 5;

/// How many names of renewed certificates a log line shows.
const MAX_NAMES_SHOWN: usize = 20;

/// The control loop's end of the loader.
#[derive(Debug)]
pub(super) struct Loader {
    requests: mpsc::Sender<()>,
    /// The number of requests so far.
    requested: Arc<AtomicU64>,
    outcomes: mpsc::Receiver<LoadOutcome>,
    retired: UnboundedSender<Retired>,
    is_loading: Arc<AtomicBool>,
}

/// What a configuration has replaced.
type Retired = Box<dyn Send>;

/// What came of a load.
#[derive(Debug)]
pub(super) struct LoadOutcome {
    /// Findings that stop nothing.
    pub(super) warnings: Vec<Diagnostic>,
    /// The configuration, or why it was refused.
    pub(super) result: Result<Box<Compiled>, String>,
    /// The load began after all requests up to this number.
    pub(super) covers: u64,
}

/// A configuration that is ready to be applied, which cannot fail.
#[derive(Debug)]
pub(super) struct Compiled {
    /// For workers.
    pub(super) snapshot: Arc<Snapshot>,
    /// What all snapshots share; to be published right before this one.
    pub(super) parts: StagedParts,
    /// For the metrics listener.
    pub(super) access: PreparedAccess,
    /// For the control loop.
    pub(super) settings: ControlSettings,
    /// For status and metrics.
    pub(super) facts: ConfigFacts,
    /// For the loader, once this is applied.
    pub(super) renewable: RenewableParts,
}

/// What the control loop needs to know of a configuration.
#[derive(Debug, Clone)]
pub(super) struct ControlSettings {
    pub(super) listen: ListenSpec,
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) admin_address: Option<SocketAddr>,
    pub(super) metrics_address: Option<SocketAddr>,
    pub(super) max_connections: Option<usize>,
    pub(super) drain_timeout: Duration,
    pub(super) core_dumps: bool,
    pub(super) steering_mode: ModeChoice,
    pub(super) dns: DnsSpec,
    pub(super) log: LogSpec,
    pub(super) routes: usize,
    pub(super) hot_reload: bool,
    /// How long a start waits for the first health checks before it says that it is ready.
    pub(super) first_health_checks: Duration,
}

impl ControlSettings {
    fn of(config: &Config) -> ControlSettings {
        ControlSettings {
            listen: config.listen.clone(),
            workers: config.workers,
            admin_address: config.admin.address,
            metrics_address: config.admin.metrics.as_ref().map(|metrics| metrics.address),
            max_connections: config.max_connections,
            drain_timeout: config.connections.drain_timeout,
            core_dumps: config.core_dumps,
            steering_mode: config.steering.mode,
            dns: config.dns,
            log: config.log.clone(),
            routes: config.routes.len(),
            hot_reload: config.hot_reload,
            first_health_checks: config.first_health_checks,
        }
    }
}

/// The readers of a configuration that may learn of it after workers: status, metrics, and the
/// kernel's table of names.
#[derive(Debug)]
pub(super) struct Publisher {
    metrics: Arc<Metrics>,
    steering: Arc<Steering>,
}

impl Publisher {
    /// Publishes there.
    pub(super) fn new(metrics: &Arc<Metrics>, steering: &Arc<Steering>) -> Publisher {
        Publisher { metrics: Arc::clone(metrics), steering: Arc::clone(steering) }
    }

    fn publish(&self, generation: u64, facts: ConfigFacts, rules: Arc<SteeringRules>) {
        super::steering::apply(&self.steering, rules);
        self.metrics.config_applied(generation, facts);
    }

    fn publish_renewed(&self, generation: u64, renewed: &RenewedParts) {
        self.metrics.parts_renewed(generation, snapshot::renewed_facts(renewed));
    }
}

/// Compiles a configuration that the source `name` supplied.
///
/// What can fail comes before the compiler, which counts the generations in use.
pub(super) fn compile(
    compiler: &mut Compiler,
    name: &str,
    config: &mut Config,
) -> anyhow::Result<Compiled> {
    let access = PreparedAccess::new(&config.admin)?;
    let settings = ControlSettings::of(config);
    let renewable = RenewableParts::of(config);
    let mut facts = snapshot::facts(Path::new(name), config);
    let (snapshot, parts) = compiler.compile(config)?;
    let snapshot = Arc::new(snapshot);
    facts.routes = Some(Arc::<RequestConfig>::clone(&snapshot.site));
    Ok(Compiled { snapshot, parts, access, settings, facts, renewable })
}

impl Loader {
    /// Starts the thread. `source` has loaded the configuration in use, `config`, which is freed on
    /// the thread; `renewable` are its parts.
    pub(super) fn start(
        source: impl Source + Send + 'static,
        config: Config,
        renewable: RenewableParts,
        compiler: Compiler,
        publisher: Publisher,
    ) -> io::Result<Loader> {
        // One request that waits stands for all that follow it.
        let (requests, requested) = mpsc::channel(1);
        let (sender, outcomes) = mpsc::channel(1);
        let (retired, retiring) = mpsc::unbounded_channel();
        let is_loading = Arc::new(AtomicBool::new(false));
        let requested_so_far = Arc::new(AtomicU64::new(0));
        let thread = LoaderThread {
            source,
            watches: config.hot_reload,
            renewable: Some(renewable),
            compiler,
            publisher,
            requests: requested,
            outcomes: sender,
            retired: retiring,
            is_loading: Arc::clone(&is_loading),
            requested_so_far: Arc::clone(&requested_so_far),
            covers: 0,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("loader".into()).spawn(move || {
            drop(config);
            sys::give_memory_back();
            thread.run(&runtime);
        })?;
        Ok(Loader { requests, requested: requested_so_far, outcomes, retired, is_loading })
    }

    /// Asks for a load, which begins once the one under way has ended. Gives the number of the request.
    pub(super) fn request(&self) -> u64 {
        if self.is_loading.load(Relaxed) {
            tracing::info!(
                "the configuration is still being loaded and another load is queued; if this \
                 lasts, check whether a file system that holds its files hangs"
            );
        }
        // Before the request: the load that it causes reads the number.
        let number = self.requested.fetch_add(1, SeqCst) + 1;
        // If the queue is full, the load that waits covers this request too.
        let _ = self.requests.try_send(());
        number
    }

    /// Awaits the next outcome; `None` if the thread has ended, which only a fault can cause. Waits
    /// forever without a loader. Cancel-safe.
    ///
    /// A compiled configuration must be applied, and the snapshot that it replaces given to
    /// [`Loader::retire`]: the next load begins after that.
    pub(super) async fn outcome(loader: &mut Option<Loader>) -> Option<LoadOutcome> {
        match loader {
            Some(loader) => loader.outcomes.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Hands over the snapshot that another has replaced, to be freed off the control loop.
    pub(super) fn retire(&self, replaced: impl Send + 'static) {
        // Without the thread it is freed here.
        let _ = self.retired.send(Box::new(replaced));
    }
}

struct LoaderThread<S> {
    source: S,
    /// Whether a change is a reason to load.
    watches: bool,
    /// The parts of the configuration in use. `None` after a refusal: what was read last, and is
    /// watched now, is not in use.
    renewable: Option<RenewableParts>,
    compiler: Compiler,
    publisher: Publisher,
    requests: mpsc::Receiver<()>,
    outcomes: mpsc::Sender<LoadOutcome>,
    retired: UnboundedReceiver<Retired>,
    is_loading: Arc<AtomicBool>,
    requested_so_far: Arc<AtomicU64>,
    /// The number of requests when the last load began.
    covers: u64,
}

/// The control loop has ended.
struct ControlEnded;

impl<S: Source> LoaderThread<S> {
    fn run(mut self, runtime: &Runtime) {
        if let Err(error) = sys::lower_thread_priority(NICENESS) {
            tracing::warn!(%error, "cannot lower the priority of the loader thread; reloads \
                compete with workers for CPU time");
        }
        runtime.block_on(async { while self.next().await.is_ok() {} });
    }

    /// Waits for a reason to load, and loads what has changed.
    async fn next(&mut self) -> Result<(), ControlEnded> {
        let changed = tokio::select! {
            request = self.requests.recv() => request.map(|()| Vec::new()).ok_or(ControlEnded)?,
            changed = self.source.changed(), if self.watches => changed,
        };
        match self.renew(&changed) {
            Some(()) => Ok(()),
            None => self.load().await,
        }
    }

    /// Renews the parts that these files belong to. `None` if the whole must be loaded.
    fn renew(&mut self, changed: &[ReadFile]) -> Option<()> {
        let renewable = self.renewable.as_mut()?;
        let mut renewed = renewable.read(changed)?;
        let (generation, parts) = self.compiler.renew(&renewed).ok()?;
        drop(parts.publish());
        renewable.applied(&renewed);
        self.source.renewed(std::mem::take(&mut renewed.files));
        log_renewed(generation, &renewed);
        self.publisher.publish_renewed(generation, &renewed);
        Some(())
    }

    async fn load(&mut self) -> Result<(), ControlEnded> {
        self.is_loading.store(true, Relaxed);
        self.covers = self.requested_so_far.load(SeqCst);
        self.renewable = None;
        let (warnings, config) = match self.source.load().await {
            Ok(loaded) => (loaded.warnings, Ok(loaded.config)),
            Err(refused) => {
                let reason = refused.to_string();
                (refused.into_warnings(), Err(reason))
            }
        };
        let compiled = config.and_then(|mut config| {
            let compiled = compile(&mut self.compiler, &self.source.name(), &mut config);
            compiled.map_err(|error| format!("{error:#}"))
        });
        self.is_loading.store(false, Relaxed);
        match compiled {
            Ok(compiled) => self.hand_over(warnings, compiled).await,
            Err(reason) => self.send(warnings, Err(reason)).await,
        }
    }

    /// Hands a configuration to the control loop. Once it is applied, publishes it and frees the one
    /// that it replaced.
    async fn hand_over(
        &mut self,
        warnings: Vec<Diagnostic>,
        mut compiled: Compiled,
    ) -> Result<(), ControlEnded> {
        let renewable = std::mem::take(&mut compiled.renewable);
        self.watches = compiled.settings.hot_reload;
        let facts = std::mem::take(&mut compiled.facts);
        let generation = compiled.snapshot.generation;
        let rules = Arc::clone(&compiled.snapshot.front.steering);
        self.send(warnings, Ok(Box::new(compiled))).await?;
        drop(self.retired.recv().await.ok_or(ControlEnded)?);
        self.renewable = Some(renewable);
        self.publisher.publish(generation, facts, rules);
        sys::give_memory_back();
        Ok(())
    }

    async fn send(
        &self,
        warnings: Vec<Diagnostic>,
        result: Result<Box<Compiled>, String>,
    ) -> Result<(), ControlEnded> {
        let outcome = LoadOutcome { warnings, result, covers: self.covers };
        self.outcomes.send(outcome).await.map_err(|_| ControlEnded)
    }
}

fn log_renewed(generation: u64, renewed: &RenewedParts) {
    for warning in &renewed.warnings {
        tracing::warn!("{warning}");
    }
    if renewed.certificates.is_some() {
        let names = summary(&renewed.names);
        tracing::info!(generation, names, "server certificates renewed");
    }
    if renewed.crls.is_some() {
        tracing::info!(generation, "certificate revocation lists renewed");
    }
    if renewed.ticket_keys.is_some() {
        tracing::info!(generation, "session ticket keys renewed");
    }
}

/// The first of many names: 10,000 certificates may be renewed together.
fn summary(names: &[String]) -> String {
    let shown = names.get(..MAX_NAMES_SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MAX_NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
