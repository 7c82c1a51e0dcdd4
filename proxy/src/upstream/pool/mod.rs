//! Chooses the connection of one endpoint for the next request. Pure: generic over the connection,
//! the time passed in. A pool belongs to one worker and one endpoint key.

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
    /// It can take a request now: the last one has ended in both directions.
    fn is_ready(&self) -> bool;
    /// It will never take a request again.
    fn is_closed(&self) -> bool;
}

/// The number of a client that owns connections: they carry its requests alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerId(pub(super) u64);

/// The limits on a connection's use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a connection may be idle.
    ///
    /// Servers close idle connections themselves (nginx after 75 s, Apache and Node after 5 s).
    /// Such a close is noticed while the connection is idle; the race between the close and our
    /// request is covered by the retry on a new connection. This limit is below the most common of
    /// those times and bounds the memory of idle connections.
    pub(super) idle_timeout: Duration,
    /// How long a connection may live. After that it takes no new request. Bounds how long a busy
    /// connection misses a moved service or a renewed certificate.
    pub(super) lifetime: Duration,
    /// How long a shared connection may be silent while requests wait for their responses on it.
    ///
    /// If a peer vanishes, every request on its connection times out until TCP gives up (some 15
    /// minutes). So much time, over one request or several, is enough to open another connection for
    /// the following requests.
    pub(super) silence: Duration,
    /// The same for a connection whose peer allows no stream at the moment.
    pub(super) no_stream: Duration,
    /// Maximum number of idle connections (of one worker, for one endpoint).
    pub(super) max_idle: usize,
    /// Maximum number of streams on one shared connection, whatever the peer allows. The
    /// connection's window is large enough for all of them, so that no stream waits for another
    /// stream's client.
    pub(super) max_streams: usize,
}

impl Limits {
    pub(super) const DEFAULT: Limits = Limits {
        idle_timeout: Duration::from_secs(60),
        lifetime: Duration::from_secs(60 * 60),
        silence: Duration::from_secs(5),
        no_stream: Duration::from_secs(1),
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
