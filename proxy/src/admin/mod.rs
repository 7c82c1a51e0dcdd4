//! The administrative listeners, on the control thread: metrics, health and status.

mod access;
mod orders;
mod respond;
mod serve;
mod sockets;
mod spec;

use std::{io, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

pub use sockets::Sockets;
pub use spec::{AdminSpec, MetricsListenerSpec, Secret};

use crate::{observe::Metrics, steering::Steering};
use access::Access;
use respond::{Scope, Shown};
use serve::Listener;

/// The listeners, not yet served.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    settings: Settings,
}

/// What a reload may change about a server that runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may read from Pomerium's metrics listener, and its certificate; `None` without one.
    metrics: Option<Arc<ArcSwap<Access>>>,
}

impl Server {
    /// Listens at the addresses, which the spec was bound to.
    ///
    /// Fails where one is taken after all, or where certificates cannot be used as the spec asks.
    pub fn listen(
        sockets: Sockets,
        spec: &AdminSpec,
        metrics: &Arc<Metrics>,
        steering: &Arc<Steering>,
    ) -> io::Result<Server> {
        let shown = Shown { metrics: Arc::clone(metrics), steering: Arc::clone(steering) };
        let listener = |socket: sockets::Bound, scope, access| {
            let (socket, shown) = (socket.listen()?, shown.clone());
            io::Result::Ok(Listener { socket, scope, access, shown })
        };
        let mut listeners = Vec::new();
        if let Some(socket) = sockets.admin {
            let open = Arc::new(ArcSwap::from_pointee(Access::open()));
            listeners.push(listener(socket, Scope::Everything, open)?);
        }
        let mut settings = Settings { metrics: None };
        if let (Some(socket), Some(spec)) = (sockets.metrics, &spec.metrics) {
            let access = Arc::new(ArcSwap::from_pointee(Access::new(spec)?));
            settings.metrics = Some(access.clone());
            listeners.push(listener(socket, Scope::MetricsOnly, access)?);
        }
        Ok(Server { listeners, settings })
    }

    /// The addresses bound: the administrative one first, then that of metrics alone.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }

    /// What a reload may change.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Serves until it is dropped. Needs a tokio runtime with I/O and time. Fails when the runtime
    /// does not take the sockets.
    pub async fn run(self) -> io::Result<()> {
        let mut loops = JoinSet::new();
        for listener in self.listeners {
            loops.spawn(listener.into_accept_loop()?);
        }
        // The loops never end.
        while loops.join_next().await.is_some() {}
        Ok(())
    }
}

impl Settings {
    /// Goes on with the certificate, the client CA and the password of a new configuration.
    /// Addresses stay as they were bound.
    ///
    /// Fails where the certificates cannot be used; then nothing changes.
    pub fn configure(&self, spec: &AdminSpec) -> io::Result<()> {
        if let (Some(access), Some(spec)) = (&self.metrics, &spec.metrics) {
            access.store(Arc::new(Access::new(spec)?));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
