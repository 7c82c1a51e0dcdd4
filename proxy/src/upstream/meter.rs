//! Counters of upstream connections and requests, for the worker as a whole and for each endpoint.

use std::{rc::Rc, sync::Arc};

use rustls::HandshakeKind;

use super::FailureKind;
use crate::{
    observe::{
        CircuitLimit, EndpointCells, EndpointMetrics, UpstreamCells, UpstreamFailure,
        UpstreamRetry, WorkerObserver,
    },
    tls::{HandshakeError, UpstreamCertificateError},
};

/// The cells that one worker writes for one endpoint key.
#[derive(Debug)]
pub(super) struct Meter {
    observer: Rc<WorkerObserver>,
    endpoint: Arc<EndpointMetrics>,
}

/// Numbers of connections; gauges change by the difference of two of these.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connections {
    pub(super) idle: u64,
    pub(super) active: u64,
}

impl Meter {
    pub(super) fn new(observer: Rc<WorkerObserver>, endpoint: Arc<EndpointMetrics>) -> Meter {
        Meter { observer, endpoint }
    }

    pub(super) fn connecting(&self) {
        self.all().connects.inc();
        self.one(|cells| cells.connects.inc());
    }

    pub(super) fn handshake(&self, kind: Option<HandshakeKind>) {
        match kind {
            Some(HandshakeKind::Resumed) => self.all().tls_handshakes_resumed.inc(),
            _ => self.all().tls_handshakes_full.inc(),
        }
    }

    /// Counts a handshake that failed by the upstream's certificate; the failure itself is counted
    /// with its request.
    pub(super) fn handshake_failed(&self, error: &HandshakeError) {
        let HandshakeError::Tls(error) = error else { return };
        if let Some(refused) = UpstreamCertificateError::find(error) {
            self.all().certificate_errors.inc(refused.reason);
        }
    }

    pub(super) fn sent_over_pooled(&self) {
        self.all().requests_reused.inc();
        self.one(|cells| cells.requests_reused.inc());
    }

    pub(super) fn sent_over_fresh(&self) {
        self.all().requests_fresh.inc();
    }

    pub(super) fn retrying(&self, reason: UpstreamRetry) {
        self.all().retries.inc(reason);
    }

    /// A limit refused a request, or its repetition.
    pub(super) fn circuit_open(&self, limit: CircuitLimit) {
        self.all().circuit_open.inc(limit);
    }

    pub(super) fn failed(&self, kind: FailureKind) {
        self.all().connect_failures.inc(kind.into());
        // Our own limits and the client's body are not the endpoint's fault.
        if !matches!(kind, FailureKind::Overflow | FailureKind::RequestBody) {
            self.one(|cells| cells.failures.inc());
        }
    }

    /// No response arrived in time.
    pub(super) fn unanswered(&self) {
        self.all().connect_failures.inc(UpstreamFailure::ResponseTimeout);
        self.one(|cells| cells.failures.inc());
    }

    /// Cells wrap, so adding a negative difference subtracts.
    pub(super) fn connections(&self, before: Connections, after: Connections) {
        let idle = after.idle.wrapping_sub(before.idle);
        let active = after.active.wrapping_sub(before.active);
        self.all().idle_connections.add(idle);
        self.all().active_connections.add(active);
        self.one(|cells| {
            cells.idle_connections.add(idle);
            cells.active_connections.add(active);
        });
    }

    fn all(&self) -> &UpstreamCells {
        &self.observer.metrics.upstream
    }

    fn one(&self, count: impl FnOnce(&EndpointCells)) {
        if let Some(cells) = self.endpoint.worker(self.observer.worker) {
            count(cells);
        }
    }
}
