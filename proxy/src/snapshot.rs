//! From a configuration to what workers read.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    config::{Config, RenewedParts, RouteConfig},
    conn::ListenerConfig,
    http::{self, ActionSpec, RequestConfig},
    identity::{config::IdentityConfig, jose::SigningKeyError, spec::SealSecret},
    observe::{
        CertificateUsage, ConfigFacts, ConfiguredCertificate, ConfiguredCrl, Metrics, RenewedFacts,
    },
    steering,
    tls::{
        self, CertificateSelector, CertificateStore, CertificateWithKey, CrlBundle, CrlStore,
        ServerTls, TicketKeys, TicketSecret,
    },
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
    /// The `shared_secret` of configurations that have none.
    process_secret: SealSecret,
    /// Shared by the TLS configurations of all generations.
    certificates: Arc<CertificateStore>,
    /// Of the last configuration, whose parts may be renewed.
    in_use: PartsInUse,
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
}

impl StagedParts {
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
        (certificates, crls)
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
        let in_use = PartsInUse::default();
        Compiler {
            metrics,
            names,
            tickets,
            process_secret,
            certificates,
            in_use,
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
        let parts = StagedParts { certificates, ..self.no_parts() };
        let given = (!config.ticket_keys.is_empty()).then_some(tickets);
        self.in_use = PartsInUse { crls: config.crls.clone(), ticket_keys: given };
        let routes = std::mem::take(&mut config.routes);
        let client_auth = tls.as_ref().map(|tls| Arc::clone(tls.client_auth())).unwrap_or_default();
        let unrouted = self.metrics.routes().get(UNROUTED);
        config.forget_compiled();
        self.generation += 1;
        let site =
            RequestConfig::new(config.http.clone(), self.routes(routes), unrouted, client_auth);
        let snapshot = Snapshot {
            generation: self.generation,
            front: Arc::new(ListenerConfig { tls, settings: config.connections.clone(), steering }),
            site: Arc::new(site.with_people(Arc::new(people))),
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
        StagedParts { store, certificates: None, crls: None, ticket_keys: None }
    }

    /// The keys of the configuration, or else the process's own.
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
        crls: config.crls.as_ref().map(|crls| crl_facts(&crls.current())).unwrap_or_default(),
        routes: Some(Arc::<RequestConfig>::clone(&snapshot.site)),
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
        names: identity.names.clone(),
        origin: identity.origin.clone(),
        usage,
        not_after_s: identity.not_after_s,
    }
}
