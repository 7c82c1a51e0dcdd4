//! The load generator accepts no wrong response.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use portcullis_tests::{
    Backend,
    backend::{Conn, says},
    openssl::SServer,
    pki,
};
use serde_json::json;

use crate::run::{ABC, Bench};

/// Answers the third request with `odd`; without `odd`, ends the connection instead.
fn third_is(odd: Option<&'static str>) -> Backend {
    let requests = Arc::new(AtomicUsize::new(0));
    Backend::secure(move |conn: &mut Conn| {
        while conn.request().is_some() {
            match (requests.fetch_add(1, SeqCst) + 1 == 3, odd) {
                (true, None) => return,
                (true, Some(odd)) => conn.send(odd),
                (false, _) => {
                    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{ABC}"))
                }
            }
        }
    })
}

fn bench(backend: &Backend) -> Bench {
    let bench = Bench::new("keep-alive", backend.address()).expects_abc();
    bench.with("--connections 1 --units 10")
}

fn ends_the_run_or_is_counted(odd: Option<&'static str>, message: &str) {
    let failure = bench(&third_is(odd)).failure();
    assert!(failure.contains(message), "{failure}");
    let backend = third_is(odd);
    let result = bench(&backend).with("--tolerate").result();
    assert_eq!((&result["units"], &result["errors"]), (&json!(9), &json!(1)), "{result}");
    assert!(result["first_error"].to_string().contains(message), "{result}");
    assert_eq!(backend.connections(), 2, "the loop reconnects");
}

#[test]
fn a_body_with_another_hash_is_an_error() {
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabd";
    ends_the_run_or_is_counted(Some(odd), "a wrong body");
}

#[test]
fn a_first_body_with_another_hash_is_an_error() {
    let backend = Backend::secure(says("abd"));
    let failure = bench(&backend).failure();
    assert!(failure.contains("a body with SHA-256 a52d159f"), "{failure}");
}

#[test]
fn a_body_of_another_length_is_an_error() {
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    ends_the_run_or_is_counted(Some(odd), "a body of 2 bytes instead of 3");
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    ends_the_run_or_is_counted(Some(odd), "a body of more than 3 bytes");
}

#[test]
fn another_status_is_an_error() {
    let odd = "HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntry later";
    ends_the_run_or_is_counted(Some(odd), "status 503");
    let odd = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc";
    ends_the_run_or_is_counted(Some(odd), "status 404");
}

#[test]
fn what_is_not_http_is_an_error() {
    ends_the_run_or_is_counted(
        Some("220 mail.example ready\r\n\r\n"),
        "not the head of an HTTP/1 response",
    );
}

#[test]
fn a_peer_that_closes_without_a_response_is_an_error() {
    ends_the_run_or_is_counted(None, "the connection ended without a response");
}

#[test]
fn a_close_that_the_response_announces_is_no_error() {
    let backend = Backend::secure(|conn: &mut Conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    });
    let result = bench(&backend).result();
    assert_eq!((&result["units"], &result["handshakes"]), (&json!(10), &json!(9)));
}

#[test]
fn an_end_without_close_notify_behind_a_response_is_no_error() {
    let backend = Backend::secure(|conn: &mut Conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
        conn.end_without_close_notify();
    });
    assert_eq!(bench(&backend).result()["units"], 10);
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error() {
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let failure = Bench::new("full-handshake", nobody).with("--units 1").failure();
    assert!(failure.contains("cannot connect"), "{failure}");
    let result = Bench::new("full-handshake", nobody).with("--tolerate").seconds(1).result();
    assert_eq!(result["units"], 0);
    assert!(result["errors"].as_u64().unwrap() > 0);
}

#[test]
fn a_server_with_a_certificate_of_another_ca_is_an_error() {
    let tls = portcullis_tests::backend::TlsServer {
        pair: pki().pair("other/upstream"),
        client_auth: false,
        alpn: vec![],
    };
    let failure = bench(&Backend::tls(&tls, says(ABC))).failure();
    assert!(failure.contains("no handshake"), "{failure}");
}

#[test]
fn bodies_may_differ_where_they_have_to() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1"]);
    let bench = Bench::new("full-handshake", server.address()).with("--any-body --connections 1");
    let result = bench.with("--units 5").result();
    assert_eq!((&result["units"], &result["resumed"]), (&json!(5), &json!(0)));
    assert!(result["done"].as_str().unwrap().contains("HTTP/1.0 200 any body full"), "{result}");
}
