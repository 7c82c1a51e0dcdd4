//! W13: what is left for those who are served while others knock.

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

/// At a rate that is the same for all: what a closed loop of hellos would get through depends on
/// how soon they are refused.
const HELLOS_PER_SECOND: &str = "1000";

pub(super) fn measure(
    bench: &Bench<'_>,
    steering: &'static str,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    // What our refusal in the kernel rests on; the others have it too, since it costs something.
    let _cookies = namespace::always_send_syn_cookies()?;
    let mut running = bench.start(peer, Setup { steering, ..Setup::default() })?;
    let mut flood = load(&running, "flood");
    // Within the certificate's wildcard, and served by nobody.
    flood.args(["--name", &format!("unserved.{ZONE}"), "--rate", HELLOS_PER_SECOND]);
    flood.args(["--connections", "16", "--seconds", "3600", "--warm-up-seconds", "0"]);
    let flood = Background::start(&mut flood)?;
    let outcome = run(&mut timed(bench, &W1, &running)?)?;
    // It ends when it is dropped, as it would not by itself.
    drop(flood);
    running.must_be_running()?;
    Ok(outcome.sample(peer.id(), round))
}
