//! The phases of a connection, and how long each may last.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::ConnectionSettings;
use crate::{http::SEND_STALL, rt::SendProgress};

/// What a connection is doing. Each part of `conn` that sees a change notes it here.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Cell<ConnectionPhase>,
    since: Cell<Instant>,
    /// The socket is full.
    stall: Cell<Option<SendStall>>,
    /// When the socket, full until then, last took something.
    sent_at: Cell<Option<Instant>>,
    /// What the client had acknowledged when the connection was last found idle for too long.
    acknowledged: Cell<u64>,
}

/// Less than the end of a response that a client could take minutes for: answers to PING, which make no
/// connection busy.
const REPLY_BYTES: u64 = 4 * 1024;

/// A socket that takes nothing of what we have to send.
#[derive(Debug, Clone, Copy)]
struct SendStall {
    /// Since when neither the socket has taken, nor the client acknowledged anything.
    since: Instant,
    /// The bytes that the client had acknowledged then.
    acknowledged: u64,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// The first byte of a request.
    Idle,
    /// The rest of a request's head, or an HTTP/2 client's preface.
    Head,
    /// A response, which has deadlines of its own. The connection checks that its socket takes what we
    /// send.
    Serving,
}

impl Activity {
    /// Idle since now.
    pub(super) fn new() -> Rc<Activity> {
        Rc::new(Activity {
            phase: Cell::new(ConnectionPhase::Idle),
            since: Cell::new(Instant::now()),
            stall: Cell::new(None),
            sent_at: Cell::new(None),
            acknowledged: Cell::new(0),
        })
    }

    /// Notes that bytes have come: if the connection was idle, they begin a head.
    pub(super) fn received(&self) {
        if self.phase.get() == ConnectionPhase::Idle {
            self.enter(ConnectionPhase::Head);
        }
    }

    /// Notes whether the socket takes what we have to send, and if not, how many bytes the client has
    /// acknowledged.
    pub(super) fn sending(&self, waits: bool, acknowledged: impl FnOnce() -> u64) {
        match (waits, self.stall.get()) {
            (true, None) => {
                let acknowledged = acknowledged();
                self.stall.set(Some(SendStall { since: Instant::now(), acknowledged }));
            }
            (false, Some(_)) => {
                self.stall.set(None);
                self.sent_at.set(Some(Instant::now()));
                if self.phase.get() == ConnectionPhase::Idle {
                    // The end of the last response is on its way.
                    self.restart();
                }
            }
            _ => {}
        }
    }

    /// When the socket last was what a response waited for: now, if it is full.
    pub(super) fn last_full(&self) -> Option<Instant> {
        match self.stall.get() {
            Some(_) => Some(Instant::now()),
            None => self.sent_at.get(),
        }
    }

    /// Notes what the connection does now.
    pub(super) fn enter(&self, phase: ConnectionPhase) {
        if self.phase.replace(phase) != phase && phase != ConnectionPhase::Serving {
            self.since.set(Instant::now());
        }
    }

    /// Restarts the time of the current phase.
    pub(super) fn restart(&self) {
        self.since.set(Instant::now());
    }

    /// Since when the connection has been idle with nothing left to send.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let is_quiet = self.phase.get() == ConnectionPhase::Idle && self.stall.get().is_none();
        is_quiet.then(|| self.since.get())
    }

    /// What the connection is doing.
    pub(super) fn phase(&self) -> ConnectionPhase {
        self.phase.get()
    }

    /// Whether the client has read something since the clock that is over began; then the clock begins
    /// again.
    fn goes_on(&self, clock: Clock, progress: SendProgress) -> bool {
        let acknowledged = progress.acknowledged;
        match (clock, self.stall.get()) {
            (Clock::Stall, Some(stall)) if acknowledged > stall.acknowledged => {
                self.stall.set(Some(SendStall { since: Instant::now(), acknowledged }));
                true
            }
            // The end of the last response lies in the kernel.
            (Clock::Phase, None) if self.phase.get() == ConnectionPhase::Idle => {
                let goes_on =
                    progress.waiting > REPLY_BYTES && acknowledged > self.acknowledged.get();
                self.acknowledged.set(acknowledged);
                if goes_on {
                    self.restart();
                }
                goes_on
            }
            _ => false,
        }
    }
}

/// What may last too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// The phase.
    Phase,
    /// The socket takes nothing.
    Stall,
}

/// Detects that a connection has been in one phase for too long.
///
/// Its timer is not touched as requests come and go. It fires at least once in the shortest
/// time-out; then either a deadline has passed, or it is set to the next. No new deadline can be
/// earlier than that.
pub(super) struct Watchdog<'a> {
    timer: Pin<Box<Sleep>>,
    settings: &'a ConnectionSettings,
}

impl<'a> Watchdog<'a> {
    /// Watches from now on.
    pub(super) fn new(settings: &'a ConnectionSettings) -> Watchdog<'a> {
        Watchdog { timer: Box::pin(tokio::time::sleep(shortest(settings))), settings }
    }

    /// Ready with the phase that lasted too long; [`ConnectionPhase::Serving`] if the socket has taken
    /// nothing for too long. A client that reads, however slowly, is not cut off by either: `progress`
    /// is asked when a time is over.
    pub(super) fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        activity: &Activity,
        progress: impl Fn() -> SendProgress,
    ) -> Poll<ConnectionPhase> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let mut next = now + shortest(self.settings);
            if let Some((deadline, clock)) = self.deadline(activity) {
                if deadline > now {
                    next = next.min(deadline);
                } else if !activity.goes_on(clock, progress()) {
                    return Poll::Ready(match clock {
                        Clock::Phase => activity.phase(),
                        Clock::Stall => ConnectionPhase::Serving,
                    });
                }
            }
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    fn deadline(&self, activity: &Activity) -> Option<(Instant, Clock)> {
        let stall = activity.stall.get().map(|stall| (stall.since + SEND_STALL, Clock::Stall));
        let timeout = match activity.phase() {
            ConnectionPhase::Head => self.settings.header_timeout,
            ConnectionPhase::Idle if stall.is_none() => self.settings.idle_timeout?,
            ConnectionPhase::Idle | ConnectionPhase::Serving => return stall,
        };
        Some((activity.since.get().checked_add(timeout)?, Clock::Phase))
    }
}

/// The shortest of the time-outs.
fn shortest(settings: &ConnectionSettings) -> Duration {
    let idle_timeout = settings.idle_timeout.unwrap_or(Duration::MAX);
    idle_timeout.min(settings.header_timeout).min(SEND_STALL)
}

#[cfg(test)]
mod tests;
