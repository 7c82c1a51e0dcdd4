//! The start-up order. The only file that sees every room.

mod control;
mod predecessor;
mod steering;
mod workers;

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver},
        watch,
    },
    task::LocalSet,
};

use crate::{
    admin,
    config::{self, Config, Environment, Loaded},
    listener::Listener,
    observe::{Log, Metrics},
    snapshot::{self, Compiler},
    steering::Steering,
    sys,
    tls::TicketKeys,
    upstream::DnsNames,
    worker::{Phase, Snapshot},
};
use control::Stopped;
use predecessor::Predecessor;
use workers::{Common, Workers};

/// How long the log may take to write what is left at the end.
const LOG_FLUSH: Duration = Duration::from_secs(2);
/// A connection of a client and one to an upstream.
const DESCRIPTORS_PER_CONNECTION: usize = 2;

/// Runs the proxy until it is told to stop and has drained. `replaced` is the ID of a process that
/// serves at the same addresses: once this one serves too, that one is told to finish.
pub fn run(path: &Path, replaced: Option<u32>) -> anyhow::Result<()> {
    let predecessor = replaced.map(Predecessor::find).transpose()?;
    let environment = Environment::of_process();
    let Loaded { config, warnings } = config::load(path, &environment)?;
    let cores = worker_cores(config.workers)?;
    let metrics = Arc::new(Metrics::new(cores.len()));
    let log = Log::start(config.log.clone(), &metrics)?;
    log.install();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let source = Source { path: path.to_owned(), environment };
    let ended = App::start(source, config, &cores, predecessor, metrics, log.clone())
        .and_then(|(app, admin)| app.run(admin));
    log.flush(LOG_FLUSH);
    ended
}

/// One core for each worker, as far as there are cores; more workers than cores are not pinned.
fn worker_cores(workers: Option<NonZeroUsize>) -> io::Result<Vec<Option<usize>>> {
    let cores = sys::allowed_cores()?;
    let workers = workers.map_or(cores.len(), NonZeroUsize::get);
    let pinned = workers <= cores.len();
    Ok((0..workers).map(|worker| cores.get(worker).copied().filter(|_| pinned)).collect())
}

/// Where the configuration comes from, again at each reload.
struct Source {
    path: PathBuf,
    environment: Environment,
}

/// A running proxy, seen from its control thread.
struct App {
    source: Source,
    config: Config,
    compiler: Compiler,
    predecessor: Option<Predecessor>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    phase: watch::Sender<Phase>,
    /// `None` once they are waited for.
    workers: Option<Workers>,
    ended: UnboundedReceiver<usize>,
    steering: Arc<Steering>,
    metrics: Arc<Metrics>,
    log: Log,
}

impl App {
    fn start(
        source: Source,
        mut config: Config,
        cores: &[Option<usize>],
        predecessor: Option<Predecessor>,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> anyhow::Result<(App, admin::Server)> {
        warn_of_few_descriptors(&config);
        // Before anything runs: an address in use ends the start at once.
        let admin = admin::Sockets::bind(&config.admin, predecessor.is_some())?;
        let listeners: Vec<_> =
            cores.iter().map(|_| config.listen.bind()).collect::<Result<_, _>>()?;

        let tickets = TicketKeys::generate().context("no randomness for ticket keys")?;
        let names = Arc::new(DnsNames::new(config.dns));
        let mut compiler =
            Compiler::new(Arc::clone(&metrics), names, Arc::new(tickets), cores.len());
        let snapshot = Arc::new(compiler.compile(&mut config)?);
        // From here on, connections wait for the workers.
        listeners.iter().flatten().try_for_each(Listener::listen)?;
        let rules = Arc::clone(&snapshot.front.steering);
        let steering = steering::start(config.steering.mode, &listeners, rules, &metrics)?;
        let admin = admin::Server::listen(admin, &config.admin, &metrics, &steering)?;
        metrics.config_applied(snapshot::facts(&source.path, &config, &snapshot));
        sys::give_memory_back();

        let (snapshots, _) = watch::channel(snapshot);
        let (phase, _) = watch::channel(Phase::Running);
        let (ending, ended) = mpsc::unbounded_channel();
        let common = Common {
            snapshots: snapshots.subscribe(),
            phase: phase.subscribe(),
            metrics: Arc::clone(&metrics),
            log: log.clone(),
            steering: Arc::clone(&steering),
            ended: ending,
        };
        let workers = Some(Workers::start(common, cores, listeners)?);
        let app = App {
            source,
            config,
            compiler,
            predecessor,
            snapshots,
            phase,
            workers,
            ended,
            steering,
            metrics,
            log,
        };
        Ok((app, admin))
    }

    /// Controls until told to stop, then lets the workers drain. The admin listeners answer to the
    /// end, unless another process has them then.
    fn run(mut self, admin: admin::Server) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let stopped = self.control(admin).await;
            let replaced = matches!(stopped, Ok(Stopped::Replaced));
            self.drain(replaced).await?;
            stopped.map(drop)
        })
    }

    async fn drain(&mut self, replaced: bool) -> anyhow::Result<()> {
        self.metrics.set_state(crate::observe::State::Draining);
        if let Err(error) = self.steering.close() {
            tracing::warn!(%error, "connections that begin meanwhile may be lost");
        }
        self.phase.send_replace(Phase::Draining { replaced });
        let Some(workers) = self.workers.take() else { return Ok(()) };
        let ended = tokio::task::spawn_blocking(|| workers.join());
        ended.await.context("waiting for the workers")?
    }
}

fn warn_of_few_descriptors(config: &Config) {
    let wanted = config.connections.max_connections.saturating_mul(DESCRIPTORS_PER_CONNECTION);
    let limit = sys::raise_descriptor_limit();
    if let Some(limit) = limit.filter(|limit| limit.get() < wanted) {
        tracing::warn!(
            limit = limit.get(),
            wanted,
            "fewer open files are allowed than portcullis.max_connections may need; raise \
             LimitNOFILE or lower portcullis.max_connections"
        );
    }
}
