//! The parts of the page.

use std::cmp::Reverse;

use super::{
    PageOptions,
    table::{Column, Concern, TableCell, section},
};
use crate::{
    admin::rates::{RatesSince, RouteRate},
    observe::{
        CertificateView, CrlView, EndpointHealthState, EndpointHealthView, RefusalView, RouteView,
        StatusView, SteeredView, SteeringView, UpstreamView, WorkerView,
    },
    pages::HtmlWriter,
};

/// How many rows other tables than that of the routes have at the most.
const MOST_ROWS: usize = 100;

/// Writes all of them, those that need attention first.
pub(super) fn write(
    out: &mut HtmlWriter,
    status: &StatusView,
    rates: &RatesSince<'_>,
    options: PageOptions,
) {
    refused_reload(out, status);
    totals(out, status, rates);
    workers(out, &status.workers);
    routes(out, &status.routes, rates, options);
    refusals(out, &status.refusals, &status.routes);
    upstreams(out, &status.upstreams, &status.health);
    certificates(out, &status.certificates);
    crls(out, &status.crls);
    steering(out, &status.steering);
}

/// Says that the file is not what is in use.
fn refused_reload(out: &mut HtmlWriter, status: &StatusView) {
    let refused = status.config.last_reload.as_ref().filter(|reload| !reload.success);
    let Some(reload) = refused else { return };
    out.markup(
        "<section aria-labelledby=\"refused-reload\">\n<h2 id=\"refused-reload\" class=\"bad\">",
    );
    out.markup("The configuration file was refused</h2>\n<p class=\"note\">At ").text(&reload.time);
    out.markup(". The configuration before it stays in use.</p>\n<pre>");
    for line in reload.error.as_deref().unwrap_or_default().lines().take(MOST_ROWS) {
        out.text(line).markup("\n");
    }
    out.markup("</pre>\n</section>\n");
}

fn totals(out: &mut HtmlWriter, status: &StatusView, rates: &RatesSince<'_>) {
    let connections: u64 = status.workers.iter().map(|worker| worker.connections).sum();
    let per_s: f64 = status.routes.iter().map(|route| rates.of(route).requests_per_s).sum();
    let refused: u64 = status.refusals.iter().map(|refusal| refusal.count).sum();
    let errors: u64 = status.routes.iter().map(|route| route.errors).sum();
    let down = status.health.iter().filter(|endpoint| endpoint.state != EndpointHealthState::Up);
    // An endpoint that is checked may also be one that requests could not reach.
    let is_known = |endpoint: &str| status.health.iter().any(|known| known.endpoint == endpoint);
    let unreachable = status.unreachable.iter().filter(|it| !is_known(&it.endpoint));
    let down = down.count() + unreachable.count();
    out.markup("<section aria-labelledby=\"totals\">\n<h2 id=\"totals\">Now</h2>\n");
    out.markup("<dl class=\"tiles\">\n");
    for (name, value) in [
        ("Connections", grouped(connections)),
        ("Requests a second", rate(per_s)),
        ("Refused since the start", grouped(refused)),
        ("Errors since the start", grouped(errors)),
        ("Endpoints down", grouped(down as u64)),
        ("Routes", grouped(status.routes.len() as u64)),
    ] {
        out.markup("<div><dt>").markup(name).markup("</dt><dd>").text(&value);
        out.markup("</dd></div>\n");
    }
    out.markup("</dl>\n</section>\n");
}

fn workers(out: &mut HtmlWriter, workers: &[WorkerView]) {
    let columns = [
        Column::Text("Worker"),
        Column::Word("State"),
        Column::Number("Load"),
        Column::Number("Connections"),
        Column::Number("Accepted"),
        Column::Number("Requests"),
        Column::Number("CPU"),
    ];
    let rows = workers.iter().map(|worker| {
        let state = match (worker.drained, worker.available) {
            (true, _) => TableCell::of("drained", Concern::Soon),
            (false, true) => TableCell::of("open", Concern::Good),
            (false, false) => TableCell::of("closed", Concern::Soon),
        };
        [
            TableCell::plain(worker.id),
            state,
            TableCell::plain(grouped(worker.load.into())),
            TableCell::plain(grouped(worker.connections)),
            TableCell::plain(grouped(worker.accepted)),
            TableCell::plain(grouped(worker.requests)),
            TableCell::plain(worker.cpu.map_or("–".to_owned(), |cpu| cpu.to_string())),
        ]
    });
    section(out, ("workers", "Workers"), "", columns, rows);
}

