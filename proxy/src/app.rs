//! The start-up order. The only file that sees every room.

mod control;
mod steering;

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
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
    steering::{Mailboxes, Steering},
    sys,
    tls::TicketKeys,
    upstream::Names,
    worker::{self, Phase, Snapshot, WorkerSpec},
};

/// How long the log may take to write what is left at the end.
const LOG_FLUSH: Duration = Duration::from_secs(2);
/// A connection of a client and one to an upstream.
const DESCRIPTORS_PER_CONNECTION: usize = 2;

/// Runs the proxy until it is told to stop and has drained.
pub fn run(path: &Path) -> anyhow::Result<()> {
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
    let ended = App::start(source, config, &cores, metrics, log.clone()).and_then(App::run);
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
    snapshots: watch::Sender<Arc<Snapshot>>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<()>>,
    ended: UnboundedReceiver<usize>,
    steering: Arc<Steering>,
    metrics: Arc<Metrics>,
    log: Log,
}

impl App {
    fn start(
        source: Source,
        config: Config,
        cores: &[Option<usize>],
        metrics: Arc<Metrics>,
        log: Log,
    ) -> anyhow::Result<App> {
        warn_of_few_descriptors(&config);
        // Before anything runs: an address in use ends the start at once.
        let listeners: Vec<_> =
            cores.iter().map(|_| config.listen.bind()).collect::<Result<_, _>>()?;

        let tickets = TicketKeys::generate().context("no randomness for ticket keys")?;
        let names = Arc::new(Names::new(config.dns));
        let mut compiler =
            Compiler::new(Arc::clone(&metrics), names, Arc::new(tickets), cores.len());
        let snapshot = Arc::new(compiler.compile(&config)?);
        let rules = Arc::clone(&snapshot.front.steering);
        let steering = steering::start(config.steering.mode, &listeners, rules, &metrics)?;
        metrics.config_applied(snapshot::facts(&source.path, &config));

        let (snapshots, _) = watch::channel(snapshot);
        let (phase, _) = watch::channel(Phase::Running);
        let (ending, ended) = mpsc::unbounded_channel();
        let workers = Vec::new();
        let mut app = App {
            source,
            config,
            compiler,
            snapshots,
            phase,
            workers,
            ended,
            steering,
            metrics,
            log,
        };
        app.start_workers(cores, listeners, &ending)?;
        Ok(app)
    }

    fn start_workers(
        &mut self,
        cores: &[Option<usize>],
        listeners: Vec<Vec<Listener>>,
        ending: &UnboundedSender<usize>,
    ) -> anyhow::Result<()> {
        let open_connections = Arc::new(AtomicUsize::new(0));
        let mailboxes = Mailboxes::new(cores.len());
        for (id, (core, listeners)) in cores.iter().zip(listeners).enumerate() {
            self.metrics.set_worker_cpu(id, *core);
            let spec = WorkerSpec {
                id,
                core: *core,
                listeners,
                snapshot: self.snapshots.subscribe(),
                phase: self.phase.subscribe(),
                metrics: self.metrics.worker(id).context("a worker without cells")?,
                log: self.log.clone(),
                open_connections: Arc::clone(&open_connections),
                steering: Arc::clone(&self.steering),
                mailboxes: mailboxes.clone(),
            };
            let started = worker::start(spec, ending.clone());
            self.workers.push(started.with_context(|| format!("cannot start worker {id}"))?);
        }
        Ok(())
    }

    /// Controls until told to stop, then lets the workers drain. The admin listeners answer to the
    /// end.
    fn run(mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let admin = admin::Server::bind(&self.config.admin, &self.metrics, &self.steering)?;
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let stopped = self.control(admin).await;
            self.drain().await?;
            stopped
        })
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        self.metrics.set_state(crate::observe::State::Draining);
        self.phase.send_replace(Phase::Draining);
        let workers = std::mem::take(&mut self.workers);
        let ended = tokio::task::spawn_blocking(move || join(workers));
        ended.await.context("waiting for the workers")?
    }
}

fn join(workers: Vec<JoinHandle<()>>) -> anyhow::Result<()> {
    workers.into_iter().try_for_each(JoinHandle::join).map_err(|_| anyhow!("a worker panicked"))
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
