//! Each work does what it says: the server sees what the result reports.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use portcullis_tests::{
    Backend,
    backend::{TlsServer, says},
    nginx::Nginx,
    openssl::SServer,
    pki,
    tempdir::TempDir,
};
use serde_json::{Value, json};

use crate::run::{ABC, Bench, result};

fn nginx() -> Nginx {
    nginx_with("")
}

fn nginx_with(directives: &str) -> Nginx {
    let nginx = Nginx::tls(&pki().upstream()).client_auth().http2().with(directives).start();
    std::fs::write(nginx.root().join("abc"), ABC).expect("a file for nginx");
    nginx
}

fn connections(records: &[Value]) -> usize {
    records.iter().map(|record| record["connection"].to_string()).collect::<HashSet<_>>().len()
}

fn latencies(result: &Value) -> u64 {
    let pairs = result["latency_us"].as_array().expect("pairs");
    pairs.iter().filter_map(|pair| pair[1].as_u64()).sum()
}

#[test]
fn keep_alive_makes_all_requests_on_its_connections() {
    let nginx = nginx();
    let bench = Bench::new("keep-alive", nginx.address()).expects_abc();
    let result = bench.with("--path /abc --connections 4 --units 100").result();
    assert_eq!(result["units"], 100);
    assert_eq!(result["errors"], 0);
    assert_eq!(result["first_error"], Value::Null);
    assert_eq!(result["handshakes"], 0, "they were made before the count began");
    assert_eq!(
        result["done"],
        "TLSv1_3 TLS13_AES_128_GCM_SHA256 X25519 HTTP/1.1 200 3 bytes sha256:ba7816bf full"
    );
    assert_eq!(latencies(&result), 100);
    let records = nginx.records(100);
    assert_eq!((records.len(), connections(&records)), (100, 4));
}

#[test]
fn threads_share_the_connections_and_the_units() {
    let nginx = nginx();
    let bench = Bench::new("keep-alive", nginx.address()).expects_abc();
    let result = bench.with("--path /abc --connections 3 --threads 2 --units 50").result();
    assert_eq!(result["units"], 50);
    assert_eq!(nginx.records(50).len(), 50);
}

#[test]
fn a_full_handshake_is_never_resumed() {
    let nginx = nginx();
    let bench = Bench::new("full-handshake", nginx.address()).expects_abc();
    let result = bench.with("--path /abc --connections 2 --units 10").result();
    assert_eq!((&result["units"], &result["handshakes"]), (&json!(10), &json!(10)));
    assert_eq!(result["resumed"], 0);
    assert!(result["done"].as_str().unwrap().ends_with(" full"), "{result}");
    let records = nginx.records(10);
    assert_eq!((records.len(), connections(&records)), (10, 10));
    assert!(records.iter().all(|record| record["session"] != "r"));
}

#[test]
fn handshakes_show_the_certificates_of_a_directory_in_turn() {
    let nginx = nginx();
    let directory = TempDir::new("clients");
    for (name, pair) in [("one", pki().client()), ("other", pki().proxy())] {
        for (from, suffix) in [(pair.cert, ""), (pair.key, "-key")] {
            std::fs::copy(from, directory.path().join(format!("{name}{suffix}.pem"))).unwrap();
        }
    }
    let shown = directory.path().display();
    let bench = Bench::new("full-handshake", nginx.address()).expects_abc();
    let bench = bench.with(&format!("--path /abc --client-certificates {shown}"));
    bench.with("--connections 1 --units 4").result();
    let serials: Vec<_> = nginx.records(4).iter().map(|one| one["serial"].clone()).collect();
    assert_ne!(serials[0], serials[1]);
    assert_eq!(serials[..2], serials[2..]);
}

#[test]
fn a_directory_without_a_certificate_is_an_error() {
    let nginx = nginx();
    let empty = TempDir::new("nobody");
    let bench = Bench::new("full-handshake", nginx.address());
    let failure =
        bench.with(&format!("--client-certificates {}", empty.path().display())).failure();
    assert!(failure.contains("no certificate with its key in"), "{failure}");
}

#[test]
fn every_handshake_is_resumed_once_each_loop_has_a_ticket() {
    for tls in ["1.2", "1.3"] {
        let nginx = nginx();
        let bench = Bench::new("resumed-handshake", nginx.address()).expects_abc();
        let bench = bench.with("--path /abc --connections 2 --units 10 --tls").with(tls);
        let result = bench.result();
        assert_eq!((&result["units"], &result["handshakes"]), (&json!(10), &json!(10)));
        assert_eq!(result["resumed"], 10);
        let done = result["done"].as_str().unwrap();
        assert!(done.starts_with(&format!("TLSv{} ", tls.replace('.', "_"))), "{done}");
        assert!(done.ends_with(" resumed"), "{done}");
        let records = nginx.records(12);
        let resumed = records.iter().filter(|record| record["session"] == "r").count();
        assert_eq!((records.len(), resumed), (12, 10));
    }
}

