//! Upstreams that no connection can be made to, on routes without health checks: the log says so once,
//! and status for as long as it is so.

use portcullis_tests::{
    Proxy,
    nginx::Nginx,
    openssl::SServer,
    pki,
    pki::Pair,
    ports::free_port,
    proxy::{Config, portcullis},
    wait::until,
};
use serde_json::Value;

const OUTAGE: &str =
    "an upstream cannot be reached: its requests go to other upstreams of their routes, or fail";
const END: &str = "an upstream can be reached again";

fn forward(urls: &[String], more: &str) -> Config {
    Proxy::config().forward_tls("app", &format!("[{}]", urls.join(", ")), more)
}

fn nginx(port: u16) -> Nginx {
    Nginx::plain().at(port).with("location / { return 200 ok; }").start()
}

/// The line of the first outage.
fn outage(proxy: &Proxy) -> Value {
    proxy.wait_for_log("the outage", |line| line["message"] == OUTAGE)
}

fn unreachable(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("portcullis_endpoints_unreachable", &[])
}

#[test]
fn an_outage_is_told_once_at_each_end() {
    let port = free_port();
    let (dies, stays) = (nginx(port), nginx(free_port()));
    let proxy = forward(&[dies.url(), stays.url()], "").start();
    let name = dies.address().to_string();
    drop(dies);
    until("an attempt that fails", || {
        proxy.curl("app", "/").ok();
        unreachable(&proxy) == 1.0
    });
    for _ in 0..20 {
        proxy.curl("app", "/").ok();
    }
    let line = outage(&proxy);
    assert_eq!((line["level"].as_str(), line["endpoint"].as_str()), (Some("warn"), Some(&*name)));
    let refused = format!("cannot connect to {name}: Connection refused (os error 111)");
    assert_eq!(line["error"], refused);
    let shown = &proxy.status()["unreachable"];
    assert_eq!(
        (&shown[0]["endpoint"], &shown[0]["last_error"]),
        (&line["endpoint"], &line["error"])
    );
    let address = proxy.admin_address().to_string();
    let page = portcullis(&[], &["status", "--address", &address], None).stdout;
    assert!(page.contains("UNREACHABLE") && page.contains(&refused), "{page}");
    let _back = nginx(port);
    until("it to be reached", || {
        proxy.curl("app", "/").ok();
        unreachable(&proxy) == 0.0
    });
    let end = proxy.wait_for_log("the end", |line| line["message"] == END);
    assert!(end["failures"].as_u64().is_some_and(|failures| failures >= 1), "{end}");
    assert_eq!([OUTAGE, END].map(|message| proxy.count_log(message)), [1, 1]);
    assert_eq!(proxy.status()["unreachable"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_single_upstream_that_is_down_is_told_too() {
    let proxy = forward(&[format!("http://127.0.0.1:{}", free_port())], "").start();
    for _ in 0..5 {
        assert_eq!(proxy.curl("app", "/").run().status, 503);
    }
    outage(&proxy);
    assert_eq!((proxy.count_log(OUTAGE), unreachable(&proxy)), (1, 1.0));
}

/// A server that wants a client certificate, and the error in the log of a route that has this one.
fn error_with(version: &str, pair: Option<Pair>) -> String {
    let options = ["-Verify", "1", "-verify_return_error", version];
    let server = SServer::start(&pki().upstream(), &options);
    let certificate = pair.map_or(String::new(), |pair| {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        format!("tls_client_cert_file: {cert}\ntls_client_key_file: {key}")
    });
    let proxy = forward(&[server.url()], &certificate).start();
    for path in ["/1", "/2"] {
        assert_eq!(proxy.curl("app", path).run().status, 503, "{version}");
    }
    let record = proxy.wait_for_access("/2");
    let error = outage(&proxy)["error"].as_str().expect("a text").to_owned();
    assert_eq!(proxy.count_log(OUTAGE), 1, "{version}: a connection alone is no end");
    assert!(record["response-code-details"].to_string().contains("tls_client_cert_file"));
    error
}

#[test]
fn an_upstream_that_wants_a_client_certificate_is_named() {
    for version in ["-tls1_2", "-tls1_3"] {
        let error = error_with(version, None);
        let why = "the upstream asks for a client certificate, and this route names none \
                   (tls_client_cert_file)";
        assert!(error.contains(why), "{version}: {error}");
        let error = error_with(version, Some(pki().pair("other/client")));
        let why = "the upstream refused our client certificate (tls_client_cert_file)";
        assert!(error.contains(why), "{version}: {error}");
    }
}

#[test]
fn a_certificate_that_is_taken_makes_no_outage() {
    let server = SServer::start(&pki().upstream(), &["-Verify", "1", "-verify_return_error"]);
    let (cert, key) = (pki().proxy().cert, pki().proxy().key);
    let certificate =
        format!("tls_client_cert_file: {}\ntls_client_key_file: {}", cert.display(), key.display());
    let proxy = forward(&[server.url()], &certificate).start();
    proxy.curl("app", "/").ok();
    assert_eq!((proxy.count_log(OUTAGE), unreachable(&proxy)), (0, 0.0));
}

#[test]
fn a_name_without_an_address_is_told_in_words() {
    let proxy = forward(&["http://no-such-host.invalid".to_owned()], "").start();
    assert_eq!(proxy.curl("app", "/").run().status, 503);
    let record = proxy.wait_for_access("/");
    let details = record["response-code-details"].as_str().expect("a text");
    assert!(details.contains("no-such-host.invalid"), "{details}");
    assert!(!details.contains("Query") && !details.contains("Name("), "{details}");
}
