//! What workers count for one endpoint.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{EjectionTrigger, OutlierSpec, RequestOutcome, RequestRates};
use crate::observe::Cell;

/// What workers count for one endpoint. Each of the first three is a count of failures in a row, over
/// all workers: one success sets it to 0, and writes nothing if it is 0 already, so that an endpoint
/// that is well costs no shared write.
#[derive(Debug, Default)]
pub(in crate::upstream::health) struct FailureCounts {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    /// One for each worker, which alone writes it. Empty if rates are not analysed.
    rates: Box<[WorkerRates]>,
}

/// What one worker counts of an endpoint, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerRates {
    external: RateCells,
    local_origin: RateCells,
}

#[derive(Debug, Default)]
struct RateCells {
    requests: Cell,
    successes: Cell,
}

impl FailureCounts {
    /// With rates of so many workers.
    pub(in crate::upstream::health) fn new(workers: usize) -> FailureCounts {
        let rates = (0..workers).map(|_| WorkerRates::default()).collect();
        FailureCounts { rates, ..FailureCounts::default() }
    }

    /// Counts a request of a worker. `reached` is told which thresholds have been reached; a threshold
    /// that has led to nothing is reached again by as many failures more.
    pub(in crate::upstream::health) fn record(
        &self,
        worker: usize,
        outcome: RequestOutcome,
        spec: &OutlierSpec,
        mut reached: impl FnMut(EjectionTrigger),
    ) {
        let rates = self.rates.get(worker);
        let is_split = spec.split_external_local_origin_errors;
        let status = match outcome {
            RequestOutcome::Response(status) => status,
            RequestOutcome::Failure | RequestOutcome::Timeout if is_split => {
                rates.inspect(|rates| rates.local_origin.count(false));
                let limit = spec.consecutive_local_origin_failure;
                if has_reached(&self.consecutive_local_origin_failure, limit) {
                    reached(EjectionTrigger::ConsecutiveLocalOriginFailure);
                }
                return;
            }
            // As Envoy maps them.
            RequestOutcome::Failure => 503,
            RequestOutcome::Timeout => 504,
        };
        if is_split {
            rates.inspect(|rates| rates.local_origin.count(true));
            reset(&self.consecutive_local_origin_failure);
        }
        rates.inspect(|rates| rates.external.count(!is_5xx(status)));
        self.record_status(status, spec, reached);
    }

    /// The number of workers whose rates are counted.
    pub(in crate::upstream::health) fn workers(&self) -> usize {
        self.rates.len()
    }

    /// Begins all counts in a row from 0.
    pub(in crate::upstream::health) fn reset(&self) {
        reset(&self.consecutive_5xx);
        reset(&self.consecutive_gateway_failure);
        reset(&self.consecutive_local_origin_failure);
    }

    /// Begins one count in a row from 0.
    pub(in crate::upstream::health) fn reset_one(&self, trigger: EjectionTrigger) {
        reset(match trigger {
            EjectionTrigger::Consecutive5xx => &self.consecutive_5xx,
            EjectionTrigger::ConsecutiveGatewayFailure => &self.consecutive_gateway_failure,
            EjectionTrigger::ConsecutiveLocalOriginFailure => {
                &self.consecutive_local_origin_failure
            }
        });
    }

    /// Requests since the start, over all workers: those that got an answer, or whose failures count as
    /// one, and those to connect.
    pub(in crate::upstream::health) fn totals(&self) -> (RequestRates, RequestRates) {
        let sum = |of: fn(&WorkerRates) -> &RateCells| {
            let add = |sum: RequestRates, rates: &WorkerRates| RequestRates {
                requests: sum.requests.wrapping_add(of(rates).requests.get()),
                successes: sum.successes.wrapping_add(of(rates).successes.get()),
            };
            self.rates.iter().fold(RequestRates::default(), add)
        };
        (sum(|rates| &rates.external), sum(|rates| &rates.local_origin))
    }

