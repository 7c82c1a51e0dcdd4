//! How long a response may wait for its client to read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::{Limit, ResponseFlow, ResponseStep};

/// Detects that a response has waited for its client for too long. One for each HTTP/1 connection, and
/// for each stream of HTTP/2: other streams go on.
#[derive(Default)]
pub(super) struct ReadDeadline(Option<Box<Waiting>>);

/// Made when a response has to wait for its client for the first time. The timer is not touched when
/// the response goes on: it fires once in vain, at most.
struct Waiting {
    limit: Option<(Instant, Limit)>,
    timer: Pin<Box<Sleep>>,
}

impl ReadDeadline {
    /// Ready if the response is to be cut off; `flow` knows it then. To be called after its task was
    /// polled and has to wait.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>, flow: &ResponseFlow) -> Poll<()> {
        match flow.step() {
            ResponseStep::Unchanged => {}
            ResponseStep::Moving => self.go_on(),
            ResponseStep::Held(held) => {
                let (at, limit) = held.limit();
                self.wait(at.into(), limit);
            }
        }
        match self.0.as_mut().map(|waiting| waiting.poll(cx)) {
            Some(Poll::Ready(limit)) => {
                flow.cut_off(limit);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    fn go_on(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.limit = None;
        }
    }

    fn wait(&mut self, at: Instant, limit: Limit) {
        let make = || Box::new(Waiting { limit: None, timer: Box::pin(sleep_until(at)) });
        self.0.get_or_insert_with(make).limit = Some((at, limit));
    }
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Limit> {
        let Some((at, limit)) = self.limit else { return Poll::Pending };
        if self.timer.deadline() > at {
            self.timer.as_mut().reset(at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if at <= Instant::now() {
                return Poll::Ready(limit);
            }
            self.timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;
    use crate::http::SEND_STALL;

    fn now() -> std::time::Instant {
        Instant::now().into_std()
    }

    /// How long it takes until a response that waits is cut off, if it is within ten minutes.
    async fn cut_off(deadline: &mut ReadDeadline, flow: &ResponseFlow) -> Option<Duration> {
        let start = Instant::now();
        let expired = poll_fn(|cx| {
            let polled = deadline.poll_expired(cx, flow);
            flow.begin_poll();
            polled
        });
        let in_time = tokio::time::timeout(Duration::from_secs(600), expired).await;
        in_time.is_ok().then(|| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_response_is_cut_off_at_its_limit() {
        for (limit_s, expected) in [(None, SEND_STALL), (Some(4), Duration::from_secs(4))] {
            let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
            let limit = limit_s.map(|s| (now() + Duration::from_secs(s), Limit::Stream));
            flow.gave(now(), limit);
            assert_eq!(cut_off(&mut deadline, &flow).await, Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_goes_on_is_not_cut_off() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        flow.gave(now(), None);
        for _ in 0..5 {
            let waits = tokio::time::timeout(SEND_STALL / 2, cut_off(&mut deadline, &flow));
            assert!(waits.await.is_err());
            flow.moves();
            flow.gave(now(), None);
        }
        flow.moves();
        assert_eq!(cut_off(&mut deadline, &flow).await, None, "it waits for its upstream");
        flow.gave(now(), None);
        assert_eq!(cut_off(&mut deadline, &flow).await, Some(SEND_STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_read_at_once_has_no_timer() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        flow.gave(now(), None);
        flow.moves();
        assert_eq!(cut_off(&mut deadline, &flow).await, None);
        assert!(deadline.0.is_none());
    }
}
