//! The administrative listeners, on the control thread: metrics, health and status.

mod access;
mod connections;
mod host;
mod page;
mod rates;
mod respond;
mod serve;
mod sockets;
mod spec;

use std::{io, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

pub(crate) use sockets::Sockets;
pub(crate) use spec::{AdminSpec, MetricsListenerSpec, Secret};

use crate::{binding::BindError, observe::Metrics, steering::Steering};
use access::Access;
use respond::{AdminState, Pages};
use serve::AdminListener;

/// The listeners, not yet served.
#[derive(Debug)]
pub(crate) struct Server {
    listeners: Vec<AdminListener>,
    access: AccessHandle,
}

/// What a reload may change about a running server: its certificate, and who may read from it.
#[derive(Debug, Clone)]
pub(crate) struct AccessHandle {
    /// Of the administrative listener.
    admin: Arc<ArcSwap<Access>>,
    /// Of Pomerium's metrics listener; `None` without one.
    metrics: Option<Arc<ArcSwap<Access>>>,
}

/// A configuration's certificate, client CA and password for the metrics listener, ready for use.
#[derive(Debug)]
pub(crate) struct PreparedAccess {
    admin: Access,
    /// `None` without that listener.
    metrics: Option<Access>,
}

impl PreparedAccess {
    /// Fails if the certificates cannot be used as the spec asks.
    pub(crate) fn new(spec: &AdminSpec) -> io::Result<PreparedAccess> {
        let metrics = spec.metrics.as_ref().map(Access::new).transpose()?;
        Ok(PreparedAccess { admin: Access::open(&spec.hosts), metrics })
    }
}

impl Server {
    /// Listens at the addresses that were bound, with at most `connections` at each.
    ///
    /// Fails if another process has taken one of them meanwhile.
    pub(crate) fn listen(
        sockets: Sockets,
        access: PreparedAccess,
        metrics: &Arc<Metrics>,
        steering: &Arc<Steering>,
        connections: usize,
    ) -> Result<Server, BindError> {
        let state = AdminState {
            metrics: Arc::clone(metrics),
            steering: Arc::clone(steering),
            rates: Arc::default(),
        };
        let listener = |socket: sockets::Bound, pages, access| {
            let (socket, state) = (socket.listen()?, state.clone());
            Ok::<_, BindError>(AdminListener { socket, pages, access, state, connections })
        };
        let mut listeners = Vec::new();
        let open = Arc::new(ArcSwap::from_pointee(access.admin));
        if let Some(socket) = sockets.admin {
            listeners.push(listener(socket, Pages::All, Arc::clone(&open))?);
        }
        let mut handle = AccessHandle { admin: open, metrics: None };
        if let (Some(socket), Some(access)) = (sockets.metrics, access.metrics) {
            let access = Arc::new(ArcSwap::from_pointee(access));
            handle.metrics = Some(access.clone());
            listeners.push(listener(socket, Pages::MetricsOnly, access)?);
        }
        Ok(Server { listeners, access: handle })
    }

    /// The addresses bound: the administrative one first, then the metrics listener's.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    /// The administrative address, if there is one.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        let mut listeners = self.listeners.iter();
        let admin = listeners.find(|listener| listener.pages == Pages::All)?;
        admin.socket.local_addr().ok()
    }

    /// What a reload may change.
    pub(crate) fn access(&self) -> AccessHandle {
        self.access.clone()
    }

    /// Serves until it is dropped. Needs a tokio runtime with I/O and time. Fails if the runtime
    /// cannot register the sockets.
    pub(crate) async fn run(self) -> io::Result<()> {
        let mut loops = JoinSet::new();
        for listener in self.listeners {
            loops.spawn(listener.into_accept_loop()?);
        }
        // The loops never end.
        while loops.join_next().await.is_some() {}
        Ok(())
    }
}

impl AccessHandle {
    /// Uses the certificate, the client CA, the password and the hosts of a new configuration for
    /// connections from now on. Addresses stay as they were bound.
    pub(crate) fn apply(&self, prepared: PreparedAccess) {
        self.admin.store(Arc::new(prepared.admin));
        if let (Some(access), Some(prepared)) = (&self.metrics, prepared.metrics) {
            access.store(Arc::new(prepared));
        }
    }
}

#[cfg(test)]
mod tests;
