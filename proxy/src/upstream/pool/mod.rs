//! Which connections of one endpoint may carry the next request. Pure book-keeping: generic over
//! the connection, the time passed in. A pool belongs to one worker and one endpoint key.

mod idle;
mod reuse;
mod shared;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(super) use idle::IdleList;
pub(super) use reuse::ReuseEstimator;
pub(super) use shared::{SharedConnection, SharedList};

/// A connection that a pool can hold.
pub(super) trait Pooled {
    /// It can take a request now: the last one is over in both directions.
    fn is_ready(&self) -> bool;
    /// It will never take a request again.
    fn is_closed(&self) -> bool;
}

/// When connections are given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a connection may be idle.
    ///
    /// Servers close idle connections themselves (nginx after 75 s, Apache and Node after 5 s). One
    /// that has done so is noticed while it idles; what remains is the race between its close and
    /// our request, which the retry on a fresh connection covers. So this is no guess at the
    /// servers' times, only below the most common of them, and bounds what idle connections hold.
    pub(super) idle_timeout: Duration,
    /// How long a connection may live. It is not cut: it takes no new request then. Bounds how long
    /// a moved service or a renewed certificate goes unnoticed on a busy connection.
    pub(super) lifetime: Duration,
    /// How long a shared connection may be silent while a request waits for its response on it.
    ///
    /// A peer that has vanished leaves a connection on which every request times out, for as long
    /// as TCP retries (some 15 minutes). One request that was given up in vain is enough to open
    /// another connection for those to come.
    pub(super) silence: Duration,
    /// The most idle connections kept (of one worker, for one endpoint).
    pub(super) max_idle: usize,
    /// The most streams on one shared connection, whatever the peer allows: its window has room for
    /// what so many streams may hold, so that no stream waits for another's client.
    pub(super) max_streams: usize,
}

impl Limits {
    pub(super) const DEFAULT: Limits = Limits {
        idle_timeout: Duration::from_secs(60),
        lifetime: Duration::from_secs(60 * 60),
        silence: Duration::from_secs(5),
        max_idle: 128,
        max_streams: 128,
    };

    fn too_old(&self, born: Instant, now: Instant) -> bool {
        now.saturating_duration_since(born) >= self.lifetime
    }

    fn idle_too_long(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.idle_timeout
    }
}
