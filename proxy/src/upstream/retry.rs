//! Whether a request is sent again when an endpoint fails.

use std::time::{Duration, Instant};

use crate::observe::UpstreamRetry;

/// A route's `portcullis.retry`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RetrySpec {
    /// How often a request is sent again at most. Endpoints that no connection could be made to do not
    /// count: each is tried once.
    pub attempts: u8,
    /// The reasons to send a request again.
    pub on: RetryReasons,
    /// The most repetitions, in percent of the requests of the last seconds. Endpoints that no
    /// connection could be made to do not count.
    pub budget_percent: u8,
}

/// The reasons to send a request to another endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RetryReasons {
    /// No connection could be made, so that nothing was sent.
    pub connect: bool,
    /// The endpoint says that it has not processed the request (HTTP/2).
    pub refused_stream: bool,
    /// The response is a 502, 503 or 504, and the request is a GET, HEAD or OPTIONS without a body.
    pub gateway: bool,
}

impl RetrySpec {
    /// What a route does that says nothing of it.
    pub(crate) const DEFAULT: RetrySpec = RetrySpec {
        attempts: 1,
        on: RetryReasons { connect: true, refused_stream: false, gateway: false },
        budget_percent: 20,
    };

    /// Whether a request may be sent again for this reason.
    pub(crate) fn allows(&self, reason: UpstreamRetry) -> bool {
        match reason {
            UpstreamRetry::Connect => self.on.connect,
            UpstreamRetry::RefusedStream => self.on.refused_stream && self.attempts > 0,
            UpstreamRetry::Gateway => self.on.gateway && self.attempts > 0,
            // To the same endpoint, whatever is configured.
            UpstreamRetry::StaleConnection => false,
        }
    }

    /// Whether requests may be sent again after they reached an endpoint.
    pub(crate) fn is_budgeted(&self) -> bool {
        self.allows(UpstreamRetry::RefusedStream) || self.allows(UpstreamRetry::Gateway)
    }
}

impl Default for RetrySpec {
    fn default() -> RetrySpec {
        RetrySpec::DEFAULT
    }
}

/// Repetitions are counted in this window and the one before it.
const WINDOW: Duration = Duration::from_secs(5);
/// The repetitions that are always allowed: of few requests, a percentage is none.
const ALWAYS_ALLOWED: u64 = 10;

/// Bounds how many requests one worker sends to a cluster again, so that endpoints that fail for being
/// overloaded do not get more to do.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// When the current window began.
    begun: Instant,
    current: Sent,
    former: Sent,
}

/// Requests, and those that were sent again.
#[derive(Debug, Default, Clone, Copy)]
struct Sent {
    requests: u64,
    again: u64,
}

impl RetryBudget {
    pub(super) fn new(now: Instant) -> RetryBudget {
        RetryBudget { begun: now, current: Sent::default(), former: Sent::default() }
    }

    /// Counts a request.
    pub(super) fn request(&mut self, now: Instant) {
        self.pass(now);
        self.current.requests += 1;
    }

    /// Whether one more request may be sent again, which is counted.
    pub(super) fn take(&mut self, percent: u8, now: Instant) -> bool {
        self.pass(now);
        let requests = self.current.requests + self.former.requests;
        let again = self.current.again + self.former.again;
        let allowed = again < ALWAYS_ALLOWED + requests * u64::from(percent) / 100;
        self.current.again += u64::from(allowed);
        allowed
    }

    fn pass(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.begun);
        if age < WINDOW {
            return;
        }
        self.former = if age < WINDOW * 2 { self.current } else { Sent::default() };
        self.current = Sent::default();
        self.begun = now;
    }
}

/// The shortest time that an attempt to connect gets.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(500);
/// The longest time of an attempt to connect while there is another endpoint to try.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(2);

/// How many endpoints the time that is left is divided among at most.
const MOST_SHARES: usize = 5;

