//! What a worker serves connections with.

use std::{cell::RefCell, rc::Rc, time::Instant};

use super::{
    ConnectionRegistry, ConnectionSettings, ConnectionSteering, ListenerConfig, WorkerConnections,
    listener_config::{LocalListenerConfig, LocalTls},
};
use crate::{
    http::RequestHandler,
    observe::{ClosedReason, WorkerObserver},
    reclaim::FormerValues,
    rt,
};

/// What a worker serves connections with. It stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct ConnectionServer {
    listener: RefCell<LocalListenerConfig>,
    former: FormerValues<LocalTls>,
    /// Handles their requests.
    pub requests: Rc<RequestHandler>,
    /// The worker's counters and log.
    pub observer: Rc<WorkerObserver>,
    /// The connections that are open.
    pub registry: ConnectionRegistry,
    /// Decides which connections go to another worker.
    pub steering: Rc<ConnectionSteering>,
    /// Counts the open connections.
    pub open: WorkerConnections,
}

impl ConnectionServer {
    /// A server that begins with this configuration.
    pub(crate) fn new(
        listener: &ListenerConfig,
        requests: Rc<RequestHandler>,
        observer: Rc<WorkerObserver>,
        steering: Rc<ConnectionSteering>,
        open: WorkerConnections,
    ) -> ConnectionServer {
        let listener = RefCell::new(LocalListenerConfig::new(listener));
        let registry = ConnectionRegistry::default();
        let former = FormerValues::default();
        ConnectionServer { listener, former, requests, observer, registry, steering, open }
    }

    /// The deadlines and limits for connections that begin now.
    pub(crate) fn settings(&self) -> Rc<ConnectionSettings> {
        Rc::clone(&self.listener.borrow().settings)
    }

    /// Changes the configuration for connections to come; those that are open keep their settings.
    pub(crate) fn set_listener(&self, listener: &ListenerConfig) {
        let former = self.listener.replace(LocalListenerConfig::new(listener));
        if let Some(tls) = former.tls {
            self.former.keep(tls);
        }
    }

    /// Gives former configurations away that no connection and no request uses any more: another
    /// thread frees them.
    pub(crate) fn release_former(&self) {
        self.former.release();
        self.requests.release_former();
    }

    /// Publishes this worker's load to the other workers.
    pub(crate) fn publish_load(&self) {
        let limit = self.listener.borrow().settings.max_connections_per_worker;
        self.steering.set_open(self.registry.len(), limit);
    }

    /// Waits until all connections, which have been told to finish, are closed. Closes those that
    /// are still open at the deadline.
    pub(crate) async fn drain(&self, deadline: Instant) {
        if rt::timeout_at(deadline, self.registry.emptied()).await.is_err() {
            self.cut_off();
        }
    }

    /// Counts the connections that are still open as cut off: so are their requests, which end with
    /// the worker.
    pub(crate) fn cut_off(&self) {
        self.observer.cut_off();
        for _ in 0..self.registry.len() {
            self.observer.metrics.connections_closed.inc(ClosedReason::DrainTimeout);
        }
    }

    /// The certificates for a handshake that begins now; `None` serves plain HTTP.
    pub(super) fn tls(&self) -> Option<Rc<LocalTls>> {
        self.listener.borrow().tls.clone()
    }
}
