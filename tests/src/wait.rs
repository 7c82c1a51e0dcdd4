//! Waiting for events.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The time after which a test fails without the event. It is generous: machines are slow and
/// shared, and only a fault reaches it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until `event` returns a value.
///
/// # Panics
/// When the deadline passes; `what` says for what it waited.
pub fn eventually<T>(what: &str, mut event: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = event() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `condition` holds; panics as [`eventually`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(()));
}
