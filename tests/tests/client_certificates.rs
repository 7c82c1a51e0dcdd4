//! Client certificates in the policy modes: the handshake accepts them, and each request is
//! verified.

use std::time::{Duration, SystemTime};

use portcullis_tests::{
    Backend, Pair, Proxy, Raw, chains,
    openssl::{SClient, get},
    pki,
    proxy::Config,
    raw::TlsOptions,
    tempdir::TempDir,
    wait::until,
    wire::End,
};

const DOMAIN: &str = "localhost.pomerium.io";
const TEXT: &str = "a valid client certificate is required to access this page";

/// A configuration with a CA, enforced by Pomerium's default or by `more`.
fn under_ca(more: &str) -> Config {
    Proxy::config().global(&format!("downstream_mtls: {{ca_file: {:?}{more}}}", pki().ca()))
}

fn record_of(proxy: &Proxy, path: &str) -> serde_json::Value {
    proxy.wait_for_access(path)
}

#[test]
fn every_outcome_is_the_same_by_every_version_of_tls_and_http() {
    let dir = TempDir::new("outcomes");
    let deep = chains::deep(&dir).client;
    let pair = |name| Some(pki().pair(name));
    let required = "client-certificate-required";
    let invalid = "invalid-client-certificate";
    let cases: [(&str, Option<Pair>, u16, Option<&str>); 7] = [
        ("good", pair("client"), 200, None),
        ("none", None, 495, Some(required)),
        ("untrusted", pair("other/client"), 495, Some(invalid)),
        ("expired", pair("client-expired"), 495, Some(invalid)),
        ("early", pair("client-early"), 495, Some(invalid)),
        ("wrong-use", pair("client-wrong-use"), 495, Some(invalid)),
        ("deep", Some(deep), 495, Some(invalid)),
    ];
    let backend = Backend::text("inside");
    let deny =
        "policy:\n- allow: {or: [accept: true]}\n  deny: {or: [invalid_client_certificate: true]}";
    let modes = [
        under_ca("").forward("mtls", &backend.url(), ""),
        under_ca(", enforcement: policy")
            .route_as_is(&format!("from: https://mtls.{DOMAIN}\nto: {}\n{deny}", backend.url())),
    ];
    for proxy in modes.map(Config::start) {
        for (name, client, status, reason) in &cases {
            for (tls, version) in [("--tls-max", "1.2"), ("--tlsv1.3", "1.3")] {
                for http in ["--http1.1", "--http2"] {
                    let path = format!("/{name}{version}{http}");
                    let curl = proxy.curl("mtls", &path).args([http, tls]);
                    let curl = if tls == "--tls-max" { curl.args([version]) } else { curl };
                    let curl = match client {
                        Some(pair) => curl.client(pair),
                        None => curl,
                    };
                    let fetched = curl.ok();
                    assert_eq!(fetched.status, *status, "{path}: {fetched:?}");
                    assert_eq!(fetched.text().contains("inside"), *status == 200, "{path}");
                    let record = record_of(&proxy, &path);
                    let said = &record["deny-why-true"];
                    assert_eq!(said[0].as_str(), *reason, "{path}: {record}");
                }
            }
        }
    }
}

#[test]
fn the_answer_is_a_page_or_json_or_text_as_the_client_wishes() {
    let backend = Backend::text("inside");
    let proxy = under_ca("").forward("mtls", &backend.url(), "").start();
    let fetch = |accept: &str| {
        let fetched = proxy.curl("mtls", "/").http1().header(accept).ok();
        assert_eq!(fetched.status, 495);
        assert_eq!(fetched.header("x-pomerium-intercepted-response"), Some("true"));
        assert_eq!(fetched.header("cache-control"), Some("no-cache, must-revalidate"));
        fetched
    };
    let page = fetch("Accept: text/html,*/*;q=0.8").text();
    assert!(page.contains(&format!("<title>495 {TEXT}</title>")), "{page}");
    let json = fetch("Accept: application/json");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json()["error"], TEXT);
    assert_eq!(json.json()["request_id"].as_str(), json.header("x-request-id"));
    assert!(fetch("Accept: text/plain").text().contains(TEXT));
    let browser = proxy.curl("mtls", "/").header("Accept: text/html").ok();
    assert!(browser.header("location").is_none(), "nobody is sent to sign in");
}

