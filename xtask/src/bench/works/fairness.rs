//! W14: the latency of a small request beside peers that send all they can, all on one worker.

use anyhow::{Result, ensure};

use super::{
    Bench, BodyKind, Load, W1,
    load::{timed, untimed},
};
use crate::{
    bench::{
        generator::{Background, Outcome, load, run},
        lab::free_address,
        model::Sample,
        peers::{Peer, Running, Setup},
    },
    rig::ZONE,
};

const DOWNLOAD: Load = Load { body: BodyKind::Kib(1024), connections: 1, ..W1 };
const REQUESTS: Load = Load { connections: 4, ..W1 };
/// A low rate, so that the wait for a turn is measured and not the capacity.
const REQUESTS_PER_SECOND: &str = "200";

/// Beside a tunnel and a download.
pub(super) fn beside_transfers(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    let upstream = free_address()?;
    let mut running = bench.start(peer, Setup { tunnel: Some(upstream), ..Setup::default() })?;
    let mut tunnel = load(&running, "tunnel");
    tunnel.args(["--name", &format!("tunnel.{ZONE}"), "--tunnel", &upstream.to_string()]);
    let mut tunnel = Background::start(&mut tunnel)?;
    ensure!(!tunnel.wait_for_line()?.is_empty(), "no tunnel: {:?}", tunnel.finish().err());
    let mut download = untimed(bench, &DOWNLOAD, &running)?;
    download.args(["--seconds", "3600", "--warm-up-seconds", "0"]);
    let download = Background::start(&mut download)?;
    let outcome = requests(bench, &running)?;
    // Neither ends by itself.
    drop((download, tunnel));
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}

/// Beside a client that sends control frames and returns each time it is cut off, or beside none.
pub(super) fn beside_frames(
    bench: &Bench<'_>,
    is_flooded: bool,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let mut running = bench.start(peer, Setup::default())?;
    let flood = is_flooded.then(|| frame_flood(&running)).transpose()?;
    let mut sample = requests(bench, &running)?.sample(peer.id(), round);
    if let Some(flood) = flood {
        flood.finish_flood()?.add_to(&mut sample);
    }
    running.must_be_running()?;
    Ok(sample)
}

fn frame_flood(running: &Running<'_>) -> Result<Background> {
    let mut flood = load(running, "frame-flood");
    flood.args(["--name", &format!("host-0.{ZONE}"), "--protocol", "h2"]);
    let mut flood = Background::start(&mut flood)?;
    ensure!(!flood.wait_for_line()?.is_empty(), "no flood: {:?}", flood.finish().err());
    Ok(flood)
}

fn requests(bench: &Bench<'_>, running: &Running<'_>) -> Result<Outcome> {
    let mut requests = timed(bench, &REQUESTS, running)?;
    // A request that fails beside others must not end the run: the row says how many did.
    requests.args(["--rate", REQUESTS_PER_SECOND, "--tolerate"]);
    run(&mut requests)
}
