//! The catcher of one address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{CatcherSize, held::HeldBatch, stop::StopOrder};
use crate::{
    steering::Steering,
    sys::{TcpStates, defer_accept, is_local_address},
};

/// What a round of the catchers' thread uses.
#[derive(Clone, Copy)]
pub(super) struct Round<'r> {
    pub(super) steering: &'r Steering,
    /// `None` if the kernel does not tell the states of connections.
    pub(super) states: Option<&'r TcpStates>,
    pub(super) stop: &'r StopOrder,
    /// When it began.
    pub(super) now: Instant,
}

/// How long the kernel keeps a request that is deferred: 1 + 2 + 4 + 8 + 16 + 32 = 63 seconds.
const KEPT_S: u16 = 60;

/// How often half of the connections is replaced: each is closed at twice this age.
const RENEWAL: Duration = Duration::from_secs(20);

/// How long after a failure to try again.
const RETRY: Duration = Duration::from_secs(2);

/// How long the programs of another process may apply, before ours are attached again. One that
/// replaces this process tells it to drain long before.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long our program must have applied before it may be attached once more again.
const QUIET: Duration = Duration::from_secs(60);

/// A listener that catches SYNs, and the connections that keep its queue full.
#[derive(Debug)]
pub(crate) struct Catcher {
    /// The number of its address.
    group: usize,
    address: SocketAddr,
    listener: OwnedFd,
    size: CatcherSize,
    older: HeldBatch,
    newer: HeldBatch,
    /// Whether the program sends SYNs there.
    in_use: bool,
    /// Whether the log says that connections to its address are handed over.
    pub(super) is_failing: bool,
    due: Option<Instant>,
    /// Since when the program has not seen our own SYNs.
    bypassed: Option<Instant>,
    /// When the program was attached once more.
    reattached: Option<Instant>,
}

