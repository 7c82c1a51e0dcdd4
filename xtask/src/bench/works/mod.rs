//! The works: what is measured, with which aim. One file for each kind of work says how.

mod fairness;
mod flood;
mod hold;
mod load;
mod open_loop;
mod reload;
mod scale;
mod session;
mod steering;

use std::path::Path;

use anyhow::Result;

use super::{
    lab::{Body, Lab},
    model::{Figure, Sample},
    peers::{OURS, Peer, Place, Running, Setup, Upstream},
};
pub(super) use open_loop::Capacity;

/// A work as it is defined, before anybody does it.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) primary: Figure,
    /// What our primary figure is to be at most, as a ratio to the best other peer's.
    pub(super) aim: Option<f64>,
    pub(super) kind: Kind,
    /// Part of `--quick`.
    pub(super) quick: bool,
    /// In one round, however many there are.
    once: bool,
}

/// How a work is done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A closed loop of load.
    Load(Load),
    /// Memory of connections that only stay.
    Hold,
    /// Reloads under load.
    Reload,
    /// New processes under load.
    Restart,
    /// The first load against so many hosts.
    Hosts { hosts: usize, own_certificates: bool },
    /// Loads of so many routes beside the first load, ours alone.
    ReloadHosts(usize),
    /// The first load with so many workers, ours alone.
    Workers(usize),
    /// Names and their upstream connections, ours alone.
    Steering(&'static str),
    /// Open loop, at this share of what the slowest peer can do.
    OpenLoop(f64),
    /// A flood beside the first load, with this steering of ours.
    Flood(&'static str),
    /// The first load by people who have signed in, ours alone.
    Session(SessionKind),
    /// Small requests beside a tunnel and a download, ours alone.
    Fairness,
}

/// What the route looks at, and how many people use it in turn. Their requests have the same cookies
/// in all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionKind {
    /// Anybody may use the route.
    Public,
    /// Users alone; the worker remembers them.
    Known,
    /// The same, and the upstream gets an assertion, signed once a minute.
    Asserted,
    /// Users alone, more than a worker remembers: it opens each cookie.
    FirstSeen,
}

/// A load, as the load generator takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// As the generator names it.
    pub(super) work: &'static str,
    pub(super) body: BodyKind,
    pub(super) connections: u32,
    /// Over HTTP/2, so many streams on each; HTTP/1.1 without.
    pub(super) streams: Option<u32>,
    /// Client certificates, shown in turn.
    pub(super) clients: usize,
    pub(super) upstream: Upstream,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// Of so many KiB, from the origin.
    Kib(usize),
    /// The page of `openssl s_server -www`, which is another each time.
    Page,
}

const W1: Load = Load {
    work: "keep-alive",
    body: BodyKind::Kib(1),
    connections: 50,
    streams: None,
    clients: 1,
    upstream: Upstream::Origin,
};

/// Almost twice as many as ours remembers: whose turn comes has been forgotten.
const STRANGERS: usize = 2_000;

use Figure::{
    CpuUsPerUnit, LatencyP99Us, LatencyP999Us, MemoryKibPerConnection, SlowestMs, UnitsPerSecond,
};
use Kind::{
    Fairness, Flood, Hold, Hosts, OpenLoop, Reload, ReloadHosts, Restart, Session, Steering,
    Workers,
};

const fn work(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    primary: Figure,
    aim: Option<f64>,
    kind: Kind,
) -> Definition {
    Definition { id, title, unit, primary, aim, kind, quick: true, once: false }
}

impl Definition {
    const fn only_full(mut self) -> Self {
        self.quick = false;
        self
    }

    const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// In how many rounds, where there are so many.
    pub(super) fn rounds(&self, rounds: u32) -> u32 {
        if self.once { 1 } else { rounds }
    }

    /// Whether it is about something that no other peer has.
    pub(super) fn is_ours_alone(&self) -> bool {
        matches!(self.kind, Workers(_) | Steering(_) | ReloadHosts(_) | Session(_) | Fairness)
    }

