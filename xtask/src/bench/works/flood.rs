//! W13: the throughput of served clients during a flood of hellos for unknown names.

use anyhow::Result;

use super::{Bench, W1, load::timed};
use crate::{
    bench::{
        generator::{Background, load, run},
        model::Sample,
        namespace,
        peers::{Peer, Setup},
    },
    rig::ZONE,
};

/// The rate is fixed: the throughput of a closed loop of hellos would depend on how soon they are
/// rejected.
const HELLOS_PER_SECOND: &str = "1000";

pub(super) fn measure(
    bench: &Bench<'_>,
    steering: &'static str,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    // Rejection in our kernel program needs it; the other peers get it too, since it has a cost.
    let _cookies = namespace::always_send_syn_cookies()?;
    let mut running = bench.start(peer, Setup { steering, ..Setup::default() })?;
    let mut flood = load(&running, "flood");
    // A name that the certificate's wildcard covers and no route serves.
    flood.args(["--name", &format!("unserved.{ZONE}"), "--rate", HELLOS_PER_SECOND]);
    flood.args(["--connections", "16", "--seconds", "3600", "--warm-up-seconds", "0"]);
    let flood = Background::start(&mut flood)?;
    let outcome = run(&mut timed(bench, &W1, &running)?)?;
    // The flood has no end of its own; dropping it ends it.
    drop(flood);
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}
