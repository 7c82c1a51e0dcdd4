//! How long a response may wait for its client to read.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use crate::http::{HeldResponse, Limit, ResponseFlow, ResponseStep, UnsentData};

/// Detects that a response has waited for its client for too long. One for each HTTP/1 connection, and
/// for each stream of HTTP/2: other streams go on.
#[derive(Default)]
pub(super) struct ReadDeadline(Option<Box<Waiting>>);

/// Made when a response has to wait for its client for the first time. The timer is not touched when
/// the response goes on: it fires once in vain, at most.
struct Waiting {
    held: Option<HeldResponse>,
    /// What of the response waits for the client's windows: when h2 sends some of it, the client reads.
    unsent: Option<Rc<UnsentData>>,
    timer: Pin<Box<Sleep>>,
}

impl ReadDeadline {
    /// Ready if the response is to be cut off; `flow` knows it then. To be called after its task was
    /// polled and has to wait. While the socket is full, no response can be read, and the connection has
    /// a clock.
    pub(super) fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        flow: &ResponseFlow,
        activity: &Activity,
    ) -> Poll<()> {
        match flow.step() {
            ResponseStep::Unchanged => {}
            ResponseStep::Moving => self.go_on(),
            ResponseStep::Held(held) => self.wait(held),
        }
        if let (Some(waiting), Some(unsent)) = (&mut self.0, flow.take_unsent()) {
            waiting.unsent = Some(unsent);
        }
        match self.0.as_mut().map(|waiting| waiting.poll(cx, activity)) {
            Some(Poll::Ready(limit)) => {
                flow.cut_off(limit);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    fn go_on(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.held = None;
        }
    }

    fn wait(&mut self, held: HeldResponse) {
        let make = || {
            let timer = Box::pin(sleep_until(held.limit(None).0.into()));
            Box::new(Waiting { held: None, unsent: None, timer })
        };
        self.0.get_or_insert_with(make).held = Some(held);
    }
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<Limit> {
        let Some(held) = self.held else { return Poll::Pending };
        let sent = self.unsent.as_ref().and_then(|unsent| unsent.sent_at());
        let progress = sent.max(activity.last_full());
        let (at, limit) = held.limit(progress.map(Instant::into_std));
        let at = at.into();
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

    use bytes::{Buf, Bytes};

    use super::*;
    use crate::http::{ResponseData, SEND_STALL};

    fn now() -> std::time::Instant {
        Instant::now().into_std()
    }

    /// How long it takes until a response that waits is cut off, if it is within ten minutes.
    async fn cut_off(
        deadline: &mut ReadDeadline,
        flow: &ResponseFlow,
        activity: &Activity,
    ) -> Option<Duration> {
        let start = Instant::now();
        let expired = poll_fn(|cx| {
            let polled = deadline.poll_expired(cx, flow, activity);
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
            let activity = Activity::new();
            let limit = limit_s.map(|s| (now() + Duration::from_secs(s), Limit::Stream));
            flow.gave(now(), limit);
            assert_eq!(cut_off(&mut deadline, &flow, &activity).await, Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_goes_on_is_not_cut_off() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        let activity = Activity::new();
        flow.gave(now(), None);
        for _ in 0..5 {
            let waits =
                tokio::time::timeout(SEND_STALL / 2, cut_off(&mut deadline, &flow, &activity));
            assert!(waits.await.is_err());
            flow.moves();
            flow.gave(now(), None);
        }
        flow.moves();
        assert_eq!(
            cut_off(&mut deadline, &flow, &activity).await,
            None,
            "it waits for its upstream"
        );
        flow.gave(now(), None);
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, Some(SEND_STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_read_at_once_has_no_timer() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        let activity = Activity::new();
        flow.gave(now(), None);
        flow.moves();
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, None);
        assert!(deadline.0.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_of_which_h2_sends_some_is_not_cut_off() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        let activity = Activity::new();
        let unsent = UnsentData::new(&Rc::default());
        let mut data = ResponseData::waiting(Bytes::from_static(&[0; 9]), &unsent);
        flow.gave(now(), None);
        flow.waits(&unsent);
        for _ in 0..5 {
            let waits = cut_off(&mut deadline, &flow, &activity);
            assert!(tokio::time::timeout(SEND_STALL * 9 / 10, waits).await.is_err());
            data.advance(1);
        }
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, Some(SEND_STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_waits_for_a_full_socket_is_not_cut_off() {
        let (mut deadline, flow) = (ReadDeadline::default(), ResponseFlow::default());
        let activity = Activity::new();
        flow.gave(now(), None);
        activity.sending(true, || 0);
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, None);
        activity.sending(false, || 0);
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, Some(SEND_STALL));
        let limit = Some((now() + Duration::from_secs(4), Limit::Stream));
        activity.sending(true, || 0);
        flow.gave(now(), limit);
        let expected = Some(Duration::from_secs(4));
        assert_eq!(cut_off(&mut deadline, &flow, &activity).await, expected, "its route's limit");
    }
}