    fn record_status(
        &self,
        status: u16,
        spec: &OutlierSpec,
        mut reached: impl FnMut(EjectionTrigger),
    ) {
        if !is_5xx(status) {
            reset(&self.consecutive_5xx);
            reset(&self.consecutive_gateway_failure);
            return;
        }
        if !(502..=504).contains(&status) {
            reset(&self.consecutive_gateway_failure);
        } else if has_reached(&self.consecutive_gateway_failure, spec.consecutive_gateway_failure) {
            reached(EjectionTrigger::ConsecutiveGatewayFailure);
        }
        if has_reached(&self.consecutive_5xx, spec.consecutive_5xx) {
            reached(EjectionTrigger::Consecutive5xx);
        }
    }
}

impl RateCells {
    fn count(&self, success: bool) {
        self.requests.inc();
        if success {
            self.successes.inc();
        }
    }
}

fn is_5xx(status: u16) -> bool {
    (500..600).contains(&status)
}

fn has_reached(count: &AtomicU32, limit: u32) -> bool {
    let failures = count.fetch_add(1, Relaxed).wrapping_add(1);
    limit > 0 && failures.is_multiple_of(limit)
}

fn reset(count: &AtomicU32) {
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EjectionTrigger::*;
    use RequestOutcome::*;

    fn triggers(spec: &OutlierSpec, outcomes: &[RequestOutcome]) -> Vec<EjectionTrigger> {
        let counts = FailureCounts::new(1);
        let mut all = Vec::new();
        for outcome in outcomes {
            counts.record(0, *outcome, spec, |trigger| all.push(trigger));
        }
        all
    }

    fn of_two() -> OutlierSpec {
        OutlierSpec {
            consecutive_5xx: 3,
            consecutive_gateway_failure: 2,
            consecutive_local_origin_failure: 2,
            ..OutlierSpec::default()
        }
    }

    #[test]
    fn failures_in_a_row_reach_the_threshold_and_a_success_ends_the_row() {
        let spec = of_two();
        let row = [Response(500); 3];
        assert_eq!(triggers(&spec, &row), [Consecutive5xx]);
        assert_eq!(triggers(&spec, &[row[0], row[0], Response(404), row[0], row[0]]), []);
        assert_eq!(triggers(&spec, &[Response(600); 6]), [], "not a 5xx");
        assert_eq!(triggers(&spec, &[row, row].concat()), [Consecutive5xx; 2], "again and again");
        let never = OutlierSpec { consecutive_5xx: 0, ..spec };
        assert_eq!(triggers(&never, &row), []);
    }

    #[test]
    fn gateway_failures_are_502_to_504_alone() {
        let spec = of_two();
        let gateway = [Response(502), Response(504)];
        assert_eq!(triggers(&spec, &gateway), [ConsecutiveGatewayFailure]);
        assert_eq!(
            triggers(&spec, &[Response(503), Response(500), Response(503)]),
            [Consecutive5xx]
        );
        assert_eq!(triggers(&spec, &[Response(501), Response(505)]), []);
    }

    #[test]
    fn failures_without_an_answer_count_as_503_and_504_unless_split() {
        let spec = of_two();
        let row = [Failure, Timeout];
        assert_eq!(triggers(&spec, &row), [ConsecutiveGatewayFailure]);
        let split = OutlierSpec { split_external_local_origin_errors: true, ..spec };
        assert_eq!(triggers(&split, &row), [ConsecutiveLocalOriginFailure]);
        assert_eq!(
            triggers(&split, &[Failure, Response(503), Failure, Response(503)]),
            [ConsecutiveGatewayFailure]
        );
    }

    #[test]
    fn rates_are_summed_over_workers() {
        let (counts, spec) = (FailureCounts::new(2), of_two());
        let split = OutlierSpec { split_external_local_origin_errors: true, ..spec };
        counts.record(0, Response(200), &split, |_| ());
        counts.record(1, Response(500), &split, |_| ());
        counts.record(1, Failure, &split, |_| ());
        counts.record(2, Response(200), &split, |_| ());
        let expected = (
            RequestRates { requests: 2, successes: 1 },
            RequestRates { requests: 3, successes: 2 },
        );
        assert_eq!(counts.totals(), expected, "there is no third worker");
    }
}
