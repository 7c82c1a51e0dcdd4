//! From a configuration to what workers read.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    config::{Config, Route},
    conn::ListenerConfig,
    http::{self, ActionSpec, RequestConfig},
    observe::{CertificateFacts, CertificateUsage, ConfigFacts, CrlFacts, Metrics, RouteFacts},
    steering,
    tls::{Identity, ServerTls, TicketKeys},
    upstream::{Cluster, Names},
    worker::Snapshot,
};

/// Counts requests that no route serves. Routes' own names cannot be empty.
const UNROUTED: &str = "";

/// Compiles configurations, one after the other, and keeps what outlives each: counts, addresses,
/// ticket keys.
pub struct Compiler {
    /// Counts by route and upstream.
    pub metrics: Arc<Metrics>,
    /// Upstream names and their addresses.
    pub names: Arc<Names>,
    /// For session tickets.
    pub tickets: Arc<TicketKeys>,
    workers: u32,
    generation: u64,
}

/// A configuration that cannot be used as this process runs.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The TLS settings.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The pins.
    #[error(transparent)]
    Pin(#[from] steering::NoSuchWorker),
}

impl Compiler {
    /// For the first configuration, and for so many workers.
    pub fn new(
        metrics: Arc<Metrics>,
        names: Arc<Names>,
        tickets: Arc<TicketKeys>,
        workers: usize,
    ) -> Compiler {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        Compiler { metrics, names, tickets, workers, generation: 0 }
    }

    /// Compiles a configuration. On an error nothing has changed.
    pub fn compile(&mut self, config: &Config) -> Result<Snapshot, CompileError> {
        let steering = Arc::new(steering::Rules::new(&config.steering, self.workers)?);
        let tickets = self.ticket_keys(config);
        let tls = config
            .tls
            .as_ref()
            .map(|spec| ServerTls::new(spec, &tickets))
            .transpose()?
            .map(Arc::new);
        let routes = config.routes.iter().map(|route| self.route(route)).collect();
        let client_auth = tls.as_ref().map(|tls| Arc::clone(tls.client_auth())).unwrap_or_default();
        let unrouted = self.metrics.routes().get(UNROUTED);
        self.generation += 1;
        Ok(Snapshot {
            generation: self.generation,
            front: Arc::new(ListenerConfig { tls, settings: config.connections.clone(), steering }),
            site: Arc::new(RequestConfig::new(config.http.clone(), routes, unrouted, client_auth)),
        })
    }

    /// Those of the configuration, or else the process's own.
    fn ticket_keys(&self, config: &Config) -> Arc<TicketKeys> {
        match config.ticket_keys.as_slice() {
            [] => Arc::clone(&self.tickets),
            given => Arc::new(TicketKeys::given(given, &self.tickets)),
        }
    }

    fn route(&self, route: &Route) -> http::Route {
        let cluster = match &route.http.action {
            ActionSpec::Proxy(proxy) => {
                Some(Arc::new(Cluster::new(&proxy.cluster, &self.names, self.metrics.endpoints())))
            }
            ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => None,
        };
        http::Route {
            spec: route.http.clone(),
            matcher: route.matcher.clone(),
            cluster,
            metrics: self.metrics.routes().get(&route.http.name),
        }
    }
}

/// What status and metrics show of a configuration.
pub fn facts(path: &Path, config: &Config) -> ConfigFacts {
    ConfigFacts {
        file: path.display().to_string(),
        routes: config.routes.iter().map(route_facts).collect(),
        certificates: certificates(config),
        crls: crls(config),
        endpoints: endpoints(config).map(|endpoint| endpoint.authority.to_string()).collect(),
    }
}

fn route_facts(route: &Route) -> RouteFacts {
    RouteFacts { name: route.http.name.to_string(), from: route.matcher.to_string() }
}

fn endpoints(config: &Config) -> impl Iterator<Item = &crate::upstream::EndpointSpec> {
    config.routes.iter().flat_map(|route| match &route.http.action {
        ActionSpec::Proxy(proxy) => proxy.cluster.endpoints.as_slice(),
        ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => &[],
    })
}

/// Each certificate once, in the order of the configuration.
fn certificates(config: &Config) -> Vec<CertificateFacts> {
    let server = config.tls.iter().flat_map(|tls| &tls.certificates);
    let upstream =
        endpoints(config).filter_map(|endpoint| endpoint.tls.as_ref()?.identity.as_ref());
    let metrics = config.admin.metrics.iter().filter_map(|listener| listener.identity.as_ref());
    let mut seen = BTreeSet::new();
    server
        .map(|identity| (identity, CertificateUsage::Server))
        .chain(upstream.map(|identity| (identity, CertificateUsage::Upstream)))
        .chain(metrics.map(|identity| (identity, CertificateUsage::Metrics)))
        .filter(|(identity, usage)| seen.insert((identity.digest, *usage)))
        .map(|(identity, usage)| certificate_facts(identity, usage))
        .collect()
}

fn crls(config: &Config) -> Vec<CrlFacts> {
    let facts = config.crls.iter().flat_map(|crls| crls.facts());
    facts
        .map(|crl| CrlFacts {
            issuer: crl.issuer,
            this_update_s: crl.this_update_s,
            next_update_s: crl.next_update_s,
            revoked: crl.revoked,
        })
        .collect()
}

fn certificate_facts(identity: &Identity, usage: CertificateUsage) -> CertificateFacts {
    CertificateFacts {
        names: identity.names.clone(),
        origin: identity.origin.clone(),
        usage,
        not_after_s: identity.not_after_s,
    }
}
