use std::{net::SocketAddr, time::Duration};

use http::HeaderValue;

use super::*;
use crate::observe::{
    AccessField, CertificateSummary, HttpProtocol, LogFormat, PolicyRecord, TlsVersion, UserRecord,
    log::tests::Captured,
};

fn observer(spec: LogSpec) -> (WorkerObserver, Captured) {
    let (log, captured) = Log::captured(spec);
    (WorkerObserver::new(3, Arc::default(), log), captured)
}

fn with_fields(names: &[&str]) -> LogSpec {
    let access_fields = names.iter().map(|name| name.parse().unwrap()).collect();
    LogSpec { access_fields, ..LogSpec::default() }
}

fn peer() -> SocketAddr {
    "[::ffff:192.0.2.7]:50000".parse().unwrap()
}

fn record(headers: &CapturedHeaders) -> RequestRecord<'_> {
    RequestRecord {
        client: peer().ip(),
        appended_for: Some(peer().ip()),
        server_name: Some("a.example"),
        method: "GET",
        authority: "a.example",
        path: "/p",
        query: Some("token=1"),
        headers,
        request_id: "id-1",
        status: 502,
        response_code_details: "upstream_reset",
        response_flags: "UF",
        route: "a",
        upstream_cluster: "a-cluster",
        upstream_attempts: 1,
        upstream_address: "192.0.2.9:443",
        bytes_received: 5,
        bytes_sent: 6,
        duration: Duration::from_micros(1_234),
        protocol: HttpProtocol::H2,
        tls_version: Some(TlsVersion::Tls13),
        client_certificate: None,
        user: None,
        policy: None,
    }
}

fn json(lines: &str) -> serde_json::Value {
    assert_eq!(lines.matches('\n').count(), 1, "{lines}");
    serde_json::from_str(lines).unwrap()
}

