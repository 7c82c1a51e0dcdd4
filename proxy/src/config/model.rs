//! The configuration as the program uses it. Only `check` builds it, so only valid states exist:
//! files are read, certificates parsed, names normalised, defaults filled in. Each section is the
//! struct that the room it is for declares.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    admin::AdminSpec,
    conn, http,
    identity::spec::IdentitySpec,
    listener::ListenSpec,
    observe::LogSpec,
    route,
    steering::SteeringSpec,
    tls::{CrlStore, ServerTlsSpec, TicketSecret},
    upstream::DnsSpec,
};

/// A whole configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where to listen.
    pub listen: ListenSpec,
    /// TLS towards clients; `None` with `insecure_server`.
    pub tls: Option<ServerTlsSpec>,
    /// Lists of revoked client certificates, which the trusts of the routes share.
    pub crls: Option<Arc<CrlStore>>,
    /// Keys that seal session tickets (the first) and open them; empty if the keys are random and
    /// rotate.
    pub ticket_keys: Vec<TicketSecret>,
    /// The files of `ticket_keys`.
    pub ticket_key_files: Vec<PathBuf>,
    /// Deadlines and limits of connections. The limit on open files may lower `max_connections`.
    pub connections: conn::ConnectionSettings,
    /// Whether `max_connections` was set, so that a lower limit is worth a warning.
    pub max_connections: Option<usize>,
    /// Core dumps and debuggers of the same user are allowed.
    pub core_dumps: bool,
    /// How long a start waits for the first health checks before it says that it is ready.
    pub first_health_checks: Duration,
    /// Settings of all requests.
    pub http: http::RequestSettings,
    /// Sign-in, sessions, and identity for upstreams.
    pub identity: IdentitySpec,
    /// In the order of the file; the first that matches serves.
    pub routes: Vec<RouteConfig>,
    /// How upstream names are resolved.
    pub dns: DnsSpec,
    /// Worker threads; `None` is one for each core this process may run on.
    pub workers: Option<NonZeroUsize>,
    /// How new connections find their worker.
    pub steering: SteeringSpec,
    /// The administrative listener.
    pub admin: AdminSpec,
    /// What is logged.
    pub log: LogSpec,
    /// Reload when a file changes (`runtime_flags.config_hot_reload`).
    pub hot_reload: bool,
    /// Every file this was read from, the configuration file first.
    pub files: Vec<ReadFile>,
}

impl Config {
    /// How many checks of endpoints there are. To be asked before the routes are compiled.
    pub(crate) fn health_checks(&self) -> usize {
        let clusters = self.routes.iter().filter_map(|route| route.http.action.cluster());
        let checks = clusters.map(|cluster| {
            let checks = cluster.resilience.as_ref().map_or(0, |spec| spec.checks.len());
            checks * cluster.endpoints.len()
        });
        checks.sum()
    }

    /// Drops what only the compiled form needs: what remains is compared at the next reload.
    pub(crate) fn forget_compiled(&mut self) {
        self.routes = Vec::new();
        self.steering.hosts = Vec::new();
        if let Some(tls) = &mut self.tls {
            tls.client_auth.routes = Vec::new();
        }
    }
}

/// One route.
#[derive(Debug, Clone)]
pub(crate) struct RouteConfig {
    /// Which requests it serves.
    pub matcher: route::Matcher,
    /// What it does with them.
    pub http: http::RouteSpec,
}

/// A file as it was when it was read. The watcher looks for a difference from this, so a change
/// between reading and watching is not lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadFile {
    /// As the configuration names it.
    pub path: PathBuf,
    /// SHA-256 of its content; `None` if it could not be read.
    pub digest: Option<[u8; 32]>,
    /// What it is read for.
    pub(crate) usage: FileUsage,
}

/// What a file is read for: the parts that can be renewed alone, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileUsage {
    /// A server certificate or its key.
    ServerCertificate,
    /// A key for session tickets.
    TicketKey,
    /// The lists of revoked client certificates.
    Crl,
    /// Anything else, or more than one of these.
    Other,
}
