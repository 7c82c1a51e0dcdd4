//! The thread that keeps the catchers: it follows the sysctls and renews the held connections.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Catcher, CookieSource, CookieSysctls, NoCookies, NoRoomForCatcher};
use crate::{
    steering::{ModeChoice, Steering},
    sys::TcpStates,
};

/// How often the sysctls are read. While cookies are switched off and clients are still caught, the
/// kernel drops their SYNs; they repeat them after a second.
const TICK: Duration = Duration::from_millis(500);

/// How often held connections are checked if no connection lands on a catcher.
const CHECK: Duration = Duration::from_secs(2);

/// How often at most if connections land: ports in TIME_WAIT do that all the time on some hosts.
const LANDED_CHECK: Duration = Duration::from_secs(1);

/// The pause between two rounds, however many connections land on catchers.
const PAUSE: Duration = Duration::from_millis(100);

/// Keeps the catchers of a process. Dropping it leaves them as they are.
#[derive(Debug)]
pub(crate) struct CatcherKeeper {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CatcherKeeper {
    /// Brings the catchers into use, as far as that is possible now, and starts the thread.
    pub(crate) fn start(
        steering: Arc<Steering>,
        choice: ModeChoice,
        catchers: Vec<Catcher>,
        room: Result<(), NoRoomForCatcher>,
    ) -> io::Result<CatcherKeeper> {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut rounds = Rounds::new(steering, choice, catchers, room);
        rounds.run(Instant::now());
        let is_stopped = Arc::clone(&stopped);
        let thread = thread::Builder::new().name("catcher".to_owned()).spawn(move || {
            rounds.steering.cookies().set_keeper(thread::current());
            while !is_stopped.load(Relaxed) {
                rounds.run(Instant::now());
                thread::sleep(PAUSE);
                thread::park_timeout(TICK);
            }
            rounds.release();
        })?;
        Ok(CatcherKeeper { stopped, thread: Some(thread) })
    }

    /// Ends the use of the catchers for good: no SYN is sent there, and the kernel sends no cookies.
    /// They are listeners like others then, until their workers close them.
    pub(crate) fn stop(&mut self) {
        self.stopped.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// What the thread does, one round after another.
struct Rounds {
    steering: Arc<Steering>,
    choice: ModeChoice,
    catchers: Vec<Catcher>,
    room: Result<(), NoRoomForCatcher>,
    /// `None` if the kernel does not tell the states of connections: then they are renewed by time.
    states: Option<TcpStates>,
    /// What the last round found.
    source: Option<Result<CookieSource, NoCookies>>,
    landed: u64,
    /// When held connections were checked last.
    checked: Option<Instant>,
}

impl Rounds {
    fn new(
        steering: Arc<Steering>,
        choice: ModeChoice,
        catchers: Vec<Catcher>,
        room: Result<(), NoRoomForCatcher>,
    ) -> Rounds {
        let states = TcpStates::open().inspect_err(|error| {
            tracing::info!(%error, "sock_diag is not available: held connections are not checked");
        });
        let states = states.ok();
        Rounds { steering, choice, catchers, room, states, source: None, landed: 0, checked: None }
    }

    fn run(&mut self, now: Instant) {
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
        if self.source.as_ref() != Some(&found) {
            self.steering.cookies().set(found.clone());
            if self.source.is_some() {
                announce(&found);
            }
            self.source = Some(found);
        }
    }

    fn tend(&mut self, now: Instant) -> Result<CookieSource, NoCookies> {
        self.check(now);
        let mut problem = None;
        for catcher in &mut self.catchers {
            let was_in_use = catcher.in_use();
            if let Err(reason) = catcher.tend(&self.steering, self.states.as_ref(), now) {
                let address = catcher.address();
                if was_in_use || self.source.is_none() {
                    tracing::warn!(
                        %address,
                        problem = reason,
                        "the SYN catcher is not in use: connections to this address are handed over"
                    );
                }
                problem = Some(NoCookies::Catcher { address, problem: reason });
            } else if catcher.in_use() && !was_in_use && self.source.is_some() {
                tracing::info!(address = %catcher.address(), "the SYN catcher is in use");
            }
        }
        if self.catchers.iter().any(Catcher::in_use) {
            return Ok(CookieSource::Catcher);
        }
        // Between two attempts the problem stays.
        match (problem, &self.source) {
            (Some(problem), _) => Err(problem),
            (None, Some(Err(problem @ NoCookies::Catcher { .. }))) => Err(problem.clone()),
            (None, _) => Err(NoCookies::NoCatcher),
        }
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
        for catcher in &mut self.catchers {
            if is_due {
                catcher.check_program(&self.steering, now);
            }
            let Some(states) = &self.states else { continue };
            match catcher.drop_lost(states) {
                Ok(0) => {}
                Ok(lost) => {
                    self.steering.cookies().add_lost(lost);
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

/// Logs a change while the process runs.
fn announce(found: &Result<CookieSource, NoCookies>) {
    match found {
        Ok(source) => tracing::info!(cookies = source.as_str(), "steering by the kernel"),
        Err(problem) => {
            tracing::warn!(%problem, "no steering by the kernel: connections are handed over");
        }
    }
}