#[test]
fn a_known_user_is_always_logged_and_in_the_place_that_is_configured() {
    let user = UserRecord { id: "1", email: "a@b.example", session_id: Some("s-1") };
    let without_session = UserRecord { session_id: None, ..user };
    let headers = CapturedHeaders::default();
    for (names, user, expected) in [
        (
            &["method"][..],
            Some(user),
            r#""method":"GET","user":"1","email":"a@b.example","session-id":"s-1""#,
        ),
        (&["method"], Some(without_session), r#""method":"GET","user":"1","email":"a@b.example""#),
        (
            &["email", "method"],
            Some(user),
            r#""email":"a@b.example","method":"GET","user":"1","session-id":"s-1""#,
        ),
        (&["user", "session-id", "method"], None, r#""user":"","session-id":"","method":"GET""#),
        (&["method"], None, r#""method":"GET""#),
    ] {
        let (observer, log) = observer(with_fields(names));
        observer.log_request(&RequestRecord { user, ..record(&headers) });
        observer.flush();
        let text = log.lines();
        assert!(
            text.contains(&format!("{expected}}}")) || text.contains(&format!("{expected},")),
            "{text}"
        );
        assert_eq!(
            text.matches("\"user\"").count(),
            expected.matches("\"user\"").count(),
            "{text}"
        );
    }
}

#[test]
fn a_refusal_is_always_logged_with_reasons_and_certificate() {
    let certificate = CertificateSummary {
        issuer: "CN=ca".into(),
        subject: "CN=alice".into(),
        subject_alt_names: vec!["email:alice@example.com".into()],
    };
    let refused = PolicyRecord {
        served: false,
        allow: true,
        allow_why: &["accept"],
        deny: true,
        deny_why: &["client-certificate-required", "reject"],
        refusing_rule: Some("routes[3].policy[0].deny"),
    };
    for (names, written) in [(&["method"][..], 1), (&["method", "client-certificate"], 1)] {
        let (observer, log) = observer(with_fields(names));
        let headers = CapturedHeaders::default();
        let record = RequestRecord {
            client_certificate: Some(&certificate),
            policy: Some(refused),
            ..record(&headers)
        };
        observer.log_request(&record);
        observer.flush();
        let lines = log.lines();
        assert_eq!(lines.matches("CN=alice").count(), written, "{lines}");
        let logged = json(&lines);
        assert_eq!(logged["allow-why-true"], serde_json::json!(["accept"]));
        let deny = serde_json::json!(["client-certificate-required", "reject"]);
        assert_eq!(logged["deny-why-true"], deny);
        assert_eq!(logged["policy-rule"], "routes[3].policy[0].deny");
        assert_eq!((&logged["ip"], &logged["route"]), (&"192.0.2.7".into(), &"a".into()));
    }
    let (observer, log) = observer(with_fields(&["method"]));
    let served = PolicyRecord { served: true, deny: false, refusing_rule: None, ..refused };
    let headers = CapturedHeaders::default();
    let certificate = Some(&certificate);
    let record =
        RequestRecord { client_certificate: certificate, policy: Some(served), ..record(&headers) };
    observer.log_request(&record);
    observer.flush();
    let lines = log.lines();
    assert!(lines.contains("deny-why-false") && !lines.contains("CN=alice"), "{lines}");
}

#[test]
fn a_misdirected_request_is_logged_with_the_name_of_its_connection() {
    for names in [&["method"][..], &["tls-server-name", "ip"]] {
        let (observer, log) = observer(with_fields(names));
        let headers = CapturedHeaders::default();
        observer.log_request(&RequestRecord { status: 421, ..record(&headers) });
        observer.flush();
        let lines = log.lines();
        assert_eq!(lines.matches("tls-server-name").count(), 1, "{lines}");
        assert_eq!(json(&lines)["tls-server-name"], "a.example");
    }
}

#[test]
fn a_connection_of_which_nothing_is_wrong_is_logged_at_debug_alone() {
    for (access, lines) in [(Level::Info, 0), (Level::Debug, 1)] {
        let (observer, log) = observer(LogSpec { access, ..LogSpec::default() });
        observer.log_connection(&ConnectionRecord {
            level: Level::Debug,
            peer: peer(),
            sni: None,
            reason: "closed",
            alert: None,
            tls_version: None,
            client_certificate: None,
        });
        observer.flush();
        assert_eq!(log.lines().matches("\"level\":\"debug\"").count(), lines);
    }
}

#[test]
fn a_request_is_logged_with_pomeriums_fields_and_the_addresses() {
    let (observer, log) = observer(LogSpec::default());
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("curl \"8\""));
    headers.insert("referer", HeaderValue::from_static("https://b.example/x?code=secret#y"));
    headers.insert("x-forwarded-for", HeaderValue::from_bytes(b"198.51.100.1\xff").unwrap());
    observer.log_request(&record(&observer.capture(&headers)));
    observer.flush();

    let mut logged = json(&log.lines());
    let time = logged.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'));
    let expected = serde_json::json!({
        "level": "warn", "service": "portcullis", "message": "http-request",
        "upstream-cluster": "a-cluster", "method": "GET", "authority": "a.example", "path": "/p",
        "user-agent": "curl \"8\"", "referer": "https://b.example/x",
        "forwarded-for": "198.51.100.1\u{fffd}, 192.0.2.7", "request-id": "id-1", "duration": 1.234,
        "size": 6, "response-code": 502, "response-code-details": "upstream_reset",
        "ip": "192.0.2.7", "tls-server-name": "a.example", "route": "a",
        "upstream-address": "192.0.2.9:443",
    });
    assert_eq!(logged, expected);
}

#[test]
fn the_forwarded_list_ends_with_the_peer_unless_that_is_not_appended() {
    let list = HeaderValue::from_static("198.51.100.1");
    let received = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), list)]);
    for (headers, appended_for, expected) in [
        (HeaderMap::new(), Some(peer().ip()), "192.0.2.7"),
        (HeaderMap::new(), None, ""),
        (received.clone(), Some(peer().ip()), "198.51.100.1, 192.0.2.7"),
        (received, None, "198.51.100.1"),
    ] {
        let (observer, log) = observer(with_fields(&["forwarded-for"]));
        let headers = observer.capture(&headers);
        observer.log_request(&RequestRecord { appended_for, ..record(&headers) });
        observer.flush();
        assert_eq!(json(&log.lines())["forwarded-for"], expected);
    }
}

#[test]
fn fields_are_written_in_the_order_asked_for() {
    let names = [
        "worker",
        "ip",
        "query",
        "route",
        "cluster-stat-name",
        "upstream-address",
        "protocol",
        "tls-version",
        "response-flags",
        "bytes-received",
        "headers.X-Absent",
    ];
    let spec = LogSpec { format: LogFormat::Text, ..with_fields(&names) };
    let (observer, log) = observer(spec);
    observer.log_request(&record(&CapturedHeaders::default()));
    observer.flush();
    let lines = log.lines();
    assert_eq!(
        lines.split_once("message=http-request ").unwrap().1,
        "worker=3 ip=192.0.2.7 query=\"token=1\" route=a cluster-stat-name=a-cluster \
         upstream-address=192.0.2.9:443 protocol=h2 tls-version=tls13 response-flags=UF \
         bytes-received=5 headers.x-absent=\"\"\n"
    );
}

#[test]
fn a_header_that_holds_a_secret_is_never_written() {
    let (observer, log) =
        observer(with_fields(&["headers.Authorization", "headers.cookie", "headers.x-trace"]));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
    headers.insert("cookie", HeaderValue::from_static("session=hunter2"));
    headers.insert("x-trace", HeaderValue::from_static("t1"));
    observer.log_request(&record(&observer.capture(&headers)));
    observer.flush();
    let lines = log.lines();
    assert!(!lines.contains("hunter2"), "{lines}");
    assert_eq!(json(&lines)["headers.authorization"], "[redacted]");
    assert_eq!(json(&lines)["headers.x-trace"], "t1");
}