#[test]
fn a_server_that_does_not_resume_is_found_out() {
    let nginx = nginx_with("ssl_session_tickets off; ssl_session_cache off;");
    let bench = Bench::new("resumed-handshake", nginx.address()).expects_abc();
    let result = bench.with("--path /abc --connections 1 --units 3").result();
    assert_eq!((&result["handshakes"], &result["resumed"]), (&json!(3), &json!(0)));
    assert!(result["done"].as_str().unwrap().ends_with(" full"), "{result}");
}

#[test]
fn a_run_stays_on_its_processor_or_does_not_begin() {
    let nginx = nginx();
    let bench = || Bench::new("keep-alive", nginx.address()).expects_abc();
    let result = bench().with("--path /abc --connections 1 --units 3 --cpu 0").result();
    assert_eq!(result["units"], 3);
    assert!(bench().with("--cpu 1000").failure().contains("cannot stay on [1000]"));
    assert!(bench().with("--cpu 100000").failure().contains("no processor 100000"));
}

#[test]
fn streams_share_a_connection() {
    let nginx = nginx();
    let bench = Bench::new("keep-alive", nginx.address()).expects_abc();
    let bench = bench.with("--path /abc --protocol h2 --connections 2 --streams 8 --units 100");
    let result = bench.result();
    assert_eq!((&result["units"], &result["errors"]), (&json!(100), &json!(0)));
    assert_eq!(result["handshakes"], 0);
    assert!(result["done"].as_str().unwrap().contains(" HTTP/2 200 3 bytes sha256:ba7816bf"));
    let records = nginx.records(100);
    assert_eq!((records.len(), connections(&records)), (100, 2));
    assert!(records.iter().all(|record| record["protocol"] == "HTTP/2.0"));
}

#[test]
fn handshakes_count_over_http2_too() {
    let nginx = nginx();
    let bench = Bench::new("resumed-handshake", nginx.address()).expects_abc();
    let bench = bench.with("--path /abc --protocol h2 --connections 2 --units 10");
    let result = bench.result();
    assert_eq!((&result["handshakes"], &result["resumed"]), (&json!(10), &json!(10)));
}

#[test]
fn a_connection_that_the_server_ends_in_good_order_is_made_anew() {
    for protocol in ["http/1.1", "h2"] {
        let nginx = nginx_with("keepalive_requests 5;");
        let bench = Bench::new("keep-alive", nginx.address()).expects_abc();
        let bench = bench.with("--path /abc --connections 1 --units 50 --protocol").with(protocol);
        let result = bench.result();
        assert_eq!((&result["units"], &result["errors"]), (&json!(50), &json!(0)), "{protocol}");
        assert!(result["handshakes"].as_u64().unwrap() >= 8, "{protocol}: {result}");
    }
}

#[test]
fn a_name_that_is_refused_is_a_unit() {
    let nginx = nginx_with("ssl_reject_handshake on;");
    let result = Bench::new("refused", nginx.address()).with("--units 10").result();
    assert_eq!(result["units"], 10);
    assert_eq!(result["done"], "alert 112");
}

#[test]
fn a_name_that_is_not_refused_is_an_error() {
    let failure = Bench::new("refused", nginx().address()).with("--units 10").failure();
    assert!(failure.contains("the name was not refused"), "{failure}");
}

#[test]
fn a_client_certificate_that_is_refused_is_a_unit() {
    let nginx = nginx();
    let openssl = SServer::start(&pki().upstream(), &["-Verify", "9", "-verify_return_error"]);
    for (address, refused_by) in [(nginx.address(), "status 400"), (openssl.address(), "alert 48")]
    {
        let bench = Bench::new("refused-client", address).with("--unknown-certificates 3");
        let result = bench.with("--namesakes 2 --connections 1 --units 10").result();
        assert_eq!((&result["units"], &result["done"]), (&json!(10), &json!("refused")));
        assert_eq!(result["refused_by"], refused_by);
    }
}

#[test]
fn a_client_certificate_that_is_not_refused_is_an_error() {
    let nginx = nginx();
    let failure = Bench::new("refused-client", nginx.address()).with("--path /abc").failure();
    assert!(failure.contains("the certificate was not refused: status 200"), "{failure}");
}

