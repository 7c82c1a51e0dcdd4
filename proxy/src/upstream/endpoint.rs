//! One upstream of a cluster, compiled.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use ::http::HeaderValue;

use super::{DnsName, DnsNames, EndpointAddress, EndpointSpec, Protocol, Resolution};
use crate::{
    digest::Digest,
    observe::{EndpointMetrics, EndpointRegistry},
    tls::UpstreamTls,
};

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
    pub(super) fn new(
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

    /// Whether requests go to the same place, over the same connections, with the same Host.
    pub(super) fn is_equivalent(&self, other: &Endpoint) -> bool {
        self.key == other.key
            && self.spec.authority == other.spec.authority
            && self.spec.weight == other.spec.weight
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
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

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

/// The address in one form, whatever the letter case of its name.
pub(super) fn identity(address: &EndpointAddress) -> String {
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

    fn compiled(specs: Vec<EndpointSpec>) -> Vec<Arc<Endpoint>> {
        let cluster = testing::cluster(specs, BalancePolicy::RoundRobin);
        cluster.current().endpoints().to_vec()
    }

    #[test]
    fn a_connection_is_given_up_once_the_name_leads_elsewhere() {
        let endpoint = &compiled(vec![endpoint("app.example")])[0];
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
        let shown: Vec<_> = compiled(vec![local, endpoint("127.0.0.1:1"), endpoint("app.example")])
            .iter()
            .map(|endpoint| endpoint.to_string())
            .collect();
        assert_eq!(shown, ["localhost:8443 at 127.0.0.1:8443", "127.0.0.1:1", "app.example"]);
    }
}
