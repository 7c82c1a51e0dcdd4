//! Who fails more than the others. Pure.

use super::{FailurePercentageSpec, SuccessRateSpec};

/// Requests to one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestRates {
    /// All of them.
    pub requests: u64,
    /// Those that succeeded.
    pub successes: u64,
}

impl RequestRates {
    /// Those since an earlier sum.
    pub(super) fn since(self, earlier: RequestRates) -> RequestRates {
        RequestRates {
            requests: self.requests.wrapping_sub(earlier.requests),
            successes: self.successes.wrapping_sub(earlier.successes),
        }
    }

    /// In percent.
    fn success_rate(self) -> f64 {
        self.successes as f64 * 100.0 / self.requests.max(1) as f64
    }
}

/// An endpoint by its index, with its requests in the last interval.
pub(super) type RatedHost = (usize, RequestRates);

/// The endpoints whose success rate is further below the mean than the factor allows, the worst first.
pub(super) fn below_the_others(spec: &SuccessRateSpec, hosts: &[RatedHost]) -> Vec<usize> {
    let rated = with_volume(hosts, spec.request_volume);
    if !is_enough(&rated, spec.minimum_hosts) {
        return Vec::new();
    }
    let count = rated.len() as f64;
    let mean = rated.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rated.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    let threshold = mean - variance.sqrt() * f64::from(spec.stdev_factor) / 1000.0;
    worst_first(rated, |rate| rate < threshold)
}

/// The endpoints that fail as often as the threshold, the worst first.
pub(super) fn failing(spec: &FailurePercentageSpec, hosts: &[RatedHost]) -> Vec<usize> {
    let rated = with_volume(hosts, spec.request_volume);
    if !is_enough(&rated, spec.minimum_hosts) {
        return Vec::new();
    }
    worst_first(rated, |rate| 100.0 - rate >= f64::from(spec.threshold_percent))
}

fn with_volume(hosts: &[RatedHost], request_volume: u32) -> Vec<(usize, f64)> {
    let has_volume =
        |rates: &RequestRates| rates.requests > 0 && rates.requests >= u64::from(request_volume);
    let rated = hosts.iter().filter(|(_, rates)| has_volume(rates));
    rated.map(|(index, rates)| (*index, rates.success_rate())).collect()
}

fn is_enough(rated: &[(usize, f64)], minimum_hosts: u32) -> bool {
    !rated.is_empty() && rated.len() as u64 >= u64::from(minimum_hosts)
}

fn worst_first(mut rated: Vec<(usize, f64)>, is_outlier: impl Fn(f64) -> bool) -> Vec<usize> {
    rated.retain(|(_, rate)| is_outlier(*rate));
    rated.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    rated.into_iter().map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::OutlierSpec;

    fn hosts(successes_of_100: &[u64]) -> Vec<RatedHost> {
        let rates = successes_of_100.iter();
        rates
            .map(|successes| RequestRates { requests: 100, successes: *successes })
            .enumerate()
            .collect()
    }

    #[test]
    fn a_success_rate_far_below_the_mean_is_an_outlier() {
        let spec = OutlierSpec::default().success_rate;
        // Envoy's example: mean 90, deviation 20, threshold 52.
        assert_eq!(below_the_others(&spec, &hosts(&[50, 100, 100, 100, 100])), [0]);
        assert_eq!(below_the_others(&spec, &hosts(&[53, 100, 100, 100, 100])), [0]);
        assert_eq!(below_the_others(&spec, &hosts(&[90, 91, 92, 93, 94])), [] as [usize; 0]);
        assert_eq!(below_the_others(&spec, &hosts(&[0, 100, 100, 100])), [] as [usize; 0]);
        assert_eq!(below_the_others(&spec, &hosts(&[0; 5])), [] as [usize; 0], "all alike");
    }

    #[test]
    fn few_requests_say_nothing() {
        let spec = OutlierSpec::default();
        let mut few = hosts(&[0, 100, 100, 100, 100]);
        few[0].1.requests = 49;
        assert_eq!(below_the_others(&spec.success_rate, &few), [] as [usize; 0]);
        assert_eq!(failing(&spec.failure_percentage, &few), [] as [usize; 0]);
    }

    #[test]
    fn the_share_of_failures_is_compared_with_the_threshold_worst_first() {
        let spec = OutlierSpec::default().failure_percentage;
        assert_eq!(failing(&spec, &hosts(&[15, 16, 0, 100, 100])), [2, 0]);
        assert_eq!(failing(&spec, &hosts(&[15, 16, 0, 100])), [] as [usize; 0], "too few hosts");
    }

    #[test]
    fn no_requests_at_all_are_no_success_rate() {
        let spec = SuccessRateSpec { minimum_hosts: 0, request_volume: 0, stdev_factor: 0 };
        let idle = vec![(0, RequestRates::default())];
        assert_eq!(below_the_others(&spec, &idle), [] as [usize; 0]);
    }
}
