//! `outlier_detection` of a route: Envoy's passive ejection.

use std::time::Duration;

use super::{
    super::section::Section,
    proto_json::{number, percent, positive_duration},
};
use crate::upstream::{EnforcingSpec, FailurePercentageSpec, OutlierSpec, SuccessRateSpec};

/// Shorter intervals are a slip, and would keep a thread busy.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// `None` if the route ejects no endpoint. `endpoints` is their number.
pub(super) fn outlier_detection(route: &Section<'_>, endpoints: usize) -> Option<OutlierSpec> {
    let message = route.child("outlier_detection")?;
    let default = OutlierSpec::default();
    let count = |key: &str, default: u32| number(&message, key, 0..=u32::MAX).unwrap_or(default);
    let flag = |key: &str, default: bool| message.flag(key).unwrap_or(default);
    let base_ejection_time = positive_duration(&message, "base_ejection_time");
    let spec = OutlierSpec {
        consecutive_5xx: count("consecutive_5xx", default.consecutive_5xx),
        consecutive_gateway_failure: count(
            "consecutive_gateway_failure",
            default.consecutive_gateway_failure,
        ),
        consecutive_local_origin_failure: count(
            "consecutive_local_origin_failure",
            default.consecutive_local_origin_failure,
        ),
        split_external_local_origin_errors: flag("split_external_local_origin_errors", false),
        interval: interval(&message).unwrap_or(default.interval),
        base_ejection_time: base_ejection_time.unwrap_or(default.base_ejection_time),
        max_ejection_time: positive_duration(&message, "max_ejection_time")
            .unwrap_or(default.max_ejection_time),
        max_ejection_time_jitter: message
            .duration("max_ejection_time_jitter")
            .unwrap_or(default.max_ejection_time_jitter),
        max_ejection_percent: percent(&message, "max_ejection_percent"),
        always_eject_one_host: flag("always_eject_one_host", default.always_eject_one_host),
        successful_active_health_check_uneject_host: flag(
            "successful_active_health_check_uneject_host",
            default.successful_active_health_check_uneject_host,
        ),
        enforcing: enforcing(&message),
        success_rate: success_rate(&message),
        failure_percentage: failure_percentage(&message),
    };
    check_times(&message, &spec);
    warn_of_few_endpoints(route, &message, &spec, endpoints);
    Some(spec)
}

/// Reports the key on a route that has no upstreams.
pub(super) fn warn_without_upstreams(route: &Section<'_>, action: &str) {
    if route.has("outlier_detection") {
        route.warn("outlier_detection", format!("has no effect: the route has `{action}`"));
    }
}

fn interval(message: &Section<'_>) -> Option<Duration> {
    let interval = positive_duration(message, "interval")?;
    if interval < LEAST_INTERVAL {
        message.error("interval", format!("is shorter than {LEAST_INTERVAL:?}"));
        return None;
    }
    Some(interval)
}

fn enforcing(message: &Section<'_>) -> EnforcingSpec {
    let default = EnforcingSpec::default();
    let chance = |key: &str, default: u8| percent(message, key).unwrap_or(default);
    EnforcingSpec {
        consecutive_5xx: chance("enforcing_consecutive_5xx", default.consecutive_5xx),
        consecutive_gateway_failure: chance(
            "enforcing_consecutive_gateway_failure",
            default.consecutive_gateway_failure,
        ),
        consecutive_local_origin_failure: chance(
            "enforcing_consecutive_local_origin_failure",
            default.consecutive_local_origin_failure,
        ),
        success_rate: chance("enforcing_success_rate", default.success_rate),
        local_origin_success_rate: chance(
            "enforcing_local_origin_success_rate",
            default.local_origin_success_rate,
        ),
        failure_percentage: chance("enforcing_failure_percentage", default.failure_percentage),
        failure_percentage_local_origin: chance(
            "enforcing_failure_percentage_local_origin",
            default.failure_percentage_local_origin,
        ),
    }
}

fn success_rate(message: &Section<'_>) -> SuccessRateSpec {
    let default = OutlierSpec::default().success_rate;
    let count = |key: &str, default: u32| number(message, key, 0..=u32::MAX).unwrap_or(default);
    SuccessRateSpec {
        minimum_hosts: count("success_rate_minimum_hosts", default.minimum_hosts),
        request_volume: count("success_rate_request_volume", default.request_volume),
        stdev_factor: count("success_rate_stdev_factor", default.stdev_factor),
    }
}

fn failure_percentage(message: &Section<'_>) -> FailurePercentageSpec {
    let default = OutlierSpec::default().failure_percentage;
    let count = |key: &str, default: u32| number(message, key, 0..=u32::MAX).unwrap_or(default);
    FailurePercentageSpec {
        threshold_percent: percent(message, "failure_percentage_threshold")
            .unwrap_or(default.threshold_percent),
        minimum_hosts: count("failure_percentage_minimum_hosts", default.minimum_hosts),
        request_volume: count("failure_percentage_request_volume", default.request_volume),
    }
}

fn check_times(message: &Section<'_>, spec: &OutlierSpec) {
    // Unless it is written, it grows with the other.
    let is_written = message.has("max_ejection_time");
    if is_written && spec.max_ejection_time < spec.base_ejection_time {
        let (most, base) = (spec.max_ejection_time, spec.base_ejection_time);
        let text = format!("{most:?} is shorter than `base_ejection_time`, which is {base:?}");
        message.error("max_ejection_time", text);
    }
}

/// Most of those who write the key do not know that its default ejects nobody.
fn warn_of_few_endpoints(
    route: &Section<'_>,
    message: &Section<'_>,
    spec: &OutlierSpec,
    endpoints: usize,
) {
    if spec.always_eject_one_host || endpoints == 0 {
        return;
    }
    let needed = 100_usize.div_ceil(endpoints);
    match spec.max_ejection_percent {
        Some(percent) if usize::from(percent) < needed => {
            let text =
                format!("no endpoint is ever ejected: {percent} % of {endpoints} is less than one");
            let hint = format!("write at least {needed}, or always_eject_one_host: true");
            message.warn_with_hint("max_ejection_percent", text, hint);
        }
        None if endpoints == 1 => {
            let text = "has no effect: the only endpoint is not ejected";
            route.warn_with_hint("outlier_detection", text, "write a second URL in `to`");
        }
        None if endpoints < 10 => {
            let text = format!(
                "one of {endpoints} endpoints may be ejected at a time; by Envoy's default of 10 %, none \
                 would be"
            );
            let hint = format!("write max_ejection_percent: {needed} to confirm it");
            route.warn_with_hint("outlier_detection", text, hint);
        }
        Some(_) | None => {}
    }
}
