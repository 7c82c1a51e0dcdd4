//! Our own section: limits, workers, and the admin and metrics listeners.

use std::{net::SocketAddr, num::NonZeroUsize, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    super::{admin_address::DEFAULT_ADMIN_ADDRESS, encoding, section::Section},
    address,
    http::limit,
    material::{IdentityKeys, Materials},
};
use crate::{
    admin::{AdminSpec, MetricsListenerSpec, Secret},
    conn, hostname,
    tls::Codec,
};

/// More than Linux allows a process to open by default: surely a mistake.
const MAX_CONNECTIONS: RangeInclusive<usize> = 1..=16 << 20;

/// Deadlines and limits of connections, and the HTTP versions of those without TLS.
pub(super) fn connections(
    root: &Section<'_>,
    own: &Section<'_>,
    max_connections: Option<usize>,
    codec: Codec,
) -> conn::ConnectionSettings {
    let max_connections = max_connections.unwrap_or(65_536);
    let per_worker = ranged(own, "max_connections_per_worker", MAX_CONNECTIONS);
    conn::ConnectionSettings {
        handshake_timeout: deadline(own, "handshake_timeout", 10),
        header_timeout: deadline(own, "header_timeout", 10),
        idle_timeout: limit(root, "timeout_idle", Some(Duration::from_secs(300))),
        drain_timeout: deadline(own, "drain_timeout", 60),
        max_connections,
        max_connections_per_worker: per_worker.unwrap_or(max_connections),
        // hyper's HTTP/1 buffer has at least 8 KiB.
        max_header_bytes: ranged(own, "max_header_bytes", 8 << 10..=16 << 20).unwrap_or(128 << 10),
        max_headers: max_headers(own),
        codec,
        h2_max_concurrent_streams: 100,
        h2_stream_window_bytes: 64 << 10,
        h2_connection_window_bytes: 1 << 20,
    }
}

/// `portcullis.max_connections`, if it is set.
pub(super) fn max_connections(own: &Section<'_>) -> Option<usize> {
    ranged(own, "max_connections", MAX_CONNECTIONS)
}

/// `portcullis.max_headers`.
pub(super) fn max_headers(own: &Section<'_>) -> usize {
    ranged(own, "max_headers", 1..=10_000).unwrap_or(100)
}

/// `portcullis.max_response_headers`.
pub(super) fn max_response_headers(own: &Section<'_>) -> u16 {
    ranged(own, "max_response_headers", 1..=10_000).unwrap_or(100)
}

/// `portcullis.workers`.
pub(super) fn workers(own: &Section<'_>) -> Option<NonZeroUsize> {
    ranged(own, "workers", 1..=1024).and_then(NonZeroUsize::new)
}

/// `portcullis.first_health_checks`.
pub(super) fn first_health_checks(own: &Section<'_>) -> Duration {
    own.duration("first_health_checks").unwrap_or(Duration::from_secs(3))
}

pub(super) fn ranged<T>(section: &Section<'_>, key: &str, range: RangeInclusive<T>) -> Option<T>
where
    T: FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let number = section.number::<T>(key)?;
    if range.contains(&number) {
        return Some(number);
    }
    section.error(key, format!("{number} is not from {} to {}", range.start(), range.end()));
    None
}

/// A mandatory deadline: without it a silent client would stay for ever.
fn deadline(own: &Section<'_>, key: &str, default_s: u64) -> Duration {
    let deadline = own.duration(key).unwrap_or(Duration::from_secs(default_s));
    if deadline.is_zero() {
        own.error(key, "must be longer than zero");
    }
    deadline
}

/// Flags of `runtime_flags` that have an effect here.
pub(super) struct RuntimeFlags {
    pub(super) config_hot_reload: bool,
    pub(super) match_any_incoming_port: bool,
}

/// Flags of Pomerium that change what users see, and nothing here.
const FLAGS_WITHOUT_EFFECT: [&str; 5] = [
    "allow_any_sign_out_redirect_uri",
    "mcp",
    "pomerium_jwt_endpoint",
    "refresh_session_at_id_token_expiration",
    "routes_portal",
];

