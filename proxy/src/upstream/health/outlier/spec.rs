//! The configuration of passive ejection.

use std::time::Duration;

/// `outlier_detection`, with Envoy's names and defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OutlierSpec {
    /// Responses of status 5xx in a row; 0 never ejects for them.
    pub consecutive_5xx: u32,
    /// Responses of status 502, 503 or 504 in a row; 0 never ejects for them.
    pub consecutive_gateway_failure: u32,
    /// Failures to connect, time-outs and resets in a row; only if they are split.
    pub consecutive_local_origin_failure: u32,
    /// Whether failures without a response count apart from responses of status 5xx.
    pub split_external_local_origin_errors: bool,
    /// The time between two analyses of rates and two looks at who may return.
    pub interval: Duration,
    /// An ejection lasts this time the number of ejections in a row.
    pub base_ejection_time: Duration,
    /// The longest ejection, if it is not shorter than `base_ejection_time`.
    pub max_ejection_time: Duration,
    /// A random time of at most this is added to each ejection.
    pub max_ejection_time_jitter: Duration,
    /// The most endpoints that may be ejected at a time. `None` is Envoy's 10, but for clusters of 2
    /// to 9 endpoints, of which one may be ejected.
    pub max_ejection_percent: Option<u8>,
    /// One endpoint may be ejected whatever `max_ejection_percent` says.
    pub always_eject_one_host: bool,
    /// An endpoint returns with the first check that succeeds.
    pub successful_active_health_check_uneject_host: bool,
    /// The chance that a detected outlier is ejected.
    pub enforcing: EnforcingSpec,
    /// Ejection for a success rate that is far below the others'.
    pub success_rate: SuccessRateSpec,
    /// Ejection for a share of failures.
    pub failure_percentage: FailurePercentageSpec,
}

/// The chance that a detected outlier is ejected, in percent, by how it was detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EnforcingSpec {
    /// `enforcing_consecutive_5xx`.
    pub consecutive_5xx: u8,
    /// `enforcing_consecutive_gateway_failure`.
    pub consecutive_gateway_failure: u8,
    /// `enforcing_consecutive_local_origin_failure`.
    pub consecutive_local_origin_failure: u8,
    /// `enforcing_success_rate`.
    pub success_rate: u8,
    /// `enforcing_local_origin_success_rate`.
    pub local_origin_success_rate: u8,
    /// `enforcing_failure_percentage`.
    pub failure_percentage: u8,
    /// `enforcing_failure_percentage_local_origin`.
    pub failure_percentage_local_origin: u8,
}

/// Ejection for a success rate that is far below the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SuccessRateSpec {
    /// The fewest endpoints with enough requests for the analysis.
    pub minimum_hosts: u32,
    /// The fewest requests of an endpoint in an interval.
    pub request_volume: u32,
    /// How many standard deviations below the mean an endpoint may be, times 1000.
    pub stdev_factor: u32,
}

/// Ejection for a share of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FailurePercentageSpec {
    /// The share of failures that ejects, in percent.
    pub threshold_percent: u8,
    /// The fewest endpoints with enough requests for the analysis.
    pub minimum_hosts: u32,
    /// The fewest requests of an endpoint in an interval.
    pub request_volume: u32,
}

impl Default for OutlierSpec {
    fn default() -> OutlierSpec {
        OutlierSpec {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            split_external_local_origin_errors: false,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: None,
            always_eject_one_host: false,
            successful_active_health_check_uneject_host: true,
            enforcing: EnforcingSpec::default(),
            success_rate: SuccessRateSpec {
                minimum_hosts: 5,
                request_volume: 100,
                stdev_factor: 1900,
            },
            failure_percentage: FailurePercentageSpec {
                threshold_percent: 85,
                minimum_hosts: 5,
                request_volume: 50,
            },
        }
    }
}

impl Default for EnforcingSpec {
    fn default() -> EnforcingSpec {
        EnforcingSpec {
            consecutive_5xx: 100,
            consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 100,
            success_rate: 100,
            local_origin_success_rate: 100,
            failure_percentage: 0,
            failure_percentage_local_origin: 0,
        }
    }
}
