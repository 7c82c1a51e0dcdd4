//! `portcullis.retry` of a route.

use super::{super::section::Section, portcullis::ranged};
use crate::upstream::{RetryReasons, RetrySpec};

const REASONS: [&str; 3] = ["connect", "refused_stream", "gateway"];

/// When the route's requests are sent again.
pub(super) fn retry(route: &Section<'_>) -> RetrySpec {
    let default = RetrySpec::DEFAULT;
    let section = route.child("portcullis").and_then(|own| own.child("retry"));
    let Some(section) = section else { return default };
    let on = reasons(&section);
    let needs_on = |key: &str| {
        if section.has(key) && !on.refused_stream && !on.gateway {
            section.warn_with_hint(
                key,
                "has no effect: it limits neither of the reasons in `on`",
                "add refused_stream or gateway to `on`",
            );
        }
    };
    ["attempts", "budget_percent"].into_iter().for_each(needs_on);
    RetrySpec {
        attempts: ranged(&section, "attempts", 0..=10).unwrap_or(default.attempts),
        on,
        budget_percent: ranged(&section, "budget_percent", 0..=100)
            .unwrap_or(default.budget_percent),
    }
}

fn reasons(section: &Section<'_>) -> RetryReasons {
    if !section.has("on") {
        return RetrySpec::DEFAULT.on;
    }
    let listed = section.list("on");
    for reason in listed.iter().filter(|reason| !REASONS.contains(&&***reason)) {
        let message =
            format!("`{}` is not a reason to send a request again", reason.escape_debug());
        section.error_with_hint("on", message, format!("any of {}", REASONS.join(", ")));
    }
    let has = |reason: &str| listed.iter().any(|listed| listed == reason);
    let [connect, refused_stream, gateway] = REASONS.map(has);
    RetryReasons { connect, refused_stream, gateway }
}

#[cfg(test)]
mod tests;
