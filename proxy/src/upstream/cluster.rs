//! A route's upstreams, compiled.

use std::{
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
    ClusterSpec, EndpointAddress, EndpointSpec, Name, Names, Protocol, Resolution,
    balance::{Balance, Candidate},
};
use crate::{
    observe::{EndpointMetrics, EndpointRegistry},
    tls::UpstreamTls,
};

/// A route's upstreams, compiled once for all workers.
#[derive(Debug)]
pub struct Cluster {
    /// Tells clusters apart in a worker's own state; never used twice.
    pub(super) id: u64,
    /// Gone once no snapshot and no request holds the cluster: so workers forget its state.
    pub(super) alive: Arc<()>,
    name: Box<str>,
    pub(super) connect_timeout: Duration,
    pub(super) balance: Balance,
    first: Arc<Endpoint>,
    endpoints: Box<[Arc<Endpoint>]>,
}

impl Cluster {
    /// Compiles a cluster. Names of its endpoints are handed to the resolver here, and what its
    /// endpoints count goes into `metrics`.
    pub fn new(spec: &ClusterSpec, names: &Names, metrics: &EndpointRegistry) -> Cluster {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let endpoints: Box<[_]> = spec
            .endpoints
            .iter()
            .map(|endpoint| Arc::new(Endpoint::new(endpoint, names, metrics)))
            .collect();
        let first = endpoints.first().expect("a cluster has at least one endpoint").clone();
        Cluster {
            id: NEXT_ID.fetch_add(1, Relaxed),
            alive: Arc::new(()),
            name: spec.name.clone(),
            connect_timeout: spec.connect_timeout,
            balance: Balance::new(spec.balance, &candidates(&spec.endpoints)),
            first,
            endpoints,
        }
    }

    /// Its name, for logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its endpoints, in the order of the configuration; at least one.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint of an index; the first one for an index that has none.
    pub(crate) fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        self.endpoints.get(index).unwrap_or(&self.first)
    }
}

/// One upstream of a cluster.
#[derive(Debug)]
pub struct Endpoint {
    /// As configured.
    pub spec: EndpointSpec,
    /// What connections to it have in common: those of equal keys may stand in for one another.
    pub(super) key: EndpointKey,
    pub(super) target: Target,
    host: Option<HeaderValue>,
    /// What workers count for it.
    pub(super) metrics: Arc<EndpointMetrics>,
}

impl Endpoint {
    fn new(spec: &EndpointSpec, names: &Names, metrics: &EndpointRegistry) -> Endpoint {
        Endpoint {
            spec: spec.clone(),
            key: EndpointKey::of(spec),
            target: Target::new(&spec.address, names),
            host: HeaderValue::from_str(&spec.authority).ok(),
            metrics: metrics.get(&spec.authority),
        }
    }

    /// Its authority, as the Host header of requests that carry the upstream's own.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Its name, where it has one to resolve.
    pub(super) fn name(&self) -> Option<&Arc<Name>> {
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

/// Whether an address is still one of the name's: false once it resolves to others.
pub(super) fn leads_to(name: &Name, address: Option<IpAddr>) -> bool {
    match (&**name.current(), address) {
        (Resolution::Addresses(addresses), Some(address)) => addresses.contains(&address),
        _ => true,
    }
}

/// Where connections go.
#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<Name>, u16),
    Ip(SocketAddr),
    Unix(Box<Path>),
}

impl Target {
    fn new(address: &EndpointAddress, names: &Names) -> Target {
        match address {
            EndpointAddress::Name(host, port) => Target::Name(names.name(host), *port),
            EndpointAddress::Ip(address) => Target::Ip(*address),
            EndpointAddress::Unix(path) => Target::Unix(path.as_path().into()),
        }
    }
}

/// SHA-256 over everything that tells one connection from another: the address, the protocol and
/// the TLS identity. Pools are kept by it, so they survive a reload that changes none of these, and
/// a connection made with one client certificate never serves a route that has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointKey([u8; 32]);

/// A part of a digest is as good a hash as any.
impl Hash for EndpointKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl EndpointKey {
    fn of(spec: &EndpointSpec) -> EndpointKey {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(&[protocol_tag(spec.protocol), u8::from(spec.tls.is_some())]);
        digest.update(&spec.tls.as_ref().map_or([0; 32], |tls| UpstreamTls::key(tls)));
        digest.update(identity(&spec.address).as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(digest.finish().as_ref());
        EndpointKey(key)
    }
}

fn protocol_tag(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Auto => 0,
        Protocol::Http2PriorKnowledge => 1,
    }
}

/// Endpoints for the balancer. One that is listed twice counts twice, under two identities.
fn candidates(endpoints: &[EndpointSpec]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for endpoint in endpoints {
        let address = identity(&endpoint.address);
        let before = candidates.iter().filter(|other| is_same(&other.identity, &address)).count();
        let identity = if before == 0 { address } else { format!("{address}|{before}") };
        candidates.push(Candidate { identity, weight: endpoint.weight });
    }
    candidates
}

fn is_same(identity: &str, address: &str) -> bool {
    identity.strip_prefix(address).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
}

fn identity(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Name(host, port) => format!("{}:{port}", host.to_ascii_lowercase()),
        EndpointAddress::Ip(address) => address.to_string(),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// For the log: the authority, and the address where that says more.
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
            BalancePolicy,
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
    fn equal_endpoints_share_a_key_whatever_their_weight_and_authority() {
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
    fn an_endpoint_listed_twice_has_two_identities() {
        let twice = [endpoint("127.0.0.1:1"), endpoint("127.0.0.1:1"), endpoint("127.0.0.1:12")];
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
