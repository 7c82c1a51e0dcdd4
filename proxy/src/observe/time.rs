//! The clock of the log and of the status.

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use crate::rfc3339::{RFC3339_MS_LEN, rfc3339_ms, rfc3339_s};

/// Milliseconds since the epoch.
pub(super) fn epoch_ms(time: SystemTime) -> i64 {
    let since = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// The time now, to the second.
pub(crate) fn now_rfc3339() -> String {
    rfc3339_s(epoch_ms(SystemTime::now()).div_euclid(1000)).to_string()
}
