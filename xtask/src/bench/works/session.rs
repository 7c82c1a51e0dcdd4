//! W15: what it costs to know who makes a request.

use std::fs;

use anyhow::Result;

use super::{Bench, SessionKind, W1, load::timed};
use crate::{
    bench::{
        generator::run,
        model::{Figure, Sample},
        peers::{OurRoute, Peer, Setup},
        processes,
    },
    command::{cargo, said_by},
    rig::ZONE,
};

/// As many as there are connections.
const USERS: usize = 50;
/// More than twice as many as a worker remembers, so that each is forgotten before its turn comes.
const MANY_USERS: usize = 10_000;

pub(super) fn measure(
    bench: &Bench<'_>,
    kind: SessionKind,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    let (users, route) = match kind {
        SessionKind::Public => (USERS, OurRoute::Public),
        SessionKind::Known => (USERS, OurRoute::Users),
        SessionKind::Asserted => (USERS, OurRoute::UsersAsserted),
        SessionKind::FirstSeen => (MANY_USERS, OurRoute::Users),
    };
    let setup = Setup { sign_in: Some((said_by(&mut maker(&[]))?, route)), ..Setup::default() };
    let mut running = bench.start(peer, setup)?;
    let cookies = running.place.directory.join("cookies");
    fs::write(&cookies, said_by(&mut maker(&[&format!("host-0.{ZONE}"), &users.to_string()]))?)?;
    let mut command = timed(bench, &W1, &running)?;
    command.arg("--cookies").arg(cookies);
    let outcome = run(&mut command)?;
    running.must_be_running()?;
    let mut sample = outcome.sample(peer.id(), round);
    let memory = processes::memory_kib(&processes::family(running.id()))?;
    sample.figures.insert(Figure::MemoryKib, memory as f64);
    Ok(sample)
}

/// The program that makes cookies for a proxy whose secrets it knows. Without arguments, it gives the
/// settings of that proxy.
fn maker(arguments: &[&str]) -> std::process::Command {
    let mut maker = cargo("run --quiet --package portcullis --features bench");
    maker.args(["--example", "session_cookies"]);
    maker.arg("--").args(arguments);
    maker
}