#[test]
fn local_services_and_robots_need_no_certificate() {
    let backend = Backend::text("inside");
    let proxy = under_ca("").forward("mtls", &backend.url(), "").start();
    assert_eq!(proxy.curl("mtls", "/ping").ok().status, 200);
    assert_eq!(proxy.curl("mtls", "/healthz").ok().status, 200);
    let robots = proxy.curl("mtls", "/robots.txt").ok();
    assert_eq!((robots.status, robots.text().as_str()), (200, "User-agent: *\nDisallow: /"));
    assert_eq!(proxy.curl("nobody", "/").ok().status, 404);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_refusal_leaves_one_record_with_its_reasons() {
    let backend = Backend::text("inside");
    let proxy = under_ca("").forward("mtls", &backend.url(), "").start();
    let stranger = pki().pair("other/client");
    assert_eq!(proxy.curl("mtls", "/refused").client(&stranger).ok().status, 495);
    let record = record_of(&proxy, "/refused");
    assert_eq!(record["response-code"], 495, "{record}");
    assert_eq!(record["deny-why-true"], serde_json::json!(["invalid-client-certificate"]));
    assert_eq!(record["allow-why-true"], serde_json::json!(["accept"]), "{record}");
    let certificate = &record["client-certificate"];
    assert_eq!(certificate["subjectAltName"][0], "email:stranger@elsewhere.test", "{record}");
    assert!(certificate["issuer"].as_str().unwrap().contains("mkcert"), "{record}");
    assert!(certificate["subject"].is_string(), "{record}");
    let details = record["response-code-details"].as_str().unwrap();
    assert!(details.contains("client certificate: "), "{record}");
    assert_eq!(proxy.count_log("http-request"), 1);
    assert_eq!(proxy.count_log("listener connection failure"), 0);
}

#[test]
fn a_certificate_that_the_policy_does_not_want_is_forbidden() {
    let backend = Backend::text("inside");
    let route = |host: &str, matcher: &str| {
        format!(
            "from: https://{host}.{DOMAIN}\nto: {}\npolicy:\n- allow:\n    and:\n    - \
             client_certificate: {{{matcher}}}",
            backend.url()
        )
    };
    let fingerprint = pki().client().fingerprint();
    let proxy = under_ca("")
        .route_as_is(&route("wanted", "san_email: user@localhost.pomerium.io"))
        .route_as_is(&route("pinned", &format!("fingerprint: {fingerprint}")))
        .route_as_is(&route("unwanted", "san_email: somebody@localhost.pomerium.io"))
        .start();
    let status = |host| proxy.curl(host, &format!("/{host}")).client(&pki().client()).ok().status;
    assert_eq!((status("wanted"), status("pinned"), status("unwanted")), (200, 200, 403));
    let record = record_of(&proxy, "/unwanted");
    let why = serde_json::json!(["client-certificate-unauthorized"]);
    assert_eq!(record["allow-why-false"], why, "{record}");
    assert!(record["client-certificate"].is_object(), "{record}");
    assert_eq!(proxy.curl("pinned", "/").client(&pki().pair("proxy")).ok().status, 403);
}

#[test]
fn only_hosts_that_need_certificates_ask_with_their_cas() {
    let dir = TempDir::new("hints");
    let root = chains::deep(&dir).root;
    let backend = Backend::text("inside");
    let deny = "deny: {or: [invalid_client_certificate: true]}";
    let own = format!("tls_downstream_client_ca_file: {}", root.display());
    let config = under_ca(", enforcement: policy")
        .forward("open", &backend.url(), "")
        .forward("looks", &backend.url(), &format!("policy: {{{deny}}}"))
        .forward("own", &backend.url(), &format!("policy: {{{deny}}}\n{own}"));
    let asked = |proxy: &Proxy, name: Option<&str>| -> String {
        let name = name.map(|name| format!("{name}.{DOMAIN}"));
        let client = match &name {
            Some(name) => SClient::new(proxy.address(), name),
            None => SClient::nameless(proxy.address()),
        };
        let seen = client.run(&get(name.as_deref().unwrap_or("x")));
        let list = seen.stdout.split_once("Acceptable client certificate CA names\n");
        match list {
            Some((_, rest)) => rest.split("Requested Signature").next().unwrap().to_owned(),
            None => {
                assert!(seen.stdout.contains("No client certificate CA names sent"), "{seen:?}");
                assert!(!seen.stdout.contains("Requested Signature"), "{seen:?}");
                String::new()
            }
        }
    };
    let proxy = config.clone().start();
    assert_eq!(asked(&proxy, Some("open")), "");
    let looks = asked(&proxy, Some("looks"));
    assert!(looks.contains("mkcert") && !looks.contains("CN = root"), "{looks}");
    let own = asked(&proxy, Some("own"));
    assert!(own.contains("CN = root") && !own.contains("mkcert"), "{own}");
    for unknown in [Some("nobody"), None] {
        let all = asked(&proxy, unknown);
        assert!(all.contains("CN = root") && all.contains("mkcert"), "{unknown:?}: {all}");
    }
    let everywhere = config.own("client_certificates", "{ask: everywhere}").start();
    let open = asked(&everywhere, Some("open"));
    assert!(open.contains("CN = root") && open.contains("mkcert"), "{open}");
}

#[test]
fn without_a_ca_no_certificate_is_asked_for() {
    let backend = Backend::text("inside");
    let proxy = Proxy::config().forward("mtls", &backend.url(), "").start();
    let name = format!("mtls.{DOMAIN}");
    let seen = SClient::new(proxy.address(), &name).run(&get(&name));
    assert!(seen.stdout.contains("No client certificate CA names sent"), "{seen:?}");
    assert!(seen.stdout.contains("inside"));
}

#[test]
fn a_request_on_a_connection_of_another_scope_is_misdirected() {
    let dir = TempDir::new("misdirected");
    let root = chains::deep(&dir).root;
    let backend = Backend::text("inside");
    let deny = "policy: {deny: {or: [invalid_client_certificate: true]}}";
    let own = format!("tls_downstream_client_ca_file: {}", root.display());
    let proxy = under_ca(", enforcement: policy")
        .forward("open", &backend.url(), "")
        .forward("looks", &backend.url(), deny)
        .forward("too", &backend.url(), deny)
        .forward("own", &backend.url(), &format!("{deny}\n{own}"))
        .start();
    for http in ["--http1.1", "--http2"] {
        let status = |sni: &str, host: &str| {
            let curl = proxy.curl(sni, "/").client(&pki().client()).args([http]);
            curl.header(&format!("Host: {host}.{DOMAIN}")).ok().status
        };
        assert_eq!(status("open", "looks"), 421, "{http}");
        assert_eq!(status("open", "LOOKS"), 421, "{http}");
        assert_eq!(status("looks", "own"), 421, "{http}");
        assert_eq!(status("own", "looks"), 421, "{http}");
        assert_eq!(status("looks", "too"), 200, "{http}");
        assert_eq!(status("looks", "looks"), 200, "{http}");
        assert_eq!(status("looks", "open"), 200, "{http}: a host that asks for nothing");
        assert_eq!(status("nobody", "looks"), 200, "{http}: it was asked for every CA");
    }
}

#[test]
fn paths_of_one_host_have_cas_of_their_own_on_one_connection() {
    let dir = TempDir::new("paths");
    let root = chains::deep(&dir).root;
    let backend = Backend::text("inside");
    let route = |path: &str, ca: &std::path::Path| {
        format!("prefix: {path}\ntls_downstream_client_ca_file: {}", ca.display())
    };
    let proxy = Proxy::config()
        .forward("mtls", &backend.url(), &route("/ours", &pki().ca()))
        .forward("mtls", &backend.url(), &route("/theirs", &root))
        .forward("mtls", &backend.url(), "")
        .start();
    let name = format!("mtls.{DOMAIN}");
    let options = TlsOptions::name(&name).client(pki().client());
    let mut raw = Raw::try_tls(proxy.address(), &options).unwrap();
    for (path, status) in [("/ours", 200), ("/theirs", 495), ("/", 200), ("/ours", 200)] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(raw.response().status, status, "{path}");
    }
}