/// `runtime_flags`; flags of Pomerium's internals are ignored.
pub(super) fn runtime_flags(root: &Section<'_>) -> RuntimeFlags {
    let flags = root.child_or_empty("runtime_flags");
    for flag in FLAGS_WITHOUT_EFFECT {
        if flags.flag(flag) == Some(true) {
            flags.warn(flag, "has no effect");
        }
    }
    RuntimeFlags {
        config_hot_reload: flags.flag("config_hot_reload").unwrap_or(true),
        match_any_incoming_port: flags.flag("match_any_incoming_port").unwrap_or(true),
    }
}

/// `portcullis.admin_address`, and Pomerium's metrics listener.
pub(super) fn admin(root: &Section<'_>, own: &Section<'_>, materials: &Materials) -> AdminSpec {
    let address = match own.text("admin_address") {
        Some(text) => listen_address(own, "admin_address", &text),
        None if own.is_blank("admin_address") || own.has("admin_address") => None,
        None => Some(DEFAULT_ADMIN_ADDRESS),
    };
    if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
        let message = format!(
            "other machines can reach {address}, which has neither a password nor TLS, and shows \
             hosts, upstreams and certificates"
        );
        let hint = "use 127.0.0.1:9464, and metrics_address for Prometheus";
        own.warn_with_hint("admin_address", message, hint);
    }
    AdminSpec { address, hosts: admin_hosts(own), metrics: metrics(root, materials) }
}

/// `portcullis.admin_hosts`, in normal form.
fn admin_hosts(own: &Section<'_>) -> Vec<String> {
    let normal = |host: String| {
        let name = hostname::normalise_pattern(&host).filter(|name| !name[1..].contains('*'));
        if name.is_none() || (host.starts_with('*') && host != "*") {
            let hint = "write a name without a port, such as portcullis.internal, or `*`";
            own.error_with_hint("admin_hosts", format!("`{host}` is not a host name"), hint);
        }
        name.map(String::from)
    };
    own.list("admin_hosts").into_iter().filter_map(normal).collect()
}

fn metrics(root: &Section<'_>, materials: &Materials) -> Option<MetricsListenerSpec> {
    let basic_auth = basic_auth(root);
    let keys = IdentityKeys {
        inline: ("metrics_certificate", "metrics_certificate_key"),
        files: ("metrics_certificate_file", "metrics_certificate_key_file"),
    };
    let identity = materials.identity(root, &keys);
    let client_anchors = materials.anchors(root, "metrics_client_ca", "metrics_client_ca_file");
    if client_anchors.is_some() && identity.is_none() {
        let key = ["metrics_client_ca", "metrics_client_ca_file"]
            .into_iter()
            .find(|key| root.has(key))
            .unwrap_or("metrics_client_ca");
        let hint = "set metrics_certificate_file and metrics_certificate_key_file";
        root.error_with_hint(key, "needs a certificate to serve metrics over TLS", hint);
    }
    let text = root.text("metrics_address")?;
    let address = listen_address(root, "metrics_address", &text)?;
    Some(MetricsListenerSpec { address, basic_auth, identity, client_anchors })
}

fn listen_address(section: &Section<'_>, key: &str, text: &str) -> Option<SocketAddr> {
    match address::parse(text, None) {
        Ok(address) => Some(address),
        Err(problem) => {
            section.error_with_hint(key, problem, "write :9464 or 127.0.0.1:9464");
            None
        }
    }
}

fn basic_auth(root: &Section<'_>) -> Option<Secret> {
    let key = "metrics_basic_auth";
    if root.is_blank(key) {
        root.error_with_hint(key, "is empty", "give it a value, or remove the key");
    }
    let text = root.text(key)?;
    let decoded = encoding::base64(&text).and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|_| "is base64, but the decoded text is not UTF-8".to_owned())
    });
    match decoded {
        Ok(pair) if pair.contains(':') => Some(Secret(pair)),
        Ok(_) => {
            root.error(key, "should contain a user name and password separated by a colon");
            None
        }
        Err(problem) => {
            root.error_with_hint(key, problem, "printf 'user:password' | base64");
            None
        }
    }
}
