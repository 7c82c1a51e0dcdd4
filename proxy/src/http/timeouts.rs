//! The limits on a request's time, with one timer for all of them.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    limit::Limit,
    reused_timer::ReusedTimer,
    spec::{RequestSettings, RouteSpec},
    upload::UploadProgress,
};

/// The limits on a request's time. The timer is made only when the request first waits, and moved
/// only when it fires or must fire earlier.
#[derive(Debug)]
pub(super) struct Timeouts {
    started: Instant,
    request: Option<Duration>,
    response: Option<Duration>,
    stream: Option<Duration>,
    idle: Option<Duration>,
    upload: Option<Rc<UploadProgress>>,
    /// The response's head has come: since when its next byte is waited for.
    responding: Option<Instant>,
    moved: bool,
    timer: ReusedTimer,
}

impl Timeouts {
    /// The limits of a request that began at `started`, before its route is known.
    pub(super) fn new(
        started: Instant,
        settings: &RequestSettings,
        timer: ReusedTimer,
    ) -> Timeouts {
        Timeouts {
            started,
            request: settings.read_timeout,
            response: settings.upstream_timeout,
            stream: settings.stream_timeout,
            idle: None,
            upload: None,
            responding: None,
            moved: false,
            timer,
        }
    }

    /// Notes the route, whose limits hold from now on.
    pub(super) fn routed(&mut self, spec: &RouteSpec) {
        self.response = spec.timeout;
        self.idle = spec.idle_timeout;
    }

    /// Notes that the request has a body.
    pub(super) fn uploading(&mut self, upload: Option<Rc<UploadProgress>>) {
        self.upload = upload;
    }

    /// Notes that the response's head has come. As in Envoy, the request's body has no limit of its own
    /// from here on: both may go on for long.
    pub(super) fn responding(&mut self) {
        self.responding = Some(self.started);
        self.moved = true;
    }

    /// Notes that a piece of the response has come. The time that the client takes for it does not
    /// count as idle, and has a limit of its own.
    pub(super) fn progress(&mut self) {
        self.moved = true;
    }

    /// The latest end of a tunnel, and the longest that it may be silent.
    pub(super) fn of_tunnel(&self) -> (Option<Instant>, Option<Duration>) {
        let stream = self.stream.map(|limit| self.started + limit);
        let response = self.response.map(|limit| self.started + limit);
        (earlier(stream, response), self.idle)
    }

    /// Waits for a future within the limits.
    pub(super) async fn within<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
    ) -> Result<F::Output, Limit> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }

    /// The limit that has been reached, if any. For an upstream that is always faster than a timer
    /// could be: nothing waits, and no timer is made.
    pub(super) fn reached(&mut self, now: Instant) -> Option<Limit> {
        self.wait_from(now);
        self.next().filter(|(at, _)| *at <= now).map(|(_, limit)| limit)
    }

    /// Ready with the limit that has been reached. To be called when the request has to wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Limit> {
        if self.moved {
            self.wait_from(Instant::now());
        }
        if let Some(upload) = &self.upload {
            upload.wake_at_end(cx.waker());
        }
        let Some((at, limit)) = self.next() else { return Poll::Pending };
        self.timer.poll_at(at, cx).map(|()| limit)
    }

    /// The time that is left before a limit is reached; `None` if there is no limit.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.next().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// Notes that the wait for the next piece of the response begins.
    fn wait_from(&mut self, now: Instant) {
        if self.moved {
            self.responding = Some(now);
            self.moved = false;
        }
    }

    /// The limit to be reached first while a response waits for its client.
    pub(super) fn while_held(&self) -> Option<(Instant, Limit)> {
        earliest([
            (Some(self.started), self.stream, Limit::Stream),
            (self.request_end(), self.response, Limit::Response),
        ])
    }

    /// The limit to be reached first.
    fn next(&self) -> Option<(Instant, Limit)> {
        let request_end = self.request_end();
        earliest([
            (Some(self.started), self.stream, Limit::Stream),
            (request_end, self.response, Limit::Response),
            (self.waits_for_request(request_end), self.request, self.late_request()),
            (Some(self.last_byte()), self.idle, Limit::Idle),
        ])
    }

    fn request_end(&self) -> Option<Instant> {
        self.upload.as_ref().map_or(Some(self.started), |upload| upload.ended())
    }

    fn waits_for_request(&self, request_end: Option<Instant>) -> Option<Instant> {
        let waits = request_end.is_none() && self.responding.is_none();
        waits.then_some(self.started)
    }

    /// The limit that an unfinished request exceeds: the upstream's if the client could send more and
    /// the upstream does not read it.
    fn late_request(&self) -> Limit {
        let client = self.upload.as_ref().is_none_or(|upload| upload.is_wanted());
        if client { Limit::Request } else { Limit::Response }
    }

    /// The later of the last bytes of both directions.
    fn last_byte(&self) -> Instant {
        let response = self.responding.unwrap_or(self.started);
        let request = self.upload.as_ref().and_then(|upload| upload.last());
        request.map_or(response, |request| request.max(response))
    }
}

