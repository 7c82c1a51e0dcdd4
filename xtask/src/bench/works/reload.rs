//! W7 and W12: the effect of reloads, and of new processes, on clients.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Bench, BodyKind, W1, load::untimed};
use crate::bench::{
    generator::{Background, ask_for, load, run},
    model::{Figure, Sample},
    namespace,
    peers::{Peer, Running, Setup},
};

/// Reloads, evenly spread over the load.
pub(super) fn measure(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    disturb(bench, peer, round, bench.pace.reloads, bench.pace.reload_seconds, |running| {
        running.place.setup.generation += 1;
        peer.reload(running)
    })
}

/// The duration of the load after a restart: connections must leave the former process, for which
/// each proxy takes some three seconds.
const SECONDS_TO_LEAVE: f64 = 8.0;

/// One restart during the load.
pub(super) fn measure_restart(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    // Our documentation advises it; it does not affect proxies that pass their sockets on.
    let _moving =
        namespace::is_inside().then(namespace::move_connections_that_begin).transpose()?;
    disturb(bench, peer, round, 1, SECONDS_TO_LEAVE, |running| peer.restart(running))
}

fn disturb(
    bench: &Bench<'_>,
    peer: &dyn Peer,
    round: u32,
    times: usize,
    seconds_after: f64,
    mut act: impl FnMut(&mut Running<'_>) -> Result<()>,
) -> Result<Sample> {
    let mut running = bench.start(peer, Setup::default())?;
    let pause = Duration::from_secs_f64(bench.pace.reload_seconds);
    let seconds = bench.pace.reload_seconds * times as f64 + seconds_after;
    let mut command = untimed(bench, &W1, &running)?;
    command.args(["--tolerate", "--seconds", &seconds.to_string()]);
    command.args(["--warm-up-seconds", &bench.pace.warm_up_seconds.to_string()]);
    let load = Background::start(&mut command)?;
    thread::sleep(Duration::from_secs_f64(bench.pace.warm_up_seconds));
    for _ in 0..times {
        thread::sleep(pause);
        act(&mut running)?;
    }
    let outcome = load.finish()?;
    must_serve_what_it_was_told_last(bench, &running)?;
    running.must_be_running()?;
    let mut sample = outcome.sample(peer.id(), round);
    // A failed request is a result here, not a fault of the measurement.
    sample.errors = 0;
    sample.figures.insert(Figure::Dropped, outcome.errors as f64);
    sample.figures.insert(Figure::SlowestMs, outcome.slowest_us as f64 / 1e3);
    Ok(sample)
}

/// A proxy that drops nothing because it did not reload has not done the work. Some reload late.
fn must_serve_what_it_was_told_last(bench: &Bench<'_>, running: &Running<'_>) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let name = running.place.setup.names().pop().context("no name is served")?;
    let begun = Instant::now();
    while let Err(error) = serves(bench, running, &name) {
        if begun.elapsed() > PATIENCE {
            // The first line only: the second one has the generator's whole command.
            let why = error.to_string();
            bail!("{name} is not served: {}", why.lines().next().unwrap_or("?"));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn serves(bench: &Bench<'_>, running: &Running<'_>, name: &str) -> Result<()> {
    let mut command = load(running, "full-handshake");
    command.args(["--name", name, "--connections", "1", "--units", "1"]);
    command.args(["--warm-up-seconds", "0"]);
    if let Some(body) = bench.body(BodyKind::Kib(1))? {
        ask_for(&mut command, &body);
    }
    run(&mut command).map(drop)
}
