//! Warnings about parts that are right alone and do not fit together.

use std::collections::{BTreeSet, HashSet};

use super::super::{diagnostic::Severity, model::RouteConfig, section::Section};
use crate::{
    listener::ListenSpec,
    route::{HostMatch, PortMatch},
    tls::ServerTlsSpec,
};

/// After so many warnings of one kind the rest is counted.
const MOST_TOLD: usize = 10;

/// Warns of hosts that no certificate is for, and of ports at which nothing listens.
pub(super) fn check(
    root: &Section<'_>,
    routes: &[RouteConfig],
    tls: Option<&ServerTlsSpec>,
    listen: &ListenSpec,
) {
    if root.list_len("policy") + root.list_len("routes") != routes.len() {
        // A route is missing here that has a mistake: the places of the others are not known.
        return;
    }
    if let Some(tls) = tls {
        hosts(root, routes, tls);
    }
    ports(root, routes, listen);
}

fn hosts(root: &Section<'_>, routes: &[RouteConfig], tls: &ServerTlsSpec) {
    let names: HashSet<&str> =
        tls.certificates.iter().flat_map(|it| &it.names).map(String::as_str).collect();
    if names.is_empty() {
        return;
    }
    let mut told = BTreeSet::new();
    let mut left_out = 0_usize;
    for (index, route) in routes.iter().enumerate() {
        let HostMatch::Exact(host) = &route.matcher.host else { continue };
        if is_covered(host, &names) || told.contains(&**host) {
            continue;
        }
        if told.len() == MOST_TOLD {
            left_out += 1;
            continue;
        }
        told.insert(&**host);
        let message =
            format!("no server certificate is for {host}: browsers reject the connection");
        let hint = "a wildcard in a certificate stands for one label";
        warn(root, &place(root, index), message, Some(hint));
    }
    if left_out > 0 {
        let message = format!("no server certificate is for the hosts of {left_out} more routes");
        warn(root, "", message, None);
    }
}

/// IP addresses are not among the names, and are not judged.
fn is_covered(host: &str, names: &HashSet<&str>) -> bool {
    let wildcard = || host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    host.parse::<std::net::IpAddr>().is_ok()
        || names.contains(host)
        || wildcard().is_some_and(|wildcard| names.contains(&*wildcard))
}

/// 443 may be what a client sees of any port, behind a firewall that forwards it.
fn ports(root: &Section<'_>, routes: &[RouteConfig], listen: &ListenSpec) {
    let mut told = BTreeSet::new();
    let listens: BTreeSet<u16> = listen.addresses.iter().map(|address| address.port()).collect();
    for (index, route) in routes.iter().enumerate() {
        let PortMatch::Is(port) = route.matcher.port else { continue };
        if port == 443 || listens.contains(&port) || !told.insert(port) {
            continue;
        }
        let message = format!(
            "nothing listens at port {port}: requests reach this route only if something forwards \
             that port to this proxy"
        );
        warn(root, &place(root, index), message, Some("see `address`"));
    }
}

/// The `from` of a route, by its place among all.
fn place(root: &Section<'_>, index: usize) -> String {
    let first = root.list_len("policy");
    match index.checked_sub(first) {
        None => format!("policy[{index}].from"),
        Some(index) => format!("routes[{index}].from"),
    }
}

fn warn(root: &Section<'_>, key_path: &str, message: String, hint: Option<&str>) {
    root.context().report(Severity::Warning, key_path, message, hint.map(str::to_owned));
}
