//! `portcullis explain` says what the proxy does: the same requests by curl and by the command.

use portcullis_tests::{
    Backend, Ca, Pair, Proxy, SignInRig, pki, process::Finished, proxy::portcullis,
    sign_in_rig::APP, tempdir::TempDir,
};
use serde_json::Value;

const DOMAIN: &str = "localhost.pomerium.io";

/// `portcullis explain` of a URL, with the configuration of a proxy.
fn explain(proxy: &Proxy, host: &str, path: &str, more: &[&str]) -> Finished {
    let url = format!("https://{host}.{DOMAIN}{path}");
    let arguments = [&["explain", &url][..], more, &["--config"]].concat();
    portcullis(&[], &arguments, Some(&proxy.config_path()))
}

fn explained(proxy: &Proxy, host: &str, path: &str, more: &[&str]) -> (Value, Option<i32>) {
    let finished = explain(proxy, host, path, &[more, &["--format", "json"]].concat());
    let json = serde_json::from_str(&finished.stdout);
    (json.unwrap_or_else(|error| panic!("{error}: {finished:?}")), finished.code)
}

/// A request of the table: host, path, arguments of both programs, client certificate.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], Option<&'a Pair>);

/// A proxy with a route for each thing that decides, and two certificates of its route `crl`: one that
/// is revoked, one that is not.
fn rig(backend: &Backend, dir: &TempDir) -> (Proxy, [Pair; 2]) {
    let url = backend.url();
    let route = |from: &str, more: &str| format!("from: https://{from}.{DOMAIN}\n{more}");
    let crl_of = Ca::new(dir, "revoking");
    let revoked = crl_of.issue("revoked", "email:revoked@example.com");
    let kept = crl_of.issue("kept", "email:kept@example.com");
    crl_of.revoke(&revoked);
    let crl = dir.write("list.crl", crl_of.crl(&[]));
    let to = format!("to: {url}\n");
    let routes = [
        route(
            "app",
            &format!(
                "{to}prefix: /api\nprefix_rewrite: /v1\nallow_public_unauthenticated_access: true"
            ),
        ),
        route(
            "app",
            &format!(
                "{to}path: /exact\npolicy:\n- allow: {{or: [accept: true]}}\n  deny: {{or: [http_method: POST]}}"
            ),
        ),
        route(
            "app",
            "regex: ^/[0-9]+$\nresponse: {status: 203, body: digits}\nallow_public_unauthenticated_access: true",
        ),
        route(
            "app",
            "prefix: /old\nredirect: {prefix_rewrite: /new, response_code: 308}\nallow_public_unauthenticated_access: true",
        ),
        route("source", &format!("{to}policy:\n- allow: {{and: [source_ip: 10.0.0.0/8]}}")),
        route("local", &format!("{to}policy:\n- allow: {{and: [source_ip: 127.0.0.0/8]}}")),
        route("*", &format!("{to}allow_public_unauthenticated_access: true")),
        route("nobody", &format!("{to}policy: []")),
        route(
            "mtls",
            &format!(
                "{to}tls_downstream_client_ca_file: {:?}\nallow_public_unauthenticated_access: true",
                pki().ca()
            ),
        ),
        route(
            "crl",
            &format!(
                "{to}tls_downstream_client_ca_file: {:?}\nallow_public_unauthenticated_access: true",
                crl_of.certificate()
            ),
        ),
        route(
            "named",
            &format!(
                "{to}tls_downstream_client_ca_file: {:?}\npolicy:\n- allow: {{and: [email: user@{DOMAIN}]}}",
                pki().ca()
            ),
        ),
    ];
    let mut config = Proxy::config()
        .own("client_certificate_identity", "email")
        .global(&format!("downstream_mtls: {{crl_file: {crl:?}}}"));
    for yaml in &routes {
        config = config.route_as_is(yaml);
    }
    (config.start(), [revoked, kept])
}