#[test]
fn a_client_certificate_is_an_object_where_there_is_one() {
    let (observer, log) = observer(LogSpec {
        access_fields: vec![AccessField::ClientCertificate],
        ..LogSpec::default()
    });
    let certificate = CertificateSummary {
        issuer: "CN=ca".into(),
        subject: "CN=alice".into(),
        subject_alt_names: vec!["email:alice@example.com".into()],
    };
    let headers = CapturedHeaders::default();
    observer
        .log_request(&RequestRecord { client_certificate: Some(&certificate), ..record(&headers) });
    observer.flush();
    let expected = serde_json::json!({
        "issuer": "CN=ca", "subject": "CN=alice", "subjectAltName": ["email:alice@example.com"],
    });
    assert_eq!(json(&log.lines())["client-certificate"], expected);
    observer.log_request(&record(&headers));
    observer.flush();
    assert_eq!(json(&log.lines()).get("client-certificate"), None);
}

#[test]
fn a_connection_that_failed_is_logged_as_pomerium_does() {
    let (observer, log) = observer(LogSpec::default());
    observer.log_connection(&ConnectionRecord {
        level: Level::Info,
        peer: peer(),
        sni: Some(b"evil\"\n\xff"),
        reason: "client certificate: unknown issuer",
        alert: Some("unknown_ca"),
        tls_version: Some(TlsVersion::Tls13),
        client_certificate: None,
    });
    observer.flush();
    let logged = json(&log.lines());
    assert_eq!(logged["message"], "listener connection failure");
    assert_eq!(logged["ip"], "192.0.2.7");
    assert_eq!(logged["tls-sni-hostname"], "evil\"\n\u{fffd}");
    assert_eq!(logged["downstream-transport-failure-reason"], "client certificate: unknown issuer");
    assert_eq!(logged["alert"], "unknown_ca");
    assert_eq!(logged["worker"], 3);
}

#[test]
fn nothing_is_logged_where_requests_are_not() {
    let (observer, log) = observer(LogSpec { access: Level::Off, ..LogSpec::default() });
    assert!(!observer.logs_requests());
    observer.log_request(&record(&CapturedHeaders::default()));
    observer.flush();
    assert_eq!(log.lines(), "");
}

#[test]
fn failures_of_upstreams_are_warnings_and_are_logged_where_only_those_are() {
    let (observer, log) = observer(LogSpec { access: Level::Warn, ..LogSpec::default() });
    assert!(observer.logs_requests());
    let headers = CapturedHeaders::default();
    observer.log_request(&RequestRecord { response_flags: "", ..record(&headers) });
    observer.log_request(&RequestRecord { response_flags: "DC", ..record(&headers) });
    observer.log_request(&record(&headers));
    observer.flush();
    let logged = json(&log.lines());
    assert_eq!((&logged["level"], &logged["response-code"]), (&"warn".into(), &502.into()));
}

#[test]
fn settings_of_a_reload_hold_for_the_next_request() {
    let (log, captured) = Log::captured(LogSpec { access: Level::Off, ..LogSpec::default() });
    let observer = WorkerObserver::new(0, Arc::default(), log.clone());
    log.configure(LogSpec { format: LogFormat::Text, ..with_fields(&["method"]) });
    assert!(observer.logs_requests());
    observer.log_request(&record(&CapturedHeaders::default()));
    observer.flush();
    assert!(captured.lines().ends_with("message=http-request method=GET\n"));
}

#[test]
fn records_wait_until_they_fill_a_buffer() {
    let (observer, log) = observer(LogSpec::default());
    let headers = CapturedHeaders::default();
    observer.log_request(&record(&headers));
    assert_eq!(log.lines(), "");
    let long = "x".repeat(BUFFER_BYTES / 16);
    for _ in 0..16 {
        observer.log_request(&RequestRecord { path: &long, ..record(&headers) });
    }
    assert!(log.lines().len() >= BUFFER_BYTES);
}

#[test]
fn the_last_records_are_handed_over_when_a_worker_ends() {
    let (observer, log) = observer(LogSpec::default());
    observer.log_request(&record(&CapturedHeaders::default()));
    drop(observer);
    assert!(log.lines().contains("http-request"));
}

#[test]
fn records_without_room_are_dropped_and_counted() {
    let (observer, _full) = observer(LogSpec::default());
    let headers = CapturedHeaders::default();
    let mut logged = 0;
    while observer.metrics.log_records_dropped.get() == 0 {
        observer.log_request(&record(&headers));
        observer.flush();
        logged += 1;
        assert!(logged < 100_000, "the queue has no end");
    }
    observer.log_request(&record(&headers));
    observer.log_request(&record(&headers));
    observer.flush();
    assert_eq!(observer.metrics.log_records_dropped.get(), 3);
}
