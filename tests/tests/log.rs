//! What the log says of refusals and of how requests were treated, and its level by order.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use portcullis_tests::{
    Backend, Proxy, pki, process::Finished, proxy::portcullis, raw::hello, wait::until,
};

const DOMAIN: &str = "localhost.pomerium.io";

/// `portcullis log` with these arguments, against a running proxy.
fn log(proxy: &Proxy, arguments: &[&str]) -> Finished {
    let address = proxy.admin_address().to_string();
    let order = [&["log"], arguments, &["--address"]].concat();
    portcullis(&[], &order, Some(Path::new(&address)))
}

fn said(proxy: &Proxy, arguments: &[&str]) -> String {
    let finished = log(proxy, arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

#[test]
fn an_operator_sets_the_level_for_a_while_and_a_reload_keeps_it() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    assert_eq!(said(&proxy, &[]), "info, as configured\n");
    let set = said(&proxy, &["debug", "--for", "1h"]);
    assert!(set.starts_with("debug, for 3") && set.ends_with("configured: info\n"), "{set}");
    let next = proxy.current().global("log_level: warn");
    proxy.rewrite(next);
    proxy.wait_for_log("the reload", |line| line["message"] == "configuration reloaded");
    assert!(said(&proxy, &[]).ends_with("configured: warn\n"));
    assert_eq!(proxy.curl("app", "/while").ok().status, 200);
    proxy.wait_for_access("/while");
    assert_eq!(said(&proxy, &["configured"]), "warn, as configured\n");
    assert_eq!(said(&proxy, &["info", "--for", "1s"]).split(',').next(), Some("info"));
    until("the level to be over", || said(&proxy, &[]) == "warn, as configured\n");
    for wrong in [&["loud"][..], &["debug", "--for", "2d"], &["debug", "--for", "25h"]] {
        assert_eq!(log(&proxy, wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn debug_tells_each_stage_of_a_request_by_its_id_and_no_secret() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .global("log_level: debug")
        .route_as_is(&format!(
            "from: https://app.{DOMAIN}\npath: /other\nto: {}\nallow_public_unauthenticated_access: true",
            backend.url()
        ))
        .forward("app", &backend.url(), "name: the-app")
        .start();
    let secret = "Authorization: Bearer c2VjcmV0";
    let fetched = proxy.curl("app", "/staged?token=c2VjcmV0").header(secret).ok();
    let id = fetched.header("x-request-id").expect("an ID").to_owned();
    let stage = |message: &str| {
        proxy.wait_for_log(message, |line| line["message"] == message && line["request-id"] == *id)
    };
    let route = stage("route chosen");
    assert_eq!(route["place"], "routes[1]", "{route}");
    assert_eq!(route["passed-over"], "routes[0] (another path)", "{route}");
    let policy = stage("policy evaluated");
    assert_eq!(policy["outcome"], "Allow", "{policy}");
    assert_eq!(policy["ip"], "127.0.0.1", "{policy}");
    assert_eq!(stage("upstream chosen")["endpoint"], backend.address().to_string());
    let of_connection = |message: &str| {
        let name = format!("app.{DOMAIN}");
        proxy.wait_for_log(message, |line| {
            line["message"] == message && line["tls-server-name"] == *name
        })
    };
    assert_eq!(of_connection("TLS handshake done")["peer"], route["peer"]);
    let names = of_connection("server certificate chosen")["names"].to_string();
    assert!(names.contains(DOMAIN), "{names}");
    assert!(!proxy.output().concat().contains("c2VjcmV0"));
}

#[test]
fn a_refusal_names_its_rule_and_what_was_judged() {
    let backend = Backend::text("x");
    let route = |host: &str, more: &str| {
        format!("from: https://{host}.{DOMAIN}\nto: {}\n{more}", backend.url())
    };
    let deny = "policy:\n- allow: {or: [accept: true]}\n- deny: {or: [source_ip: 127.0.0.0/8]}";
    let mtls = format!(
        "tls_downstream_client_ca_file: {:?}\nallow_public_unauthenticated_access: true",
        pki().ca()
    );
    let proxy = Proxy::config()
        .global("access_log_fields: [path, response-code]")
        .route_as_is(&route("open", "allow_public_unauthenticated_access: true"))
        .route_as_is(&route("denied", deny))
        .route_as_is(&route("mtls", &mtls))
        .start();
    assert_eq!(proxy.curl("denied", "/d").ok().status, 403);
    let record = proxy.wait_for_access("/d");
    assert_eq!(record["policy-rule"], "routes[1].policy[1].deny", "{record}");
    assert_eq!(record["ip"], "127.0.0.1", "{record}");
    assert_eq!(record["route"], format!("denied.{DOMAIN}"), "{record}");

    let host = format!("Host: mtls.{DOMAIN}");
    assert_eq!(proxy.curl("open", "/m").http1().header(&host).ok().status, 421);
    let record = proxy.wait_for_access("/m");
    assert_eq!(record["tls-server-name"], format!("open.{DOMAIN}"), "{record}");

    let expired = pki().pair("client-expired");
    assert_eq!(proxy.curl("mtls", "/e").client(&expired).ok().status, 495);
    let record = proxy.wait_for_access("/e");
    assert_eq!(record["policy-rule"], "downstream_mtls.enforcement", "{record}");
}

#[test]
fn an_ended_certificate_is_told_of_with_dates() {
    let backend = Backend::text("x");
    let mtls = format!("tls_downstream_client_ca_file: {:?}", pki().ca());
    let proxy = Proxy::config().forward("mtls", &backend.url(), &mtls).start();
    let expired = pki().pair("client-expired");
    assert_eq!(proxy.curl("mtls", "/e").client(&expired).ok().status, 495);
    let record = proxy.wait_for_access("/e");
    let details = record["response-code-details"].as_str().expect("details");
    let (_, dates) = details.split_once(" expired at ").expect(details);
    let (end, now) = dates.split_once(" (now ").expect(details);
    for date in [end, now.trim_end_matches([')', '}'])] {
        assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{details}");
    }
}

#[test]
fn a_client_that_closes_while_it_is_asked_for_a_certificate_is_no_failure() {
    let backend = Backend::text("x");
    let mtls = format!("tls_downstream_client_ca_file: {:?}", pki().ca());
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward("mtls", &backend.url(), &mtls)
        .forward("app", &backend.url(), "")
        .start();
    let close_after_hello = |host: &str| {
        let mut tcp = TcpStream::connect(proxy.address()).expect("a connection");
        tcp.write_all(&hello(&format!("{host}.{DOMAIN}"))).expect("room");
        assert!(tcp.read(&mut [0; 16]).expect("the server's flight") > 0);
    };
    close_after_hello("mtls");
    close_after_hello("app");
    let of = |host: &'static str| {
        move |line: &serde_json::Value| line["tls-sni-hostname"] == format!("{host}.{DOMAIN}")
    };
    assert_eq!(proxy.wait_for_refusal(of("app"))["level"], "info");
    assert!(!proxy.log().iter().any(of("mtls")), "{:?}", proxy.log());
    said(&proxy, &["debug"]);
    close_after_hello("mtls");
    let record = proxy.wait_for_refusal(of("mtls"));
    assert_eq!(record["level"], "debug", "{record}");
    let reason = record["downstream-transport-failure-reason"].as_str().expect("a reason");
    assert!(reason.contains("browsers do so while they show their dialog"), "{reason}");
}