#[test]
fn an_expired_certificate_is_refused_on_its_open_connection() {
    let backend = Backend::text("inside");
    let proxies = ["", ", enforcement: reject_connection"]
        .map(|more| under_ca(more).forward("mtls", &backend.url(), "").start());
    let dir = TempDir::new("brief");
    let end = SystemTime::now() + Duration::from_secs(6);
    let pair = pki().client_until(&dir, end);
    let name = format!("mtls.{DOMAIN}");
    let options = TlsOptions::name(&name).client(pair);
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let mut connections =
        proxies.each_ref().map(|proxy| Raw::try_tls(proxy.address(), &options).unwrap());
    for raw in &mut connections {
        assert_eq!(raw.send(&request).response().status, 200);
    }
    // Certificates have a resolution of a second.
    until("the certificate to expire", || SystemTime::now() > end + Duration::from_secs(2));
    for raw in &mut connections {
        assert_eq!(raw.send(&request).response().status, 495);
    }
    let fresh = |proxy: &Proxy| match Raw::try_tls(proxy.address(), &options) {
        Err(end) => Err(end),
        Ok(mut raw) => {
            let answer = raw.send(get(&name)).until("\r\n");
            Ok(answer)
        }
    };
    assert!(fresh(&proxies[0]).is_ok_and(|head| head.starts_with("HTTP/1.1 495")));
}

