//! The upstreams of a route, and TLS to them.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::ServerName;
use serde_yaml::Value;

use super::{
    super::{
        env::Environment,
        section::{Section, scalar_text},
    },
    circuit_breakers,
    inspect::any_on,
    material::{IdentityKeys, Materials},
    url::{self, Url},
};
use crate::{
    tls::{CertificateWithKey, TrustAnchors, UpstreamTlsSpec},
    upstream::{
        BalancePolicy, CircuitBreakerSpec, ClusterSpec, EndpointAddress, EndpointSpec, Protocol,
        ResilienceSpec,
    },
};

/// Fixed in Pomerium.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A route's cluster, and the path of its first URL, which acts as a prefix.
#[derive(Debug, Clone)]
pub(super) struct RouteTarget {
    pub(super) cluster: Arc<ClusterSpec>,
    pub(super) path: String,
}

/// Keys that say which requests a route serves and who may use it, and so nothing of where it leads.
const OTHER_KEYS: [&str; 10] = [
    "from",
    "name",
    "description",
    "prefix",
    "path",
    "regex",
    "policy",
    "allowed_domains",
    "allowed_users",
    "allow_public_unauthenticated_access",
];

/// What a route says besides [`OTHER_KEYS`], and where it leads.
struct KnownTarget {
    written: Vec<(String, Value)>,
    target: RouteTarget,
}

impl KnownTarget {
    fn new(route: &Section<'_>, target: &RouteTarget) -> KnownTarget {
        let written = KnownTarget::keys(route).map(|(key, value)| (key.to_owned(), value.clone()));
        KnownTarget { written: written.collect(), target: target.clone() }
    }

    fn is_of(&self, route: &Section<'_>) -> bool {
        KnownTarget::keys(route).eq(self.written.iter().map(|(key, value)| (&**key, value)))
    }

    fn keys<'a>(route: &Section<'a>) -> impl Iterator<Item = (&'a str, &'a Value)> {
        route.entries().filter(|(key, _)| !OTHER_KEYS.contains(key))
    }
}

/// Reads `to` and its related keys; `None` without a valid endpoint. Many routes in a row lead to the
/// same place, which is then read once, unless there is something to report.
pub(super) fn target(
    route: &Section<'_>,
    trust: &Trust<'_>,
    materials: &Materials,
) -> Option<RouteTarget> {
    if let Some(known) = trust.last.borrow().as_ref().filter(|known| known.is_of(route)) {
        return Some(known.target.clone());
    }
    let findings = route.context().findings();
    let target = read_target(route, trust, materials)?;
    if route.context().findings() == findings {
        trust.last.replace(Some(KnownTarget::new(route, &target)));
    }
    Some(target)
}

fn read_target(
    route: &Section<'_>,
    trust: &Trust<'_>,
    materials: &Materials,
) -> Option<RouteTarget> {
    let destinations = destinations(route);
    let balance = balance(route);
    let tls = tls(route, &destinations, trust, materials);
    let path = common_path(route, &destinations);
    let weights = weights(route, &destinations);
    let endpoints: Vec<_> = destinations
        .iter()
        .zip(weights)
        .map(|(destination, weight)| {
            let tls = tls.as_ref().filter(|_| destination.is_tls());
            let tls = tls.and_then(|tls| tls.towards(route, destination));
            trust.interned.endpoint(endpoint(destination, weight, trust.interned.tls(tls)))
        })
        .collect();
    if endpoints.is_empty() {
        return None;
    }
    let resilience = super::resilience::resilience(route, endpoints.len(), &trust.limits);
    Some(RouteTarget { cluster: trust.interned.cluster(endpoints, balance, resilience), path })
}

/// One item of `to`.
struct Destination {
    url: Url,
    weight: Option<u32>,
    socket: Option<PathBuf>,
}

impl Destination {
    fn is_tls(&self) -> bool {
        matches!(self.url.scheme.as_str(), "https" | "https+unix")
    }

    fn own_port(&self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }
}

