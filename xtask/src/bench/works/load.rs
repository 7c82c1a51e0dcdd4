//! Closed loops of load: W1 to W4, W6 and W8.

use std::process::Command;

use anyhow::Result;

use super::{Bench, Load};
use crate::{
    bench::{
        generator::{ask_for, load, run},
        model::Sample,
        peers::{Peer, Running, Setup},
        processes,
    },
    rig::ZONE,
};

pub(super) fn measure(
    bench: &Bench<'_>,
    kind: &Load,
    setup: Setup,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let mut running = bench.start(peer, Setup { upstream: kind.upstream, ..setup })?;
    let mut command = timed(bench, kind, &running)?;
    let outcome = run(&mut command)?;
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}

/// Runs the load for as long as the pace says, and counts the proxy's CPU time.
pub(super) fn timed(bench: &Bench<'_>, kind: &Load, running: &Running<'_>) -> Result<Command> {
    let mut command = untimed(bench, kind, running)?;
    command.args(["--seconds", &bench.pace.seconds.to_string()]);
    command.args(["--warm-up-seconds", &bench.pace.warm_up_seconds.to_string()]);
    command.args(["--pid", &running.id().to_string()]);
    Ok(command)
}

/// The load without a duration.
pub(super) fn untimed(bench: &Bench<'_>, kind: &Load, running: &Running<'_>) -> Result<Command> {
    let mut command = load(running, kind.work);
    command.args(["--connections", &kind.connections.to_string()]);
    let hosts = running.place.setup.hosts.to_string();
    command.args(["--name", &format!("host-{{}}.{ZONE}"), "--names", &hosts]);
    match bench.body(kind.body)? {
        Some(body) => ask_for(&mut command, &body),
        None => {
            command.args(["--path", "/", "--any-body"]);
        }
    }
    if kind.clients > 1 {
        command.arg("--client-certificates").arg(bench.lab.clients(kind.clients)?);
    }
    if let Some(streams) = kind.streams {
        command.args(["--protocol", "h2", "--streams", &streams.to_string()]);
    }
    Ok(command)
}

/// Takes the difference of a long and a short run, which cancels out the calls that begin and end a
/// connection.
pub(super) fn system_calls(bench: &Bench<'_>, kind: &Load, peer: &dyn Peer) -> Result<Option<f64>> {
    let setup = Setup { upstream: kind.upstream, ..Setup::default() };
    let running = bench.start(peer, setup)?;
    let calls = |units: u64| -> Result<Option<u64>> {
        let mut command = untimed(bench, kind, &running)?;
        command.args(["--units", &units.to_string(), "--seconds", "60"]);
        command.args(["--warm-up-seconds", "0"]);
        processes::system_calls(&processes::family(running.id()), &command)
    };
    let long = bench.pace.traced_units;
    let short = long / 5;
    // Pools and caches are filled first.
    calls(short)?;
    let (Some(few), Some(many)) = (calls(short)?, calls(long)?) else { return Ok(None) };
    Ok(Some(many.saturating_sub(few) as f64 / (long - short) as f64))
}
