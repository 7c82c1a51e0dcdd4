//! What a configuration says about connections.

use std::{rc::Rc, sync::Arc};

use super::ConnectionSettings;
use crate::{steering, tls::ServerTls};

/// What a configuration says about connections; part of a snapshot, shared by all workers.
#[derive(Debug)]
pub struct ListenerConfig {
    /// `None` serves plain HTTP (`insecure_server`).
    pub tls: Option<Arc<ServerTls>>,
    /// Deadlines and limits.
    pub settings: ConnectionSettings,
    /// Which worker a name belongs to.
    pub steering: Arc<steering::Rules>,
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
    pub(super) steering: Arc<steering::Rules>,
}

impl LocalListenerConfig {
    pub(super) fn new(shared: &ListenerConfig) -> LocalListenerConfig {
        let local = |server: &Arc<ServerTls>| {
            Rc::new(LocalTls { server: Arc::clone(server), steering: Arc::clone(&shared.steering) })
        };
        LocalListenerConfig {
            tls: shared.tls.as_ref().map(local),
            settings: Rc::new(shared.settings.clone()),
        }
    }
}
