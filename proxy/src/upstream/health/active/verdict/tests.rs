//! The tests of verdicts, with every result given.

use proptest::prelude::*;

use super::*;
use crate::upstream::health::active::spec::NoTrafficIntervals;
use CheckResult::{Failed, FailedForSure, Passed};
use Transition::{Changed, Pending, Unchanged};

const THRESHOLDS: CheckThresholds = CheckThresholds { unhealthy: 3, healthy: 2 };

/// The transitions that these results make, and the verdict at the end.
fn take(begin: Verdict, results: &[CheckResult]) -> (Vec<Transition>, Verdict) {
    let mut state = CheckState::new(begin);
    let transitions = results.iter().map(|result| state.take(*result, THRESHOLDS)).collect();
    (transitions, state.verdict())
}

#[test]
fn the_first_result_decides_alone() {
    for (result, verdict) in
        [(Passed, Verdict::Up), (Failed, Verdict::Down), (FailedForSure, Verdict::Down)]
    {
        assert_eq!(take(Verdict::Unknown, &[result]), (vec![Changed], verdict));
    }
}

#[test]
fn an_endpoint_is_down_after_as_many_failures_in_a_row() {
    let (transitions, verdict) = take(Verdict::Up, &[Failed, Failed, Failed, Failed]);
    assert_eq!(transitions, [Pending, Pending, Changed, Unchanged]);
    assert_eq!(verdict, Verdict::Down);
}

#[test]
fn a_success_between_failures_begins_the_count_again() {
    let (transitions, verdict) = take(Verdict::Up, &[Failed, Failed, Passed, Failed, Failed]);
    assert_eq!(transitions, [Pending, Pending, Unchanged, Pending, Pending]);
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn an_answer_that_says_down_needs_no_second_one() {
    assert_eq!(take(Verdict::Up, &[FailedForSure]), (vec![Changed], Verdict::Down));
    let (transitions, _) = take(Verdict::Up, &[Failed, FailedForSure]);
    assert_eq!(transitions, [Pending, Changed]);
}

#[test]
fn an_endpoint_is_up_after_as_many_successes_in_a_row() {
    let (transitions, verdict) = take(Verdict::Down, &[Passed, Failed, Passed, Passed, Passed]);
    assert_eq!(transitions, [Pending, Unchanged, Pending, Changed, Unchanged]);
    assert_eq!(verdict, Verdict::Up);
}

fn intervals() -> CheckIntervals {
    CheckIntervals {
        interval: Duration::from_secs(10),
        unhealthy: Duration::from_secs(20),
        unhealthy_edge: Duration::from_secs(2),
        healthy_edge: Duration::from_secs(1),
        no_traffic: None,
        initial_jitter: Duration::ZERO,
        jitter: Duration::ZERO,
        jitter_percent: 0,
    }
}

fn seconds(intervals: &CheckIntervals, result: CheckResult, transition: Transition) -> u64 {
    next_interval(intervals, result, transition, true, &mut SplitMix64::new(1)).as_secs()
}

#[test]
fn edges_are_checked_at_their_own_interval() {
    let intervals = intervals();
    for (result, transition, expected) in [
        (Passed, Unchanged, 10),
        (Passed, Changed, 10),
        (Passed, Pending, 1),
        (Failed, Pending, 2),
        (Failed, Changed, 20),
        (FailedForSure, Changed, 20),
        (Failed, Unchanged, 20),
    ] {
        let found = seconds(&intervals, result, transition);
        assert_eq!(found, expected, "{result:?} {transition:?}");
    }
}

#[test]
fn a_cluster_without_traffic_has_intervals_of_its_own_if_they_are_set() {
    let no_traffic =
        NoTrafficIntervals { healthy: Duration::from_secs(90), other: Duration::from_secs(60) };
    let slow = CheckIntervals { no_traffic: Some(no_traffic), ..intervals() };
    let mut random = SplitMix64::new(1);
    let mut of = |intervals: &CheckIntervals, result, transition, has_traffic| {
        next_interval(intervals, result, transition, has_traffic, &mut random).as_secs()
    };
    assert_eq!(of(&slow, Passed, Unchanged, false), 90);
    assert_eq!(of(&slow, Passed, Pending, false), 60);
    assert_eq!(of(&slow, Failed, Unchanged, false), 60);
    assert_eq!(of(&slow, Passed, Unchanged, true), 10);
    assert_eq!(of(&intervals(), Passed, Unchanged, false), 10, "Envoy's silent 60 s surprise");
}

#[test]
fn jitter_is_added_and_never_more_than_it_says() {
    let jitter = Duration::from_secs(3);
    let jittered = CheckIntervals { jitter, jitter_percent: 50, ..intervals() };
    let mut random = SplitMix64::new(7);
    let mut times: Vec<_> =
        (0..1000).map(|_| next_interval(&jittered, Passed, Unchanged, true, &mut random)).collect();
    times.sort_unstable();
    assert!(times[0] >= Duration::from_secs(10) && times[999] <= Duration::from_secs(18));
    assert!(times[999] - times[0] > Duration::from_secs(5), "{:?}", times[999] - times[0]);
}

/// What Envoy's documentation says, in the plainest words: the last results, counted from the end.
fn model(results: &[CheckResult]) -> Verdict {
    let mut verdict = Verdict::Unknown;
    let mut since = 0;
    for end in 1..=results.len() {
        let recent = &results[since..end];
        let failures = recent.iter().rev().take_while(|result| **result != Passed).count();
        let successes = recent.iter().rev().take_while(|result| **result == Passed).count();
        let is_down = match verdict {
            Verdict::Unknown => failures > 0,
            Verdict::Up => failures >= 3 || results[end - 1] == FailedForSure,
            Verdict::Down => successes < 2,
        };
        let next = if is_down { Verdict::Down } else { Verdict::Up };
        if next != verdict {
            (verdict, since) = (next, end);
        }
    }
    verdict
}

proptest! {
    #[test]
    fn verdicts_are_those_of_the_model(
        results in prop::collection::vec(
            prop::sample::select(vec![Passed, Failed, FailedForSure]), 0..40),
    ) {
        prop_assert_eq!(take(Verdict::Unknown, &results).1, model(&results));
    }
}
