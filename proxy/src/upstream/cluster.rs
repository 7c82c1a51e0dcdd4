//! A route's upstreams, compiled.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::HeaderValue;

use super::{
    ClusterSpec, DnsName, DnsNames, EndpointAddress, EndpointSpec, Protocol, Resolution,
    balance::{Balance, Candidate},
};
use crate::{
    digest::Digest,
    observe::{EndpointMetrics, EndpointRegistry},
    tls::UpstreamTls,
};

/// A route's upstreams, compiled once for all workers.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Identifies the cluster in a worker's own state; never reused.
    pub(super) id: u64,
    /// Dropped once no snapshot and no request holds the cluster; workers then forget its state.
    pub(super) alive: Arc<()>,
    pub(super) connect_timeout: Duration,
    pub(super) balance: Balance,
    first: Arc<Endpoint>,
    endpoints: Box<[Arc<Endpoint>]>,
}

impl Cluster {
    fn new(spec: &ClusterSpec, endpoints: Box<[Arc<Endpoint>]>) -> Cluster {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let first = endpoints.first().expect("a cluster has at least one endpoint").clone();
        Cluster {
            id: NEXT_ID.fetch_add(1, Relaxed),
            alive: Arc::new(()),
            connect_timeout: spec.connect_timeout,
            balance: Balance::new(spec.balance, &candidates(&spec.endpoints)),
            first,
            endpoints,
        }
    }

    /// Its endpoints, in the order of the configuration; at least one.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint at an index; the first one if the index is out of range.
    pub(crate) fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        self.endpoints.get(index).unwrap_or(&self.first)
    }
}

/// Compiles the clusters of one configuration. Endpoints of one specification are one, and so are
/// clusters of one specification that have nothing to balance.
#[derive(Debug)]
pub(crate) struct ClusterCompiler<'a> {
    names: &'a DnsNames,
    metrics: &'a Arc<EndpointRegistry>,
    /// By the address of their specification, which each of them holds.
    endpoints: HashMap<*const EndpointSpec, Arc<Endpoint>>,
    /// With one endpoint, by the address of their specification.
    single: HashMap<*const ClusterSpec, (Arc<ClusterSpec>, Arc<Cluster>)>,
}

impl<'a> ClusterCompiler<'a> {
    /// DNS names of endpoints are handed to the resolver, and endpoints count into `metrics`.
    pub(crate) fn new(
        names: &'a DnsNames,
        metrics: &'a Arc<EndpointRegistry>,
    ) -> ClusterCompiler<'a> {
        ClusterCompiler { names, metrics, endpoints: HashMap::new(), single: HashMap::new() }
    }

    /// Compiles a cluster.
    pub(crate) fn compile(&mut self, spec: &Arc<ClusterSpec>) -> Arc<Cluster> {
        if let Some((_, cluster)) = self.single.get(&Arc::as_ptr(spec)) {
            return Arc::clone(cluster);
        }
        let endpoints: Box<[_]> = spec.endpoints.iter().map(|spec| self.endpoint(spec)).collect();
        let is_single = endpoints.len() == 1;
        let cluster = Arc::new(Cluster::new(spec, endpoints));
        if is_single {
            let both = (Arc::clone(spec), Arc::clone(&cluster));
            self.single.insert(Arc::as_ptr(spec), both);
        }
        cluster
    }

    fn endpoint(&mut self, spec: &Arc<EndpointSpec>) -> Arc<Endpoint> {
        let (names, metrics) = (self.names, self.metrics);
        let endpoint = self.endpoints.entry(Arc::as_ptr(spec));
        let make = || Arc::new(Endpoint::new(spec, names, metrics));
        Arc::clone(endpoint.or_insert_with(make))
    }
}

/// One upstream of a cluster.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As configured.
    pub spec: Arc<EndpointSpec>,
    /// Identifies interchangeable connections: a connection serves any endpoint with an equal key.
    pub(super) key: EndpointKey,
    pub(super) target: Target,
    host: Option<HeaderValue>,
    /// Its counters.
    pub(super) metrics: Arc<EndpointMetrics>,
}

