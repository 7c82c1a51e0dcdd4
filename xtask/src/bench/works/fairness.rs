//! W14: the latency of a small request beside a tunnel and a download at full speed, all on one
//! worker.

use anyhow::{Result, ensure};

use super::{
    Bench, BodyKind, Load, W1,
    load::{timed, untimed},
};
use crate::{
    bench::{
        generator::{Background, load, run},
        lab::free_address,
        model::Sample,
        peers::{Peer, Setup},
    },
    rig::ZONE,
};

const DOWNLOAD: Load = Load { body: BodyKind::Kib(1024), connections: 1, ..W1 };
const REQUESTS: Load = Load { connections: 4, ..W1 };
/// A low rate, so that the wait for a turn is measured and not the capacity.
const REQUESTS_PER_SECOND: &str = "200";

pub(super) fn measure(bench: &Bench<'_>, peer: &dyn Peer, round: u32) -> Result<Sample> {
    let upstream = free_address()?;
    let mut running = bench.start(peer, Setup { tunnel: Some(upstream), ..Setup::default() })?;
    let mut tunnel = load(&running, "tunnel");
    tunnel.args(["--name", &format!("tunnel.{ZONE}"), "--tunnel", &upstream.to_string()]);
    let mut tunnel = Background::start(&mut tunnel)?;
    ensure!(!tunnel.wait_for_line()?.is_empty(), "no tunnel: {:?}", tunnel.finish().err());
    let mut download = untimed(bench, &DOWNLOAD, &running)?;
    download.args(["--seconds", "3600", "--warm-up-seconds", "0"]);
    let download = Background::start(&mut download)?;
    let mut requests = timed(bench, &REQUESTS, &running)?;
    requests.args(["--rate", REQUESTS_PER_SECOND]);
    let outcome = run(&mut requests)?;
    // Neither ends by itself.
    drop((download, tunnel));
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}
