//! What a connection is doing, and until when it may.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::Settings;

/// What a connection is doing, noted by whoever sees it change.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Since when what was to be sent has not been taken.
    stalled_since: Cell<Option<Instant>>,
    /// Since when a response has not been asked for its next piece.
    held_since: Cell<Option<Instant>>,
}

/// What a connection may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a request's head, or an HTTP/2 client's preface.
    Head,
    /// A response; its deadlines are the request's own, but for that of a client which does not
    /// read: then nobody asks the response for more, and nobody asks its deadlines.
    Serving,
}

/// How long a client may leave what we send in its socket and ours, as nginx's `send_timeout`.
const SEND_STALL: Duration = Duration::from_secs(60);

impl Activity {
    /// Idle from now on.
    pub(super) fn new() -> Rc<Activity> {
        Rc::new(Activity {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(Instant::now()),
            stalled_since: Cell::new(None),
            held_since: Cell::new(None),
        })
    }

    /// Notes that bytes came: after silence, a head has begun.
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Notes whether what is to be sent has to wait.
    pub(super) fn sending(&self, waits: bool) {
        match (waits, self.stalled_since.get()) {
            (true, None) => self.stalled_since.set(Some(Instant::now())),
            (false, Some(_)) => self.stalled_since.set(None),
            _ => {}
        }
    }

    /// Notes since when no response has been asked for its next piece: in HTTP/2 the socket may be
    /// free and the streams' windows shut.
    pub(super) fn held(&self, since: Option<std::time::Instant>) {
        self.held_since.set(since.map(Instant::from_std));
    }

    /// Notes a change.
    pub(super) fn enter(&self, phase: Phase) {
        if self.phase.replace(phase) != phase && phase != Phase::Serving {
            self.since.set(Instant::now());
        }
    }

    /// Counts the time anew.
    pub(super) fn restart(&self) {
        self.since.set(Instant::now());
    }

    /// Since when nothing has been asked for, and all that was said has been taken.
    fn at_rest_since(&self) -> Option<Instant> {
        let waits = self.stalled_since.get().is_some() || self.held_since.get().is_some();
        (self.phase.get() == Phase::Idle && !waits).then(|| self.since.get())
    }

    /// What the connection is doing.
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }
}

/// Finds out when a connection has been at one thing for too long.
///
/// Its timer is not touched as requests come and go. It fires at least once in the shortest
/// time-out, and then either a deadline has passed or it is set to the next; no deadline can arise
/// in between that lies before it fires.
pub(super) struct Watchdog<'a> {
    timer: Pin<Box<Sleep>>,
    settings: &'a Settings,
}

impl<'a> Watchdog<'a> {
    /// Watches from now on.
    pub(super) fn new(settings: &'a Settings) -> Watchdog<'a> {
        Watchdog { timer: Box::pin(tokio::time::sleep(shortest(settings))), settings }
    }

    /// Ready with what the connection waited for in vain.
    pub(super) fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        activity: &Activity,
    ) -> Poll<Phase> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let deadline = self.deadline(activity);
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(activity.phase());
            }
            let next = now + shortest(self.settings);
            self.timer.as_mut().reset(deadline.map_or(next, |deadline| deadline.min(next)));
        }
        Poll::Pending
    }

    fn deadline(&self, activity: &Activity) -> Option<Instant> {
        let timeout = match activity.phase() {
            Phase::Idle => self.settings.idle_timeout?,
            Phase::Head => self.settings.header_timeout,
            Phase::Serving => {
                let waits = [activity.stalled_since.get(), activity.held_since.get()];
                return waits.into_iter().flatten().min()?.checked_add(SEND_STALL);
            }
        };
        activity.since.get().checked_add(timeout)
    }
}

/// The shortest of the time-outs.
fn shortest(settings: &Settings) -> Duration {
    let idle_timeout = settings.idle_timeout.unwrap_or(Duration::MAX);
    idle_timeout.min(settings.header_timeout).min(SEND_STALL)
}

/// How long a connection keeps what makes its next request quick.
const REST: Duration = Duration::from_millis(100);

/// Finds out when a connection has been idle for long enough to give its buffers back.
///
/// As that of [`Watchdog`], its timer is not touched as requests come and go.
#[derive(Default)]
pub(super) struct Nap(Option<Pin<Box<Sleep>>>);

