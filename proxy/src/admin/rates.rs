//! How many requests a second each route gets. Nothing is counted for this: whoever looks at the page
//! leaves a sample, and the next look is compared with it.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::observe::RouteView;

/// Samples that are older say nothing of now.
const OLDEST: Duration = Duration::from_secs(90);
/// Samples that are nearer to each other give no rate.
const SHORTEST: Duration = Duration::from_secs(5);

/// What one route had at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RouteCounts {
    requests: u64,
    errors: u64,
}

/// The counts of the routes that were used, at one time.
#[derive(Debug)]
struct RateSample {
    at: Instant,
    routes: HashMap<String, RouteCounts>,
}

/// What was seen of the routes in the last minute and a half. Pure: the clock is passed in.
#[derive(Debug, Default)]
pub(super) struct RateHistory {
    samples: VecDeque<RateSample>,
}

/// The counts of an earlier time, to compare with.
#[derive(Debug)]
pub(super) struct RatesSince<'a> {
    /// How long ago that was.
    pub(super) period: Duration,
    earlier: Option<&'a HashMap<String, RouteCounts>>,
}

/// What a route did in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RouteRate {
    pub(super) requests_per_s: f64,
    /// From 0 to 1; `None` without a request.
    pub(super) error_share: Option<f64>,
}

impl RateHistory {
    /// Compares with the oldest sample, or with the start of the process if there is none, and leaves
    /// another one.
    pub(super) fn look<'a>(
        &'a mut self,
        now: Instant,
        uptime: Duration,
        routes: &[RouteView],
    ) -> RatesSince<'a> {
        let age = |sample: &RateSample| now.saturating_duration_since(sample.at);
        self.samples.retain(|sample| age(sample) <= OLDEST);
        if self.samples.back().is_none_or(|last| age(last) >= SHORTEST) {
            self.samples.push_back(RateSample { at: now, routes: counts(routes) });
        }
        match self.samples.front().filter(|first| age(first) >= SHORTEST) {
            Some(first) => RatesSince { period: age(first), earlier: Some(&first.routes) },
            None => RatesSince { period: uptime, earlier: None },
        }
    }
}

fn counts(routes: &[RouteView]) -> HashMap<String, RouteCounts> {
    let used = routes.iter().filter(|route| route.requests > 0);
    used.map(|route| (route.name.clone(), RouteCounts::of(route))).collect()
}

impl RouteCounts {
    fn of(route: &RouteView) -> RouteCounts {
        RouteCounts { requests: route.requests, errors: route.errors }
    }
}

impl RatesSince<'_> {
    /// Whether the period began with the process.
    pub(super) fn is_since_start(&self) -> bool {
        self.earlier.is_none()
    }

    /// What the route did in the period.
    pub(super) fn of(&self, route: &RouteView) -> RouteRate {
        let earlier = self.earlier.and_then(|routes| routes.get(&route.name));
        let (now, before) = (RouteCounts::of(route), earlier.copied().unwrap_or_default());
        // A route that left the configuration and came back counts from 0.
        let requests = now.requests.checked_sub(before.requests).unwrap_or(now.requests);
        let errors = now.errors.checked_sub(before.errors).unwrap_or(now.errors);
        RouteRate {
            requests_per_s: requests as f64 / self.period.as_secs_f64().max(1.0),
            error_share: (requests > 0).then(|| (errors as f64 / requests as f64).min(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(requests: u64, errors: u64) -> RouteView {
        RouteView { name: "a".into(), requests, errors, ..RouteView::default() }
    }

    #[test]
    fn the_first_look_gives_rates_since_the_start_and_later_ones_of_now() {
        let (mut history, start) = (RateHistory::default(), Instant::now());
        let uptime = Duration::from_secs(1_000);
        let mut look = |after_s: u64, requests, errors| {
            let now = start + Duration::from_secs(after_s);
            let routes = [route(requests, errors)];
            let rates = history.look(now, uptime, &routes);
            let RouteRate { requests_per_s, error_share } = rates.of(&routes[0]);
            (rates.period.as_secs(), requests_per_s, error_share)
        };
        assert_eq!(look(0, 500, 50), (1_000, 0.5, Some(0.1)));
        assert_eq!(look(1, 600, 50), (1_000, 0.6, Some(50.0 / 600.0)), "too soon");
        assert_eq!(look(10, 1_500, 550), (10, 100.0, Some(0.5)));
        assert_eq!(look(20, 1_500, 550), (20, 50.0, Some(0.5)));
        assert_eq!(look(105, 1_500, 550), (85, 0.0, None), "the sample of 20 s is the oldest");
        assert_eq!(look(1_105, 2_000, 550), (1_000, 2.0, Some(0.275)), "all samples are too old");
    }

    #[test]
    fn counts_that_began_again_make_no_negative_rate() {
        let (mut history, start) = (RateHistory::default(), Instant::now());
        history.look(start, Duration::ZERO, &[route(500, 50)]);
        let routes = [route(20, 5)];
        let now = start + Duration::from_secs(10);
        let rates = history.look(now, Duration::from_secs(99), &routes);
        assert_eq!(
            rates.of(&routes[0]),
            RouteRate { requests_per_s: 2.0, error_share: Some(0.25) }
        );
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let (mut history, start) = (RateHistory::default(), Instant::now());
        for ms in (0..1_000_000).step_by(100) {
            history.look(start + Duration::from_millis(ms), Duration::ZERO, &[route(1, 0)]);
            assert!(history.samples.len() <= 19, "{}", history.samples.len());
        }
    }
}
