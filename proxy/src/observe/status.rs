//! The content of `/status`, which `portcullis status` prints.

use serde::{Deserialize, Serialize};

/// The whole state of a running proxy, as JSON carries it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How long the process has been running, in seconds.
    pub uptime_s: u64,
    /// Whether it takes connections.
    pub state: Readiness,
    /// The configuration in use.
    pub config: ConfigView,
    /// The socket for orders; `None` if there is none.
    #[serde(default)]
    pub control_socket: Option<String>,
    /// How the limit on open files is divided.
    #[serde(default)]
    pub descriptors: DescriptorView,
    /// How connections find their worker.
    #[serde(default)]
    pub steering: SteeringView,
    /// Every worker, by id.
    pub workers: Vec<WorkerView>,
    /// Every route, in the order of the configuration.
    pub routes: Vec<RouteView>,
    /// Every certificate of our own.
    pub certificates: Vec<CertificateView>,
    /// Every list of revoked client certificates, by issuer.
    #[serde(default)]
    pub crls: Vec<CrlView>,
    /// Refusals of requests since the start; reasons that have not occurred are left out.
    #[serde(default)]
    pub refusals: Vec<RefusalView>,
    /// Every upstream, by name.
    pub upstreams: Vec<UpstreamView>,
    /// Every endpoint that is checked or may be ejected, by cluster.
    #[serde(default)]
    pub health: Vec<EndpointHealthView>,
    /// Every upstream that no connection can be made to, by name.
    #[serde(default)]
    pub unreachable: Vec<UnreachableView>,
}

/// Whether the proxy takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Readiness {
    /// Not yet.
    #[default]
    Starting,
    /// Yes: a configuration is in use and workers accept.
    Ready,
    /// No longer: open connections finish.
    Draining,
}

/// How the limit on open files is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct DescriptorView {
    /// The limit.
    pub limit: usize,
    /// The most open client connections that it allows.
    pub clients: usize,
    /// The most connections to upstreams.
    pub upstreams: usize,
    /// What is kept for everything else.
    pub reserved: usize,
}

/// The configuration in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ConfigView {
    /// The file it was read from.
    pub file: String,
    /// 1 at start, and one more for each reload that was applied. A refused one does not count.
    pub generation: u64,
    /// The last load; `None` before the first.
    pub last_reload: Option<ReloadView>,
}

/// One load of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadView {
    /// Whether it was applied.
    pub success: bool,
    /// When, in RFC 3339.
    pub time: String,
    /// Why it was refused.
    pub error: Option<String>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct WorkerView {
    /// Its number, from 0.
    pub id: usize,
    /// The core it is pinned to.
    pub cpu: Option<usize>,
    /// Open connections of clients.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Requests begun since the start.
    pub requests: u64,
    /// Its load as steering sees it, in connections: open ones and those accepted lately.
    #[serde(default)]
    pub load: u32,
    /// Whether steering may send connections to it.
    #[serde(default)]
    pub available: bool,
    /// Whether an operator has drained it.
    #[serde(default)]
    pub drained: bool,
}

/// How connections find their worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SteeringView {
    /// `kernel`, `handoff` or `none`.
    pub mode: String,
    /// Why this mode is in use.
    pub reason: String,
    /// Where SYN cookies come from: `catcher`, `sysctl` or `none`.
    #[serde(default)]
    pub cookies: String,
    /// The load up to which a worker is chosen, in percent of the mean.
    pub max_load_percent: u32,
    /// Whether connections for names without a route are refused.
    pub refuse_unknown: bool,
    /// Connections so far; outcomes that have not occurred are left out.
    #[serde(default)]
    pub outcomes: Vec<SteeredView>,
}

/// Which worker gets the connections for a host now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct HostView {
    /// The host, in lower case.
    pub host: String,
    /// The pattern that it matches: a host, or `*` and a suffix. `None` if it matches none.
    pub pattern: Option<String>,
    /// The workers it is pinned to; `None` for all.
    pub pinned: Option<Vec<u32>>,
    /// The workers, the most preferred first.
    pub order: Vec<PlaceView>,
    /// The next connection's worker. `None` if the connection stays where it was accepted, or is
    /// refused.
    pub worker: Option<u32>,
    /// Why this worker.
    pub reason: String,
}

