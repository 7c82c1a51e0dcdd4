//! What the tests of this room share.

use std::time::Duration;

use super::spec::{
    ActionSpec, EscapedSlashes, ForwardedFor, HostRewrite, PathRewrite, ProxySpec, RouteSpec,
    Settings, Underscores,
};
use crate::{
    policy::{Policy, PolicySpec},
    upstream::{BalancePolicy, ClusterSpec},
};

/// The default settings of Pomerium, without response headers.
pub(super) fn settings() -> Settings {
    Settings {
        read_timeout: None,
        stream_timeout: None,
        upstream_timeout: None,
        max_headers: 100,
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::Reject,
        underscores: Underscores::Reject,
        forwarded_for: ForwardedFor { skip_append: false, trusted_hops: 0 },
        response_headers: Vec::new(),
        identity_headers: Vec::new(),
        certificate_identity: None,
    }
}

/// What `allow_public_unauthenticated_access` says.
pub(super) fn everybody() -> Policy {
    Policy::new(&PolicySpec { allow_public_unauthenticated_access: true, ..Default::default() })
}

/// A route without rules of its own.
pub(super) fn route(policy: Policy, action: ActionSpec) -> RouteSpec {
    RouteSpec {
        name: "a".into(),
        policy,
        client_trust: None,
        action,
        timeout: None,
        idle_timeout: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        pass_identity_headers: false,
        upgrades: Vec::new(),
    }
}

/// Forwards to nowhere, with the upstream's own host.
pub(super) fn proxy() -> ProxySpec {
    ProxySpec {
        cluster: ClusterSpec {
            name: "a".into(),
            endpoints: Vec::new(),
            balance: BalancePolicy::RoundRobin,
            connect_timeout: Duration::from_secs(1),
        },
        path: PathRewrite::Keep,
        host: HostRewrite::Upstream,
    }
}
