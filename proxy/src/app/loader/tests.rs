use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::*;
use crate::{
    config::{
        ConfigLocation, Diagnostics, Environment, FileSource, Loaded,
        tests::support::{Dir, with_certificate},
    },
    identity::spec::SealSecret,
    steering::SteeringSpec,
    tls::TicketKeys,
    upstream::{DnsFamily, DnsNames},
};

/// Only a fault waits this long.
const DEADLINE: Duration = Duration::from_secs(30);
/// Long enough to see most faults; a slow machine sees fewer.
const MOMENT: Duration = Duration::from_millis(50);

/// A file that can be read only when the test opens a gate, as on a mount that hangs.
struct GatedSource {
    file: FileSource,
    began: UnboundedSender<()>,
    gate: Receiver<()>,
    change: Arc<Notify>,
}

impl Source for GatedSource {
    fn name(&self) -> String {
        self.file.name()
    }

    async fn load(&mut self) -> Result<Loaded, Diagnostics> {
        let _ = self.began.send(());
        // Blocks the whole thread, as a read does. A gate that is gone is open.
        let _ = self.gate.recv();
        self.file.load().await
    }

    async fn changed(&mut self) -> Vec<ReadFile> {
        self.change.notified().await;
        Vec::new()
    }

    fn renewed(&mut self, files: Vec<ReadFile>) {
        self.file.renewed(files);
    }
}

/// The test is the control loop.
struct Bench {
    dir: Dir,
    loader: Option<Loader>,
    metrics: Arc<Metrics>,
    snapshot: Arc<Snapshot>,
    began: UnboundedReceiver<()>,
    gate: Sender<()>,
    change: Arc<Notify>,
}

impl Bench {
    fn new() -> Bench {
        let dir = Dir::new();
        dir.load(&routes(&[]), &[]).unwrap();
        let path = dir.file("config.yaml");
        let mut file = FileSource::new(ConfigLocation::named(&path), Environment::default());
        let mut config = block_on(file.load()).unwrap().config;
        let metrics = Arc::new(Metrics::new(1));
        let mut compiler = compiler(&metrics);
        let first = compile(&mut compiler, &file.name(), &mut config).unwrap();
        metrics.config_applied(first.snapshot.generation, first.facts);
        let rules = Arc::new(SteeringRules::new(&SteeringSpec::default(), 1).unwrap());
        let steering = Arc::new(Steering::start(ModeChoice::None, &[], 1, rules, Ok(())).unwrap());
        let (starts, began) = mpsc::unbounded_channel();
        let (gate, opened) = channel();
        let change = Arc::new(Notify::new());
        let source = GatedSource { file, began: starts, gate: opened, change: Arc::clone(&change) };
        let publisher = Publisher::new(&metrics, &steering);
        let loader =
            Some(Loader::start(source, config, first.renewable, compiler, publisher).unwrap());
        Bench { dir, loader, metrics, snapshot: first.snapshot, began, gate, change }
    }

    fn request(&self) {
        self.loader.as_ref().unwrap().request();
    }

    fn write(&self, hosts: &[&str]) {
        let text = routes(hosts).replace('@', &format!("{}/", self.dir.file("").display()));
        self.dir.write("config.yaml", text);
    }

    async fn load_begins(&mut self) {
        timeout(DEADLINE, self.began.recv()).await.unwrap().unwrap();
    }

    async fn outcome(&mut self) -> LoadOutcome {
        timeout(DEADLINE, Loader::outcome(&mut self.loader)).await.unwrap().unwrap()
    }

    /// Applies what a load gave, and awaits that metrics show it.
    async fn apply(&mut self, outcome: LoadOutcome) -> u64 {
        let compiled = outcome.result.unwrap();
        let generation = compiled.snapshot.generation;
        let replaced = std::mem::replace(&mut self.snapshot, compiled.snapshot);
        self.loader.as_ref().unwrap().retire(replaced);
        let metrics = Arc::clone(&self.metrics);
        let start = Instant::now();
        while metrics.status().config.generation != generation {
            assert!(start.elapsed() < DEADLINE, "metrics never show generation {generation}");
            tokio::task::yield_now().await;
        }
        generation
    }

    fn route_names(&self) -> Vec<String> {
        self.metrics.status().routes.into_iter().map(|route| route.from).collect()
    }
}

fn routes(hosts: &[&str]) -> String {
    let route = |host: &&str| {
        format!(
            "\n- {{from: 'https://{host}', to: 'http://127.0.0.1:1', \
             allow_public_unauthenticated_access: true}}"
        )
    };
    let routes: String = hosts.iter().map(route).collect();
    let routes = if routes.is_empty() { " []".to_owned() } else { routes };
    with_certificate(&format!("routes:{routes}"))
}