impl Endpoint {
    fn new(
        spec: &Arc<EndpointSpec>,
        names: &DnsNames,
        metrics: &Arc<EndpointRegistry>,
    ) -> Endpoint {
        Endpoint {
            spec: Arc::clone(spec),
            key: EndpointKey::of(spec),
            target: Target::new(&spec.address, names),
            host: HeaderValue::from_str(&spec.authority).ok(),
            metrics: metrics.get(&*spec.authority),
        }
    }

    /// Its authority, for the Host header of requests that do not keep the client's.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Its DNS name, if it has one to resolve.
    pub(super) fn name(&self) -> Option<&Arc<DnsName>> {
        match &self.target {
            Target::Name(name, _) => Some(name),
            Target::Ip(_) | Target::Unix(_) => None,
        }
    }

    /// Whether a connection to this address still leads to the upstream.
    pub(super) fn leads_to(&self, address: Option<IpAddr>) -> bool {
        self.name().is_none_or(|name| leads_to(name, address))
    }
}

/// Whether the name still resolves to an address.
pub(super) fn leads_to(name: &DnsName, address: Option<IpAddr>) -> bool {
    match (&**name.current(), address) {
        (Resolution::Addresses(addresses), Some(address)) => addresses.contains(&address),
        _ => true,
    }
}

/// The target of connections.
#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<DnsName>, u16),
    Ip(SocketAddr),
    Unix(Box<Path>),
}

impl Target {
    fn new(address: &EndpointAddress, names: &DnsNames) -> Target {
        match address {
            EndpointAddress::Name(host, port) => Target::Name(names.name(host), *port),
            EndpointAddress::Ip(address) => Target::Ip(*address),
            EndpointAddress::Unix(path) => Target::Unix(path.as_path().into()),
        }
    }
}

/// SHA-256 over everything that distinguishes connections: the address, the protocol and the TLS
/// identity. It is the key of pools: they survive a reload that changes none of these, and a
/// connection made with one client certificate never serves a route with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointKey([u8; 32]);

/// A part of a digest is a good hash.
impl Hash for EndpointKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl EndpointKey {
    fn of(spec: &EndpointSpec) -> EndpointKey {
        let mut digest = Digest::default();
        digest.field(&[protocol_tag(spec.protocol), u8::from(spec.tls.is_some())]);
        digest.field(&spec.tls.as_ref().map_or([0; 32], |tls| UpstreamTls::key(tls)));
        digest.field(identity(&spec.address).as_bytes());
        EndpointKey(digest.finish())
    }
}

fn protocol_tag(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Auto => 0,
        Protocol::Http2PriorKnowledge => 1,
    }
}

/// The endpoints for the balancer. An endpoint that is listed twice counts twice, with two
/// identities.
fn candidates(endpoints: &[Arc<EndpointSpec>]) -> Vec<Candidate> {
    let mut listed: HashMap<String, u32> = HashMap::new();
    let mut candidate = |endpoint: &Arc<EndpointSpec>| {
        let address = identity(&endpoint.address);
        let before = listed.entry(address.clone()).or_insert(0);
        let identity = if *before == 0 { address } else { format!("{address}|{before}") };
        *before += 1;
        Candidate { identity, weight: endpoint.weight }
    };
    endpoints.iter().map(&mut candidate).collect()
}

