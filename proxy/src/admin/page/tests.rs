use std::time::{Duration, Instant};

use super::*;
use crate::pages::testing::elements;
use crate::{
    admin::rates::RateHistory,
    observe::{
        CertificateUsage, CertificateView, ConfigView, CrlView, EndpointHealthState,
        EndpointHealthView, RefusalView, ReloadView, RouteView, SteeredView, SteeringView,
        UpstreamView, WorkerView,
    },
};

/// What an attacker would like to see on the page.
const MARKUP: &str = "\"><script>alert('x')</script>&amp;\u{1b}";

fn shown(status: &StatusView, query: Option<&str>) -> Response<String> {
    let mut history = RateHistory::default();
    let uptime = Duration::from_secs(status.uptime_s);
    let rates = history.look(Instant::now(), uptime, &status.routes);
    response(status, &rates, PageOptions::of(query), "2026-11-30T14:05:09Z")
}

/// A state with this name wherever one comes from a configuration, a certificate or the network.
fn named(name: &str) -> StatusView {
    let name = || name.to_owned();
    let refusal = || RefusalView { reason: "no_route".into(), code: "404".into(), count: 3 };
    let reload = ReloadView { success: false, time: name(), error: Some(name()) };
    StatusView {
        version: name(),
        uptime_s: 100,
        config: ConfigView { file: name(), generation: 2, last_reload: Some(reload) },
        steering: SteeringView {
            mode: name(),
            reason: name(),
            outcomes: vec![SteeredView { outcome: name(), count: 1 }],
            ..SteeringView::default()
        },
        workers: vec![WorkerView::default()],
        routes: vec![RouteView {
            name: name(),
            from: name(),
            requests: 10,
            errors: 5,
            refused: 3,
            refusals: vec![refusal()],
            ..RouteView::default()
        }],
        certificates: vec![CertificateView {
            names: vec![name()],
            origin: name(),
            usage: CertificateUsage::ClientCa,
            not_after: name(),
            days_left: 3,
        }],
        crls: vec![CrlView { issuer: name(), next_update: Some(name()), ..CrlView::default() }],
        refusals: vec![refusal()],
        upstreams: vec![UpstreamView { endpoint: name(), ..UpstreamView::default() }],
        health: vec![EndpointHealthView {
            cluster: name(),
            endpoint: name(),
            state: EndpointHealthState::Down,
            since: name(),
            last_error: Some(name()),
        }],
        ..StatusView::default()
    }
}

fn with_routes(routes: u64) -> StatusView {
    let route = |number: u64| RouteView {
        name: format!("r{number}"),
        from: format!("https://r{number}.example"),
        requests: number,
        ..RouteView::default()
    };
    StatusView { uptime_s: 100, routes: (0..routes).map(route).collect(), ..StatusView::default() }
}

#[test]
fn no_name_becomes_markup() {
    let response = shown(&named(MARKUP), None);
    let html = response.body();
    assert!(!elements(html).contains(&"script"), "{html}");
    assert!(!html.contains(MARKUP) && !html.contains('\u{1b}'), "{html}");
    let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;\u{fffd}";
    // Each name of the state is there, but the duplicate one of the refusals' route.
    assert_eq!(html.matches(escaped).count(), 20, "{html}");
}

#[test]
fn the_page_loads_nothing_and_its_policy_names_its_style() {
    let response = shown(&named("x"), Some("routes=all&refresh"));
    let html = response.body();
    let elements = elements(html);
    for never in ["script", "link", "img", "iframe", "form", "base"] {
        assert!(!elements.contains(&never), "{never}");
    }
    assert!(!html.contains("url(") && !html.contains(" style=") && !html.contains("@import"));
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    let expected = format!("default-src 'none'; style-src {}; ", style_source(style));
    assert!(policy.starts_with(&expected) && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[test]
fn with_a_thousand_routes_the_busiest_are_shown_and_all_on_demand() {
    let status = with_routes(1_000);
    let response = shown(&status, None);
    let html = response.body();
    assert!(html.len() < 32 << 10, "{} bytes", html.len());
    assert!(html.contains("The busiest 20 of 1\u{202f}000 routes."), "{html}");
    let first = html.find("r999</th>").unwrap();
    assert!(first < html.find("r980</th>").unwrap() && !html.contains("r979</th>"));
    assert!(html.contains("<a href=\"/?routes=all\">Show all routes</a>"));
    let response = shown(&status, Some("routes=all"));
    assert!(response.body().contains("r0</th>"));
    assert!(response.body().contains("<a href=\"/\">Show the busiest routes</a>"));
}

#[test]
fn the_page_stays_bounded_however_much_there_is() {
    let mut status = with_routes(20_000);
    let one = named(&"n".repeat(5_000));
    status.certificates = vec![one.certificates[0].clone(); 5_000];
    status.upstreams = vec![one.upstreams[0].clone(); 5_000];
    status.health = vec![one.health[0].clone(); 5_000];
    status.crls = vec![one.crls[0].clone(); 5_000];
    let html = shown(&status, Some("routes=all"));
    assert!(html.body().len() < 2 << 20, "{} bytes", html.body().len());
    assert!(html.body().contains("The busiest 2000 of 20\u{202f}000 routes."));
    assert_eq!(html.body().matches("The first 100 of 5000.").count(), 4);
}

#[test]
fn a_page_that_reloads_was_asked_for() {
    for (query, refreshes) in [(None, false), (Some("refresh"), true), (Some("x&refresh"), true)] {
        let response = shown(&with_routes(1), query);
        let html = response.body();
        assert_eq!(html.contains("http-equiv=\"refresh\" content=\"10\""), refreshes, "{query:?}");
        let link = if refreshes { "<a href=\"/\">Stop" } else { "<a href=\"/?refresh\">Reload" };
        assert!(html.contains(link), "{query:?}");
    }
}

#[test]
fn what_needs_attention_is_said_in_words_too() {
    let response = shown(&named("x"), None);
    let html = response.body();
    for told in [
        "The configuration file was refused</h2>",
        "class=\"n bad\">3 (soon)</td>",
        "class=\"w bad\">down</td>",
        "class=\"n bad\">50 %</td>",
        "<th scope=\"row\" class=\"w\">no route</th>",
    ] {
        assert!(html.contains(told), "{told}: {html}");
    }
}

#[test]
fn durations_have_their_two_largest_units() {
    let shown = [0, 59, 60, 3_661, 86_400, 90_061].map(sections::duration);
    assert_eq!(shown, ["0 s", "59 s", "1 min", "1 h 1 min", "1 d", "1 d 1 h"]);
}