impl Nap {
    /// Whether it has been by now; if not yet but idle, the task is woken when it may have been.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>, activity: &Activity) -> bool {
        let Some(due) = activity.at_rest_since().map(|since| since + REST) else { return false };
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                self.0 = None;
                return true;
            }
            timer.as_mut().reset(due);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn settings(header_s: u64, idle_s: Option<u64>) -> Settings {
        Settings {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(header_s),
            idle_timeout: idle_s.map(Duration::from_secs),
            drain_timeout: Duration::from_secs(10),
            max_connections: 1,
            max_connections_per_worker: 1,
            max_header_bytes: 1,
            max_headers: 100,
            h2_max_concurrent_streams: 1,
            h2_stream_window_bytes: 1,
            h2_connection_window_bytes: 1,
        }
    }

    /// Runs a script of phase changes on a paused clock; gives the phase that expired, and when.
    async fn expiry(settings: Settings, script: Vec<(u64, Phase)>) -> Option<(u64, Phase)> {
        let start = Instant::now();
        let activity = Activity::new();
        let mut watchdog = Watchdog::new(&settings);
        let changes = async {
            for (at_s, phase) in script {
                tokio::time::sleep_until(start + Duration::from_secs(at_s)).await;
                activity.enter(phase);
            }
            tokio::time::sleep(Duration::from_secs(10_000)).await;
        };
        tokio::select! {
            phase = poll_fn(|cx| watchdog.poll_expired(cx, &activity)) =>
                Some((start.elapsed().as_secs(), phase)),
            () = changes => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_expires_when_its_time_is_up() {
        let expired = expiry(settings(10, Some(300)), vec![]).await;
        assert_eq!(expired, Some((300, Phase::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_expires_counted_from_its_first_byte() {
        let expired = expiry(settings(10, Some(300)), vec![(17, Phase::Head)]).await;
        assert_eq!(expired, Some((27, Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_serves_does_not_expire() {
        let script = vec![(1, Phase::Head), (2, Phase::Serving)];
        assert_eq!(expiry(settings(10, Some(20)), script).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_expires() {
        let activity = Activity::new();
        activity.enter(Phase::Serving);
        let settings = settings(10, Some(20));
        let mut watchdog = Watchdog::new(&settings);
        let start = Instant::now();
        activity.sending(true);
        activity.sending(false);
        tokio::time::sleep(Duration::from_secs(7)).await;
        activity.sending(true);
        tokio::time::sleep(Duration::from_secs(5)).await;
        activity.sending(true);
        let phase = poll_fn(|cx| watchdog.poll_expired(cx, &activity)).await;
        assert_eq!((phase, start.elapsed()), (Phase::Serving, Duration::from_secs(67)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_starts_the_idle_time_anew() {
        let script = vec![(15, Phase::Serving), (16, Phase::Idle)];
        let expired = expiry(settings(10, Some(20)), script).await;
        assert_eq!(expired, Some((36, Phase::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_idle_limit_an_idle_connection_stays() {
        assert_eq!(expiry(settings(10, None), vec![]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_once_it_has_been_idle_for_some_time() {
        let activity = Activity::new();
        let start = Instant::now();
        let mut nap = Nap::default();
        let is_due = async |nap: &mut Nap| {
            let due = poll_fn(|cx| match nap.poll_due(cx, &activity) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            tokio::time::timeout(REST * 3, due).await.is_ok()
        };
        assert!(is_due(&mut nap).await);
        assert_eq!(start.elapsed(), REST);
        activity.enter(Phase::Head);
        assert!(!is_due(&mut nap).await, "a head has begun");
        activity.enter(Phase::Serving);
        assert!(!is_due(&mut nap).await, "a response is under way");
        activity.enter(Phase::Idle);
        activity.sending(true);
        assert!(!is_due(&mut nap).await, "the client has not taken all of it");
        activity.sending(false);
        assert!(is_due(&mut nap).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_asked_often_does_not_rest() {
        let activity = Activity::new();
        let mut nap = Nap::default();
        for _ in 0..100 {
            let due = poll_fn(|cx| Poll::Ready(nap.poll_due(cx, &activity))).await;
            assert!(!due);
            tokio::time::sleep(REST / 2).await;
            activity.enter(Phase::Serving);
            activity.enter(Phase::Idle);
        }
    }
}