fn destinations(route: &Section<'_>) -> Vec<Destination> {
    let Some(value) = route.value("to") else { return Vec::new() };
    let texts: Vec<(String, &Value)> = match value {
        Value::Sequence(items) => {
            items.iter().enumerate().map(|(index, item)| (format!("to[{index}]"), item)).collect()
        }
        single => vec![("to".to_owned(), single)],
    };
    if texts.is_empty() {
        route.error("to", "is an empty list");
    }
    let mut destinations = Vec::with_capacity(texts.len());
    for (key, value) in texts {
        match scalar_text(value) {
            Some(text) => destinations.extend(destination(route, &key, &text)),
            None => route.error(&key, "expected a URL"),
        }
    }
    mixed_kinds(route, &destinations);
    destinations
}

fn destination(route: &Section<'_>, key: &str, text: &str) -> Option<Destination> {
    let hint = "write https://app.internal:8443";
    let (text, weight) = match split_weight(text.trim()) {
        Ok(split) => split,
        Err(problem) => {
            route.error(key, problem);
            return None;
        }
    };
    let url = match url::parse(text) {
        Ok(url) => url,
        Err(problem) => {
            route.error_with_hint(key, problem, hint);
            return None;
        }
    };
    match url.scheme.as_str() {
        "http" | "https" | "h2c" => by_name(route, key, url, weight),
        "unix" | "http+unix" | "https+unix" => by_socket(route, key, url, weight),
        "tcp" | "udp" | "ssh" => {
            route.error(key, format!("{} upstreams are not supported yet", url.scheme));
            None
        }
        other => {
            let known = "use http, https, h2c, unix or https+unix";
            route.error_with_hint(key, format!("`{other}` is not a known scheme"), known);
            None
        }
    }
}

/// `https://a,10` is a URL and its weight.
fn split_weight(text: &str) -> Result<(&str, Option<u32>), String> {
    let Some((url, weight)) = text.rsplit_once(',') else { return Ok((text, None)) };
    match weight.trim().parse() {
        Ok(0) => Err("zero load balancing weight not permitted".to_owned()),
        Ok(weight) => Ok((url.trim(), Some(weight))),
        Err(_) => Err(format!("`{weight}` is not a load balancing weight")),
    }
}

fn by_name(route: &Section<'_>, key: &str, url: Url, weight: Option<u32>) -> Option<Destination> {
    if url.host.is_empty() {
        route.error(key, "endpoint hostname must be specified");
        return None;
    }
    if url.host.contains('*') {
        route.error(key, format!("`{}` is not a host name", url.host));
        return None;
    }
    Some(Destination { url, weight, socket: None })
}

fn by_socket(
    route: &Section<'_>,
    key: &str,
    mut url: Url,
    weight: Option<u32>,
) -> Option<Destination> {
    if !url.host.is_empty() || url.port.is_some() || url.path.len() < 2 {
        route.error_with_hint(key, "has no socket path", "write unix:///run/app.sock");
        return None;
    }
    let socket = PathBuf::from(std::mem::take(&mut url.path));
    // The Host that curl and nginx send to a unix socket.
    url.host = "localhost".to_owned();
    Some(Destination { url, weight, socket: Some(socket) })
}

fn mixed_kinds(route: &Section<'_>, destinations: &[Destination]) {
    let sockets = destinations.iter().filter(|destination| destination.socket.is_some()).count();
    if sockets > 0 && sockets < destinations.len() {
        route.error("to", "cannot mix unix and non-unix To URLs");
    }
}

/// Checks that either all endpoints have a weight or none has.
fn weights(route: &Section<'_>, destinations: &[Destination]) -> Vec<u32> {
    let given = destinations.iter().filter(|destination| destination.weight.is_some()).count();
    if given > 0 && given < destinations.len() {
        let message = "either no weights should be provided, or all endpoints must have non-zero \
                       weight specified";
        route.error("to", message);
    }
    destinations.iter().map(|destination| destination.weight.unwrap_or(1)).collect()
}