#[test]
fn a_resumed_session_is_judged_like_a_new_one() {
    let backend = Backend::text("inside");
    let proxy = under_ca("").forward("mtls", &backend.url(), "").start();
    let name = format!("mtls.{DOMAIN}");
    for (pair, status) in [(pki().client(), 200), (pki().pair("other/client"), 495)] {
        for tls12 in [false, true] {
            let mut options = TlsOptions::name(&name).client(pair.clone());
            options.tls12 = tls12;
            let config = options.config();
            for resumed in [false, true] {
                let mut raw = Raw::tls_with(proxy.address(), Some(&name), &config).unwrap();
                assert_eq!(raw.was_resumed(), resumed, "TLS 1.2 only: {tls12}");
                raw.send(get(&name));
                assert_eq!(raw.to_end().response().status, status, "TLS 1.2 only: {tls12}");
            }
        }
    }
}

#[test]
fn a_session_without_a_needed_certificate_is_not_kept() {
    let backend = Backend::text("inside");
    let proxy = under_ca("").forward("mtls", &backend.url(), "").start();
    let name = format!("mtls.{DOMAIN}");
    let config = TlsOptions::name(&name).config();
    for _ in 0..2 {
        let mut raw = Raw::tls_with(proxy.address(), Some(&name), &config).unwrap();
        assert!(!raw.was_resumed());
        raw.send(get(&name));
        assert_eq!(raw.to_end().response().status, 495);
    }
}

