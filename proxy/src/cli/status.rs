//! `portcullis status`: fetches the state from the administrative listener and prints it.

mod fetch;
mod host;
pub(super) mod table;

pub(crate) use fetch::{FetchError, fetch, fetch_host, fetch_readiness};
pub(super) use host::render as render_host;

use crate::observe::{
    CertificateView, ConfigView, CrlView, DescriptorView, EndpointHealthState, EndpointHealthView,
    Readiness, RefusalView, RouteView, StatusView, SteeringView, UnreachableView, UpstreamView,
    WorkerView,
};
use table::{Align, TextTable, printable};

/// The state of a running proxy as text for a terminal; every line ends with a newline.
pub(super) fn render(status: &StatusView) -> String {
    let mut page = head(status);
    for section in [
        workers(&status.workers),
        routes(&status.routes),
        refusals(&status.refusals),
        certificates(&status.certificates),
        crls(&status.crls),
        upstreams(&status.upstreams),
        health(&status.health),
        unreachable(&status.unreachable),
    ] {
        if !section.is_empty() {
            page.push('\n');
            page.push_str(&section);
        }
    }
    page
}

fn head(status: &StatusView) -> String {
    let state = match status.state {
        Readiness::Starting => "starting",
        Readiness::Ready => "ready",
        Readiness::Draining => "draining",
    };
    let mut head = format!(
        "portcullis {}  {state}  pid {}  up {}\n",
        printable(&status.version),
        status.pid,
        uptime(status.uptime_s)
    );
    head.push_str(&config(&status.config));
    head.push_str(&steering(&status.steering));
    head.push_str(&descriptors(&status.descriptors));
    head
}

fn descriptors(view: &DescriptorView) -> String {
    let DescriptorView { limit, clients, upstreams, reserved } = view;
    format!(
        "open files up to {limit}: {clients} for clients, {upstreams} for upstreams, {reserved} \
         reserved\n"
    )
}

fn steering(steering: &SteeringView) -> String {
    let cookies = match steering.cookies.as_str() {
        "catcher" => "  SYN cookies by the catcher",
        "sysctl" => "  SYN cookies by net.ipv4.tcp_syncookies=2",
        _ => "",
    };
    let refuses = if steering.refuse_unknown { "  unknown names are refused" } else { "" };
    format!(
        "steering {} ({}){cookies}  up to {} % of the mean load{refuses}\n",
        printable(&steering.mode),
        printable(&steering.reason),
        steering.max_load_percent
    )
}

fn config(config: &ConfigView) -> String {
    let mut lines = format!("{}  generation {}", printable(&config.file), config.generation);
    match &config.last_reload {
        None => lines.push('\n'),
        Some(reload) if reload.success => {
            lines.push_str(&format!("  applied {}\n", printable(&reload.time)));
        }
        Some(reload) => {
            lines.push_str(&format!("\nlast reload refused {}:\n", printable(&reload.time)));
            for line in reload.error.as_deref().unwrap_or_default().lines() {
                lines.push_str(&format!("  {}\n", printable(line)));
            }
        }
    }
    lines
}

fn workers(workers: &[WorkerView]) -> String {
    let mut table = TextTable::new(&[
        ("WORKER", Align::Right),
        ("CPU", Align::Right),
        ("CONNECTIONS", Align::Right),
        ("ACCEPTED", Align::Right),
        ("REQUESTS", Align::Right),
        ("LOAD", Align::Right),
        ("STATE", Align::Left),
    ]);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            worker.cpu.map_or("-".into(), |cpu| cpu.to_string()),
            worker.connections.to_string(),
            worker.accepted.to_string(),
            worker.requests.to_string(),
            worker.load.to_string(),
            worker_state(worker).to_owned(),
        ]);
    }
    table.render()
}

fn worker_state(worker: &WorkerView) -> &'static str {
    match (worker.drained, worker.available) {
        (true, _) => "drained",
        (false, true) => "open",
        (false, false) => "closed",
    }
}

fn routes(routes: &[RouteView]) -> String {
    let mut table = TextTable::new(&[
        ("ROUTE", Align::Left),
        ("FROM", Align::Left),
        ("CLIENT CERT", Align::Left),
        ("REQUESTS", Align::Right),
        ("REFUSED", Align::Right),
        ("ERRORS", Align::Right),
    ]);
    for route in routes {
        let certificate = if route.asks_certificate { "asked for" } else { "-" };
        table.row([
            route.name.clone(),
            route.from.clone(),
            certificate.to_owned(),
            route.requests.to_string(),
            route.refused.to_string(),
            route.errors.to_string(),
        ]);
    }
    table.render()
}

