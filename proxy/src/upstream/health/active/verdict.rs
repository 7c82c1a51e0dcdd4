//! From the results of checks to whether an endpoint is up. Pure.

use std::time::Duration;

use portcullis_abi::SplitMix64;

use super::spec::{CheckIntervals, CheckThresholds};

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckResult {
    /// The endpoint gave a good answer.
    Passed,
    /// It gave none, or one that counts as one failure.
    Failed,
    /// It gave an answer that says that it is down, whatever the threshold.
    FailedForSure,
}

impl CheckResult {
    fn is_passed(self) -> bool {
        self == CheckResult::Passed
    }
}

/// What the checks of an endpoint say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There was no result yet: the endpoint counts as available.
    Unknown,
    /// It is up.
    Up,
    /// It is down.
    Down,
}

/// What a result has done to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// Nothing.
    Unchanged,
    /// It agrees with the opposite verdict, but not yet often enough.
    Pending,
    /// The verdict is another.
    Changed,
}

/// The verdict about one endpoint, and the results since then that disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CheckState {
    verdict: Verdict,
    /// Results in a row against the verdict.
    against: u32,
}

impl CheckState {
    /// Begins with a verdict.
    pub(super) fn new(verdict: Verdict) -> CheckState {
        CheckState { verdict, against: 0 }
    }

    /// What the checks say now.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes a result. The first one decides alone, as the first success does in Envoy: an endpoint that
    /// has never given a good answer has no good name to lose.
    pub(super) fn take(&mut self, result: CheckResult, thresholds: CheckThresholds) -> Transition {
        let is_for = match self.verdict {
            Verdict::Unknown => false,
            Verdict::Up => result.is_passed(),
            Verdict::Down => !result.is_passed(),
        };
        if is_for {
            self.against = 0;
            return Transition::Unchanged;
        }
        self.against = self.against.saturating_add(1);
        let needed = match (self.verdict, result) {
            (Verdict::Unknown, _) | (_, CheckResult::FailedForSure) => 1,
            (_, CheckResult::Failed) => thresholds.unhealthy,
            (_, CheckResult::Passed) => thresholds.healthy,
        };
        if self.against < needed {
            return Transition::Pending;
        }
        let verdict = if result.is_passed() { Verdict::Up } else { Verdict::Down };
        *self = CheckState::new(verdict);
        Transition::Changed
    }
}

/// The time until the next check, after a result.
pub(super) fn next_interval(
    intervals: &CheckIntervals,
    result: CheckResult,
    transition: Transition,
    has_traffic: bool,
    random: &mut SplitMix64,
) -> Duration {
    let is_pending = transition == Transition::Pending;
    let base = match (&intervals.no_traffic, result.is_passed()) {
        (Some(no_traffic), true) if !has_traffic && !is_pending => no_traffic.healthy,
        (Some(no_traffic), _) if !has_traffic => no_traffic.other,
        (_, true) if is_pending => intervals.healthy_edge,
        (_, true) => intervals.interval,
        (_, false) if is_pending => intervals.unhealthy_edge,
        (_, false) => intervals.unhealthy,
    };
    let share = base / 100 * u32::from(intervals.jitter_percent);
    base + up_to(share, random) + up_to(intervals.jitter, random)
}

/// A random time of at most this.
pub(super) fn up_to(most: Duration, random: &mut SplitMix64) -> Duration {
    most.mul_f64(random.unit())
}

#[cfg(test)]
mod tests;
