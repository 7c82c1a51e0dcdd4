//! A run: every requested sample, one after another, and the report.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    conditions, floor, install,
    lab::Lab,
    model::{self, Figure, Run},
    namespace,
    peers::{self, Absent, OURS, Peer, Portcullis},
    processes::core_times,
    report,
    works::{self, Bench, Capacity, Definition, Kind, Pace},
};
use crate::{
    command::{cargo, is_root, root, run as run_command, target},
    packages,
    rig::build_load_generator,
};

const ROUNDS: u32 = 3;

/// The works, peers and rounds of a run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rough figures in under three minutes: one short round, and fewer works.
    #[arg(long)]
    quick: bool,
    /// Only these peers besides ours: nginx, haproxy, envoy, caddy, pingora.
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    peers: Option<Vec<String>>,
    /// Only these works: W1, W4a, or W4 for all works that begin so.
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    work: Vec<String>,
    /// Rounds; each peer runs once in each [default: 3, with --quick 1].
    #[arg(long)]
    rounds: Option<u32>,
    /// The build to measure, instead of a release build of this tree.
    #[arg(long, value_name = "FILE")]
    proxy: Option<PathBuf>,
    /// Another build of ours that is measured in the same run.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write `bench/RESULTS.md` too; it needs all works and peers.
    #[arg(long, conflicts_with_all = ["work", "peers", "quick"])]
    results: bool,
}

/// Installs missing packages, measures, reports.
pub(super) fn run(options: &Options) -> Result<()> {
    let works = options.works()?;
    if !namespace::is_inside() {
        options.get_ready()?;
        if !is_root() {
            eprintln!("warning: not root, so the run uses the machine's own network");
            return measure(options, &works);
        }
    }
    namespace::enter(|| measure(options, &works))
}

impl Options {
    fn works(&self) -> Result<Vec<Definition>> {
        let all = works::all();
        if let Some(unknown) =
            self.work.iter().find(|wanted| !all.iter().any(|work| work.is_called(wanted)))
        {
            let ids: Vec<_> = all.iter().map(|work| work.id).collect();
            anyhow::bail!("there is no work {unknown}; there are {}", ids.join(" "));
        }
        let is_wanted = |work: &Definition| match &*self.work {
            [] => work.quick || !self.quick,
            wanted => wanted.iter().any(|wanted| work.is_called(wanted)),
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    fn wants(&self, peer: &str) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.iter().any(|wanted| wanted == peer))
    }

    fn proxy(&self) -> PathBuf {
        match &self.proxy {
            Some(proxy) => root().join(proxy),
            None => target().join("release/portcullis"),
        }
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS }).max(1)
    }

    /// All steps that need the network or a compiler.
    fn get_ready(&self) -> Result<()> {
        for (wanted, packages, what) in [
            (self.wants("haproxy"), packages::HAPROXY, "haproxy"),
            (true, packages::PERF, "counts of system calls"),
        ] {
            if let (true, Err(error)) = (wanted, packages::ensure(packages)) {
                eprintln!("warning: the run will lack {what}: {error}");
            }
        }
        install::ensure(&|peer| self.wants(peer));
        if self.proxy.is_none() {
            run_command(&mut cargo("build --release --package portcullis"))?;
        }
        build_load_generator()?;
        Ok(())
    }

    /// Our proxy first, then the others, and the missing ones.
    fn find_peers(&self) -> Result<LineUp> {
        let ours = [(OURS, Some(self.proxy())), (report::BASELINE, self.baseline.clone())];
        let mut line_up = LineUp::default();
        for (id, program) in ours {
            let Some(program) = program.map(|program| root().join(program)) else { continue };
            ensure!(program.is_file(), "there is no {}", program.display());
            line_up.peers.push(Box::new(Portcullis { id, program }));
        }
        for other in peers::others(&install::directory()) {
            match other {
                Ok(peer) if self.wants(peer.id()) => line_up.peers.push(peer),
                Err(missing) if self.wants(&missing.id) => line_up.absent.push(missing),
                _ => {}
            }
        }
        Ok(line_up)
    }
}

/// The peers of the run, and the missing ones.
#[derive(Default)]
struct LineUp {
    peers: Vec<Box<dyn Peer>>,
    absent: Vec<Absent>,
}