    /// Whether `--work` means this one: `W4` means `W4a` and `W4b`, but `W1` not `W10`.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let rest = self.id.to_ascii_lowercase();
        let rest = rest.strip_prefix(&wanted.to_ascii_lowercase());
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// All, in the order of the report.
pub(super) fn all() -> Vec<Definition> {
    let on = |kib, connections| Kind::Load(Load { body: BodyKind::Kib(kib), connections, ..W1 });
    let handshake = |work| Load { work, connections: 16, ..W1 };
    let strangers = Load { clients: STRANGERS, ..handshake("full-handshake") };
    let page = Load { body: BodyKind::Page, connections: 8, upstream: Upstream::Openssl, ..W1 };
    let h2 = Load { connections: 5, streams: Some(10), ..W1 };
    let hosts = |hosts| Hosts { hosts, own_certificates: false };
    let certificates = |hosts| Hosts { hosts, own_certificates: true };
    let cpu = CpuUsPerUnit;
    let session = |id, title, kind| work(id, title, "request", cpu, None, Session(kind));
    vec![
        work(
            "W1",
            "Keep-alive request, 1 KiB, 50 connections",
            "request",
            cpu,
            Some(0.8),
            Kind::Load(W1),
        ),
        work(
            "W2",
            "Full mTLS handshake and a request",
            "connection",
            cpu,
            Some(0.8),
            Kind::Load(handshake("full-handshake")),
        ),
        work(
            "W2b",
            "W2 by 2,000 clients in turn, each with a certificate of its own",
            "connection",
            cpu,
            None,
            Kind::Load(strangers),
        )
        .only_full(),
        work(
            "W3",
            "Resumed handshake and a request",
            "connection",
            cpu,
            Some(0.8),
            Kind::Load(handshake("resumed-handshake")),
        ),
        work("W4a", "64 KiB response, 32 connections", "request", cpu, Some(0.8), on(64, 32)),
        work("W4b", "1 MiB response, 8 connections", "request", cpu, Some(0.8), on(1024, 8)),
        work(
            "W5",
            "Idle mTLS connections, held after a request each",
            "connection",
            MemoryKibPerConnection,
            Some(0.5),
            Hold,
        ),
        work(
            "W6",
            "Request to `openssl s_server -Verify 1 -www`, an upstream connection each",
            "request",
            cpu,
            Some(0.8),
            Kind::Load(page),
        ),
        work("W7", "Reloads while W1 runs", "request", SlowestMs, Some(1.0 / 3.0), Reload),
        work(
            "W8",
            "HTTP/2 request, 1 KiB, 5 connections of 10 streams",
            "request",
            cpu,
            Some(0.8),
            Kind::Load(h2),
        ),
        work(
            "W9a",
            "Handshakes for 64 names, 16 workers, steering none",
            "connection",
            cpu,
            None,
            Steering("none"),
        ),
        work(
            "W9b",
            "Handshakes for 64 names, 16 workers, steering by hand-off",
            "connection",
            cpu,
            None,
            Steering("handoff"),
        ),
        work(
            "W9c",
            "Handshakes for 64 names, 16 workers, steering in the kernel",
            "connection",
            cpu,
            None,
            Steering("kernel"),
        ),
        work("W10a", "W1 with 10 routes", "request", cpu, None, hosts(10)).only_full(),
        work("W10b", "W1 with 1,000 routes", "request", cpu, None, hosts(1_000)).only_full(),
        // Some peers take a minute to start with these.
        work("W10c", "W1 with 100,000 routes", "request", cpu, None, hosts(100_000))
            .only_full()
            .once(),
        work("W10d", "W1 with 10,000 certificates", "request", cpu, None, certificates(10_000))
            .only_full()
            .once(),
        work("W10e", "W1 with 2 workers on one core", "request", cpu, None, Workers(2)).only_full(),
        work("W10f", "W1 with 4 workers on one core", "request", cpu, None, Workers(4)).only_full(),
        work("W10g", "W1 with 8 workers on one core", "request", cpu, None, Workers(8)).only_full(),
        work("W10h", "W1 with 16 workers on one core", "request", cpu, None, Workers(16))
            .only_full(),
        work(
            "W10i",
            "Five loads of 100,000 routes while W1 runs",
            "request",
            LatencyP999Us,
            None,
            ReloadHosts(100_000),
        )
        .only_full()
        .once(),
        work(
            "W11a",
            "Open loop at 10 % of the slowest peer's capacity",
            "request",
            LatencyP99Us,
            None,
            OpenLoop(0.1),
        )
        .only_full(),
        work(
            "W11b",
            "Open loop at 50 % of the slowest peer's capacity",
            "request",
            LatencyP99Us,
            None,
            OpenLoop(0.5),
        )
        .only_full(),
        work(
            "W11c",
            "Open loop at 90 % of the slowest peer's capacity",
            "request",
            LatencyP99Us,
            None,
            OpenLoop(0.9),
        )
        .only_full(),
        work(
            "W12",
            "A new process takes over while W1 runs",
            "request",
            SlowestMs,
            Some(1.0 / 3.0),
            Restart,
        )
        .only_full(),
        work(
            "W13",
            "W1 beside 1,000 hellos a second for names that are not served",
            "request",
            UnitsPerSecond,
            None,
            Flood("kernel"),
        ),
        // What the kernel does to refuse is in no process's account.
        work(
            "W13b",
            "W13 with our steering none: hellos are refused by the process",
            "request",
            UnitsPerSecond,
            None,
            Flood("none"),
        )
        .only_full(),
        work(
            "W14",
            "Request, 200 a second, beside a tunnel and a download at full speed",
            "request",
            LatencyP99Us,
            None,
            Fairness,
        ),
        session("W15a", "W1 by 50 users, public route", SessionKind::Public),
        session("W15b", "W15a, route for users", SessionKind::Known),
        session("W15c", "W15b with an assertion", SessionKind::Asserted),
        session("W15d", "W15b by 10,000 users in turn", SessionKind::FirstSeen),
    ]
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) seconds: f64,
    pub(super) warm_up_seconds: f64,
    /// Of W5.
    pub(super) held: usize,
    /// Of W7.
    pub(super) reloads: usize,
    pub(super) reload_seconds: f64,
    /// Units of the longer of the two runs whose difference tells the system calls of one.
    pub(super) traced_units: u64,
}