#[test]
fn curl_gets_what_is_explained() {
    let (backend, dir) = (Backend::echo(), TempDir::new("explain"));
    let (proxy, [revoked, kept]) = rig(&backend, &dir);
    let pair = |name: &str| pki().pair(name);
    let [client, expired, stranger] = ["client", "client-expired", "other/client"].map(pair);
    let none: &[&str] = &[];
    let cases: [Case<'_>; 24] = [
        ("app", "/api/x?q=1", none, None),
        ("app", "/exact", none, None),
        ("app", "/exact", &["-X", "POST"], None),
        ("app", "/123", none, None),
        ("app", "/old/x", none, None),
        ("app", "/missing", none, None),
        ("app", "/a%2Fb", none, None),
        ("app", "/api/../exact", none, None),
        ("app", "/ping", none, None),
        ("app", "/.pomerium/x", none, None),
        ("app", "/api/h", &["-H", "a_b: 1"], None),
        ("app", "/api/u", &["-H", "Upgrade: websocket", "-H", "Connection: upgrade"], None),
        ("source", "/s", none, None),
        ("source", "/robots.txt", none, None),
        ("local", "/l", none, None),
        ("anything", "/w", none, None),
        ("nobody", "/n", none, None),
        ("mtls", "/m1", none, None),
        ("mtls", "/m2", none, Some(&client)),
        ("mtls", "/m3", none, Some(&expired)),
        ("mtls", "/m4", none, Some(&stranger)),
        ("crl", "/c1", none, Some(&revoked)),
        ("crl", "/c2", none, Some(&kept)),
        ("named", "/e1", none, Some(&client)),
    ];
    for (host, path, arguments, pair) in cases {
        let curl =
            proxy.curl(host, path).http1().args(["--path-as-is"]).args(arguments.iter().copied());
        let fetched = match pair {
            Some(pair) => curl.client(pair).ok(),
            None => curl.ok(),
        };
        let cert = pair.map(|pair| pair.cert.display().to_string());
        let cert: Vec<&str> = cert.iter().flat_map(|file| ["--cert", file]).collect();
        let (said, code) = explained(&proxy, host, path, &[arguments, &cert].concat());
        let verdict = &said["verdict"];
        let status = verdict["status"].as_u64().unwrap_or(200);
        assert_eq!(u64::from(fetched.status), status, "{host}{path}: {said:#}");
        let is_refused = fetched.status >= 400;
        assert_eq!(code, Some(i32::from(is_refused)), "{host}{path}: {said:#}");
        if let Some(upstream) = verdict["upstream"]["path"].as_str() {
            assert_eq!(fetched.echoed().text("target"), upstream, "{said:#}");
        }
        if path == "/ping" {
            continue;
        }
        let logged = path.split('?').next().unwrap().replace("/api/../exact", "/exact");
        let record = proxy.wait_for_log(&format!("the record of {host}{path}"), |line| {
            line["request-id"] == fetched.header("x-request-id").unwrap_or_default()
        });
        assert_eq!(record["path"], *logged, "{record}");
        let routes = said["request"]["routes"].as_array().unwrap();
        let chosen = routes.iter().find(|route| route["matches"] == true);
        let name = chosen.map_or("", |route| route["name"].as_str().unwrap());
        assert_eq!(record["route"], name, "{host}{path}: {said:#}");
        assert_eq!(record["policy-rule"], verdict["policy_rule"], "{record} {said:#}");
        if is_refused {
            assert_eq!(record["response-code-details"], verdict["details"], "{said:#}");
        }
    }
}

