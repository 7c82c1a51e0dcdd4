//! W10: the cost of a request, memory, and the time to start with many routes, certificates or
//! workers; and the effect on clients and the operator when many routes are loaded again.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Bench, W1,
    load::{timed, untimed},
};
use crate::{
    admin,
    bench::{
        generator::{Background, run},
        model::{Figure, Sample},
        peers::{Peer, Running, Setup},
        processes::{family, memory_kib},
        prometheus,
    },
};

/// Loads of the configuration, one after another.
const RELOADS: usize = 5;

/// The duration of the requests meanwhile.
const SECONDS_OF_RELOADS: u64 = 30;

/// The time limit of a load.
const PATIENCE: Duration = Duration::from_secs(60);

/// The interval of the health probes on the administrative listener.
const PROBE_PAUSE: Duration = Duration::from_millis(2);

pub(super) fn measure(
    bench: &Bench<'_>,
    setup: Setup,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let mut running = bench.start(peer, setup)?;
    let outcome = run(&mut timed(bench, &W1, &running)?)?;
    let memory = memory_kib(&family(running.id()))?;
    running.must_be_running()?;
    let mut sample = outcome.sample(peer.id(), round);
    sample.figures.insert(Figure::MemoryKib, memory as f64);
    sample.figures.insert(Figure::StartMs, running.started_in.as_secs_f64() * 1e3);
    Ok(sample)
}

/// Latencies while the configuration is loaded again and again, beside those of the same proxy
/// before that.
pub(super) fn measure_reloads(
    bench: &Bench<'_>,
    hosts: usize,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let mut running = bench.start(peer, Setup { hosts, ..Setup::default() })?;
    let undisturbed = run(&mut timed(bench, &W1, &running)?)?.sample(peer.id(), round);
    let mut disturbed = untimed(bench, &W1, &running)?;
    disturbed.args(["--seconds", &SECONDS_OF_RELOADS.to_string(), "--warm-up-seconds", "0"]);
    let load = Background::start(&mut disturbed)?;
    let begun = Instant::now();
    let port = running.place.admin.port();
    let (health, reloaded) =
        beside_probes(port, || (0..RELOADS).try_for_each(|_| reload(peer, &mut running)));
    reloaded?;
    ensure!(begun.elapsed() < Duration::from_secs(SECONDS_OF_RELOADS), "reloads outlast the load");
    let mut sample = load.finish()?.sample(peer.id(), round);
    running.must_be_running()?;
    let calm = undisturbed.figures.get(&Figure::LatencyP999Us).context("no p99.9")?;
    sample.figures.insert(Figure::UndisturbedP999Us, *calm);
    sample.figures.insert(Figure::HealthP99Us, health?.as_micros() as f64);
    Ok(sample)
}

/// Writes the configuration with one more host, and waits until it is in use.
fn reload(peer: &dyn Peer, running: &mut Running<'_>) -> Result<()> {
    let port = running.place.admin.port();
    let generation = |port| -> Result<f64> {
        let metrics = admin::get(port, "/metrics")?;
        Ok(prometheus::sum(&metrics, "portcullis_config_generation", ""))
    };
    let before = generation(port)?;
    running.place.setup.generation += 1;
    peer.reload(running)?;
    let begun = Instant::now();
    while generation(port)? <= before {
        ensure!(begun.elapsed() < PATIENCE, "the configuration was not applied in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The 99th percentile of the time of `/healthz` while `body` runs, and the result of `body`.
fn beside_probes<T>(port: u16, body: impl FnOnce() -> T) -> (Result<Duration>, T) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let probes = scope.spawn(|| probe(port, &done));
        let returned = body();
        done.store(true, Relaxed);
        let times = probes.join().unwrap_or_else(|_| Ok(Vec::new()));
        (times.and_then(|times| percentile_99(times).context("no probe ended")), returned)
    })
}

fn probe(port: u16, done: &AtomicBool) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !done.load(Relaxed) {
        let begun = Instant::now();
        admin::get(port, "/healthz")?;
        times.push(begun.elapsed());
        thread::sleep(PROBE_PAUSE);
    }
    Ok(times)
}

fn percentile_99(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_is_slower_than_the_percentile() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile_99(times), Some(Duration::from_millis(198)));
        assert_eq!(percentile_99(vec![Duration::from_millis(7)]), Some(Duration::from_millis(7)));
        assert_eq!(percentile_99(Vec::new()), None);
    }
}