fn measure(options: &Options, definitions: &[Definition]) -> Result<()> {
    let LineUp { peers, absent } = options.find_peers()?;
    let started = conditions::said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]);
    let mut run = Run {
        started: started.clone(),
        quick: options.quick,
        conditions: conditions::of_machine(namespace::is_inside()),
        peers: peers.iter().map(|peer| describe(peer.as_ref())).collect(),
        works: Vec::new(),
        floor: Vec::new(),
    };
    run.conditions.extend(conditions::of_moment("before the run"));
    let cores = core_times();

    let generator = target().join("release/portcullis-bench");
    let lab = Lab::open(&target().join("bench/lab"))?;
    let pace = if options.quick { Pace::QUICK } else { Pace::FULL };
    let bench = Bench { lab: &lab, generator: &generator, pace, capacity: Capacity::default() };
    let progress = progress_of(definitions, &peers, options.rounds());
    for definition in definitions {
        let work = measure_work(&bench, definition, &peers, &absent, options.rounds(), &progress);
        if work.id == "W1" {
            bench.capacity.learn(&work);
        }
        run.works.push(work);
    }
    progress.set_message("the floor");
    match floor::measure(options.quick) {
        Ok(floor) => run.floor = floor,
        Err(error) => progress.println(format!("the floor: {error:#}")),
    }
    progress.finish_and_clear();

    run.conditions.push(conditions::stolen_since(&cores));
    drop(lab);
    run.conditions.extend(conditions::of_moment("after the run"));
    report(&run, options)
}

fn report(run: &Run, options: &Options) -> Result<()> {
    let directory = target().join("bench").join(run.started.replace(':', ""));
    report::write(run, &directory)?;
    report::print(run);
    if options.results {
        let results = root().join("bench/RESULTS.md");
        std::fs::write(&results, report::results_md(run))
            .with_context(|| format!("cannot write {}", results.display()))?;
    }
    let shown = directory.strip_prefix(root()).unwrap_or(&directory);
    println!("\nThe whole report: {}/report.html", shown.display());
    Ok(())
}

fn describe(peer: &dyn Peer) -> model::Peer {
    model::Peer { id: peer.id().to_owned(), version: peer.version() }
}

fn progress_of(definitions: &[Definition], peers: &[Box<dyn Peer>], rounds: u32) -> ProgressBar {
    let each = |definition: &Definition| {
        let able = peers.iter().filter(|peer| works::lacks(definition, peer.as_ref()).is_none());
        able.count() as u64 * u64::from(definition.rounds(rounds))
    };
    let bar = ProgressBar::new(definitions.iter().map(each).sum());
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

/// Runs every peer in each round, and begins each round with another peer: the other load of the
/// machine then affects all peers alike.
fn measure_work(
    bench: &Bench<'_>,
    definition: &Definition,
    peers: &[Box<dyn Peer>],
    absent: &[Absent],
    rounds: u32,
    progress: &ProgressBar,
) -> model::Work {
    let rounds = definition.rounds(rounds);
    let mut work = model::Work {
        id: definition.id.to_owned(),
        title: definition.title.to_owned(),
        unit: definition.unit.to_owned(),
        primary: definition.primary,
        aim: definition.aim,
        ours_alone: definition.is_ours_alone(),
        ..model::Work::default()
    };
    for missing in absent {
        work.absent.insert(missing.id.clone(), missing.reason.clone());
    }
    if let Kind::OpenLoop(share) = definition.kind {
        progress.set_message(format!("{}: capacity of the slowest peer", definition.id));
        match bench.capacity.know(bench, peers) {
            Ok(capacity) => work.title += &format!(": {:.0} requests/s", capacity * share),
            Err(error) => progress.println(format!("{}: {error:#}", definition.id)),
        }
    }
    let able = able(definition, peers, &mut work);
    for (round, peer) in turns(&able, rounds) {
        progress.set_message(format!("{} {} round {round} of {rounds}", definition.id, peer.id()));
        match works::measure(bench, definition, *peer, round) {
            Ok(sample) => work.samples.push(sample),
            Err(error) => fail(&mut work, *peer, &error, progress),
        }
        progress.inc(1);
    }
    for peer in able.into_iter().filter(|_| bench.pace.traces(definition)) {
        progress.set_message(format!("{} {}: system calls", definition.id, peer.id()));
        match works::system_calls(bench, definition, peer) {
            Ok(calls) => note_system_calls(&mut work, peer.id(), calls),
            Err(error) => progress.println(format!(
                "{} {}: system calls: {error:#}",
                definition.id,
                peer.id()
            )),
        }
    }
    // A peer with a sample is not absent, even if a round failed.
    work.absent.retain(|id, _| !work.samples.iter().any(|sample| sample.peer == *id));
    work
}

/// The order in each round: A B C, B C A, C A B.
pub(super) fn turns<T>(peers: &[T], rounds: u32) -> impl Iterator<Item = (u32, &T)> {
    (1..=rounds).zip(0..).flat_map(move |(round, first)| {
        let from_first = peers.iter().cycle().skip(first % peers.len().max(1));
        from_first.take(peers.len()).map(move |peer| (round, peer))
    })
}

fn able<'a>(
    definition: &Definition,
    peers: &'a [Box<dyn Peer>],
    work: &mut model::Work,
) -> Vec<&'a dyn Peer> {
    let mut able = Vec::new();
    for peer in peers {
        match works::lacks(definition, peer.as_ref()) {
            Some(reason) => drop(work.absent.insert(peer.id().to_owned(), reason)),
            None => able.push(peer.as_ref()),
        }
    }
    able
}

