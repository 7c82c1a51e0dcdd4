//! W5: the cost of idle connections.

use anyhow::{Result, ensure};

use super::{Bench, BodyKind};
use crate::{
    bench::{
        generator::{Background, ask_for, load},
        model::{Figure, Sample},
        peers::{Peer, Setup},
        processes::{family, memory_kib},
    },
    rig::ZONE,
};

/// The memory with the connections, less the memory without any. Each connection has served a
/// request, so that lazily created state exists.
pub(super) fn measure(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    let mut running = bench.start(peer, Setup::default())?;
    let without = memory_kib(&family(running.id()))?;
    let mut command = load(&running, "hold");
    command.args(["--name", &format!("host-0.{ZONE}")]);
    command.args(["--connections", &bench.pace.held.to_string()]);
    if let Some(body) = bench.body(BodyKind::Kib(1))? {
        ask_for(&mut command, &body);
    }
    let mut holding = Background::start(&mut command)?;
    let line = holding.wait_for_line()?;
    if !line.contains("held") {
        holding.finish()?;
        anyhow::bail!("no connection was held: {line}");
    }
    let with = memory_kib(&family(running.id()))?;
    let outcome = holding.finish()?;
    running.must_be_running()?;
    ensure!(with > without, "{with} KiB with connections, {without} KiB without");
    let mut sample = outcome.sample(peer.id(), round);
    // The speed of opening them is not part of the result.
    sample.figures.remove(&Figure::UnitsPerSecond);
    sample.figures.insert(Figure::MemoryKib, with as f64);
    let each = (with - without) as f64 / bench.pace.held as f64;
    sample.figures.insert(Figure::MemoryKibPerConnection, each);
    Ok(sample)
}
