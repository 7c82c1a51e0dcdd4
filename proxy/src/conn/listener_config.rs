//! What a configuration says about connections.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use rustls::ServerConfig;

use super::ConnectionSettings;
use crate::{steering, tls::ServerTls};

/// What a configuration says about connections; part of a snapshot, shared by all workers.
#[derive(Debug)]
pub(crate) struct ListenerConfig {
    /// `None` serves plain HTTP (`insecure_server`).
    pub tls: Option<Arc<ServerTls>>,
    /// Deadlines and limits.
    pub settings: ConnectionSettings,
    /// Which worker a name belongs to.
    pub steering: Arc<steering::SteeringRules>,
}

/// A worker's own copy of a [`ListenerConfig`], whose parts its connections hold apart. Their
/// references are counted on an `Rc`, so that no connection touches a count that all workers share.
/// A connection keeps the settings; certificates are released once its handshake is done.
#[derive(Debug)]
pub(super) struct LocalListenerConfig {
    pub(super) tls: Option<Rc<LocalTls>>,
    pub(super) settings: Rc<ConnectionSettings>,
}

/// Everything that a handshake needs of a configuration.
#[derive(Debug)]
pub(super) struct LocalTls {
    pub(super) server: Arc<ServerTls>,
    pub(super) steering: Arc<steering::SteeringRules>,
    /// Copies of the shared configurations, by the address of those: rustls counts a reference for each
    /// connection, and workers are not to share that count.
    configs: RefCell<HashMap<usize, Arc<ServerConfig>>>,
}

impl LocalTls {
    fn new(server: Arc<ServerTls>, steering: Arc<steering::SteeringRules>) -> LocalTls {
        LocalTls { server, steering, configs: RefCell::default() }
    }

    /// This worker's configuration for a connection that asks for this name, normalised.
    pub(super) fn config(&self, server_name: Option<&str>) -> Arc<ServerConfig> {
        let shared = self.server.shared_config(server_name);
        let mut configs = self.configs.borrow_mut();
        let copy = || Arc::new(ServerConfig::clone(shared));
        Arc::clone(configs.entry(Arc::as_ptr(shared).addr()).or_insert_with(copy))
    }
}

impl LocalListenerConfig {
    pub(super) fn new(shared: &ListenerConfig) -> LocalListenerConfig {
        let local = |server: &Arc<ServerTls>| {
            Rc::new(LocalTls::new(Arc::clone(server), Arc::clone(&shared.steering)))
        };
        LocalListenerConfig {
            tls: shared.tls.as_ref().map(local),
            settings: Rc::new(shared.settings.clone()),
        }
    }
}
