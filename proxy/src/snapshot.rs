//! From a configuration to what workers read.

mod client_cas;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Weak},
};

use crate::{
    certificate::ParsedCertificate,
    config::{Config, RenewedParts, RouteConfig},
    conn::ListenerConfig,
    http::{self, FormerClusters, RequestConfig},
    identity::{config::IdentityConfig, jose::SigningKeyError, spec::SealSecret},
    observe::{
        CertificateUsage, ConfigFacts, ConfiguredCertificate, ConfiguredCrl, Metrics, RenewedFacts,
    },
    steering,
    tls::{
        self, CertificateSelector, CertificateStore, CertificateWithKey, ClientAuth, CrlBundle,
        CrlStore, ServerTls, TicketKeys, TicketSecret,
    },
    upstream::{
        Cluster, ClusterCompiler, CompiledClusters, DnsNames, EjectionSender, StagedEndpoints,
    },
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
    /// Where workers propose which endpoints to eject.
    pub ejections: EjectionSender,
    /// The `shared_secret` of configurations that have none.
    process_secret: SealSecret,
    /// Shared by the TLS configurations of all generations.
    certificates: Arc<CertificateStore>,
    /// Of the last configuration, whose parts may be renewed.
    in_use: PartsInUse,
    /// Those of the last configuration, whose clusters may stay.
    routes: Weak<RequestConfig>,
    /// The most client connections that the limit on open files allows.
    pub max_connections: usize,
    workers: u32,
    generation: u64,
}

/// The parts of a configuration that change in place, besides the certificates.
#[derive(Debug, Default)]
struct PartsInUse {
    crls: Option<Arc<CrlStore>>,
    /// `None` if the keys are the process's own.
    ticket_keys: Option<Arc<TicketKeys>>,
}

/// The parts of a configuration that change in place, ready to be put into use. A part that stays is
/// `None`.
#[derive(Debug)]
#[must_use]
pub(crate) struct StagedParts {
    store: Arc<CertificateStore>,
    certificates: Option<Arc<CertificateSelector>>,
    crls: Option<(Arc<CrlStore>, Arc<CrlBundle>)>,
    ticket_keys: Option<(Arc<TicketKeys>, Vec<TicketSecret>)>,
    endpoints: Vec<StagedEndpoints>,
    watched: Vec<Weak<Cluster>>,
}

impl StagedParts {
    /// The clusters whose endpoints are checked, or may be ejected. Empty for renewed parts, which have
    /// none.
    pub(crate) fn watched(&self) -> &[Weak<Cluster>] {
        &self.watched
    }

    /// Puts them into use, and gives back what they replace, to be freed where that disturbs nobody.
    ///
    /// To be called right before workers get the snapshot: a new route must find its certificate,
    /// while a route that is about to go does without its own for that moment.
    pub(crate) fn publish(self) -> impl Send + Sync {
        if let Some((keys, secrets)) = self.ticket_keys {
            keys.replace(&secrets);
        }
        let certificates = self.certificates.map(|certificates| self.store.replace(certificates));
        let crls = self.crls.map(|(store, crls)| store.replace(crls));
        let endpoints: Vec<_> = self.endpoints.into_iter().map(StagedEndpoints::publish).collect();
        (certificates, crls, endpoints)
    }
}

