//! Responses that are over for everybody but the client, which keeps them back.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use crate::http::SEND_STALL;

/// Detects that an HTTP/2 client reads nothing of what a lowered window keeps back in h2. h2 has the end
/// of those responses, and resets none of them: the connection is all that can be closed.
#[derive(Default)]
pub(super) struct KeptBackDeadline(Option<Waiting>);

struct Waiting {
    bytes: u64,
    timer: Pin<Box<Sleep>>,
}

impl KeptBackDeadline {
    /// Ready if these bytes have been kept back for too long. To be called whenever h2 may have sent some.
    pub(super) fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        bytes: Option<u64>,
        activity: &Activity,
    ) -> Poll<()> {
        let Some(bytes) = bytes else {
            self.0 = None;
            return Poll::Pending;
        };
        let waiting = match &mut self.0 {
            Some(waiting) if waiting.bytes == bytes => waiting,
            waiting => waiting.insert(Waiting { bytes, timer: Box::pin(sleep(SEND_STALL)) }),
        };
        while waiting.timer.as_mut().poll(cx).is_ready() {
            // A full socket has a clock of its own.
            match activity.last_full().map(|full| full + SEND_STALL) {
                Some(at) if at > Instant::now() => waiting.timer.as_mut().reset(at),
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    /// Whether it expires within so much time.
    async fn expires(
        deadline: &mut KeptBackDeadline,
        bytes: Option<u64>,
        activity: &Activity,
        within: Duration,
    ) -> bool {
        let expired = poll_fn(|cx| deadline.poll_expired(cx, bytes, activity));
        tokio::time::timeout(within, expired).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_keeps_back_for_a_minute_ends_its_connection() {
        let (activity, mut deadline) = (Activity::new(), KeptBackDeadline::default());
        let (most, more) = (SEND_STALL * 9 / 10, SEND_STALL / 5);
        assert!(!expires(&mut deadline, None, &activity, SEND_STALL * 2).await);
        assert!(!expires(&mut deadline, Some(9), &activity, most).await);
        assert!(expires(&mut deadline, Some(9), &activity, more).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_some_of_it_goes_on() {
        let (activity, mut deadline) = (Activity::new(), KeptBackDeadline::default());
        let most = SEND_STALL * 9 / 10;
        for bytes in (1..5).rev() {
            assert!(!expires(&mut deadline, Some(bytes), &activity, most).await);
        }
        assert!(!expires(&mut deadline, None, &activity, SEND_STALL * 2).await);
        assert!(!expires(&mut deadline, Some(9), &activity, most).await, "it begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_socket_is_full_nothing_is_kept_back() {
        let (activity, mut deadline) = (Activity::new(), KeptBackDeadline::default());
        activity.sending(true, || 0);
        assert!(!expires(&mut deadline, Some(9), &activity, SEND_STALL * 3).await);
        activity.sending(false, || 0);
        assert!(expires(&mut deadline, Some(9), &activity, SEND_STALL * 2).await);
    }
}
