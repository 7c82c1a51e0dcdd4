//! W2c and W2d: what a client costs whose certificate leads to no CA.

use anyhow::Result;

use super::{Bench, Load, STRANGERS, W1, load::timed};
use crate::bench::{
    generator::run,
    model::Sample,
    peers::{Peer, Setup},
};

const REFUSED: Load = Load { work: "refused-client", connections: 16, ..W1 };

/// Certificates in turn, so that no peer can remember a refusal.
pub(super) fn measure(
    bench: &Bench<'_>,
    namesakes: usize,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let mut running = bench.start(peer, Setup::default())?;
    let mut command = timed(bench, &REFUSED, &running)?;
    command.args(["--unknown-certificates", &STRANGERS.to_string()]);
    command.args(["--namesakes", &namesakes.to_string()]);
    let outcome = run(&mut command)?;
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}