/// Nothing if no request was refused. The most frequent reasons come first.
fn refusals(refusals: &[RefusalView]) -> String {
    if refusals.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("REFUSED FOR", Align::Left),
        ("CODE", Align::Right),
        ("REQUESTS", Align::Right),
    ]);
    let mut refusals: Vec<_> = refusals.iter().collect();
    refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
    for refusal in refusals {
        table.row([refusal.reason.clone(), refusal.code.clone(), refusal.count.to_string()]);
    }
    table.render()
}

/// In the order in which they expire.
fn certificates(certificates: &[CertificateView]) -> String {
    let mut table = TextTable::new(&[
        ("CERTIFICATE", Align::Left),
        ("USE", Align::Left),
        ("NOT AFTER", Align::Left),
        ("DAYS LEFT", Align::Right),
        ("FROM", Align::Left),
    ]);
    let mut certificates: Vec<_> = certificates.iter().collect();
    certificates.sort_by_key(|certificate| certificate.days_left);
    for certificate in certificates {
        table.row([
            certificate.names.join(", "),
            certificate.usage.as_str().to_owned(),
            certificate.not_after.clone(),
            days_left(certificate.days_left),
            certificate.origin.clone(),
        ]);
    }
    table.render()
}

/// Nothing if there is none, as in most installations. In the order in which they are due.
fn crls(crls: &[CrlView]) -> String {
    if crls.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("REVOCATION LIST", Align::Left),
        ("REVOKED", Align::Right),
        ("ISSUED", Align::Left),
        ("NEXT UPDATE", Align::Left),
        ("DAYS LEFT", Align::Right),
    ]);
    let mut crls: Vec<_> = crls.iter().collect();
    crls.sort_by_key(|crl| crl.days_left.unwrap_or(i64::MAX));
    for crl in crls {
        table.row([
            crl.issuer.clone(),
            crl.revoked.to_string(),
            crl.this_update.clone(),
            crl.next_update.clone().unwrap_or_else(|| "-".to_owned()),
            match crl.days_left {
                Some(days) if days < 0 => "stale".to_owned(),
                Some(days) => days.to_string(),
                None => "-".to_owned(),
            },
        ]);
    }
    table.render()
}

fn days_left(days: i64) -> String {
    if days < 0 { "expired".to_owned() } else { days.to_string() }
}

fn upstreams(upstreams: &[UpstreamView]) -> String {
    let mut table = TextTable::new(&[
        ("UPSTREAM", Align::Left),
        ("ACTIVE", Align::Right),
        ("IDLE", Align::Right),
        ("CONNECTS", Align::Right),
        ("REUSED", Align::Right),
    ]);
    for upstream in upstreams {
        table.row([
            upstream.endpoint.clone(),
            upstream.active.to_string(),
            upstream.idle.to_string(),
            upstream.connects.to_string(),
            upstream.reused.to_string(),
        ]);
    }
    table.render()
}

/// Nothing if no endpoint is checked or may be ejected. Those that get no requests come first.
fn health(endpoints: &[EndpointHealthView]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("ENDPOINT", Align::Left),
        ("ROUTE", Align::Left),
        ("STATE", Align::Left),
        ("SINCE", Align::Left),
        ("LAST ERROR", Align::Left),
    ]);
    let mut endpoints: Vec<_> = endpoints.iter().collect();
    endpoints.sort_by_key(|endpoint| endpoint.state == EndpointHealthState::Up);
    for endpoint in endpoints {
        table.row([
            endpoint.endpoint.clone(),
            endpoint.cluster.clone(),
            endpoint.state.as_str().to_owned(),
            endpoint.since.clone(),
            endpoint.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

/// Nothing if all upstreams can be reached.
fn unreachable(endpoints: &[UnreachableView]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("UNREACHABLE", Align::Left),
        ("SINCE", Align::Left),
        ("FAILURES", Align::Right),
        ("LAST ERROR", Align::Left),
    ]);
    for endpoint in endpoints {
        table.row([
            endpoint.endpoint.clone(),
            endpoint.since.clone(),
            endpoint.failures.to_string(),
            endpoint.last_error.clone(),
        ]);
    }
    table.render()
}

/// The two largest units: `3d 4h`, `5m 6s`.
fn uptime(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let shown = units.iter().skip(first).take(2).scan(seconds, |left, (unit, size)| {
        let count = *left / size;
        *left %= size;
        Some(format!("{count}{unit}"))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