impl Pace {
    /// That of figures worth keeping.
    pub(super) const FULL: Self = Self {
        seconds: 5.0,
        warm_up_seconds: 1.0,
        held: 5_000,
        reloads: 5,
        reload_seconds: 1.5,
        traced_units: 5_000,
    };
    /// That of `--quick`.
    pub(super) const QUICK: Self = Self {
        seconds: 0.8,
        warm_up_seconds: 0.3,
        held: 1_000,
        // Half a second after one, pingora does not survive another.
        reloads: 1,
        reload_seconds: 1.0,
        traced_units: 1_000,
    };

    /// Whether system calls are counted of that work: in a hurry only of the first.
    pub(super) fn traces(&self, definition: &Definition) -> bool {
        self.seconds > 1.0 || definition.id == "W1"
    }
}

/// What all works share.
pub(super) struct Bench<'a> {
    pub(super) lab: &'a Lab,
    pub(super) generator: &'a Path,
    pub(super) pace: Pace,
    pub(super) capacity: Capacity,
}

impl<'a> Bench<'a> {
    /// Starts a proxy anew, so that no work meets what another left.
    fn start(&self, peer: &dyn Peer, setup: Setup) -> Result<Running<'a>> {
        Running::start(peer, Place::new(self.lab, self.generator, peer.id(), setup)?)
    }

    fn body(&self, kind: BodyKind) -> Result<Option<Body>> {
        let (path, kib) = match kind {
            BodyKind::Page => return Ok(None),
            BodyKind::Kib(1) => ("/1k", 1),
            BodyKind::Kib(64) => ("/64k", 64),
            BodyKind::Kib(kib) => ("/large", kib),
        };
        self.lab.body(path, kib << 10).map(Some)
    }
}

/// Why this peer has no part in it.
pub(super) fn lacks(definition: &Definition, peer: &dyn Peer) -> Option<String> {
    let is_ours = [OURS, "baseline"].contains(&peer.id());
    let reason = match definition.kind {
        _ if definition.is_ours_alone() && !is_ours => "a work of ours alone",
        Restart if !peer.restarts() => {
            "it cannot be replaced without a loss, or the benchmark has no code for it"
        }
        Hosts { own_certificates, .. } => {
            peer.lacks(&Setup { own_certificates, ..Setup::default() })?
        }
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Does the work once.
pub(super) fn measure(
    bench: &Bench<'_>,
    definition: &Definition,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    match definition.kind {
        Kind::Load(load) => load::measure(bench, &load, Setup::default(), peer, round),
        Hold => hold::measure(bench, peer, round),
        Reload => reload::measure(bench, peer, round),
        Restart => reload::measure_restart(bench, peer, round),
        Hosts { hosts, own_certificates } => scale::measure(
            bench,
            Setup { hosts, own_certificates, ..Setup::default() },
            peer,
            round,
        ),
        ReloadHosts(hosts) => scale::measure_reloads(bench, hosts, peer, round),
        Workers(workers) => {
            scale::measure(bench, Setup { workers, ..Setup::default() }, peer, round)
        }
        Steering(mode) => steering::measure(bench, mode, peer, round),
        OpenLoop(share) => open_loop::measure(bench, share, peer, round),
        Flood(steering) => flood::measure(bench, steering, peer, round),
        Session(kind) => session::measure(bench, kind, peer, round),
        Fairness => fairness::measure(bench, peer, round),
    }
}

/// System calls for a unit, in a run of its own, since whoever counts them slows the proxy.
pub(super) fn system_calls(
    bench: &Bench<'_>,
    definition: &Definition,
    peer: &dyn Peer,
) -> Result<Option<f64>> {
    match definition.kind {
        Kind::Load(load) => load::system_calls(bench, &load, peer),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_works_have_the_same_id() {
        let ids: BTreeSet<_> = all().iter().map(|work| work.id).collect();
        assert_eq!(ids.len(), all().len());
    }

    #[test]
    fn every_work_of_the_issue_is_there() {
        for number in 1..=15 {
            let wanted = format!("W{number}");
            assert!(all().iter().any(|work| work.is_called(&wanted)), "{wanted}");
        }
    }

    #[test]
    fn a_work_is_called_by_its_id_or_that_of_its_group() {
        let called = |wanted: &str| -> Vec<_> {
            all().iter().filter(|work| work.is_called(wanted)).map(|work| work.id).collect()
        };
        assert_eq!(called("W1"), ["W1"]);
        assert_eq!(called("W2"), ["W2", "W2b"]);
        assert_eq!(called("W4"), ["W4a", "W4b"]);
        assert_eq!(called("w4A"), ["W4a"]);
        assert!(called("W99").is_empty());
    }
}
