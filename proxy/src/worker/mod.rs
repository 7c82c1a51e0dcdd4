//! A worker: one pinned thread with one ring, its listeners, and its connections.

mod accept;
mod inbox;
mod limits;

use std::{
    io,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tokio::sync::{
    mpsc::{self, UnboundedSender},
    watch,
};

use crate::{
    conn::{self, ConnectionServer, OpenConnections, WorkerConnections},
    http,
    identity::worker::IdentityHandle,
    listener::{Listener, ListenerRole},
    observe::{Log, WorkerMetrics, WorkerObserver},
    rt,
    steering::{Mailboxes, Steering},
    sys,
    upstream::Upstreams,
};

/// How often a worker passes on its log lines, counts its tasks and publishes its load.
const TICK: Duration = Duration::from_millis(100);

/// How long a hello may take if the client connected before the drain began and the kernel holds
/// connections back until their hello: a round trip, or two after a loss.
const HELLOS_UNDER_WAY: Duration = Duration::from_secs(1);

/// The part of the drain timeout over which connections are told to move to another process.
const SPREAD_PART: u32 = 20;

/// A configuration as workers use it: compiled and immutable.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// 1 for the first configuration; each later one adds 1.
    pub generation: u64,
    /// For connections.
    pub front: Arc<conn::ListenerConfig>,
    /// For requests.
    pub site: Arc<http::RequestConfig>,
}

/// The phase of the process. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessPhase {
    /// Serving.
    Running,
    /// Accepts no more connections and finishes the open ones.
    Draining {
        /// Whether another process serves; then clients are told to move one after another.
        replaced: bool,
        /// Whether the service manager keeps the listening sockets: they stay open, and connections
        /// that arrive wait there for the next process.
        kept: bool,
    },
    /// Closes the connections that are still open.
    CutOff,
}

/// The inputs of a worker.
#[derive(Debug)]
pub(crate) struct WorkerSpec {
    /// From 0.
    pub id: usize,
    /// The core to run on; `None` leaves that to the kernel.
    pub core: Option<usize>,
    /// Its own sockets.
    pub listeners: Vec<Listener>,
    /// The current configuration.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The order to drain.
    pub phase: watch::Receiver<ProcessPhase>,
    /// Its cells.
    pub metrics: Arc<WorkerMetrics>,
    /// Its log.
    pub log: Log,
    /// Open connections of all workers.
    pub open_connections: OpenConnections,
    /// Its side of steering.
    pub steering: Arc<Steering>,
    /// For requests of people.
    pub identity: IdentityHandle,
    /// The channels to the other workers.
    pub mailboxes: Mailboxes<conn::Accepted>,
    /// The most connections to upstreams.
    pub upstream_connections: usize,
}

/// Starts a worker's thread and waits until its ring is set up and connections can be steered to it.
/// The thread ends once it was told to drain and its connections have ended or timed out. Its id is
/// sent to `ended` when it ends, for any reason.
pub(crate) fn start(spec: WorkerSpec, ended: UnboundedSender<usize>) -> io::Result<JoinHandle<()>> {
    let (standing, stands) = std::sync::mpsc::channel();
    let notice = EndNotice { id: spec.id, ended };
    let thread = thread::Builder::new().name(format!("worker-{}", spec.id)).spawn(move || {
        let _notice = notice;
        match rt::Runtime::new() {
            Ok(runtime) => run(&runtime, spec, move || {
                let _ = standing.send(Ok(()));
            }),
            Err(error) => {
                let _ = standing.send(Err(error));
            }
        }
    })?;
    match stands.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(io::Error::other("the thread ended at once")),
    }
}

/// A ring that cannot be made, with what to do about it.
fn explain(error: &io::Error) -> io::Error {
    let hint = match Errno::from_io_error(error) {
        Some(Errno::NOMEM) => format!(
            "all processes of this user together may lock {} of memory (RLIMIT_MEMLOCK), of which each \
             worker takes some 200 KiB: set `LimitMEMLOCK=infinity` in a unit of systemd or run \
             `ulimit -l unlimited`, or reduce portcullis.workers",
            sys::locked_memory_limit()
        ),
        Some(Errno::PERM | Errno::ACCESS) => "the sysctl kernel.io_uring_disabled must be 0, and no \
             seccomp filter may deny io_uring_setup, io_uring_enter and io_uring_register, as the \
             default profile of Docker does"
            .to_owned(),
        Some(Errno::NOSYS) => "the kernel has no io_uring, or a seccomp filter hides it".to_owned(),
        _ => "see the sysctl kernel.io_uring_disabled, and the seccomp and memory limits of this process"
            .to_owned(),
    };
    io::Error::new(error.kind(), format!("io_uring cannot be used: {error}; {hint}"))
}

/// Reports the end of a worker's thread, also after a panic.
struct EndNotice {
    id: usize,
    ended: UnboundedSender<usize>,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        // The receiver is gone once the process drains.
        let _ = self.ended.send(self.id);
    }
}

fn run(runtime: &rt::Runtime, spec: WorkerSpec, ready: impl FnOnce()) {
    if let Some(core) = spec.core
        && let Err(error) = sys::pin_to_core(core)
    {
        tracing::warn!(worker = spec.id, core, %error, "cannot pin the worker to its core");
    }
    runtime.block_on(Worker::new(spec).serve(ready));
}

struct Worker {
    server: Rc<ConnectionServer>,
    listeners: Vec<Listener>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    phase: watch::Receiver<ProcessPhase>,
}

