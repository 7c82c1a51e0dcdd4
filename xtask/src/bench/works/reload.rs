//! W7 and W12: what clients notice of reloads, and of new processes.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{Bench, W1, load::untimed};
use crate::bench::{
    generator::Background,
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

/// How long the load goes on after a restart: until connections have left the process before, for
/// which each proxy takes some three seconds.
const SECONDS_TO_LEAVE: f64 = 8.0;

/// One restart amid the load.
pub(super) fn measure_restart(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    // As our documentation advises; to those who pass their sockets on it is nothing.
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
    running.must_be_running()?;
    let mut sample = outcome.sample(peer.id(), round);
    // Here a failed request is the figure, not a fault of the measurement.
    sample.errors = 0;
    sample.figures.insert(Figure::Dropped, outcome.errors as f64);
    sample.figures.insert(Figure::SlowestMs, outcome.slowest_us as f64 / 1e3);
    Ok(sample)
}
