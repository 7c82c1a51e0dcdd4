//! W10: what a request costs, and what memory it takes, where there is much of something.

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
    Ok(sample)
}
