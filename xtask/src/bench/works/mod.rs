//! The works: the measurements and their aims. One file for each kind of work does it.

mod fairness;
mod flood;
mod hold;
mod load;
mod open_loop;
mod refused;
mod reload;
mod resilience;
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

/// The definition of a work.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) primary: Figure,
    /// The aim: the highest ratio of our primary figure to the best other peer's.
    pub(super) aim: Option<f64>,
    pub(super) kind: Kind,
    /// Whether `--quick` includes it.
    pub(super) quick: bool,
    /// Whether it runs in one round only.
    once: bool,
}

/// The kind of a work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A closed loop of load.
    Load(Load),
    /// Memory of idle connections.
    Hold,
    /// Reloads under load.
    Reload,
    /// Process replacements under load.
    Restart,
    /// The first load with this number of hosts.
    Hosts { hosts: usize, own_certificates: bool },
    /// Loads of this number of routes beside the first load, ours alone.
    ReloadHosts(usize),
    /// The first load with this number of workers, ours alone.
    Workers(usize),
    /// Names and their upstream connections, ours alone.
    Steering(&'static str),
    /// Open loop at this share of the slowest peer's capacity.
    OpenLoop(f64),
    /// A flood beside the first load, with this mode of our steering.
    Flood(&'static str),
    /// The first load by people who have signed in, ours alone.
    Session(SessionKind),
    /// A load with and without health checks, ejection and limits, ours alone.
    Guarded(Load),
    /// Small requests beside a tunnel and a download, ours alone.
    Fairness,
    /// Small requests beside a flood of control frames, or the same requests alone.
    ControlFrames { is_flooded: bool },
    /// Handshakes of clients that must be refused, with this number of CAs of one name behind each
    /// certificate.
    RefusedClients { namesakes: usize },
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

/// A load for the load generator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// The name that the generator knows it by.
    pub(super) work: &'static str,
    pub(super) body: BodyKind,
    pub(super) connections: u32,
    /// The number of streams on each connection, over HTTP/2; `None` for HTTP/1.1.
    pub(super) streams: Option<u32>,
    /// The number of client certificates, presented in turn.
    pub(super) clients: usize,
    pub(super) upstream: Upstream,
}

/// The content of the responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// A body of this number of KiB, from the origin.
    Kib(usize),
    /// The page of `openssl s_server -www`, which differs each time.
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

/// Almost twice the size of our caches: each certificate is evicted before its next turn.
const STRANGERS: usize = 2_000;

use Figure::{
    CpuToUnguarded, CpuUsPerUnit, LatencyP99Us, LatencyP999Us, MemoryKibPerConnection, SlowestMs,
    UnitsPerSecond,
};
use Kind::{
    ControlFrames, Fairness, Flood, Guarded, Hold, Hosts, OpenLoop, RefusedClients, Reload,
    ReloadHosts, Restart, Session, Steering, Workers,
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

    /// The number of rounds, out of the requested ones.
    pub(super) fn rounds(&self, rounds: u32) -> u32 {
        if self.once { 1 } else { rounds }
    }

    /// Whether it measures something that no other peer has.
    pub(super) fn is_ours_alone(&self) -> bool {
        matches!(
            self.kind,
            Workers(_) | Steering(_) | ReloadHosts(_) | Session(_) | Guarded(_) | Fairness
        )
    }

    /// Whether `--work` selects it: `W4` selects `W4a` and `W4b`, but `W1` does not select `W10`.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let rest = self.id.to_ascii_lowercase();
        let rest = rest.strip_prefix(&wanted.to_ascii_lowercase());
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// All works, in the order of the report.
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
    let guarded = |id, title, load| {
        work(id, title, "request", CpuToUnguarded, None, Guarded(load)).only_full()
    };
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
            "W2c",
            "Client with an unknown certificate, 2,000 in turn, refused",
            "connection",
            cpu,
            None,
            RefusedClients { namesakes: 0 },
        ),
        work(
            "W2d",
            "W2c, nine CAs of one name behind each certificate",
            "connection",
            cpu,
            None,
            RefusedClients { namesakes: 9 },
        ),
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
        // Some peers take a minute to start with this number.
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
        // The kernel's part of a rejection is not in any process's CPU time.
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
        work(
            "W14b",
            "Request, 200 a second, alone",
            "request",
            LatencyP99Us,
            None,
            ControlFrames { is_flooded: false },
        ),
        work(
            "W14c",
            "W14b beside a client that sends PING frames at full speed",
            "request",
            LatencyP99Us,
            None,
            ControlFrames { is_flooded: true },
        ),
        session("W15a", "W1 by 50 users, public route", SessionKind::Public),
        session("W15b", "W15a, route for users", SessionKind::Known),
        session("W15c", "W15b with an assertion", SessionKind::Asserted),
        session("W15d", "W15b by 10,000 users in turn", SessionKind::FirstSeen),
        guarded("W16a", "W1 with health checks, ejection and limits, beside W1 without", W1),
        guarded("W16b", "W8 with health checks, ejection and limits, beside W8 without", h2),
    ]
}

/// The durations and sizes of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) seconds: f64,
    pub(super) warm_up_seconds: f64,
    /// The idle connections of W5.
    pub(super) held: usize,
    /// The reloads of W7.
    pub(super) reloads: usize,
    pub(super) reload_seconds: f64,
    /// The units of the longer of the two runs whose difference gives the system calls of one unit.
    pub(super) traced_units: u64,
}

impl Pace {
    /// The pace of figures that are published.
    pub(super) const FULL: Self = Self {
        seconds: 5.0,
        warm_up_seconds: 1.0,
        held: 5_000,
        reloads: 5,
        reload_seconds: 1.5,
        traced_units: 5_000,
    };
    /// The pace of `--quick`.
    pub(super) const QUICK: Self = Self {
        seconds: 0.8,
        warm_up_seconds: 0.3,
        held: 1_000,
        // Half a second after one restart, pingora does not survive another.
        reloads: 1,
        reload_seconds: 1.0,
        traced_units: 1_000,
    };

    /// Whether the system calls of that work are counted: in a quick run only those of the first
    /// work.
    pub(super) fn traces(&self, definition: &Definition) -> bool {
        self.seconds > 1.0 || definition.id == "W1"
    }
}

/// The state that all works share.
pub(super) struct Bench<'a> {
    pub(super) lab: &'a Lab,
    pub(super) generator: &'a Path,
    pub(super) pace: Pace,
    pub(super) capacity: Capacity,
}

impl<'a> Bench<'a> {
    /// Starts a proxy anew, so that no work inherits state from another.
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

/// Why this peer does not do it.
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
        Guarded(load) => resilience::measure(bench, &load, peer, round),
        Fairness => fairness::beside_transfers(bench, peer, round),
        ControlFrames { is_flooded } => fairness::beside_frames(bench, is_flooded, peer, round),
        RefusedClients { namesakes } => refused::measure(bench, namesakes, peer, round),
    }
}

/// System calls for a unit, in a separate run, since counting them slows the proxy down.
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
        for number in 1..=16 {
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
        assert_eq!(called("W2"), ["W2", "W2b", "W2c", "W2d"]);
        assert_eq!(called("W4"), ["W4a", "W4b"]);
        assert_eq!(called("w4A"), ["W4a"]);
        assert!(called("W99").is_empty());
    }
}
