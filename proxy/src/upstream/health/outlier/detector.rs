//! Which endpoints of a cluster are ejected, and for how long: Envoy's arithmetic. Pure: the clock is
//! passed in.

use std::time::{Duration, Instant};

use portcullis_abi::SplitMix64;

use super::{
    EjectionTrigger, OutlierSpec,
    rates::{RatedHost, RequestRates, below_the_others, failing},
};
use crate::observe::EjectionReason;

/// Envoy's default of `max_ejection_percent`.
const DEFAULT_MAX_EJECTION_PERCENT: u8 = 10;

/// The ejections of one cluster.
#[derive(Debug)]
pub(crate) struct OutlierDetector {
    spec: OutlierSpec,
    hosts: Vec<HostEjections>,
    last_interval: Instant,
    random: SplitMix64,
}

/// The ejections of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostEjections {
    /// `None` while it is not ejected.
    current: Option<Ejection>,
    /// Its ejections in a row: an interval without one takes one off.
    in_a_row: u32,
    returned: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ejection {
    since: Instant,
    lasts: Duration,
}

/// What becomes of an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EjectionDecision {
    /// It is ejected for this time, and until the end of the interval after it.
    Eject(Duration),
    /// As many are ejected as may be.
    TooMany,
    /// It is detected only: `enforcing_…`.
    NotEnforced,
    /// It is ejected already, or there is no such endpoint.
    Ignore,
}

/// An endpoint whose requests make it an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DetectedOutlier {
    /// Its index.
    pub host: usize,
    /// Why.
    pub reason: EjectionReason,
    /// What becomes of it.
    pub decision: EjectionDecision,
}

/// One family of the rates of an interval.
type RatesOf = fn(&IntervalRates) -> RequestRates;

/// What the end of an interval brings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IntervalResult {
    /// The endpoints that return, by their indices.
    pub returned: Vec<usize>,
    /// Those that are outliers by their rates.
    pub outliers: Vec<DetectedOutlier>,
}

/// The requests to one endpoint in an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IntervalRates {
    /// Those that got an answer, and if they are not split those that got none.
    pub external: RequestRates,
    /// Whether they could be sent and got an answer; only if that is split.
    pub local_origin: RequestRates,
}

impl OutlierDetector {
    /// For endpoints of these states; `began` is the start of the interval under way.
    pub(crate) fn new(
        spec: &OutlierSpec,
        hosts: Vec<HostEjections>,
        began: Instant,
        seed: u64,
    ) -> OutlierDetector {
        let random = SplitMix64::new(seed);
        OutlierDetector { spec: spec.clone(), hosts, last_interval: began, random }
    }

    /// When the interval ends, and [`OutlierDetector::end_interval`] is due.
    pub(crate) fn interval_ends(&self) -> Instant {
        self.last_interval + self.spec.interval
    }

    /// When the interval began.
    pub(super) fn interval_began(&self) -> Instant {
        self.last_interval
    }