impl Worker {
    fn new(mut spec: WorkerSpec) -> Worker {
        let observer = Rc::new(WorkerObserver::new(spec.id, spec.metrics, spec.log));
        let snapshot = spec.snapshot.borrow_and_update().clone();
        let upstreams = Upstreams::with_at_most(spec.upstream_connections, Rc::clone(&observer));
        let site = Arc::clone(&snapshot.site);
        let requests =
            http::RequestHandler::new(upstreams, Rc::clone(&observer), spec.identity, site);
        let steering =
            conn::ConnectionSteering::new(spec.steering, spec.mailboxes, Rc::clone(&observer));
        let (requests, steering) = (Rc::new(requests), Rc::new(steering));
        let open = WorkerConnections::new(spec.open_connections, spec.id);
        let server = ConnectionServer::new(&snapshot.front, requests, observer, steering, open);
        Worker {
            server: Rc::new(server),
            listeners: spec.listeners,
            snapshot: spec.snapshot,
            phase: spec.phase,
        }
    }

    /// Starts accepting at these sockets.
    fn accept(&self, listeners: Vec<Listener>) -> Accepting {
        let (stop, stopped) = watch::channel(());
        let (accepting, ended) = mpsc::channel(1);
        for listener in listeners {
            let phase = self.phase.clone();
            let acceptor = accept::AcceptLoop::new(listener, Rc::clone(&self.server), phase);
            rt::spawn(acceptor.run(stopped.clone(), accepting.clone()));
        }
        Accepting { stop: Some(stop), ended }
    }

    /// Serves to the end of a drain. `ready` is called once connections can be steered here: a process
    /// that says earlier that it is ready would give names to the wrong workers.
    async fn serve(mut self, ready: impl FnOnce()) {
        let listeners = std::mem::take(&mut self.listeners);
        let (catchers, listeners): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| listener.role == ListenerRole::Catcher);
        let (mut catchers, mut listeners) = (self.accept(catchers), self.accept(listeners));
        rt::spawn(follow(self.snapshot, Rc::clone(&self.server)));
        rt::spawn(tick(Rc::clone(&self.server)));
        self.server.publish_load();
        ready();
        let mut inbox = inbox::InboxLoop::new(Rc::clone(&self.server));
        let (mut replaced, mut kept) = (false, false);
        inbox.run_until(async { (replaced, kept) = draining(&mut self.phase).await }).await;
        let limit = self.server.settings().drain_timeout;
        let deadline = Instant::now() + limit;
        if replaced {
            let registry = self.server.registry.clone();
            rt::spawn(async move { registry.drain_over(limit / SPREAD_PART).await });
        } else {
            self.server.registry.drain();
        }
        // Where the listeners are kept, connections wait there for the next process.
        if self.server.steering.has_programs() && !kept {
            inbox.run_until(rt::sleep(HELLOS_UNDER_WAY.min(limit))).await;
        }
        self.server.steering.close();
        let server = Rc::clone(&self.server);
        let finish = async {
            // Catchers first: the kernel may choose one for a segment that no program selects one
            // for.
            catchers.stop(deadline).await;
            listeners.stop(deadline).await;
            inbox.finish().await;
            server.drain(deadline).await;
        };
        tokio::select! {
            () = finish => {}
            // What is open is dropped with the runtime, and each request makes its record.
            () = cut_off(&mut self.phase) => self.server.cut_off(),
        }
        self.server.observer.flush();
    }
}

/// Accept loops that stop together.
struct Accepting {
    stop: Option<watch::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Accepting {
    /// Tells the loops to stop, and waits until they have emptied their queues.
    async fn stop(&mut self, deadline: Instant) {
        self.stop = None;
        let _ = rt::timeout_at(deadline, self.ended.recv()).await;
    }
}

/// Waits for the order to drain; returns whether another process serves, and whether the listeners are
/// kept.
async fn draining(phase: &mut watch::Receiver<ProcessPhase>) -> (bool, bool) {
    // An error means that the control thread is gone, which ends the process anyway.
    let order = phase.wait_for(|phase| *phase != ProcessPhase::Running).await;
    match order.as_deref() {
        Ok(ProcessPhase::Draining { replaced, kept }) => (*replaced, *kept),
        _ => (false, false),
    }
}

/// Waits for the order to close what is open.
async fn cut_off(phase: &mut watch::Receiver<ProcessPhase>) {
    if phase.wait_for(|phase| *phase == ProcessPhase::CutOff).await.is_err() {
        // The control thread is gone, which ends the process anyway.
        std::future::pending().await
    }
}

/// Applies each new snapshot. Connections keep the settings that they began with; a request gets
/// the configuration that is current when it begins.
async fn follow(mut snapshots: watch::Receiver<Arc<Snapshot>>, server: Rc<ConnectionServer>) {
    while snapshots.changed().await.is_ok() {
        let snapshot = snapshots.borrow_and_update().clone();
        server.requests.set_config(Arc::clone(&snapshot.site));
        server.set_listener(&snapshot.front);
    }
}

async fn tick(server: Rc<ConnectionServer>) {
    loop {
        rt::sleep(TICK).await;
        server.observer.metrics.tasks.set(rt::tasks() as u64);
        server.observer.metrics.rounds.inc();
        server.observer.flush();
        server.publish_load();
        server.release_former();
        limits::make_room_ahead(&server);
    }
}

#[cfg(test)]
mod tests;