/// How long the next attempt to connect may take, if so much time is left for connecting and for the
/// response, and so many endpoints were not tried yet, this one included. The last one gets the whole
/// rest.
pub(super) fn attempt_limit(
    left: Duration,
    response_left: Option<Duration>,
    untried: usize,
) -> Duration {
    if untried <= 1 {
        return left;
    }
    let left = response_left.map_or(left, |response_left| response_left.min(left));
    let share = left / u32::try_from(untried.min(MOST_SHARES)).unwrap_or(u32::MAX);
    share.clamp(SHORTEST_ATTEMPT, LONGEST_ATTEMPT).min(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn without_configuration_only_failed_connections_lead_elsewhere() {
        let spec = RetrySpec::DEFAULT;
        assert!(spec.allows(UpstreamRetry::Connect));
        assert!(!spec.allows(UpstreamRetry::RefusedStream) && !spec.allows(UpstreamRetry::Gateway));
        assert!(!spec.is_budgeted());
    }

    #[test]
    fn no_attempts_leave_failed_connections_alone() {
        let on = RetryReasons { connect: true, refused_stream: true, gateway: true };
        let spec = RetrySpec { attempts: 0, on, ..RetrySpec::DEFAULT };
        assert!(spec.allows(UpstreamRetry::Connect) && !spec.is_budgeted());
    }

    #[test]
    fn few_requests_may_be_sent_again_whatever_the_percentage() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        let taken = (0..20).filter(|_| budget.take(0, now)).count();
        assert_eq!(taken, 10);
        assert!(budget.take(0, now + WINDOW * 2), "they are forgotten");
    }

    #[test]
    fn many_requests_allow_their_percentage() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        (0..1000).for_each(|_| budget.request(now));
        let later = now + WINDOW;
        let taken = (0..1000).filter(|_| budget.take(20, later)).count();
        assert_eq!(taken, 210, "the window before counts too");
    }

    #[test]
    fn an_attempt_gets_two_seconds_and_the_last_one_the_rest() {
        let limit = |left, untried| attempt_limit(ms(left), None, untried);
        assert_eq!(limit(10_000, 1), ms(10_000));
        assert_eq!(limit(10_000, 2), ms(2_000));
        assert_eq!(limit(3_000, 3), ms(1_000), "each of three gets its part");
        assert_eq!(limit(5_000, 10), ms(1_000), "the first five get all of it");
        assert_eq!(limit(2_000, 1000), ms(500));
        assert_eq!(limit(300, 2), ms(300));
        assert_eq!(limit(0, 2), ms(0));
    }

    #[test]
    fn a_short_limit_of_the_route_leaves_time_for_the_next_endpoint() {
        let limit = |untried| attempt_limit(ms(10_000), Some(ms(1_200)), untried);
        assert_eq!(limit(2), ms(600));
        assert_eq!(limit(1), ms(10_000), "the route's own limit ends it");
    }

    proptest! {
        /// Whatever the order of requests and failures.
        #[test]
        fn no_more_is_sent_again_than_the_budget_allows(
            steps in prop::collection::vec((0..2_000u64, any::<bool>()), 1..300),
            percent in 0..=100u8,
        ) {
            let start = Instant::now();
            let mut budget = RetryBudget::new(start);
            let (mut at, mut requests, mut again) = (start, Vec::new(), Vec::new());
            for (pause, is_request) in steps {
                at += ms(pause);
                if is_request {
                    budget.request(at);
                    requests.push(at);
                } else if budget.take(percent, at) {
                    again.push(at);
                    let within = |times: &[Instant], span| {
                        times.iter().filter(|time| at - **time < span).count() as u64
                    };
                    // It counts at least one window, and at most two and the pause behind them.
                    let most = ALWAYS_ALLOWED + requests.len() as u64 * u64::from(percent) / 100;
                    prop_assert!(within(&again, WINDOW) <= most.max(ALWAYS_ALLOWED));
                }
            }
        }

        #[test]
        fn attempts_never_take_longer_than_all_the_time_there_is(
            all in 0..20_000u64,
            endpoints in 1..50usize,
        ) {
            let mut left = ms(all);
            for untried in (1..=endpoints).rev() {
                let limit = attempt_limit(left, None, untried);
                prop_assert!(limit <= left);
                prop_assert!(untried == 1 || limit <= LONGEST_ATTEMPT);
                left -= limit;
            }
        }
    }
}
