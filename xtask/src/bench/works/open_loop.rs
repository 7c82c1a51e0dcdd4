//! W11: latency at rates that do not depend on how fast the proxy answers.

use std::cell::OnceCell;

use anyhow::{Context, Result};

use super::{Bench, W1, load::timed};
use crate::bench::{
    generator::run,
    model::{Figure::UnitsPerSecond, Sample, Work},
    peers::{Peer, Setup},
};

/// The throughput of the run's slowest peer in a closed loop, in units per second.
///
/// All peers get shares of it: a user asks for the latency of the same traffic behind each proxy.
/// Shares of each peer's own capacity would put more traffic on a faster proxy and then compare
/// latencies of different traffic; shares of the fastest peer's capacity would leave the others
/// with queues that only grow.
#[derive(Debug, Default)]
pub(in crate::bench) struct Capacity(OnceCell<f64>);

impl Capacity {
    /// Takes the capacity from W1, if W1 was measured in the same run.
    pub(in crate::bench) fn learn(&self, work: &Work) {
        let rates = work.samples.iter().filter_map(|sample| sample.figures.get(&UnitsPerSecond));
        if let Some(slowest) = rates.copied().min_by(f64::total_cmp) {
            let _ = self.0.set(slowest);
        }
    }

    /// Measures every peer once, if the capacity is not known.
    pub(in crate::bench) fn know(&self, bench: &Bench<'_>, peers: &[Box<dyn Peer>]) -> Result<f64> {
        if let Some(known) = self.0.get() {
            return Ok(*known);
        }
        let closed = |peer: &dyn Peer| -> Option<f64> {
            let running = bench.start(peer, Setup::default()).ok()?;
            let outcome = run(&mut timed(bench, &W1, &running).ok()?).ok()?;
            Some(outcome.units as f64 / outcome.seconds)
        };
        let slowest = peers.iter().filter_map(|peer| closed(peer.as_ref())).min_by(f64::total_cmp);
        let slowest = slowest.context("no peer does W1")?;
        Ok(*self.0.get_or_init(|| slowest))
    }
}

pub(super) fn measure(
    bench: &Bench<'_>,
    share: f64,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let capacity = bench.capacity.0.get().context("the capacity has not been measured")?;
    let mut running = bench.start(peer, Setup::default())?;
    let mut command = timed(bench, &W1, &running)?;
    command.args(["--rate", &format!("{:.0}", (capacity * share).max(1.0))]);
    let outcome = run(&mut command)?;
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}
