use super::*;
use crate::observe::{CertificateUsage, ReloadView, SteeredView};

fn status() -> StatusView {
    let certificate = |name: &str, days_left| CertificateView {
        names: vec![name.into(), format!("www.{name}")],
        origin: format!("/etc/{name}.pem"),
        usage: CertificateUsage::Server,
        not_after: "2026-12-31T00:00:00Z".into(),
        days_left,
    };
    StatusView {
        version: "0.1.0".into(),
        pid: 42,
        uptime_s: 90_061,
        state: Readiness::Ready,
        config: ConfigView {
            file: "/etc/portcullis/config.yaml".into(),
            generation: 2,
            last_reload: Some(ReloadView {
                success: true,
                time: "2026-01-01T00:00:00.000Z".into(),
                error: None,
            }),
        },
        control_socket: Some("/run/portcullis/42.sock".into()),
        descriptors: DescriptorView { limit: 1024, clients: 374, upstreams: 421, reserved: 182 },
        steering: SteeringView {
            mode: "handoff".into(),
            reason: "as configured".into(),
            cookies: "none".into(),
            max_load_percent: 125,
            refuse_unknown: true,
            outcomes: vec![SteeredView { outcome: "steered".into(), count: 3 }],
        },
        workers: vec![
            WorkerView {
                id: 0,
                cpu: Some(2),
                connections: 1,
                accepted: 10,
                requests: 1234,
                load: 2,
                available: true,
                drained: false,
            },
            WorkerView { id: 1, cpu: None, ..WorkerView::default() },
        ],
        routes: vec![RouteView {
            name: "grafana".into(),
            from: "https://grafana.example.com".into(),
            requests: 1234,
            errors: 1,
            refused: 7,
            asks_certificate: true,
            refusals: Vec::new(),
        }],
        certificates: vec![certificate("b.example", 40), certificate("a.example", -3)],
        crls: Vec::new(),
        refusals: vec![refusal("forbidden", "403", 2), refusal("no_route", "404", 5)],
        upstreams: vec![UpstreamView {
            endpoint: "10.0.0.1:8443".into(),
            idle: 3,
            active: 1,
            connects: 4,
            reused: 1230,
        }],
        health: Vec::new(),
        unreachable: Vec::new(),
    }
}

fn refusal(reason: &str, code: &str, count: u64) -> RefusalView {
    RefusalView { reason: reason.into(), code: code.into(), count }
}

#[test]
fn everything_is_shown_in_aligned_columns() {
    assert_eq!(
        render(&status()),
        "\
portcullis 0.1.0  ready  pid 42  up 1d 1h
/etc/portcullis/config.yaml  generation 2  applied 2026-01-01T00:00:00.000Z
steering handoff (as configured)  up to 125 % of the mean load  unknown names are refused
open files up to 1024: 374 for clients, 421 for upstreams, 182 reserved

WORKER  CPU  CONNECTIONS  ACCEPTED  REQUESTS  LOAD  STATE
     0    2            1        10      1234     2  open
     1    -            0         0         0     0  closed

ROUTE    FROM                         CLIENT CERT  REQUESTS  REFUSED  ERRORS
grafana  https://grafana.example.com  asked for        1234        7       1

REFUSED FOR  CODE  REQUESTS
no_route      404         5
forbidden     403         2

CERTIFICATE               USE     NOT AFTER             DAYS LEFT  FROM
a.example, www.a.example  server  2026-12-31T00:00:00Z    expired  /etc/a.example.pem
b.example, www.b.example  server  2026-12-31T00:00:00Z         40  /etc/b.example.pem

UPSTREAM       ACTIVE  IDLE  CONNECTS  REUSED
10.0.0.1:8443       1     3         4    1230
"
    );
}