fn common_path(route: &Section<'_>, destinations: &[Destination]) -> String {
    let mut paths = destinations.iter().map(|destination| destination.url.path.as_str());
    let Some(first) = paths.next() else { return String::new() };
    if paths.any(|path| path != first) {
        route.warn("to", format!("the path of the first URL, `{first}`, is used with all of them"));
    }
    if !first.is_empty() {
        super::rewrite::absolute_path(route, "to", first);
    }
    first.to_owned()
}

fn balance(route: &Section<'_>) -> BalancePolicy {
    let choices = [
        ("ROUND_ROBIN", BalancePolicy::RoundRobin),
        ("LEAST_REQUEST", BalancePolicy::LeastRequest),
        ("RANDOM", BalancePolicy::Random),
        ("RING_HASH", BalancePolicy::RingHash),
        ("MAGLEV", BalancePolicy::Maglev),
    ];
    // The names with the prefixes of Pomerium's and Envoy's enumerations.
    let strip = |key: &str| -> Option<BalancePolicy> {
        let text = route.text(key)?.to_uppercase();
        let short = ["LOAD_BALANCING_POLICY_", "LB_POLICY_"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        match short.and_then(|short| choices.iter().find(|(name, _)| *name == short)) {
            Some((_, policy)) => Some(*policy),
            None => route.choice(key, &choices),
        }
    };
    let (new, old) = (strip("load_balancing_policy"), strip("lb_policy"));
    if new.is_some() && old.is_some() {
        super::material::contradiction(route, "lb_policy", "load_balancing_policy");
    }
    new.or(old).unwrap_or(BalancePolicy::RoundRobin)
}

fn endpoint(
    destination: &Destination,
    weight: u32,
    tls: Option<Arc<UpstreamTlsSpec>>,
) -> EndpointSpec {
    let protocol = match destination.url.scheme.as_str() {
        "h2c" => Protocol::Http2PriorKnowledge,
        _ => Protocol::Auto,
    };
    EndpointSpec {
        authority: destination.url.authority(destination.own_port()).into(),
        address: address(destination),
        weight,
        tls,
        protocol,
    }
}

fn address(destination: &Destination) -> EndpointAddress {
    if let Some(socket) = &destination.socket {
        return EndpointAddress::Unix(socket.clone());
    }
    let url = &destination.url;
    let port = url.port.unwrap_or(destination.own_port());
    match url.ip() {
        Some(ip) => EndpointAddress::Ip(SocketAddr::new(ip, port)),
        // As in Pomerium: a server on localhost rarely listens on ::1 too.
        None if url.host == "localhost" => {
            EndpointAddress::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
        None => EndpointAddress::Name(url.host.as_str().into(), port),
    }
}

/// The TLS settings of a route; the name depends on the endpoint.
struct RouteTls {
    name_key: &'static str,
    name: Option<String>,
    skip_verify: bool,
    anchors: Arc<TrustAnchors>,
    identity: Option<Arc<CertificateWithKey>>,
}

const CLIENT_IDENTITY: IdentityKeys = IdentityKeys {
    inline: ("tls_client_cert", "tls_client_key"),
    files: ("tls_client_cert_file", "tls_client_key_file"),
};

/// TLS to the upstreams of a route; `None` if no upstream uses it.
fn tls(
    route: &Section<'_>,
    destinations: &[Destination],
    trust: &Trust<'_>,
    materials: &Materials,
) -> Option<RouteTls> {
    let identity = materials.identity(route, &CLIENT_IDENTITY);
    let custom = materials.anchors(route, "tls_custom_ca", "tls_custom_ca_file");
    let custom_given = ["tls_custom_ca", "tls_custom_ca_file"]
        .iter()
        .any(|key| route.has(key) || route.is_blank(key));
    let skip_verify = route.flag("tls_skip_verify").unwrap_or(false);
    if !destinations.iter().any(Destination::is_tls) {
        warn_of_idle_keys(route, destinations);
        return None;
    }
    if skip_verify {
        route.warn("tls_skip_verify", "any certificate of the upstream is accepted");
    }
    let anchors = match custom {
        Some(custom) => custom,
        // If these were ever used to verify, every certificate would be rejected.
        None if skip_verify => Arc::clone(&trust.nobody),
        // Its error has been reported; the system's roots must not replace it.
        None if custom_given => return None,
        None => trust.default_anchors(route, "to")?,
    };
    let name_key = ["tls_upstream_server_name", "tls_server_name"]
        .into_iter()
        .find(|key| route.text(key).is_some())
        .unwrap_or("to");
    let name = (name_key != "to").then(|| route.text(name_key)).flatten();
    Some(RouteTls { name_key, name, skip_verify, anchors, identity })
}

fn warn_of_idle_keys(route: &Section<'_>, destinations: &[Destination]) {
    let keys = [
        "tls_upstream_server_name",
        "tls_server_name",
        "tls_skip_verify",
        "tls_custom_ca",
        "tls_custom_ca_file",
        "tls_client_cert",
        "tls_client_cert_file",
    ];
    let idle = keys.into_iter().find(|key| any_on(route, &[key]));
    if let Some(key) = idle
        && !destinations.is_empty()
    {
        route.warn(key, "has no effect: no URL in `to` is https");
    }
}

impl RouteTls {
    fn towards(&self, route: &Section<'_>, destination: &Destination) -> Option<UpstreamTlsSpec> {
        let host = destination.url.host.as_str();
        let wanted = match &self.name {
            Some(name) => name.to_lowercase(),
            None if destination.socket.is_some() && !self.skip_verify => {
                let message = "a unix socket has no name to verify the certificate against";
                route.error_with_hint("to", message, "set tls_upstream_server_name");
                return None;
            }
            None => host.to_owned(),
        };
        let wanted = verify_name(&wanted);
        let is_pattern = wanted.contains('*');
        if !is_pattern && ServerName::try_from(wanted).is_err() {
            let message =
                format!("`{}` cannot be the name in a certificate", wanted.escape_debug());
            route.error(self.name_key, message);
            return None;
        }
        // A pattern cannot be an SNI, so the host of the URL is sent.
        let sni = if is_pattern { host } else { wanted };
        Some(UpstreamTlsSpec {
            sni: sni.into(),
            verify_name: wanted.into(),
            skip_verify: self.skip_verify,
            anchors: Arc::clone(&self.anchors),
            identity: self.identity.clone(),
            offer_h2: true,
        })
    }
}

/// Certificates name IPv6 addresses without brackets and zone, and hosts without a trailing dot.
fn verify_name(name: &str) -> &str {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    bare.strip_suffix('.').unwrap_or(bare)
}

/// Specifications shared by several routes: most of 100,000 routes have one of a few.
#[derive(Default)]
struct Interned {
    tls: RefCell<HashMap<TlsKey, Arc<UpstreamTlsSpec>>>,
    endpoints: RefCell<HashMap<EndpointKey, Arc<EndpointSpec>>>,
    clusters: RefCell<HashMap<ClusterKey, Arc<ClusterSpec>>>,
}

/// Keyed by the addresses of parts that [`Materials`] has made once.
type TlsKey = (Box<str>, Box<str>, bool, *const TrustAnchors, Option<*const CertificateWithKey>);
type EndpointKey = (Box<str>, EndpointAddress, u32, Option<*const UpstreamTlsSpec>, Protocol);
type ClusterKey = (Vec<*const EndpointSpec>, BalancePolicy, Option<Arc<ResilienceSpec>>);

impl Interned {
    fn tls(&self, spec: Option<UpstreamTlsSpec>) -> Option<Arc<UpstreamTlsSpec>> {
        let spec = spec?;
        let identity = spec.identity.as_ref().map(Arc::as_ptr);
        let anchors = Arc::as_ptr(&spec.anchors);
        let key = (spec.sni.clone(), spec.verify_name.clone(), spec.skip_verify, anchors, identity);
        Some(once(&self.tls, key, || spec))
    }

    fn endpoint(&self, spec: EndpointSpec) -> Arc<EndpointSpec> {
        let tls = spec.tls.as_ref().map(Arc::as_ptr);
        let address = spec.address.clone();
        let key = (spec.authority.clone(), address, spec.weight, tls, spec.protocol);
        once(&self.endpoints, key, || spec)
    }

    fn cluster(
        &self,
        endpoints: Vec<Arc<EndpointSpec>>,
        balance: BalancePolicy,
        resilience: Option<Arc<ResilienceSpec>>,
    ) -> Arc<ClusterSpec> {
        let key = (endpoints.iter().map(Arc::as_ptr).collect(), balance, resilience.clone());
        let connect_timeout = CONNECT_TIMEOUT;
        let make =
            || ClusterSpec { endpoints: endpoints.into(), balance, connect_timeout, resilience };
        once(&self.clusters, key, make)
    }
}

fn once<K: Eq + Hash, V>(
    known: &RefCell<HashMap<K, Arc<V>>>,
    key: K,
    make: impl FnOnce() -> V,
) -> Arc<V> {
    Arc::clone(known.borrow_mut().entry(key).or_insert_with(|| Arc::new(make())))
}

/// The trust of routes without a CA of their own.
pub(super) struct Trust<'a> {
    environment: &'a Environment,
    /// `certificate_authority`, beside the system's roots.
    extra: Option<Arc<TrustAnchors>>,
    /// `circuit_breaker_thresholds`, for routes that say nothing else.
    limits: CircuitBreakerSpec,
    interned: Interned,
    /// Of the last route that led somewhere else than the one before it.
    last: RefCell<Option<KnownTarget>>,
    /// Trusted by routes that verify nothing.
    nobody: Arc<TrustAnchors>,
    /// Read when the first route needs them; `None` after a failure, which is reported once.
    default: OnceCell<Option<Arc<TrustAnchors>>>,
}

impl<'a> Trust<'a> {
    /// Only `certificate_authority` and `circuit_breaker_thresholds` are read at this point.
    pub(super) fn new(
        root: &Section<'_>,
        environment: &'a Environment,
        materials: &Materials,
    ) -> Trust<'a> {
        let keys = ("certificate_authority", "certificate_authority_file");
        let extra = materials.anchors(root, keys.0, keys.1);
        let nobody = Arc::new(TrustAnchors::union(&[]));
        Trust {
            environment,
            extra,
            limits: circuit_breakers::limits(root, &CircuitBreakerSpec::default()),
            interned: Interned::default(),
            last: RefCell::default(),
            nobody,
            default: OnceCell::new(),
        }
    }

    /// A failure is reported once, at the key of the section that needs them first.
    pub(super) fn default_anchors(
        &self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<Arc<TrustAnchors>> {
        self.default.get_or_init(|| self.read_default(section, key)).clone()
    }

    fn read_default(&self, section: &Section<'_>, key: &str) -> Option<Arc<TrustAnchors>> {
        let file = self.environment.get("SSL_CERT_FILE");
        let dir = self.environment.get("SSL_CERT_DIR");
        if let Some(file) = file {
            // Adds it to the watched files; its errors are reported below.
            let _ = section.context().read(Path::new(file));
        }
        let system = TrustAnchors::system(
            file.map(|value| value.as_os_str()),
            dir.map(|value| value.as_os_str()),
        );
        match (system, &self.extra) {
            (Ok(system), None) => Some(Arc::new(system)),
            (Ok(system), Some(extra)) => Some(Arc::new(TrustAnchors::union(&[&system, extra]))),
            (Err(_), Some(extra)) if file.is_none() && dir.is_none() => Some(Arc::clone(extra)),
            (Err(problem), _) => {
                let message = format!("no trusted roots for upstream certificates: {problem}");
                let hint = "install ca-certificates, or set tls_custom_ca_file or \
                            certificate_authority_file";
                section.error_with_hint(key, message, hint);
                None
            }
        }
    }
}