fn compiler(metrics: &Arc<Metrics>) -> Compiler {
    let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
    let tickets = TicketKeys::generate().unwrap();
    Compiler::new(Arc::clone(metrics), Arc::new(names), Arc::new(tickets), SealSecret([7; 32]), 1)
}

fn block_on<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn the_control_loop_runs_while_a_load_hangs() {
    let mut bench = Bench::new();
    block_on(async {
        bench.request();
        bench.load_begins().await;
        // The load holds its thread; this one goes on, and is not given anything yet.
        assert!(timeout(Duration::ZERO, Loader::outcome(&mut bench.loader)).await.is_err());
        bench.write(&["a.example"]);
        bench.gate.send(()).unwrap();
        let outcome = bench.outcome().await;
        assert_eq!(bench.apply(outcome).await, 2);
        assert_eq!(bench.route_names(), ["https://a.example"]);
    });
}

#[test]
fn changes_during_a_load_are_one_more_load_with_the_newest() {
    let mut bench = Bench::new();
    block_on(async {
        bench.write(&["first.example"]);
        bench.request();
        bench.load_begins().await;
        for _ in 0..5 {
            bench.request();
        }
        bench.gate.send(()).unwrap();
        let first = bench.outcome().await;
        bench.write(&["newest.example"]);
        assert_eq!(bench.apply(first).await, 2);
        bench.load_begins().await;
        bench.gate.send(()).unwrap();
        let second = bench.outcome().await;
        assert_eq!(bench.apply(second).await, 3);
        assert_eq!(bench.route_names(), ["https://newest.example"]);
        assert!(bench.began.try_recv().is_err(), "a third load has begun");
    });
}

#[test]
fn nothing_is_loaded_before_the_last_result_is_applied() {
    let mut bench = Bench::new();
    block_on(async {
        bench.gate.send(()).unwrap();
        bench.request();
        bench.load_begins().await;
        let first = bench.outcome().await;
        bench.gate.send(()).unwrap();
        bench.request();
        // Nothing can be awaited here: only a fault makes a load begin.
        assert!(timeout(MOMENT, bench.began.recv()).await.is_err(), "a load has begun");
        assert_eq!(bench.apply(first).await, 2);
        bench.load_begins().await;
        let second = bench.outcome().await;
        assert_eq!(bench.apply(second).await, 3);
    });
}

#[test]
fn a_rejected_configuration_counts_no_generation() {
    let mut bench = Bench::new();
    block_on(async {
        bench.dir.write("config.yaml", "address: nonsense");
        bench.request();
        bench.gate.send(()).unwrap();
        let refused = bench.outcome().await.result.unwrap_err();
        assert!(refused.contains("address"), "{refused}");
        bench.write(&["b.example"]);
        bench.change.notify_one();
        bench.gate.send(()).unwrap();
        let outcome = bench.outcome().await;
        assert_eq!(bench.apply(outcome).await, 2, "the refused one counts");
    });
}

#[test]
fn a_configuration_that_turns_watching_off_is_not_watched() {
    let mut bench = Bench::new();
    let text = format!("runtime_flags: {{config_hot_reload: false}}\n{}", routes(&[]));
    block_on(async {
        let text = text.replace('@', &format!("{}/", bench.dir.file("").display()));
        bench.dir.write("config.yaml", text);
        bench.change.notify_one();
        bench.gate.send(()).unwrap();
        let outcome = bench.outcome().await;
        bench.apply(outcome).await;
        bench.change.notify_one();
        for generation in 3..7 {
            bench.request();
            bench.gate.send(()).unwrap();
            let outcome = bench.outcome().await;
            assert_eq!(bench.apply(outcome).await, generation);
        }
        let unseen = timeout(Duration::ZERO, bench.change.notified()).await;
        assert!(unseen.is_ok(), "the loader has waited for the change");
    });
}

#[test]
fn a_load_that_hangs_does_not_hold_up_the_end() {
    let mut bench = Bench::new();
    block_on(async {
        bench.request();
        bench.load_begins().await;
    });
    // Returns, with the gate still shut.
    drop(bench.loader.take());
}

#[test]
fn the_replaced_snapshot_is_freed_by_the_loader() {
    let mut bench = Bench::new();
    block_on(async {
        let replaced = Arc::downgrade(&bench.snapshot);
        bench.request();
        bench.gate.send(()).unwrap();
        let outcome = bench.outcome().await;
        bench.apply(outcome).await;
        assert!(replaced.upgrade().is_none());
    });
}

#[test]
fn a_path_names_the_source() {
    let path = PathBuf::from("/etc/portcullis/config.yaml");
    let source = FileSource::new(ConfigLocation::named(&path), Environment::default());
    assert_eq!(source.name(), path.display().to_string());
}