    /// Whether an endpoint is ejected.
    pub(crate) fn is_ejected(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|host| host.current.is_some())
    }

    /// The states of the endpoints, for the detector of another configuration.
    pub(crate) fn into_hosts(self) -> Vec<HostEjections> {
        self.hosts
    }

    /// An endpoint has failed so often in a row.
    pub(crate) fn reached(
        &mut self,
        host: usize,
        trigger: EjectionTrigger,
        now: Instant,
    ) -> EjectionDecision {
        self.decide(host, trigger.into(), now)
    }

    /// A check of an endpoint has succeeded, and no check is against it. Whether it returns.
    pub(crate) fn check_succeeded(&mut self, host: usize, now: Instant) -> bool {
        let returns = self.spec.successful_active_health_check_uneject_host;
        let host = self.hosts.get_mut(host).filter(|host| returns && host.current.is_some());
        host.map(|host| host.give_back(now)).is_some()
    }

    /// Ends an interval: endpoints return whose time has come, outliers by their rates are ejected, and
    /// those that were not ejected for an interval are forgiven one ejection. `rates` are of the interval,
    /// one for each endpoint.
    pub(crate) fn end_interval(&mut self, rates: &[IntervalRates], now: Instant) -> IntervalResult {
        self.last_interval = now;
        let mut returned = Vec::new();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if host.current.is_some_and(|ejection| ejection.has_ended(now)) {
                host.give_back(now);
                returned.push(index);
            }
        }
        let outliers = self.outliers(rates, now);
        for host in &mut self.hosts {
            host.forgive(self.spec.interval, now);
        }
        IntervalResult { returned, outliers }
    }

    fn outliers(&mut self, rates: &[IntervalRates], now: Instant) -> Vec<DetectedOutlier> {
        use EjectionReason as Reason;
        let (success, failures) = (self.spec.success_rate, self.spec.failure_percentage);
        let families: [(RatesOf, _, _); 2] = [
            (|rates| rates.external, Reason::SuccessRate, Reason::FailurePercentage),
            (
                |rates| rates.local_origin,
                Reason::LocalOriginSuccessRate,
                Reason::LocalOriginFailurePercentage,
            ),
        ];
        let mut outliers = Vec::new();
        for (rates_of, by_success_rate, by_failures) in families {
            let rated = rates.iter().map(rates_of).enumerate();
            let rated: Vec<RatedHost> = rated.filter(|(host, _)| !self.is_ejected(*host)).collect();
            let below = below_the_others(&success, &rated).into_iter();
            let failing = failing(&failures, &rated).into_iter();
            let detected = below.map(|host| (host, by_success_rate));
            for (host, reason) in detected.chain(failing.map(|host| (host, by_failures))) {
                let decision = self.decide(host, reason, now);
                if decision != EjectionDecision::Ignore {
                    outliers.push(DetectedOutlier { host, reason, decision });
                }
            }
        }
        outliers
    }

    fn decide(&mut self, host: usize, reason: EjectionReason, now: Instant) -> EjectionDecision {
        if self.hosts.get(host).is_none_or(|host| host.current.is_some()) {
            return EjectionDecision::Ignore;
        }
        if !self.may_eject_another() {
            return EjectionDecision::TooMany;
        }
        let chance = u64::from(self.enforcing(reason));
        if self.random.below(100) >= chance {
            return EjectionDecision::NotEnforced;
        }
        let jitter_ms = self.spec.max_ejection_time_jitter.as_millis();
        let jitter_ms = u64::try_from(jitter_ms).unwrap_or(u64::MAX).saturating_add(1);
        let jitter = Duration::from_millis(self.random.below(jitter_ms));
        let (base, most) = (self.spec.base_ejection_time, self.longest_ejection());
        match self.hosts.get_mut(host) {
            Some(host) => EjectionDecision::Eject(host.eject(base, most, jitter, now)),
            None => EjectionDecision::Ignore,
        }
    }

    /// Whether one more may be ejected.
    fn may_eject_another(&self) -> bool {
        let ejected = self.hosts.iter().filter(|host| host.current.is_some()).count();
        if ejected == 0 && self.may_always_eject_one() {
            return true;
        }
        let percent = self.spec.max_ejection_percent.unwrap_or(DEFAULT_MAX_EJECTION_PERCENT);
        (ejected + 1) * 100 <= usize::from(percent) * self.hosts.len()
    }

    /// By the default of 10 percent, a route of fewer than ten endpoints never ejects any: one of
    /// several may be ejected if nothing else is written.
    fn may_always_eject_one(&self) -> bool {
        let is_unwritten = self.spec.max_ejection_percent.is_none();
        self.spec.always_eject_one_host || is_unwritten && self.hosts.len() > 1
    }

    /// `max_ejection_time` has a default that may be shorter than a `base_ejection_time`.
    fn longest_ejection(&self) -> Duration {
        self.spec.max_ejection_time.max(self.spec.base_ejection_time)
    }

    fn enforcing(&self, reason: EjectionReason) -> u8 {
        let enforcing = &self.spec.enforcing;
        match reason {
            EjectionReason::Consecutive5xx => enforcing.consecutive_5xx,
            EjectionReason::ConsecutiveGatewayFailure => enforcing.consecutive_gateway_failure,
            EjectionReason::ConsecutiveLocalOriginFailure => {
                enforcing.consecutive_local_origin_failure
            }
            EjectionReason::SuccessRate => enforcing.success_rate,
            EjectionReason::LocalOriginSuccessRate => enforcing.local_origin_success_rate,
            EjectionReason::FailurePercentage => enforcing.failure_percentage,
            EjectionReason::LocalOriginFailurePercentage => {
                enforcing.failure_percentage_local_origin
            }
        }
    }
}

impl Ejection {
    fn has_ended(self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.lasts
    }
}

impl HostEjections {
    /// Ejects it; the duration.
    fn eject(
        &mut self,
        base: Duration,
        most: Duration,
        jitter: Duration,
        now: Instant,
    ) -> Duration {
        // Beyond the longest ejection there is nothing more to count, or it would take as many
        // intervals to forget it.
        if base.saturating_mul(self.in_a_row) < most.saturating_add(base) {
            self.in_a_row += 1;
        }
        let lasts = base.saturating_mul(self.in_a_row).min(most).saturating_add(jitter);
        self.current = Some(Ejection { since: now, lasts });
        lasts
    }

    fn give_back(&mut self, now: Instant) {
        self.current = None;
        self.returned = Some(now);
    }

    fn forgive(&mut self, interval: Duration, now: Instant) {
        let is_back = |returned| now.saturating_duration_since(returned) >= interval;
        if self.current.is_none() && self.returned.is_some_and(is_back) {
            self.in_a_row = self.in_a_row.saturating_sub(1);
        }
    }
}

impl From<EjectionTrigger> for EjectionReason {
    fn from(trigger: EjectionTrigger) -> EjectionReason {
        match trigger {
            EjectionTrigger::Consecutive5xx => EjectionReason::Consecutive5xx,
            EjectionTrigger::ConsecutiveGatewayFailure => EjectionReason::ConsecutiveGatewayFailure,
            EjectionTrigger::ConsecutiveLocalOriginFailure => {
                EjectionReason::ConsecutiveLocalOriginFailure
            }
        }
    }
}

#[cfg(test)]
mod tests;