impl Catcher {
    /// Takes a bound socket of this address, the number of whose group is `group`, and starts
    /// listening. No SYN is sent there yet.
    pub(crate) fn listen(
        steering: &Steering,
        listener: OwnedFd,
        group: usize,
        size: CatcherSize,
    ) -> io::Result<Catcher> {
        let socket = SockRef::from(&listener);
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let filtered = steering.change_kernel(|kernel| kernel.filter(listener.as_fd()));
        filtered.map_err(io::Error::other)?;
        defer_accept(&listener, KEPT_S)?;
        socket.listen(size.backlog)?;
        Ok(Catcher {
            group,
            address,
            listener,
            size,
            older: HeldBatch::default(),
            newer: HeldBatch::default(),
            in_use: false,
            is_failing: false,
            due: None,
            bypassed: None,
            reattached: None,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn in_use(&self) -> bool {
        self.in_use
    }

    /// The order in which catchers get their turn: those that clients' SYNs are sent to, and then those
    /// that were tried longest ago.
    pub(super) fn turn(&self) -> impl Ord + use<> {
        (!self.in_use, self.due)
    }

    pub(super) fn held(&self) -> usize {
        self.older.len() + self.newer.len()
    }

    /// Stops sending SYNs there, and drops the held connections. The queue empties.
    pub(super) fn release(&mut self, steering: &Steering) {
        if std::mem::take(&mut self.in_use)
            && let Err(error) =
                steering.change_kernel(|kernel| kernel.use_catcher(self.group, None))
        {
            tracing::error!(address = %self.address, %error, "cannot take the SYN catcher out of use");
        }
        (self.older, self.newer, self.due) = (HeldBatch::default(), HeldBatch::default(), None);
    }

    /// Drops held connections that are gone; returns how many.
    pub(super) fn drop_lost(&mut self, round: Round<'_>) -> io::Result<usize> {
        let Some(states) = round.states else { return Ok(0) };
        let lost = self.older.drop_lost(states)? + self.newer.drop_lost(states)?;
        if lost > 0 {
            self.due = None;
        }
        Ok(lost)
    }

    /// Checks with a SYN of our own that the program of this process selects the listeners. Another
    /// process that was to replace this one, and has crashed, leaves its own program behind: that is
    /// replaced once, and again only if ours has applied for a while: two processes that both serve
    /// must not take turns.
    pub(super) fn check_program(&mut self, round: Round<'_>) {
        let Round { steering, stop, now, .. } = round;
        let Some(to) = self.in_use.then(|| self.targets().ok()?.into_iter().next()).flatten()
        else {
            return;
        };
        let caught = steering.caught();
        // A connection that is not answered tells nothing of programs: a firewall may block it.
        let is_answered = HeldBatch::connect(to, 1, stop).is_ok_and(|held| held.len() > 0);
        if !is_answered || steering.caught() > caught {
            self.bypassed = None;
            let is_long_ago = |at: &Instant| now.saturating_duration_since(*at) > QUIET;
            self.reattached = self.reattached.filter(|at| !is_long_ago(at));
            return;
        }
        let since = *self.bypassed.get_or_insert(now);
        if self.reattached.is_some() || now.saturating_duration_since(since) < PATIENCE {
            return;
        }
        let socket = self.listener.as_fd();
        let address = self.address;
        self.reattached = Some(now);
        match steering.change_kernel(|kernel| kernel.reattach(socket)) {
            Ok(()) => tracing::warn!(
                %address,
                "another process attached its programs to this address and does not replace this \
                 process; the programs of this process are attached again"
            ),
            Err(error) => tracing::error!(%address, %error, "kernel steering does not work"),
        }
    }

    /// Makes or replaces connections if that is due. Fails if too few are held then: no SYN is sent
    /// there until a later attempt.
    pub(super) fn tend(&mut self, round: Round<'_>) -> Result<(), String> {
        let Round { steering, now, .. } = round;
        if self.due.is_some_and(|due| now < due) {
            return Ok(());
        }
        if self.in_use && self.reattached.is_none() {
            // What is held outlasts our patience with another program, which catches nothing for us.
            self.check_program(round);
            if self.bypassed.is_some() {
                return Ok(());
            }
        }
        let filled = self.fill(round);
        if filled.is_err() {
            self.release(steering);
        }
        self.due = Some(now + if filled.is_ok() { RENEWAL } else { RETRY });
        filled
    }

    /// Replaces half of the connections, or more if some are missing.
    fn fill(&mut self, round: Round<'_>) -> Result<(), String> {
        let targets = self.targets()?;
        if !self.in_use {
            let using = Some(self.listener.as_fd());
            let used = round.steering.change_kernel(|kernel| kernel.use_catcher(self.group, using));
            used.map_err(|error| error.to_string())?;
            self.in_use = true;
        }
        let mut problem = None;
        for to in targets {
            match self.hold(to, round) {
                Ok(()) => return Ok(()),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        Err(problem.unwrap_or_else(|| "it has no address of this host".to_owned()))
    }

    fn hold(&mut self, to: SocketAddr, round: Round<'_>) -> Result<(), String> {
        let whole = 2 * self.size.half;
        if self.held() == 0 {
            probe(to, round)?;
        }
        loop {
            self.older = std::mem::take(&mut self.newer);
            self.newer = self.connect(to, round)?;
            let held = self.held();
            if held >= whole {
                return Ok(());
            }
            if self.newer.len() < self.size.half {
                return match self.is_full() {
                    true => Ok(()),
                    false => Err(format!(
                        "only {held} of {whole} connections of our own to {to} are held; a \
                         firewall may block them, or descriptors have run out"
                    )),
                };
            }
        }
    }

    /// Whether the kernel sends cookies for SYNs that come there.
    fn is_full(&self) -> bool {
        i32::try_from(self.held()).is_ok_and(|held| held > self.size.backlog)
    }

    /// Makes half of the connections.
    fn connect(&self, to: SocketAddr, round: Round<'_>) -> Result<HeldBatch, String> {
        let Round { steering, states, stop, .. } = round;
        let listen = |backlog| SockRef::from(&self.listener).listen(backlog);
        let caught = steering.caught();
        listen(self.size.raised).map_err(|error| format!("cannot raise its backlog: {error}"))?;
        let connected = HeldBatch::connect(to, self.size.half, stop);
        listen(self.size.backlog).map_err(|error| format!("cannot lower its backlog: {error}"))?;
        let mut connected =
            connected.map_err(|error| format!("cannot connect to {to}: {error}"))?;
        if steering.caught().saturating_sub(caught) < connected.len() as u64 {
            return Err(format!(
                "our own connections to {to} do not arrive there; another listener has the \
                 address, or the programs of another process apply"
            ));
        }
        if let Some(states) = states {
            // Without an answer, those that were connected count.
            steering.cookies().add_lost(connected.drop_lost(states).unwrap_or(0));
        }
        Ok(connected)
    }

    /// Where connections of our own reach it without leaving this host.
    fn targets(&self) -> Result<Vec<SocketAddr>, String> {
        let at = |ip: IpAddr| SocketAddr::new(ip, self.address.port());
        let (ipv4, ipv6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ok(vec![at(ipv4)]),
            IpAddr::V6(ip) if ip.is_unspecified() => Ok(vec![at(ipv4), at(ipv6)]),
            ip if ip.is_loopback() => Ok(vec![self.address]),
            ip => match is_local_address(ip) {
                Ok(true) => Ok(vec![self.address]),
                Ok(false) => Err("the address is not one of this host".to_owned()),
                Err(error) => Err(format!("cannot tell whether the address is local: {error}")),
            },
        }
    }
}

/// One connection, before hundreds are made: where it does not arrive, others have the address, or a
/// firewall leads it elsewhere.
fn probe(to: SocketAddr, round: Round<'_>) -> Result<(), String> {
    let Round { steering, stop, .. } = round;
    let caught = steering.caught();
    let probe = HeldBatch::connect(to, 1, stop)
        .map_err(|error| format!("cannot connect to {to}: {error}"))?;
    match (probe.len(), steering.caught() > caught) {
        (0, _) => Err(format!(
            "connections of our own to {to} are not answered; a firewall may block them"
        )),
        (_, true) => Ok(()),
        (_, false) => Err(format!(
            "our own connections to {to} do not arrive there; another listener has the address, or \
             the programs of another process apply"
        )),
    }
}