fn earliest<const N: usize>(
    limits: [(Option<Instant>, Option<Duration>, Limit); N],
) -> Option<(Instant, Limit)> {
    limits
        .into_iter()
        .filter_map(|(from, limit, name)| Some((from?.checked_add(limit?)?, name)))
        .min_by_key(|(at, _)| *at)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::settings;

    const fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    fn timeouts(request: u64, response: u64) -> Timeouts {
        let settings = RequestSettings {
            read_timeout: seconds(request),
            upstream_timeout: seconds(response),
            ..settings()
        };
        Timeouts::new(Instant::now(), &settings, ReusedTimer::default())
    }

    fn after(timeouts: &Timeouts) -> Option<(u64, Limit)> {
        timeouts.next().map(|(at, limit)| ((at - timeouts.started).as_secs(), limit))
    }

    #[test]
    fn without_a_body_the_response_is_waited_for_from_the_start() {
        assert_eq!(after(&timeouts(5, 30)), Some((30, Limit::Response)));
    }

    #[test]
    fn limits_apply_to_the_request_then_to_the_response() {
        let mut timeouts = timeouts(5, 1);
        let upload = Rc::new(UploadProgress::default());
        timeouts.uploading(Some(upload.clone()));
        upload.want();
        assert_eq!(after(&timeouts), Some((5, Limit::Request)));
        upload.end();
        assert!(matches!(after(&timeouts), Some((_, Limit::Response))));
    }

    #[test]
    fn an_unread_request_is_the_upstreams_fault() {
        let mut timeouts = timeouts(5, 30);
        let upload = Rc::new(UploadProgress::default());
        timeouts.uploading(Some(upload.clone()));
        assert_eq!(after(&timeouts), Some((5, Limit::Response)));
        upload.want();
        assert_eq!(after(&timeouts), Some((5, Limit::Request)));
        upload.progress(9);
        assert_eq!(after(&timeouts), Some((5, Limit::Response)));
    }

    #[test]
    fn bytes_of_either_direction_keep_a_stream_from_idling() {
        let mut timeouts = timeouts(60, 60);
        timeouts.idle = seconds(7);
        assert_eq!(after(&timeouts), Some((7, Limit::Idle)));
        let upload = Rc::new(UploadProgress::default());
        timeouts.uploading(Some(upload.clone()));
        timeouts.responding();
        // As if the request had begun, and the response's head had come, ten seconds ago.
        timeouts.started -= Duration::from_secs(10);
        timeouts.wait_from(timeouts.started);
        let now = Instant::now();
        assert_eq!(timeouts.reached(now), Some(Limit::Idle));
        upload.progress(1);
        assert_eq!(timeouts.reached(now), None);
    }

    #[test]
    fn a_limit_is_reached_without_any_wait() {
        let mut timeouts = timeouts(5, 30);
        let limits = Duration::from_secs(30);
        timeouts.responding();
        assert_eq!(timeouts.reached(timeouts.started + limits / 2), None);
        assert_eq!(timeouts.reached(timeouts.started + limits), Some(Limit::Response));
        assert!(!timeouts.timer.is_armed());
    }

    #[test]
    fn the_time_a_client_takes_for_a_piece_is_not_idle() {
        let mut timeouts = timeouts(5, 60);
        timeouts.idle = seconds(7);
        timeouts.responding();
        assert_eq!(timeouts.reached(timeouts.started + Duration::from_secs(20)), None);
        assert_eq!(timeouts.reached(timeouts.started + Duration::from_secs(27)), Some(Limit::Idle));
    }

    #[test]
    fn a_response_that_is_held_does_not_idle() {
        let mut timeouts = timeouts(5, 60);
        timeouts.idle = seconds(7);
        timeouts.responding();
        let held = |timeouts: &Timeouts| {
            timeouts.while_held().map(|(at, limit)| ((at - timeouts.started).as_secs(), limit))
        };
        assert_eq!(held(&timeouts), Some((60, Limit::Response)));
        timeouts.stream = seconds(30);
        assert_eq!(held(&timeouts), Some((30, Limit::Stream)));
        timeouts.uploading(Some(Rc::new(UploadProgress::default())));
        timeouts.stream = None;
        assert_eq!(held(&timeouts), None, "the request goes on");
    }

    #[test]
    fn once_a_response_has_begun_its_request_may_go_on() {
        let mut timeouts = timeouts(5, 1);
        timeouts.uploading(Some(Rc::new(UploadProgress::default())));
        timeouts.responding();
        timeouts.wait_from(timeouts.started);
        assert_eq!(after(&timeouts), None);
        timeouts.idle = seconds(7);
        assert_eq!(after(&timeouts), Some((7, Limit::Idle)));
    }

    #[test]
    fn the_stream_is_limited_in_every_state() {
        let mut timeouts = timeouts(5, 30);
        timeouts.stream = seconds(3);
        assert_eq!(after(&timeouts), Some((3, Limit::Stream)));
        timeouts.responding();
        assert_eq!(after(&timeouts), Some((3, Limit::Stream)));
    }

    /// Waits once, for something that is not there.
    fn wait(timeouts: &mut Timeouts) -> Instant {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(timeouts.poll(&mut cx).is_pending());
        timeouts.timer.deadline().unwrap()
    }

    /// The timer that a request leaves to the next.
    fn reused(timeouts: &mut Timeouts) -> ReusedTimer {
        std::mem::take(&mut timeouts.timer)
    }

    #[tokio::test]
    async fn a_reused_timer_is_moved_only_if_it_would_fire_late() {
        let mut first = timeouts(5, 30);
        let armed = wait(&mut first);
        let settings =
            |response| RequestSettings { upstream_timeout: seconds(response), ..settings() };
        let now = Instant::now();
        let mut second = Timeouts::new(now, &settings(60), reused(&mut first));
        assert_eq!(wait(&mut second), armed);
        let mut third = Timeouts::new(now, &settings(9), reused(&mut second));
        assert_eq!(wait(&mut third), now + Duration::from_secs(9));
    }

    #[test]
    fn a_limit_beyond_all_time_is_none() {
        let mut timeouts = timeouts(5, 30);
        timeouts.response = Some(Duration::MAX);
        assert_eq!(after(&timeouts), None);
    }
}