#[test]
fn a_new_ca_counts_on_connections_that_are_open() {
    let backend = Backend::text("inside");
    let dir = TempDir::new("new-ca");
    let ca = dir.write("ca.pem", std::fs::read(pki().ca()).unwrap());
    let proxy = Proxy::config()
        .global(&format!("downstream_mtls: {{ca_file: {ca:?}}}"))
        .forward("mtls", &backend.url(), "")
        .start();
    let name = format!("mtls.{DOMAIN}");
    let options = TlsOptions::name(&name).client(pki().client());
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let mut raw = Raw::try_tls(proxy.address(), &options).unwrap();
    assert_eq!(raw.send(&request).response().status, 200);
    dir.write("ca.pem", std::fs::read(pki().other_ca()).unwrap());
    until("the other CA to count", || raw.send(&request).response().status == 495);
    let back = dir.write("ca.pem", std::fs::read(pki().ca()).unwrap());
    assert_eq!(back, ca);
    until("the first CA to count again", || raw.send(&request).response().status == 200);
}

#[test]
fn a_host_that_begins_to_ask_sends_open_connections_away() {
    let backend = Backend::text("inside");
    let mut proxy = Proxy::config().forward("mtls", &backend.url(), "").start();
    let name = format!("mtls.{DOMAIN}");
    let options = TlsOptions::name(&name).client(pki().client());
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let mut raw = Raw::try_tls(proxy.address(), &options).unwrap();
    assert_eq!(raw.send(&request).response().status, 200);
    let next = proxy.current().global(&format!("downstream_mtls: {{ca_file: {:?}}}", pki().ca()));
    proxy.rewrite(next);
    until("the CA to be asked for", || raw.send(&request).response().status == 421);
    let mut again = Raw::try_tls(proxy.address(), &options).unwrap();
    assert_eq!(again.send(&request).response().status, 200);
}

#[test]
fn names_of_an_untrusted_certificate_reach_no_upstream() {
    let backend = Backend::echo();
    let headers = "set_request_headers: {X-Email: \"$pomerium.client_cert_san_email\", X-Print: \
                   \"$pomerium.client_cert_fingerprint\"}";
    let proxy = under_ca(", enforcement: policy").forward("mtls", &backend.url(), headers).start();
    let echoed = |pair: &Pair| {
        let echoed = proxy.curl("mtls", "/").client(pair).header("X-Email: forged").ok().echoed();
        (echoed.all("x-email").join(","), echoed.all("x-print").join(","))
    };
    let (mine, other) = (pki().client(), pki().pair("other/client"));
    assert_eq!(echoed(&mine), ("user@localhost.pomerium.io".into(), mine.fingerprint()));
    assert_eq!(echoed(&other), (String::new(), other.fingerprint()));
}

#[test]
fn an_end_is_an_alert_where_the_handshake_decides() {
    let backend = Backend::text("inside");
    let proxy =
        under_ca(", enforcement: reject_connection").forward("mtls", &backend.url(), "").start();
    let name = format!("mtls.{DOMAIN}");
    let end = match Raw::try_tls(proxy.address(), &TlsOptions::name(&name)) {
        Err(end) => end,
        Ok(mut raw) => {
            raw.send(get(&name));
            raw.to_end().end
        }
    };
    assert_eq!(end, End::Alert(116));
}

#[test]
fn a_preflight_passes_without_a_certificate_where_preflights_are_allowed() {
    let backend = Backend::text("inside");
    let proxy = under_ca("")
        .forward("mtls", &backend.url(), "cors_allow_preflight: true")
        .forward("strict", &backend.url(), "")
        .start();
    let preflight = |host: &str, headers: &[&str]| {
        let mut curl = proxy.curl(host, "/").args(["--request", "OPTIONS"]);
        for header in headers {
            curl = curl.header(header);
        }
        curl.ok().status
    };
    let whole = ["Origin: https://other.test", "Access-Control-Request-Method: PUT"];
    assert_eq!(preflight("mtls", &whole), 200);
    assert_eq!(preflight("mtls", &whole[..1]), 495, "no preflight");
    assert_eq!(proxy.curl("mtls", "/").header(whole[0]).header(whole[1]).ok().status, 495);
    assert_eq!(preflight("strict", &whole), 495);
}
