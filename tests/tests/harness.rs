//! The harness against real peers alone, so that a failing test blames the right program.

use portcullis_tests::{
    Backend, Curl, Raw,
    backend::{Echoed, TlsServer},
    grpc,
    nginx::Nginx,
    openssl::{self, SClient, SServer},
    pki,
    process::run,
    raw::TlsOptions,
    wire::End,
    ws,
};

#[test]
fn curl_and_nginx_understand_each_other() {
    let nginx = Nginx::tls(&pki().upstream()).with("location / { return 200 hello; }").start();
    let url = format!("https://localhost:{}/x", nginx.address().port());
    let fetched = Curl::new(nginx.address(), &url).http1().ok();
    assert_eq!((fetched.status, fetched.text().as_str()), (200, "hello"));
    assert_eq!(fetched.version, "1.1");
    assert!(fetched.header("server").is_some_and(|name| name.starts_with("nginx")));
    assert_eq!(nginx.records(1)[0]["uri"], "/x");
}

#[test]
fn nginx_names_the_client_certificate_it_insisted_on() {
    let nginx =
        Nginx::tls(&pki().upstream()).client_auth().with("location / { return 200; }").start();
    let url = format!("https://localhost:{}/", nginx.address().port());
    assert_eq!(Curl::new(nginx.address(), &url).ok().status, 400);
    assert_eq!(Curl::new(nginx.address(), &url).client(&pki().proxy()).ok().status, 200);
    assert_eq!(nginx.records(2)[1]["serial"], pki().proxy().serial());
}

#[test]
fn curl_tells_what_it_sent_through_an_echo() {
    let backend = Backend::echo();
    let url = format!("{}/a?b", backend.url());
    let fetched = Curl::new(backend.address(), &url).header("X-One: 1").post("body").ok();
    let echoed = Echoed::parse(&fetched.text());
    assert_eq!(echoed.text("target"), "/a?b");
    assert_eq!(echoed.text("body"), "body");
    assert_eq!(echoed.header("x-one").as_deref(), Some("1"));
}

#[test]
fn s_server_shows_the_client_certificate_of_curl() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1"]);
    let url = format!("{}/", server.url());
    let fetched = Curl::new(server.address(), &url).client(&pki().proxy()).ok();
    assert!(fetched.text().contains("portcullis@localhost.pomerium.io"), "{}", fetched.text());
    let refused = Curl::new(server.address(), &url).run();
    assert_ne!(refused.exit, 0, "{refused:?}");
    server.wait_for_text("peer did not return a certificate");
}

#[test]
fn s_client_resumes_a_session_and_sees_alerts() {
    let tls = TlsServer { pair: pki().upstream(), client_auth: true, alpn: vec![] };
    let backend = Backend::tls(&tls, |conn| {
        conn.request();
        conn.respond(200, "");
    });
    let dir = portcullis_tests::tempdir::TempDir::new("sessions");
    let session = dir.path().join("session");
    let client = || SClient::new(backend.address(), "localhost");
    let first =
        client().client(&pki().client()).save_session(&session).run(&openssl::get("localhost"));
    assert!(first.stdout.contains("HTTP/1.1 200"), "{first:?}");
    assert!(!openssl::was_resumed(&first));
    let second =
        client().client(&pki().client()).use_session(&session).run(&openssl::get("localhost"));
    assert!(openssl::was_resumed(&second), "{second:?}");
    let none = client().run(&openssl::get("localhost"));
    assert_eq!(openssl::alert(&none), Some(116), "{none:?}");
}

#[test]
fn the_raw_client_tells_alerts_resets_and_truncation_apart() {
    let tls = TlsServer { pair: pki().upstream(), client_auth: true, alpn: vec![] };
    let backend = Backend::tls(&tls, |_| ());
    let refused = Raw::try_tls(backend.address(), &TlsOptions::name("localhost").tls12());
    assert_eq!(refused.err(), Some(End::Alert(116)));

    let backend = Backend::secure(|conn| {
        let Some(head) = conn.request() else { return };
        match head.target.as_str() {
            "/reset" => conn.end_with_reset(),
            "/truncate" => conn.end_without_close_notify(),
            _ => {}
        }
    });
    let end = |path: &str| {
        let mut raw = Raw::tls(backend.address(), "localhost");
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        raw.to_end().end
    };
    assert_eq!(end("/reset"), End::Reset);
    assert_eq!(end("/truncate"), End::Truncated);
    assert_eq!(end("/"), End::Clean);
}

#[test]
fn chunked_bodies_and_trailers_reach_the_echo() {
    let backend = Backend::echo();
    let mut raw = Raw::tcp(backend.address());
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-End: yes\r\n\r\n");
    let echoed = Echoed::parse(&raw.response().text());
    assert_eq!(echoed.text("body"), "abcde");
    assert_eq!(echoed.trailers(), [("X-End".to_owned(), "yes".to_owned())]);
}

#[test]
fn grpc_works_without_a_proxy() {
    let server = grpc::Server::tls(&pki().upstream());
    let unary = grpc::call(server.address(), "localhost", "Unary", 1);
    assert_eq!(unary["messages"][0], "cba", "{unary}");
    assert_eq!(unary["trailing"]["x-trailing"], "last");
    let failed = grpc::call(server.address(), "localhost", "Fail", 1);
    assert_eq!(failed["code"], "OUT_OF_RANGE");
}

#[test]
fn a_websocket_works_through_nginx() {
    let server = ws::EchoServer::start();
    let forward = format!(
        "location / {{ proxy_pass {}; proxy_http_version 1.1; \
         proxy_set_header Upgrade websocket; proxy_set_header Connection upgrade; }}",
        server.url()
    );
    let nginx = Nginx::tls(&pki().upstream()).with(&forward).start();
    let done = ws::echo(nginx.address(), "localhost", "/", 20);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("echoed 20"));
}

#[test]
fn odd_certificates_are_as_odd_as_they_should_be() {
    let text = |name: &str| {
        let mut command = std::process::Command::new(portcullis_tests::tools::need("openssl"));
        command.args(["x509", "-noout", "-text", "-in"]).arg(pki().pair(name).cert);
        run(&mut command, b"").stdout
    };
    assert!(text("client-expired").contains("Not After : Jan  1 00:00:00 2021"));
    assert!(text("client-early").contains("Not Before: Jan  1 00:00:00 2090"));
    assert!(text("client-wrong-use").contains("TLS Web Server Authentication"));
    assert!(text("p384").contains("384 bit"));
    let key = |name: &str| std::fs::read_to_string(pki().pair(name).key).unwrap();
    assert!(key("p384").starts_with("-----BEGIN EC PRIVATE KEY"));
    assert!(key("pkcs1").starts_with("-----BEGIN RSA PRIVATE KEY"));
}
