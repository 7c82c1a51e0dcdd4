//! The thread that keeps the catchers: it follows the sysctls and renews the held connections.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Catcher, CookieSource, CookieSysctls, NoCookies, NoRoomForCatcher, one::Round, stop::StopOrder,
};
use crate::{
    steering::{ModeChoice, Steering, announce},
    sys::TcpStates,
};

/// How often the sysctls are read, with the pause before it. While cookies are switched off and clients
/// are still caught, the kernel drops their SYNs; they repeat them after a second.
const TICK: Duration = Duration::from_millis(400);

/// How often held connections are checked if no connection lands on a catcher.
const CHECK: Duration = Duration::from_secs(2);

/// How often at most if connections land: ports in TIME_WAIT do that all the time on some hosts.
const LANDED_CHECK: Duration = Duration::from_secs(1);

/// The pause between two rounds, however many connections land on catchers.
const PAUSE: Duration = Duration::from_millis(100);

/// After this time, a round in which a catcher has failed leaves further ones to the next round, so that
/// the sysctls are read in time: each address that a firewall blocks takes half a second.
const ROUND: Duration = Duration::from_millis(250);

/// Keeps the catchers of a process. Dropping it leaves them as they are.
#[derive(Debug)]
pub(crate) struct CatcherKeeper {
    stop: Arc<StopOrder>,
    thread: Option<JoinHandle<()>>,
}

impl CatcherKeeper {
    /// Starts the thread, which brings the catchers into use, as far as that is possible, and says in
    /// the log what it has found. Connections are handed over until then.
    pub(crate) fn start(
        steering: Arc<Steering>,
        choice: ModeChoice,
        catchers: Vec<Catcher>,
        room: Result<(), NoRoomForCatcher>,
    ) -> io::Result<CatcherKeeper> {
        let stop = Arc::new(StopOrder::new()?);
        let order = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("catcher".to_owned())
            .spawn(move || Keeping::new(steering, choice, catchers, room, order).run())?;
        Ok(CatcherKeeper { stop, thread: Some(thread) })
    }

    /// Ends the use of the catchers for good: no SYN is sent there, and the kernel sends no cookies.
    /// They are listeners like others then, until their workers close them.
    pub(crate) fn stop(&mut self) {
        self.stop.give();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// What the thread does, one round after another.
struct Keeping {
    steering: Arc<Steering>,
    choice: ModeChoice,
    catchers: Vec<Catcher>,
    room: Result<(), NoRoomForCatcher>,
    stop: Arc<StopOrder>,
    /// `None` if the kernel does not tell the states of connections: then they are renewed by time.
    states: Option<TcpStates>,
    /// What the last round found.
    source: Option<Result<CookieSource, NoCookies>>,
    landed: u64,
    /// When held connections were checked last.
    checked: Option<Instant>,
}

impl Keeping {
    fn new(
        steering: Arc<Steering>,
        choice: ModeChoice,
        catchers: Vec<Catcher>,
        room: Result<(), NoRoomForCatcher>,
        stop: Arc<StopOrder>,
    ) -> Keeping {
        let states = TcpStates::open().inspect_err(|error| {
            tracing::info!(%error, "sock_diag is not available: held connections are not checked");
        });
        let states = states.ok();
        let (source, landed, checked) = (None, 0, None);
        Keeping { steering, choice, catchers, room, stop, states, source, landed, checked }
    }

    fn run(mut self) {
        self.steering.cookies().set_keeper(thread::current());
        while !self.stop.is_given() {
            self.round(Instant::now());
            self.stop.wait(PAUSE);
            // A connection that has landed meanwhile ends this at once.
            thread::park_timeout(TICK);
        }
        self.release();
    }

    fn round(&mut self, now: Instant) {
        let wanted = CookieSysctls::read().source(self.choice, self.room);
        if wanted != Ok(CookieSource::Catcher) {
            // First, since the kernel may drop SYNs that are sent there.
            self.release();
        }
        self.steering.set_catching(wanted != Ok(CookieSource::Sysctl));
        let found = match wanted {
            Ok(CookieSource::Catcher) => self.tend(now),
            other => other,
        };
        let held = self.catchers.iter().map(Catcher::held).sum();
        self.steering.cookies().set_held(held);
        // A round that is interrupted has found nothing.
        if !self.stop.is_given() && self.source.as_ref() != Some(&found) {
            self.change_to(found);
        }
    }

    fn change_to(&mut self, found: Result<CookieSource, NoCookies>) {
        self.steering.cookies().set(found.clone());
        match self.source {
            None => announce::mode(&self.steering),
            Some(_) => announce::change(&self.steering, &found),
        }
        self.source = Some(found);
    }

    fn tend(&mut self, now: Instant) -> Result<CookieSource, NoCookies> {
        self.catchers.sort_by_key(Catcher::turn);
        self.check(now);
        let Keeping { steering, stop, states, catchers, .. } = self;
        let round = Round { steering, stop, states: states.as_ref(), now };
        let mut problem = None;
        for catcher in catchers {
            let tended = catcher.tend(round);
            if stop.is_given() {
                break;
            }
            if let Err(reason) = tended {
                problem = Some(blame(catcher, reason));
                if now.elapsed() > ROUND {
                    break;
                }
            } else if catcher.in_use() && std::mem::take(&mut catcher.is_failing) {
                tracing::info!(address = %catcher.address(), "the SYN catcher is in use");
            }
        }
        self.outcome(problem)
    }

    /// What the round has found.
    fn outcome(&self, problem: Option<NoCookies>) -> Result<CookieSource, NoCookies> {
        if self.catchers.iter().any(Catcher::in_use) {
            return Ok(CookieSource::Catcher);
        }
        let before = self.source.as_ref().and_then(|source| source.as_ref().err());
        Err(NoCookies::of_catchers(before, problem))
    }

    fn check(&mut self, now: Instant) {
        let landed = self.steering.cookies().landed();
        let since = self.checked.map(|at| now.saturating_duration_since(at));
        let is_due = since.is_none_or(|since| since >= CHECK);
        let has_landed = landed != self.landed && since.is_none_or(|since| since >= LANDED_CHECK);
        if !is_due && !has_landed {
            return;
        }
        (self.landed, self.checked) = (landed, Some(now));
        let Keeping { steering, stop, states, catchers, .. } = self;
        let round = Round { steering, stop, states: states.as_ref(), now };
        for catcher in catchers {
            if is_due && now.elapsed() <= ROUND {
                catcher.check_program(round);
            }
            match catcher.drop_lost(round) {
                Ok(0) => {}
                Ok(lost) => {
                    steering.cookies().add_lost(lost);
                    tracing::warn!(
                        address = %catcher.address(),
                        lost,
                        "held connections of the SYN catcher were gone, and are made again; \
                         meanwhile connections may have been handed over"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot check the held connections of the SYN catcher");
                }
            }
        }
    }

    fn release(&mut self) {
        for catcher in &mut self.catchers {
            catcher.release(&self.steering);
        }
        self.steering.cookies().set_held(0);
    }
}

/// Says once that the catcher is not in use.
fn blame(catcher: &mut Catcher, reason: String) -> NoCookies {
    let address = catcher.address();
    if !std::mem::replace(&mut catcher.is_failing, true) {
        tracing::warn!(
            %address,
            problem = reason,
            "the SYN catcher is not in use: connections to this address are handed over"
        );
    }
    NoCookies::Catcher { address, problem: reason }
}