#[test]
fn a_refused_reload_is_shown_with_every_line_of_its_reason() {
    let mut status = status();
    status.config.last_reload = Some(ReloadView {
        success: false,
        time: "T".into(),
        error: Some("config.yaml:3: no such key\nconfig.yaml:9: bad\u{1b}[2J value".into()),
    });
    let page = render(&status);
    assert!(page.contains(
        "generation 2\nlast reload refused T:\n  config.yaml:3: no such key\n  \
         config.yaml:9: bad\u{fffd}[2J value\nsteering "
    ));
}

#[test]
fn a_name_cannot_command_the_terminal() {
    let mut status = status();
    status.certificates[0].names = vec!["\u{1b}]0;x\u{7}\u{9b}2J\n".into()];
    let page = render(&status);
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
    assert_eq!(page.lines().count(), render(&self::status()).lines().count());
}

#[test]
fn uptime_shows_its_two_largest_units() {
    let shown = [0, 59, 60, 3661, 86_399, 86_400].map(uptime);
    assert_eq!(shown, ["0s", "59s", "1m 0s", "1h 1m", "23h 59m", "1d 0h"]);
}

#[test]
fn status_survives_its_way_through_json() {
    let json = serde_json::to_string(&status()).unwrap();
    assert_eq!(serde_json::from_str::<StatusView>(&json).unwrap(), status());
}

#[test]
fn crls_are_shown_with_stale_ones_first() {
    let crl = |issuer: &str, days_left: Option<i64>| CrlView {
        issuer: issuer.into(),
        revoked: 2,
        this_update: "2026-01-01T00:00:00Z".into(),
        next_update: days_left.map(|_| "2026-01-08T00:00:00Z".into()),
        days_left,
    };
    let crls = vec![crl("CN=Never", None), crl("CN=B", Some(6)), crl("CN=A", Some(-1))];
    let page = render(&StatusView { crls, ..status() });
    let expected = "
REVOCATION LIST  REVOKED  ISSUED                NEXT UPDATE           DAYS LEFT
CN=A                   2  2026-01-01T00:00:00Z  2026-01-08T00:00:00Z      stale
CN=B                   2  2026-01-01T00:00:00Z  2026-01-08T00:00:00Z          6
CN=Never               2  2026-01-01T00:00:00Z  -                             -
";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn endpoints_that_get_no_requests_are_shown_first() {
    let endpoint = |endpoint: &str, state, last_error: Option<&str>| EndpointHealthView {
        cluster: "app.example.com".into(),
        endpoint: endpoint.into(),
        state,
        since: "2026-01-01T00:00:00.000Z".into(),
        last_error: last_error.map(Into::into),
    };
    let health = vec![
        endpoint("10.0.0.1:80", EndpointHealthState::Up, None),
        endpoint("10.0.0.2:80", EndpointHealthState::Down, Some("status 503")),
        endpoint("10.0.0.3:80", EndpointHealthState::Ejected, Some("5 responses 5xx")),
    ];
    let page = render(&StatusView { health, ..status() });
    let expected = "
ENDPOINT     ROUTE            STATE    SINCE                     LAST ERROR
10.0.0.2:80  app.example.com  down     2026-01-01T00:00:00.000Z  status 503
10.0.0.3:80  app.example.com  ejected  2026-01-01T00:00:00.000Z  5 responses 5xx
10.0.0.1:80  app.example.com  up       2026-01-01T00:00:00.000Z  -
";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn upstreams_that_cannot_be_reached_are_shown_with_their_errors() {
    assert!(!render(&status()).contains("UNREACHABLE"));
    let unreachable = vec![UnreachableView {
        endpoint: "10.0.0.1:80".into(),
        since: "2026-01-01T00:00:00.000Z".into(),
        failures: 12,
        last_error: "cannot connect to 10.0.0.1:80: Connection refused (os error 111)".into(),
    }];
    let page = render(&StatusView { unreachable, ..status() });
    let expected = "
UNREACHABLE  SINCE                     FAILURES  LAST ERROR
10.0.0.1:80  2026-01-01T00:00:00.000Z        12  cannot connect to 10.0.0.1:80: Connection refused (os error 111)
";
    assert!(page.contains(expected), "{page}");
}