/// A worker among those for a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PlaceView {
    /// Its number.
    pub worker: u32,
    /// Its load, in connections.
    pub load: u32,
    /// Whether it takes connections.
    pub available: bool,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RouteView {
    /// Its name.
    pub name: String,
    /// Its `from` URL.
    pub from: String,
    /// Requests ended since the start.
    pub requests: u64,
    /// Requests that ended with a 5xx code, or without a response.
    pub errors: u64,
    /// Requests that were refused.
    #[serde(default)]
    pub refused: u64,
    /// Whether its clients are asked for a certificate.
    #[serde(default)]
    pub asks_certificate: bool,
    /// What was refused, by reason; reasons that have not occurred are left out.
    #[serde(default)]
    pub refusals: Vec<RefusalView>,
}

/// Refusals of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RefusalView {
    /// The reason, as in `portcullis_refusals_total`.
    pub reason: String,
    /// The status code of the answers.
    pub code: String,
    /// How many since the start.
    pub count: u64,
}

/// Connections by how they were steered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SteeredView {
    /// As in `portcullis_steering_connections_total`.
    pub outcome: String,
    /// How many since the start.
    pub count: u64,
}

/// One certificate of our own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CertificateView {
    /// Its DNS names.
    pub names: Vec<String>,
    /// Where it was read from.
    pub origin: String,
    /// What it is used for.
    pub usage: CertificateUsage,
    /// End of its validity, in RFC 3339.
    pub not_after: String,
    /// Whole days until then; negative when it has expired.
    pub days_left: i64,
}

/// What a certificate is used for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CertificateUsage {
    /// Shown to clients.
    #[default]
    Server,
    /// Shown to upstreams.
    Upstream,
    /// Shown on the metrics listener.
    Metrics,
    /// A CA of clients' certificates.
    #[serde(rename = "client_ca")]
    ClientCa,
}

impl CertificateUsage {
    /// As it stands in metrics and status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CertificateUsage::Server => "server",
            CertificateUsage::Upstream => "upstream",
            CertificateUsage::Metrics => "metrics",
            CertificateUsage::ClientCa => "client_ca",
        }
    }
}

/// One certificate revocation list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CrlView {
    /// Its issuer.
    pub issuer: String,
    /// Certificates in it.
    pub revoked: usize,
    /// When it was issued, in RFC 3339.
    pub this_update: String,
    /// When the next one is due, in RFC 3339.
    pub next_update: Option<String>,
    /// Whole days until then; negative when it is stale.
    pub days_left: Option<i64>,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UpstreamView {
    /// Its authority.
    pub endpoint: String,
    /// Pooled connections that serve no request.
    pub idle: u64,
    /// Connections that serve a request.
    pub active: u64,
    /// Connections begun since the start.
    pub connects: u64,
    /// Requests sent over a pooled connection since the start.
    pub reused: u64,
}

/// An upstream that no connection can be made to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct UnreachableView {
    /// Its authority.
    pub endpoint: String,
    /// Since when, in RFC 3339.
    pub since: String,
    /// The attempts since then.
    pub failures: u64,
    /// Why the last one failed.
    pub last_error: String,
}

/// The health of one endpoint of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct EndpointHealthView {
    /// The cluster's name: that of its route, or of the first of several routes.
    pub cluster: String,
    /// The endpoint's authority.
    pub endpoint: String,
    /// Whether it gets requests.
    pub state: EndpointHealthState,
    /// Since when, in RFC 3339.
    pub since: String,
    /// The last error of a check, or the reason of the last ejection; `None` once it has recovered.
    pub last_error: Option<String>,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndpointHealthState {
    /// It does.
    #[default]
    Up,
    /// Its checks fail.
    Down,
    /// Its checks pass, and it is ejected for its answers to requests.
    Ejected,
}

impl EndpointHealthState {
    /// As it stands in metrics and status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            EndpointHealthState::Up => "up",
            EndpointHealthState::Down => "down",
            EndpointHealthState::Ejected => "ejected",
        }
    }
}
