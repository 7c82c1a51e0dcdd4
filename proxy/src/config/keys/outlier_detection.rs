//! `outlier_detection` of a route, a message of Envoy's, and what else says which upstreams get
//! requests.

use super::{
    ConfigKey,
    ValueKind::{Duration, Flag, Message, Number},
    aloud, key,
};

pub(super) const KEYS: &[ConfigKey] = &[
    key(
        "routes[].healthy_panic_threshold",
        Number,
        "50",
        "Percentage of upstreams that must be available: if fewer are, all get requests, whatever is known of them. 0 never does that: if none is available, requests get 503. As in Envoy, upstreams are enough if 1.4 times as many would be all of them.",
    ),
    key(
        "routes[].portcullis.slow_start",
        Duration,
        "0s",
        "Time in which an upstream that came back reaches its share of requests: it begins with a tenth of it. Without effect with `RING_HASH` and `MAGLEV`.",
    ),
    key(
        "routes[].outlier_detection",
        Message,
        "",
        "Ejects upstreams for a time that answer with errors or do not answer. `{}` uses the defaults. See [upstreams](upstreams.md).",
    ),
    key(
        "routes[].outlier_detection.consecutive_5xx",
        Number,
        "5",
        "Responses of status 5xx in a row that eject an upstream; 0 ejects none. A request without a response counts as 503 or 504, unless `split_external_local_origin_errors` is set.",
    ),
    key(
        "routes[].outlier_detection.consecutive_gateway_failure",
        Number,
        "5",
        "The same for status 502, 503 and 504 alone.",
    ),
    key(
        "routes[].outlier_detection.split_external_local_origin_errors",
        Flag,
        "false",
        "Count requests without a response apart from responses.",
    ),
    key(
        "routes[].outlier_detection.consecutive_local_origin_failure",
        Number,
        "5",
        "Requests without a response in a row that eject an upstream, if they are counted apart.",
    ),
    key(
        "routes[].outlier_detection.interval",
        Duration,
        "10s",
        "Time between two analyses of rates. Ejected upstreams return at the end of an interval. At least 10ms.",
    ),
    key(
        "routes[].outlier_detection.base_ejection_time",
        Duration,
        "30s",
        "An ejection lasts this time, multiplied by the number of ejections in a row. Each interval without one takes one off.",
    ),
    key(
        "routes[].outlier_detection.max_ejection_time",
        Duration,
        "300s, or `base_ejection_time`",
        "The longest ejection.",
    ),
    key(
        "routes[].outlier_detection.max_ejection_time_jitter",
        Duration,
        "0s",
        "Each ejection is longer by a random time of at most this, so that upstreams do not return together.",
    ),
    key(
        "routes[].outlier_detection.max_ejection_percent",
        Number,
        "10, but one of 2 to 9 upstreams may be ejected",
        "The largest share of upstreams that is ejected at a time.",
    ),
    key(
        "routes[].outlier_detection.always_eject_one_host",
        Flag,
        "false",
        "Eject one upstream even if that is a larger share.",
    ),
    key(
        "routes[].outlier_detection.successful_active_health_check_uneject_host",
        Flag,
        "true",
        "An ejected upstream returns with its next passed health check.",
    ),
    key(
        "routes[].outlier_detection.enforcing_consecutive_5xx",
        Number,
        "100",
        "Chance in percent that an upstream is ejected when it reaches `consecutive_5xx`.",
    ),
    key(
        "routes[].outlier_detection.enforcing_consecutive_gateway_failure",
        Number,
        "0",
        "The same for `consecutive_gateway_failure`.",
    ),
    key(
        "routes[].outlier_detection.enforcing_consecutive_local_origin_failure",
        Number,
        "100",
        "The same for `consecutive_local_origin_failure`.",
    ),
    key(
        "routes[].outlier_detection.enforcing_success_rate",
        Number,
        "100",
        "Chance in percent that an upstream is ejected whose success rate is too far below the others'.",
    ),
    key(
        "routes[].outlier_detection.enforcing_local_origin_success_rate",
        Number,
        "100",
        "The same for the rate of requests that got a response, if they are counted apart.",
    ),
    key(
        "routes[].outlier_detection.success_rate_minimum_hosts",
        Number,
        "5",
        "Success rates are compared if as many upstreams have enough requests.",
    ),
    key(
        "routes[].outlier_detection.success_rate_request_volume",
        Number,
        "100",
        "Requests in an interval that are enough.",
    ),
    key(
        "routes[].outlier_detection.success_rate_stdev_factor",
        Number,
        "1900",
        "A success rate is too low if it is further below the mean than this many thousandths of the standard deviation.",
    ),
    key(
        "routes[].outlier_detection.failure_percentage_threshold",
        Number,
        "85",
        "Percentage of failed requests in an interval that ejects an upstream.",
    ),
    key(
        "routes[].outlier_detection.enforcing_failure_percentage",
        Number,
        "0",
        "Chance in percent that it is ejected.",
    ),
    key(
        "routes[].outlier_detection.enforcing_failure_percentage_local_origin",
        Number,
        "0",
        "The same for requests without a response, if they are counted apart.",
    ),
    key(
        "routes[].outlier_detection.failure_percentage_minimum_hosts",
        Number,
        "5",
        "The percentage is looked at if as many upstreams have enough requests.",
    ),
    key(
        "routes[].outlier_detection.failure_percentage_request_volume",
        Number,
        "50",
        "Requests in an interval that are enough.",
    ),
    aloud("routes[].outlier_detection.monitors", "extensions of Envoy are not supported"),
];
