//! From a configuration to what workers read.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    config::{Config, RouteConfig},
    conn::ListenerConfig,
    http::{self, ActionSpec, RequestConfig},
    observe::{CertificateUsage, ConfigFacts, ConfiguredCertificate, ConfiguredCrl, Metrics},
    steering,
    tls::{self, CertificateSelector, CertificateStore, CertificateWithKey, ServerTls, TicketKeys},
    upstream::{ClusterCompiler, DnsNames},
    worker::Snapshot,
};

/// Counts requests that no route serves. Routes' own names cannot be empty.
const UNROUTED: &str = "";

/// Compiles configurations, one after the other, and keeps what outlives each: counts, addresses,
/// ticket keys.
pub(crate) struct Compiler {
    /// Counts by route and upstream.
    pub metrics: Arc<Metrics>,
    /// Upstream names and their addresses.
    pub names: Arc<DnsNames>,
    /// For session tickets.
    pub tickets: Arc<TicketKeys>,
    /// Shared by the TLS configurations of all generations.
    certificates: Arc<CertificateStore>,
    workers: u32,
    generation: u64,
}

/// The parts of a configuration that change in place, ready to be put into use.
#[derive(Debug)]
#[must_use]
pub(crate) struct StagedParts {
    store: Arc<CertificateStore>,
    /// `None` without TLS.
    certificates: Option<Arc<CertificateSelector>>,
}

impl StagedParts {
    /// Puts them into use, and gives back what they replace, to be freed where that disturbs nobody.
    ///
    /// To be called right before workers get the snapshot: a new route must find its certificate,
    /// while a route that is about to go does without its own for that moment.
    pub(crate) fn publish(self) -> impl Send + Sync {
        self.certificates.map(|certificates| self.store.replace(certificates))
    }
}

/// A configuration that cannot be used as this process runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    /// The TLS settings.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The pins.
    #[error(transparent)]
    Pin(#[from] steering::NoSuchWorker),
}

impl Compiler {
    /// For the first configuration, and for so many workers.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        names: Arc<DnsNames>,
        tickets: Arc<TicketKeys>,
        workers: usize,
    ) -> Compiler {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let certificates = Arc::new(CertificateStore::new());
        Compiler { metrics, names, tickets, certificates, workers, generation: 0 }
    }

    /// Compiles a configuration, and takes out of it what is only needed for that, above all the
    /// routes: there may be 100,000, and they are not kept twice. On an error nothing has changed.
    pub(crate) fn compile(
        &mut self,
        config: &mut Config,
    ) -> Result<(Snapshot, StagedParts), CompileError> {
        let steering = Arc::new(steering::SteeringRules::new(&config.steering, self.workers)?);
        let tickets = self.ticket_keys(config);
        let tls = config
            .tls
            .as_ref()
            .map(|spec| ServerTls::with_store(spec, &self.certificates, &tickets))
            .transpose()?
            .map(Arc::new);
        let certificates = config.tls.as_ref().map(tls::certificates).transpose()?;
        let parts = StagedParts { store: Arc::clone(&self.certificates), certificates };
        let routes = std::mem::take(&mut config.routes);
        let client_auth = tls.as_ref().map(|tls| Arc::clone(tls.client_auth())).unwrap_or_default();
        let unrouted = self.metrics.routes().get(UNROUTED);
        config.forget_compiled();
        self.generation += 1;
        let snapshot = Snapshot {
            generation: self.generation,
            front: Arc::new(ListenerConfig { tls, settings: config.connections.clone(), steering }),
            site: Arc::new(RequestConfig::new(
                config.http.clone(),
                self.routes(routes),
                unrouted,
                client_auth,
            )),
        };
        Ok((snapshot, parts))
    }

    /// Those of the configuration, or else the process's own.
    fn ticket_keys(&self, config: &Config) -> Arc<TicketKeys> {
        match config.ticket_keys.as_slice() {
            [] => Arc::clone(&self.tickets),
            given => Arc::new(TicketKeys::given(given, &self.tickets)),
        }
    }

    fn routes(&self, routes: Vec<RouteConfig>) -> impl Iterator<Item = http::Route> + '_ {
        let mut clusters = ClusterCompiler::new(&self.names, self.metrics.endpoints());
        let compile = move |route: RouteConfig| {
            let cluster = match &route.http.action {
                ActionSpec::Proxy(proxy) => Some(clusters.compile(&proxy.cluster)),
                ActionSpec::Redirect(_) | ActionSpec::Respond { .. } => None,
            };
            http::Route {
                metrics: self.metrics.routes().get(Arc::clone(&route.http.name)),
                spec: route.http,
                matcher: route.matcher,
                cluster,
            }
        };
        routes.into_iter().map(compile)
    }
}

/// What status and metrics show of a configuration and what it was compiled to.
pub(crate) fn facts(path: &Path, config: &Config, snapshot: &Snapshot) -> ConfigFacts {
    ConfigFacts {
        file: path.display().to_string(),
        certificates: certificates(config, &snapshot.site),
        crls: crls(config),
        routes: Some(Arc::<RequestConfig>::clone(&snapshot.site)),
    }
}

/// Each certificate once, in the order of the configuration.
fn certificates(config: &Config, site: &RequestConfig) -> Vec<ConfiguredCertificate> {
    let server = config.tls.iter().flat_map(|tls| &tls.certificates);
    let upstream =
        site.endpoints().filter_map(|endpoint| endpoint.spec.tls.as_ref()?.identity.as_ref());
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

fn crls(config: &Config) -> Vec<ConfiguredCrl> {
    let facts = config.crls.iter().flat_map(|crls| crls.facts());
    facts
        .map(|crl| ConfiguredCrl {
            issuer: crl.issuer,
            this_update_s: crl.this_update_s,
            next_update_s: crl.next_update_s,
            revoked: crl.revoked,
        })
        .collect()
}

fn certificate_facts(
    identity: &CertificateWithKey,
    usage: CertificateUsage,
) -> ConfiguredCertificate {
    ConfiguredCertificate {
        names: identity.names.clone(),
        origin: identity.origin.clone(),
        usage,
        not_after_s: identity.not_after_s,
    }
}