#[test]
fn a_flood_of_frames_reports_how_often_it_was_cut_off() {
    let nginx = nginx();
    let mut command =
        Bench::new("frame-flood", nginx.address()).with("--protocol h2").into_command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a run");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for event in ["begun", "cut off"] {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(result(&line), json!({ "flood": event }));
    }
    let report = let_go(&mut child, stdout).unwrap();
    assert!(report["cut_off"].as_u64() >= Some(1), "{report}");
    assert!(report["sent_bytes"].as_u64() > Some(1_000_000), "{report}");
}

#[test]
fn a_flood_of_frames_needs_http2() {
    let backend = abc_backend();
    let failure = Bench::new("frame-flood", backend.address()).with("--protocol h2").failure();
    assert!(failure.contains("the server does not speak HTTP/2"), "{failure}");
}

#[test]
fn a_flood_takes_any_answer() {
    for (directive, done) in [("ssl_reject_handshake on;", "alert 112"), ("", "handshake")] {
        let nginx = nginx_with(directive);
        let result = Bench::new("flood", nginx.address()).with("--units 10").result();
        assert_eq!((&result["units"], &result["errors"]), (&json!(10), &json!(0)));
        assert_eq!(result["done"], done);
    }
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let result = Bench::new("flood", nobody).with("--units 3").result();
    assert_eq!((&result["units"], &result["done"]), (&json!(3), &json!("no connection")));
}

/// A load generator that holds its connections, and the number it reports.
fn hold(address: std::net::SocketAddr, more: &str) -> (Child, BufReader<impl std::io::Read>, u64) {
    let bench = Bench::new("hold", address).expects_abc().with(more);
    let mut command: Command = bench.into_command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a run");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a first line");
    let held = result(&line)["held"].as_u64().expect("a number");
    (child, stdout, held)
}

/// Ends standard input and returns the result.
fn let_go(child: &mut Child, mut stdout: impl std::io::Read) -> Option<Value> {
    drop(child.stdin.take());
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("a result");
    child.wait().expect("the end of a run").success().then(|| result(&text))
}

fn abc_backend() -> Backend {
    let tls = TlsServer { pair: pki().upstream(), client_auth: true, alpn: vec![] };
    Backend::tls(&tls, says(ABC))
}

#[test]
fn hold_holds_all_its_connections_and_proves_it() {
    let backend = abc_backend();
    let (mut child, stdout, held) = hold(backend.address(), "--connections 100 --threads 2");
    assert_eq!((held, backend.open()), (100, 100));
    let result = let_go(&mut child, stdout).unwrap();
    assert_eq!((&result["units"], &result["errors"]), (&json!(100), &json!(0)));
    assert_eq!(result["handshakes"], 100);
    assert_eq!(backend.connections(), 100, "the second request was on the same connection");
}

#[test]
fn hold_holds_connections_of_http2() {
    let nginx = nginx();
    let (mut child, stdout, held) =
        hold(nginx.address(), "--path /abc --protocol h2 --connections 20");
    assert_eq!(held, 20);
    assert_eq!(let_go(&mut child, stdout).unwrap()["units"], 20);
    let records = nginx.records(40);
    assert_eq!((records.len(), connections(&records)), (40, 20));
}

#[test]
fn a_connection_that_was_not_held_is_an_error() {
    let backend = abc_backend();
    let (mut child, stdout, held) = hold(backend.address(), "--connections 3");
    assert_eq!(held, 3);
    backend.stop();
    assert_eq!(let_go(&mut child, stdout), None);
}

#[test]
fn tolerated_connection_losses_are_counted() {
    let backend = abc_backend();
    let (mut child, stdout, _) = hold(backend.address(), "--connections 3 --tolerate");
    backend.stop();
    let result = let_go(&mut child, stdout).unwrap();
    assert_eq!((&result["units"], &result["errors"]), (&json!(0), &json!(3)));
}

#[test]
fn the_cpu_time_of_both_sides_is_counted() {
    let nginx = nginx();
    let bench = Bench::new("full-handshake", nginx.address()).expects_abc();
    let bench = bench.with("--path /abc --units 20 --pid").with(&std::process::id().to_string());
    let result = bench.result();
    assert!(result["client_cpu_us"].as_f64().unwrap() > 0.0, "{result}");
    // The load generator and nginx are descendants of this process.
    assert!(result["proxy_cpu_us"].as_f64() > result["client_cpu_us"].as_f64(), "{result}");
}
