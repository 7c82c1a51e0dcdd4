//! W10: what a request costs, what memory it takes, and how long the start, where there is much of
//! something.

use anyhow::Result;

use super::{Bench, W1, load::timed};
use crate::bench::{
    generator::run,
    model::{Figure, Sample},
    peers::{Peer, Setup},
    processes::{family, memory_kib},
};

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