/// The busiest routes first.
fn routes(
    out: &mut HtmlWriter,
    routes: &[RouteView],
    rates: &RatesSince<'_>,
    options: PageOptions,
) {
    let most = options.most_routes();
    let mut shown: Vec<_> = routes.iter().map(|route| (route, rates.of(route))).collect();
    shown.sort_by(|(one, one_rate), (other, other_rate)| {
        let by_rate = other_rate.requests_per_s.total_cmp(&one_rate.requests_per_s);
        by_rate.then_with(|| other.requests.cmp(&one.requests))
    });
    let period = match rates.is_since_start() {
        true => "since the start of the process".to_owned(),
        false => format!("in the last {}", duration(rates.period.as_secs())),
    };
    let note = match routes.len() {
        all if all > most => format!(
            "The busiest {most} of {} routes. Rates are those {period}.",
            grouped(all as u64)
        ),
        _ => format!("Rates are those {period}."),
    };
    let columns = [
        Column::Text("Route"),
        Column::Number("Requests/s"),
        Column::Number("Errors"),
        Column::Number("Requests"),
        Column::Number("Refused"),
        Column::Word("Client certificate"),
        Column::Text("From"),
    ];
    let rows = shown.into_iter().take(most).map(|(route, rate)| route_row(route, rate));
    section(out, ("routes", "Routes"), &note, columns, rows);
    if let Some((link, label)) = options.other_routes(routes.len()) {
        out.markup("<p><a href=\"").markup(link).markup("\">").markup(label).markup("</a></p>\n");
    }
}

fn route_row(route: &RouteView, rates: RouteRate) -> [TableCell; 7] {
    let errors = match rates.error_share {
        None => TableCell::plain("–"),
        Some(share) if share >= 0.05 => TableCell::of(percent(share), Concern::Now),
        Some(share) if share > 0.0 => TableCell::of(percent(share), Concern::Soon),
        Some(_) => TableCell::plain("0 %"),
    };
    [
        TableCell::plain(&route.name),
        TableCell::plain(rate(rates.requests_per_s)),
        errors,
        TableCell::plain(grouped(route.requests)),
        TableCell::plain(grouped(route.refused)),
        TableCell::plain(if route.asks_certificate { "asked for" } else { "–" }),
        TableCell::plain(&route.from),
    ]
}

/// By route and reason, the most frequent first; then those without a route.
fn refusals(out: &mut HtmlWriter, all: &[RefusalView], routes: &[RouteView]) {
    if all.is_empty() {
        return;
    }
    let mut rows: Vec<(&str, &RefusalView, u64)> = Vec::new();
    for total in all {
        let of_routes = routes.iter().flat_map(|route| {
            let counts = route.refusals.iter().filter(|count| count.reason == total.reason);
            counts.map(|count| (&*route.name, count, count.count))
        });
        let before = rows.len();
        rows.extend(of_routes);
        let counted: u64 = rows.iter().skip(before).map(|(.., count)| count).sum();
        let others = total.count.saturating_sub(counted);
        if others > 0 {
            rows.push(("no route, or one that is gone", total, others));
        }
    }
    rows.sort_by_key(|(.., count)| Reverse(*count));
    let note = match rows.len() {
        all if all > MOST_ROWS => {
            format!("Since the start; the {MOST_ROWS} most frequent of {all}.")
        }
        _ => "Since the start. The log has each request with its reason.".to_owned(),
    };
    let columns = [
        Column::Word("Reason"),
        Column::Number("Requests"),
        Column::Number("Code"),
        Column::Text("Route"),
    ];
    let rows = rows.into_iter().take(MOST_ROWS).map(|(route, refusal, count)| {
        [
            TableCell::plain(refusal.reason.replace('_', " ")),
            TableCell::plain(grouped(count)),
            TableCell::plain(&refusal.code),
            TableCell::plain(route),
        ]
    });
    section(out, ("refusals", "Refused requests"), &note, columns, rows);
}

/// Those that are down first, then the busiest.
fn upstreams(out: &mut HtmlWriter, upstreams: &[UpstreamView], health: &[EndpointHealthView]) {
    if upstreams.is_empty() && health.is_empty() {
        return;
    }
    let mut checked: Vec<_> = health.iter().collect();
    checked.sort_by_key(|endpoint| endpoint.state == EndpointHealthState::Up);
    if !checked.is_empty() {
        let columns = [
            Column::Text("Endpoint"),
            Column::Word("State"),
            Column::Text("Last error"),
            Column::Word("Since"),
            Column::Text("Route"),
        ];
        let rows = checked.iter().take(MOST_ROWS).map(|endpoint| health_row(endpoint));
        let note = cut_off(checked.len());
        section(out, ("health", "Health of endpoints"), &note, columns, rows);
    }
    let mut used: Vec<_> = upstreams.iter().collect();
    used.sort_by_key(|upstream| Reverse((upstream.active, upstream.reused + upstream.connects)));
    let columns = [
        Column::Text("Upstream"),
        Column::Number("Active"),
        Column::Number("Idle"),
        Column::Number("Connects"),
        Column::Number("Reused"),
    ];
    let rows = used.iter().take(MOST_ROWS).map(|upstream| {
        [
            TableCell::plain(&upstream.endpoint),
            TableCell::plain(grouped(upstream.active)),
            TableCell::plain(grouped(upstream.idle)),
            TableCell::plain(grouped(upstream.connects)),
            TableCell::plain(grouped(upstream.reused)),
        ]
    });
    let note = cut_off(used.len());
    section(out, ("upstreams", "Upstream connections"), &note, columns, rows);
}

