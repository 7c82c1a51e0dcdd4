//! When an idle connection gives its buffers back.

use std::{pin::Pin, task::Context, time::Duration};

use tokio::time::{Instant, Sleep};

use super::activity::Activity;

/// How long an idle connection keeps the buffers that make its next request fast.
const HIBERNATE_AFTER: Duration = Duration::from_millis(100);

/// Detects that a connection has been idle long enough to hibernate.
///
/// Like [`super::activity::Watchdog`]'s, its timer is not touched as requests come and go.
#[derive(Default)]
pub(super) struct Hibernation(Option<Pin<Box<Sleep>>>);

impl Hibernation {
    /// Whether it is due now. If the connection is idle and it is not yet due, the task is woken when it
    /// may be.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>, activity: &Activity) -> bool {
        let Some(due) = activity.quiet_since().map(|since| since + HIBERNATE_AFTER) else {
            return false;
        };
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
    use std::{future::poll_fn, task::Poll};

    use super::*;
    use crate::conn::activity::ConnectionPhase;

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_hibernates_after_some_time() {
        let activity = Activity::new();
        let start = Instant::now();
        let mut hibernation = Hibernation::default();
        let is_due = async |hibernation: &mut Hibernation| {
            let due = poll_fn(|cx| match hibernation.poll_due(cx, &activity) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            tokio::time::timeout(HIBERNATE_AFTER * 3, due).await.is_ok()
        };
        assert!(is_due(&mut hibernation).await);
        assert_eq!(start.elapsed(), HIBERNATE_AFTER);
        activity.enter(ConnectionPhase::Head);
        assert!(!is_due(&mut hibernation).await, "a head has begun");
        activity.enter(ConnectionPhase::Serving);
        assert!(!is_due(&mut hibernation).await, "a response is under way");
        activity.enter(ConnectionPhase::Idle);
        activity.sending(true, || 0);
        assert!(!is_due(&mut hibernation).await, "the client has not taken all of it");
        activity.sending(false, || 0);
        assert!(is_due(&mut hibernation).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_does_not_hibernate() {
        let activity = Activity::new();
        let mut hibernation = Hibernation::default();
        for _ in 0..100 {
            let due = poll_fn(|cx| Poll::Ready(hibernation.poll_due(cx, &activity))).await;
            assert!(!due);
            tokio::time::sleep(HIBERNATE_AFTER / 2).await;
            activity.enter(ConnectionPhase::Serving);
            activity.enter(ConnectionPhase::Idle);
        }
    }
}
