//! A request that has left HTTP.

use std::time::{Duration, Instant};

use super::account::RequestAccount;
use crate::upstream::Upgraded;

/// A request that has left HTTP: the upstream's connection, which `conn` joins with the client's
/// stream once the response has been sent. A connection may have several.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The upstream's connection.
    pub upstream: Upgraded,
    /// The longest that both directions may be silent together; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// When it ends at the latest; `None` is no limit.
    pub deadline: Option<Instant>,
    /// The request's record, which is made when this is dropped.
    pub record: TunnelRecord,
}

/// The record of a tunnel, made when this is dropped. Keeps its route's name and counters, and
/// nothing else of the configuration that the request began with.
#[derive(Debug)]
pub(crate) struct TunnelRecord(RequestAccount);

impl TunnelRecord {
    /// Takes over the account of the request.
    pub(super) fn new(mut account: RequestAccount) -> TunnelRecord {
        account.release_config();
        TunnelRecord(account)
    }

    /// Counts bytes from the client.
    pub(crate) fn add_received(&mut self, bytes: u64) {
        self.0.add_received(bytes);
    }

    /// Counts bytes to the client.
    pub(crate) fn add_sent(&mut self, bytes: u64) {
        self.0.add_sent(bytes);
    }

    /// Notes that a limit of the [`Tunnel`] ended it.
    pub(crate) fn timed_out(&mut self) {
        self.0.conclude("stream_idle_timeout".into(), "SI");
    }
}