/// A configuration that cannot be used as this process runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    /// The TLS settings.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The key of assertions.
    #[error("the signing key cannot be used: {0}")]
    SigningKey(#[from] SigningKeyError),
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
        process_secret: SealSecret,
        workers: usize,
    ) -> Compiler {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let certificates = Arc::new(CertificateStore::new());
        let (in_use, routes) = (PartsInUse::default(), Weak::new());
        Compiler {
            metrics,
            names,
            tickets,
            ejections: EjectionSender::detached(),
            process_secret,
            certificates,
            in_use,
            routes,
            max_connections: usize::MAX,
            workers,
            generation: 0,
        }
    }

    /// Compiles a configuration, and takes out of it what is only needed for that, above all the
    /// routes: there may be 100,000, and they are not kept twice. On an error nothing has changed.
    pub(crate) fn compile(
        &mut self,
        config: &mut Config,
    ) -> Result<(Snapshot, StagedParts), CompileError> {
        // Generations of parts that were renewed are left out, but none comes twice.
        let people =
            IdentityConfig::new(&config.identity, &self.process_secret, self.generation + 1)?;
        let steering = Arc::new(steering::SteeringRules::new(&config.steering, self.workers)?);
        let tickets = self.ticket_keys(config);
        let tls = config
            .tls
            .as_ref()
            .map(|spec| ServerTls::with_store(spec, &self.certificates, &tickets))
            .transpose()?
            .map(Arc::new);
        let certificates =
            config.tls.as_ref().map(|tls| tls::selector(&tls.certificates)).transpose()?;
        let given = (!config.ticket_keys.is_empty()).then_some(tickets);
        self.in_use = PartsInUse { crls: config.crls.clone(), ticket_keys: given };
        let client_auth = tls.as_ref().map(|tls| Arc::clone(tls.client_auth())).unwrap_or_default();
        let (site, clusters) = self.request_config(config, client_auth, Arc::new(people));
        let CompiledClusters { staged: endpoints, watched } = clusters;
        let parts = StagedParts { certificates, endpoints, watched, ..self.no_parts() };
        self.generation += 1;
        let settings = config.connections.with_at_most(self.max_connections);
        let snapshot = Snapshot {
            generation: self.generation,
            front: Arc::new(ListenerConfig { tls, settings, steering }),
            site,
        };
        Ok((snapshot, parts))
    }

    /// Prepares parts of the last configuration that were renewed alone, which is a generation of its
    /// own. On an error nothing has changed.
    pub(crate) fn renew(
        &mut self,
        renewed: &RenewedParts,
    ) -> Result<(u64, StagedParts), CompileError> {
        let certificates = renewed.certificates.as_deref().map(tls::selector).transpose()?;
        let PartsInUse { crls, ticket_keys } = &self.in_use;
        let parts = StagedParts {
            certificates,
            crls: crls.clone().zip(renewed.crls.clone()),
            ticket_keys: ticket_keys.clone().zip(renewed.ticket_keys.clone()),
            ..self.no_parts()
        };
        self.generation += 1;
        Ok((self.generation, parts))
    }

    fn no_parts(&self) -> StagedParts {
        let store = Arc::clone(&self.certificates);
        StagedParts {
            store,
            certificates: None,
            crls: None,
            ticket_keys: None,
            endpoints: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// The keys of the configuration, or else the process's own.
    fn ticket_keys(&self, config: &Config) -> Arc<TicketKeys> {
        match config.ticket_keys.as_slice() {
            [] => Arc::clone(&self.tickets),
            given => Arc::new(TicketKeys::given(given, &self.tickets)),
        }
    }

    /// Compiles the routes, and the endpoints of clusters that stay.
    fn request_config(
        &mut self,
        config: &mut Config,
        client_auth: Arc<ClientAuth>,
        people: Arc<IdentityConfig>,
    ) -> (Arc<RequestConfig>, CompiledClusters) {
        let settings = config.http.clone();
        let routes = std::mem::take(&mut config.routes);
        config.forget_compiled();
        let in_use = self.routes.upgrade();
        let former = in_use.as_deref().map(FormerClusters::of);
        let mut clusters =
            ClusterCompiler::new(&self.names, self.metrics.endpoints(), &self.ejections);
        let compiled = routes.into_iter().map(|route: RouteConfig| {
            let RouteConfig { matcher, http: spec } = route;
            let former = || former.as_ref()?.get(&config.http, &spec, &matcher);
            let cluster = spec.action.cluster();
            let cluster = cluster.map(|cluster| clusters.compile(&spec.name, cluster, former));
            http::Route {
                metrics: self.metrics.routes().get(Arc::clone(&spec.name)),
                spec,
                matcher,
                cluster,
            }
        });
        let unrouted = self.metrics.routes().get(UNROUTED);
        let site = RequestConfig::new(settings, compiled, unrouted, client_auth);
        let site = Arc::new(site.with_people(people));
        let clusters = clusters.finish();
        self.routes = Arc::downgrade(&site);
        (site, clusters)
    }
}

/// What status and metrics show of a configuration that is not compiled yet, besides its routes.
pub(crate) fn facts(path: &Path, config: &Config) -> ConfigFacts {
    ConfigFacts {
        file: path.display().to_string(),
        certificates: certificates(config),
        crls: config.crls.as_ref().map(|crls| crl_facts(&crls.current())).unwrap_or_default(),
        routes: None,
    }
}

/// What status and metrics show of parts that were renewed alone.
pub(crate) fn renewed_facts(renewed: &RenewedParts) -> RenewedFacts {
    let server = |identities: &Vec<Arc<CertificateWithKey>>| {
        let mut seen = BTreeSet::new();
        let distinct = identities.iter().filter(|identity| seen.insert(identity.digest));
        distinct.map(|identity| certificate_facts(identity, CertificateUsage::Server)).collect()
    };
    RenewedFacts {
        server_certificates: renewed.certificates.as_ref().map(server),
        crls: renewed.crls.as_ref().map(|crls| crl_facts(crls)),
    }
}

/// Each certificate once, in the order of the configuration.
fn certificates(config: &Config) -> Vec<ConfiguredCertificate> {
    let server = config.tls.iter().flat_map(|tls| &tls.certificates);
    let clusters = config.routes.iter().filter_map(|route| route.http.action.cluster());
    let upstream = clusters
        .flat_map(|cluster| &cluster.endpoints)
        .filter_map(|endpoint| endpoint.tls.as_ref()?.identity.as_ref());
    let metrics = config.admin.metrics.iter().filter_map(|listener| listener.identity.as_ref());
    let mut seen = BTreeSet::new();
    server
        .map(|identity| (identity, CertificateUsage::Server))
        .chain(upstream.map(|identity| (identity, CertificateUsage::Upstream)))
        .chain(metrics.map(|identity| (identity, CertificateUsage::Metrics)))
        .filter(|(identity, usage)| seen.insert((identity.digest, *usage)))
        .map(|(identity, usage)| certificate_facts(identity, usage))
        .chain(client_cas::facts(config))
        .collect()
}

fn crl_facts(crls: &CrlBundle) -> Vec<ConfiguredCrl> {
    crls.facts()
        .into_iter()
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
        names: shown_names(identity),
        origin: identity.origin.clone(),
        usage,
        not_after_s: identity.not_after_s,
    }
}

/// Its DNS names. A certificate without any, such as one for a client, is known by its other names,
/// else by its subject.
fn shown_names(identity: &CertificateWithKey) -> Vec<String> {
    if !identity.names.is_empty() {
        return identity.names.clone();
    }
    let leaf = identity.certified.cert.first();
    let Some(leaf) = leaf.and_then(|der| ParsedCertificate::from_der(der).ok()) else {
        return Vec::new();
    };
    match leaf.alt_name_texts() {
        names if names.is_empty() => vec![leaf.subject()],
        names => names,
    }
}