fn identity(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Name(host, port) => format!("{}:{port}", host.to_ascii_lowercase()),
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// For the log: the authority, and the address if that differs.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spec.authority)?;
        match &self.target {
            Target::Unix(path) => write!(f, " at {}", path.display()),
            Target::Ip(address) if *address.to_string() != *self.spec.authority => {
                write!(f, " at {address}")
            }
            Target::Ip(_) | Target::Name(..) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        tls::{TrustAnchors, UpstreamTlsSpec},
        upstream::{
            BalancePolicy, DnsFamily, DnsSpec,
            testing::{self, endpoint},
        },
    };

    fn tls(verify_name: &str) -> Option<Arc<UpstreamTlsSpec>> {
        Some(Arc::new(UpstreamTlsSpec {
            sni: verify_name.into(),
            verify_name: verify_name.into(),
            skip_verify: false,
            anchors: Arc::new(TrustAnchors::union(&[])),
            identity: None,
            offer_h2: true,
        }))
    }

    fn cluster(endpoints: Vec<EndpointSpec>) -> Cluster {
        testing::cluster(endpoints, BalancePolicy::RoundRobin)
    }

    fn key(spec: &EndpointSpec) -> EndpointKey {
        EndpointKey::of(spec)
    }

    #[test]
    fn equal_endpoints_share_a_key_despite_weight_and_authority() {
        let one = endpoint("127.0.0.1:8443");
        let other = EndpointSpec { weight: 9, authority: "localhost:8443".into(), ..one.clone() };
        assert_eq!(key(&one), key(&other));
    }

    #[test]
    fn whatever_tells_connections_apart_is_in_the_key() {
        let plain = endpoint("127.0.0.1:8443");
        let others = [
            endpoint("127.0.0.1:8444"),
            EndpointSpec { protocol: Protocol::Http2PriorKnowledge, ..plain.clone() },
            EndpointSpec { tls: tls("a.example"), ..plain.clone() },
            EndpointSpec { tls: tls("b.example"), ..plain.clone() },
        ];
        let mut keys: Vec<_> = others.iter().chain([&plain]).map(|spec| key(spec).0).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn clusters_are_told_apart_even_when_equal() {
        let specs = vec![endpoint("127.0.0.1:1")];
        assert_ne!(cluster(specs.clone()).id, cluster(specs).id);
    }

    #[test]
    fn single_upstreams_are_shared_and_balanced_ones_are_not() {
        let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
        let registry = Arc::new(EndpointRegistry::new(1));
        let mut clusters = ClusterCompiler::new(&names, &registry);
        let one = Arc::new(endpoint("127.0.0.1:1"));
        let spec = |endpoints: &[&Arc<EndpointSpec>]| {
            Arc::new(testing::spec(endpoints.iter().map(|spec| Arc::clone(spec)).collect()))
        };
        let (single, double) = (spec(&[&one]), spec(&[&one, &one]));
        assert!(Arc::ptr_eq(&clusters.compile(&single), &clusters.compile(&single)));
        let (first, second) = (clusters.compile(&double), clusters.compile(&double));
        assert_ne!(first.id, second.id);
        assert!(Arc::ptr_eq(first.endpoint(0), second.endpoint(1)));
    }

    #[test]
    fn an_endpoint_listed_twice_has_two_identities() {
        let twice = ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:12"].map(|at| Arc::new(endpoint(at)));
        let identities: Vec<_> = candidates(&twice).into_iter().map(|c| c.identity).collect();
        assert_eq!(identities, ["127.0.0.1:1", "127.0.0.1:1|1", "127.0.0.1:12"]);
    }

    #[test]
    fn a_connection_is_given_up_once_the_name_leads_elsewhere() {
        let cluster = cluster(vec![endpoint("app.example")]);
        let endpoint = cluster.endpoint(0);
        let (old, new): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert!(endpoint.leads_to(Some(old)), "nothing is known yet");
        let Target::Name(name, _) = &endpoint.target else { panic!("not a name") };
        name.publish(Ok(vec![new]));
        assert!(endpoint.leads_to(Some(new)));
        assert!(!endpoint.leads_to(Some(old)));
    }

    #[test]
    fn the_log_names_the_authority_and_where_it_is() {
        let local =
            EndpointSpec { authority: "localhost:8443".into(), ..endpoint("127.0.0.1:8443") };
        let shown: Vec<_> = cluster(vec![local, endpoint("127.0.0.1:1"), endpoint("app.example")])
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.to_string())
            .collect();
        assert_eq!(shown, ["localhost:8443 at 127.0.0.1:8443", "127.0.0.1:1", "app.example"]);
    }
}