fn fail(work: &mut model::Work, peer: &dyn Peer, error: &anyhow::Error, progress: &ProgressBar) {
    progress.println(format!("{} {}: {error:#}", work.id, peer.id()));
    work.absent.insert(peer.id().to_owned(), brief(&format!("{error:#}")));
}

/// Shortens an error with the end of a log for a remark: the event without the command that pins
/// the program, and the last line of the log.
fn brief(error: &str) -> String {
    let mut lines = error.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let first = match first.split_once(" -- ") {
        Some((before, program)) => match before.rsplit_once(": ") {
            Some((what, _pinning)) => format!("{what}: {program}"),
            None => program.to_owned(),
        },
        None => first.to_owned(),
    };
    match lines.next_back() {
        Some(last) if !last.ends_with("says:") => format!("{first}: {last}"),
        _ => first,
    }
}

fn note_system_calls(work: &mut model::Work, peer: &str, calls: Option<f64>) {
    let last = work.samples.iter_mut().rfind(|sample| sample.peer == peer);
    if let (Some(sample), Some(calls)) = (last, calls) {
        sample.figures.insert(Figure::SystemCallsPerUnit, calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_take_turns_in_every_round_and_in_being_first() {
        let order: Vec<_> = turns(&["a", "b"], 3).collect();
        let expected = [(1, &"a"), (1, &"b"), (2, &"b"), (2, &"a"), (3, &"a"), (3, &"b")];
        assert_eq!(order, expected);
        assert_eq!(turns::<u8>(&[], 2).count(), 0);
    }

    #[test]
    fn results_are_of_all_works_and_peers() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let parsed = |line: &str| {
            <Line as clap::Parser>::try_parse_from(line.split(' ')).map(|line| line.options.results)
        };
        assert!(parsed("bench --results --rounds 7 --proxy p --baseline b").unwrap());
        for part in ["--work W1", "--peers nginx", "--quick"] {
            assert!(parsed(&format!("bench --results {part}")).is_err(), "{part}");
        }
    }

    #[test]
    fn a_brief_error_is_what_happened_and_what_was_said_last() {
        let error = "taskset --cpu-list 0 -- proxy run ended: exit status: 1\n/log says:\na\nb\n";
        assert_eq!(brief(error), "proxy run ended: exit status: 1: b");
        let error = "waited in vain until it answers: taskset --cpu-list 0 -- proxy run\n";
        assert_eq!(brief(error), "waited in vain until it answers: proxy run");
        assert_eq!(brief("x ended\n/log says:\n"), "x ended");
        assert_eq!(brief("not found"), "not found");
    }

    #[test]
    fn system_calls_go_to_the_last_sample_of_their_peer() {
        let sample = |peer: &str, round| model::Sample {
            peer: peer.to_owned(),
            round,
            ..model::Sample::default()
        };
        let samples = vec![sample("a", 1), sample("b", 1), sample("a", 2), sample("b", 2)];
        let mut work = model::Work { samples, ..model::Work::default() };
        note_system_calls(&mut work, "a", Some(4.5));
        let has = |sample: &model::Sample| sample.figures.contains_key(&Figure::SystemCallsPerUnit);
        assert_eq!(work.samples.iter().map(has).collect::<Vec<_>>(), [false, false, true, false]);
    }
}