#[test]
fn a_refused_certificate_is_explained_for_people() {
    let (backend, dir) = (Backend::text("x"), TempDir::new("explain-text"));
    let (proxy, _) = rig(&backend, &dir);
    let expired = pki().pair("client-expired").cert.display().to_string();
    let said = explain(&proxy, "mtls", "/", &["--cert", &expired]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for text in [
        "the client is asked for a certificate of one of these CAs",
        "routes[8] matches: https://mtls.localhost.pomerium.io",
        "routes[6] does not match: https://*.localhost.pomerium.io  (other routes name this host exactly)",
        "certificate  invalid: it, or a certificate above it, expired at 20",
        "refused with 495",
        "decided by downstream_mtls.enforcement",
    ] {
        assert!(said.stdout.contains(text), "{text}: {}", said.stdout);
    }
}

#[test]
fn the_exit_code_tells_served_from_refused_and_from_wrong_usage() {
    let (backend, dir) = (Backend::text("x"), TempDir::new("explain-codes"));
    let (proxy, _) = rig(&backend, &dir);
    let code = |host, path, more: &[&str]| explain(&proxy, host, path, more).code;
    assert_eq!(code("local", "/", &[]), Some(0));
    assert_eq!(code("local", "/", &["--source", "10.1.2.3"]), Some(1));
    assert_eq!(code("source", "/", &["--source", "10.1.2.3"]), Some(0));
    assert_eq!(code("local", "/", &["--cert", "/nonexistent"]), Some(2));
    assert_eq!(code("local", "/", &["--source", "x"]), Some(2));
    let no_file = portcullis(&[], &["explain", "https://a.b/", "--config", "/nonexistent"], None);
    assert_eq!(no_file.code, Some(2), "{no_file:?}");
    let misdirected = ["--server-name", "app.localhost.pomerium.io"];
    let said = explain(&proxy, "mtls", "/", &misdirected);
    assert!(said.stdout.contains("refused with 421"), "{said:?}");
}

#[test]
fn with_reject_connection_the_handshake_is_explained() {
    let backend = Backend::text("x");
    let proxy = Proxy::config()
        .reject_connection(&pki().ca())
        .own("steering", "{unknown_sni: refuse}")
        .forward("app", &backend.url(), "")
        .start();
    let cert = |name: &str| pki().pair(name).cert.display().to_string();
    let (client, expired) = (cert("client"), cert("client-expired"));
    let (served, code) = explained(&proxy, "app", "/", &["--cert", &client]);
    assert_eq!((code, &served["connection"]["asked"]["required"]), (Some(0), &true.into()));
    for (host, arguments, reason) in [
        ("app", &[][..], "a client certificate is required"),
        ("app", &["--cert", &expired], "expired at 20"),
        ("unknown", &["--cert", &client], "unknown names are refused"),
    ] {
        let (refused, code) = explained(&proxy, host, "/", arguments);
        assert_eq!((code, &refused["request"]), (Some(1), &Value::Null), "{refused:#}");
        let summary = refused["verdict"]["summary"].as_str().expect("a summary");
        assert!(summary.contains(reason), "{summary}");
    }
    let refused = |curl: portcullis_tests::curl::Curl| curl.run().status == 0;
    assert!(refused(proxy.curl("app", "/")));
    assert!(refused(proxy.curl("app", "/").client(&pki().pair("client-expired"))));
    assert!(refused(proxy.curl("unknown", "/").client(&pki().client())));
    assert_eq!(proxy.curl("app", "/").client(&pki().client()).ok().status, 200);
}

#[test]
fn a_sign_in_is_explained_with_and_without_a_user() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let json = ["-H", "Accept: application/json"];
    for (arguments, status) in [(&[][..], 302), (&json, 401)] {
        let fetched = proxy.curl("app", "/").args(arguments.iter().copied()).ok();
        let (said, code) = explained(&proxy, "app", "/", arguments);
        assert_eq!((fetched.status, code), (status, Some(1)), "{said:#}");
        assert_eq!(said["verdict"]["status"], status, "{said:#}");
    }
    let alice = ["--email", "alice@example.com", "--claim", "groups=admin"];
    let (said, code) = explained(&proxy, "app", "/", &alice);
    assert_eq!((code, &said["request"]["user"]), (Some(0), &"alice@example.com".into()));
    assert!(rig.signed_in(&proxy, "alice").open(&format!("{APP}/")).status == 200);
}
