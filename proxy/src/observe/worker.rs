//! The metrics of one worker.

use std::{array, sync::Arc, time::Duration};

use super::{
    Cell, Histogram, UnreachableEndpoints,
    labels::{
        BlameCells, CircuitCells, ClosedCells, HandshakeResult, HttpProtocolCells, Label,
        RefusedCells, RequestRefusalCells, SessionCookieCells, SignInCells, SteeringCells,
        TlsVersion, UpstreamCertificateCells, UpstreamFailureCells, UpstreamRetryCells,
    },
};

/// The cells of one worker: it alone writes them, the control thread reads them at scrape.
///
/// Aligned so that two workers' cells never share a cache line, nor a pair of lines that the
/// prefetcher fetches together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerMetrics {
    /// Accepted connections, including those refused at once.
    pub connections_accepted: Cell,
    /// Open connections of clients (a gauge).
    pub connections_active: Cell,
    /// Connections that were closed without reading from them.
    pub connections_refused: RefusedCells,
    /// How the other connections ended.
    pub connections_closed: ClosedCells,
    /// How connections were steered, without those that the kernel counts.
    pub steering: SteeringCells,
    /// Handshakes with clients.
    pub handshakes: HandshakeCells,
    /// Fatal alerts sent to clients.
    pub tls_alerts_sent: Cell,
    /// Requests, by protocol.
    pub requests: HttpProtocolCells,
    /// Requests under way (a gauge).
    pub requests_active: Cell,
    /// Requests that were answered with an error of the proxy's own.
    pub failures: BlameCells,
    /// Those of them that were refused.
    pub refusals: RequestRefusalCells,
    /// Session cookies.
    pub session_cookies: SessionCookieCells,
    /// Steps of sign-ins.
    pub sign_ins: SignInCells,
    /// Assertions signed for upstreams.
    pub assertions_signed: Cell,
    /// From the end of a request's head to the end of its response.
    pub request_duration: Histogram,
    /// Connections and requests to upstreams.
    pub upstream: UpstreamCells,
    /// Upstreams that cannot be reached; the same for all workers.
    pub unreachable: Arc<UnreachableEndpoints>,
    /// Tasks that have not ended (a gauge, set now and then).
    pub tasks: Cell,
    /// Rounds of the worker's timer, by which the watchdog sees that it works.
    pub rounds: Cell,
    /// Records dropped because the log could not keep up.
    pub log_records_dropped: Cell,
}

/// Handshakes with clients, by result, version and resumption.
#[derive(Debug)]
pub(crate) struct HandshakeCells {
    counts: [[[Cell; 2]; TlsVersion::ALL.len()]; HandshakeResult::ALL.len()],
    /// Of handshakes that completed, from the accept.
    duration: Histogram,
}

impl HandshakeCells {
    /// Counts one handshake, and its duration if it completed.
    pub(crate) fn record(
        &self,
        result: HandshakeResult,
        version: TlsVersion,
        resumed: bool,
        duration: Duration,
    ) {
        if let Some(cell) = self.cell(result, version, resumed) {
            cell.inc();
        }
        if result == HandshakeResult::Ok {
            self.duration.record(duration);
        }
    }

    /// Reads one count, from any thread.
    pub(crate) fn get(&self, result: HandshakeResult, version: TlsVersion, resumed: bool) -> u64 {
        self.cell(result, version, resumed).map_or(0, Cell::get)
    }

    pub(super) fn duration(&self) -> &Histogram {
        &self.duration
    }

    fn cell(&self, result: HandshakeResult, version: TlsVersion, resumed: bool) -> Option<&Cell> {
        self.counts.get(result.index())?.get(version.index())?.get(usize::from(resumed))
    }
}

impl Default for HandshakeCells {
    fn default() -> Self {
        let counts = array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| Cell::default())));
        HandshakeCells { counts, duration: Histogram::default() }
    }
}

/// Connections and requests to upstreams.
#[derive(Debug, Default)]
pub(crate) struct UpstreamCells {
    /// Connections begun.
    pub connects: Cell,
    /// Requests that got no response, by reason; those of failed connects included.
    pub connect_failures: UpstreamFailureCells,
    /// Requests sent over a pooled connection.
    pub requests_reused: Cell,
    /// Requests sent over a new connection.
    pub requests_fresh: Cell,
    /// Full TLS handshakes with upstreams.
    pub tls_handshakes_full: Cell,
    /// Resumed TLS handshakes with upstreams.
    pub tls_handshakes_resumed: Cell,
    /// Handshakes that failed by the upstream's certificate.
    pub certificate_errors: UpstreamCertificateCells,
    /// Connections in the pool that serve no request (a gauge).
    pub idle_connections: Cell,
    /// Connections that serve a request (a gauge).
    pub active_connections: Cell,
    /// Requests sent again.
    pub retries: UpstreamRetryCells,
    /// Requests that a limit refused.
    pub circuit_open: CircuitCells,
    /// Requests sent to any endpoint of a cluster, since too few are available.
    pub panic_requests: Cell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_result_version_and_resumption() {
        let cells = HandshakeCells::default();
        let took = Duration::from_millis(1);
        cells.record(HandshakeResult::Ok, TlsVersion::Tls13, true, took);
        cells.record(HandshakeResult::Ok, TlsVersion::Tls13, false, took);
        cells.record(HandshakeResult::Ok, TlsVersion::Tls13, false, took);
        cells.record(HandshakeResult::Timeout, TlsVersion::Unknown, false, took);
        assert_eq!(cells.get(HandshakeResult::Ok, TlsVersion::Tls13, true), 1);
        assert_eq!(cells.get(HandshakeResult::Ok, TlsVersion::Tls13, false), 2);
        assert_eq!(cells.get(HandshakeResult::Timeout, TlsVersion::Unknown, false), 1);
        assert_eq!(cells.get(HandshakeResult::Ok, TlsVersion::Tls12, false), 0);
    }

    #[test]
    fn two_workers_share_no_pair_of_cache_lines() {
        assert_eq!(align_of::<WorkerMetrics>(), 128);
        assert_eq!(size_of::<WorkerMetrics>() % 128, 0);
    }
}