fn health_row(endpoint: &EndpointHealthView) -> [TableCell; 5] {
    let concern = match endpoint.state {
        EndpointHealthState::Up => Concern::Good,
        EndpointHealthState::Down | EndpointHealthState::Ejected => Concern::Now,
    };
    [
        TableCell::plain(&endpoint.endpoint),
        TableCell::of(endpoint.state.as_str(), concern),
        TableCell::plain(endpoint.last_error.as_deref().unwrap_or("–")),
        TableCell::plain(&endpoint.since),
        TableCell::plain(&endpoint.cluster),
    ]
}

/// The first to expire first.
fn certificates(out: &mut HtmlWriter, certificates: &[CertificateView]) {
    if certificates.is_empty() {
        return;
    }
    let mut shown: Vec<_> = certificates.iter().collect();
    shown.sort_by_key(|certificate| certificate.days_left);
    let columns = [
        Column::Text("Certificate"),
        Column::Number("Days left"),
        Column::Word("Valid until"),
        Column::Word("Use"),
        Column::Text("From"),
    ];
    let rows = shown.iter().take(MOST_ROWS).map(|certificate| {
        [
            TableCell::plain(certificate.names.join(", ")),
            days_left(certificate.days_left),
            TableCell::plain(&certificate.not_after),
            TableCell::plain(certificate.usage.as_str().replace('_', " ")),
            TableCell::plain(&certificate.origin),
        ]
    });
    let note = cut_off(shown.len());
    section(out, ("certificates", "Certificates"), &note, columns, rows);
}

fn crls(out: &mut HtmlWriter, crls: &[CrlView]) {
    if crls.is_empty() {
        return;
    }
    let mut shown: Vec<_> = crls.iter().collect();
    shown.sort_by_key(|crl| crl.days_left.unwrap_or(i64::MAX));
    let columns = [
        Column::Text("Issuer"),
        Column::Number("Days left"),
        Column::Word("Next update"),
        Column::Number("Revoked"),
    ];
    let rows = shown.iter().take(MOST_ROWS).map(|crl| {
        [
            TableCell::plain(&crl.issuer),
            crl_days_left(crl.days_left),
            TableCell::plain(crl.next_update.as_deref().unwrap_or("–")),
            TableCell::plain(grouped(crl.revoked as u64)),
        ]
    });
    let note = cut_off(shown.len());
    section(out, ("crls", "Revocation lists"), &note, columns, rows);
}

fn steering(out: &mut HtmlWriter, steering: &SteeringView) {
    if steering.outcomes.is_empty() {
        return;
    }
    // Connections that were handed off have another outcome too.
    let is_apart = |outcome: &SteeredView| outcome.outcome == "handed_off";
    let apart = steering.outcomes.iter().filter(|outcome| !is_apart(outcome));
    let total: u64 = apart.map(|outcome| outcome.count).sum();
    let note = format!(
        "Mode {} ({}), up to {} % of the mean load.",
        steering.mode, steering.reason, steering.max_load_percent
    );
    let columns = [Column::Word("Outcome"), Column::Number("Connections"), Column::Number("Share")];
    let rows = steering.outcomes.iter().map(|outcome| {
        [
            TableCell::plain(outcome.outcome.replace('_', " ")),
            TableCell::plain(grouped(outcome.count)),
            TableCell::plain(match total {
                0 => "–".to_owned(),
                total => percent(outcome.count as f64 / total as f64),
            }),
        ]
    });
    section(out, ("steering", "Steering of connections"), &note, columns, rows);
}

fn days_left(days: i64) -> TableCell {
    match days {
        ..0 => TableCell::of("expired", Concern::Now),
        0..=7 => TableCell::of(format!("{days} (soon)"), Concern::Now),
        8..=30 => TableCell::of(days, Concern::Soon),
        _ => TableCell::plain(days),
    }
}

/// A list is often issued anew every day, so only one that is late is worth a look.
fn crl_days_left(days: Option<i64>) -> TableCell {
    match days {
        None => TableCell::plain("–"),
        Some(..0) => TableCell::of("stale", Concern::Now),
        Some(days) => TableCell::plain(days),
    }
}

fn cut_off(rows: usize) -> String {
    match rows {
        all if all > MOST_ROWS => format!("The first {MOST_ROWS} of {all}."),
        _ => String::new(),
    }
}

/// The two largest units: `3 d 4 h`, `5 min 6 s`.
pub(super) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units.iter().skip(first).take(2) {
        let count = left / size;
        left %= size;
        if count > 0 || parts.is_empty() {
            parts.push(format!("{count} {unit}"));
        }
    }
    parts.join(" ")
}

/// `12 345`, with thin spaces.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

fn rate(per_s: f64) -> String {
    match per_s {
        0.0 => "0".to_owned(),
        small if small < 0.01 => "< 0.01".to_owned(),
        small if small < 10.0 => format!("{small:.2}"),
        large if large < 100.0 => format!("{large:.1}"),
        large => grouped(large.round() as u64),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        small if small < 0.1 => "< 0.1 %".to_owned(),
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}
