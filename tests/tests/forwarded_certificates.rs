//! The headers with client certificates that upstreams get, and those that clients cannot forge.

use std::{fs, path::Path, process::Command};

use serde_json::Deserializer;

use portcullis_tests::{
    Backend, Pair, Proxy, Raw,
    backend::Echoed,
    chains::{self, Chain},
    nginx::Nginx,
    openssl::{SClient, get, was_resumed},
    pki,
    process::run,
    proxy::Config,
    raw::TlsOptions,
    tempdir::TempDir,
    tools::need,
};

const HOST: &str = "mtls.localhost.pomerium.io";
const CHAIN: &str = "{rfc9440: chain}";
const EVERYTHING: &str = "{rfc9440: chain, xfcc: [hash, cert, chain, subject, uri, dns]}";
const HEADERS: [&str; 3] = ["client-cert", "client-cert-chain", "x-forwarded-client-cert"];

/// A configuration that trusts this CA and forwards this.
fn forwarding(ca: &Path, more: &str, what: &str) -> Config {
    Proxy::config()
        .global(&format!("downstream_mtls: {{ca_file: {ca:?}{more}}}"))
        .own("forward_client_certificate", what)
}

/// The certificates of a PEM file in the form of RFC 9440.
fn byte_sequences(pem: &Path) -> Vec<String> {
    let text = fs::read_to_string(pem).expect("a PEM file");
    let blocks = text.split("-----BEGIN CERTIFICATE-----\n").skip(1);
    let base64 = blocks.map(|block| block.split("-----END").next().unwrap_or_default());
    base64.map(|base64| format!(":{}:", base64.replace('\n', ""))).collect()
}

/// The certificate headers that an upstream got.
fn told(echoed: &Echoed) -> [Vec<String>; 3] {
    HEADERS.map(|name| echoed.all(name))
}

fn openssl(dir: &Path, args: &[&str]) -> String {
    let done = run(Command::new(need("openssl")).current_dir(dir).args(args), b"");
    assert_eq!(done.code, Some(0), "openssl {args:?}: {}", done.stderr);
    done.stdout
}

#[test]
fn leaf_and_chain_are_forwarded_by_every_tls_and_http_version() {
    let dir = TempDir::new("chain");
    let Chain { client, root } = chains::deep(&dir);
    let backend = Backend::echo();
    let proxy = forwarding(&root, ", max_verify_depth: 2", CHAIN)
        .forward("mtls", &backend.url(), "")
        .start();
    let sent = byte_sequences(&client.cert);
    let [leaf, middle] = &sent[..] else { panic!("{sent:?}") };
    let chain = format!("{middle}, {}", byte_sequences(&root)[0]);
    let expected = [vec![leaf.clone()], vec![chain], Vec::new()];
    for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        for http in ["--http1.1", "--http2"] {
            let curl = proxy.curl("mtls", "/").args([http]).args(tls.iter().copied());
            let echoed = curl.client(&client).ok().echoed();
            assert_eq!(told(&echoed), expected, "{tls:?} {http}");
        }
    }
}

#[test]
fn a_resumed_session_forwards_the_same() {
    let backend = Backend::echo();
    let proxy = forwarding(&pki().ca(), "", CHAIN).forward("mtls", &backend.url(), "").start();
    let dir = TempDir::new("resumed");
    let expected = [byte_sequences(&pki().client().cert), byte_sequences(&pki().ca()), Vec::new()];
    for version in ["-tls1_2", "-tls1_3"] {
        let file = dir.path().join(version);
        let client = || SClient::new(proxy.address(), HOST).args([version]).client(&pki().client());
        client().save_session(&file).run(&get(HOST));
        for _ in 0..3 {
            let again = client().use_session(&file).run(&get(HOST));
            assert!(was_resumed(&again), "{version}: {again:?}");
            let body =
                again.stdout.lines().find(|line| line.starts_with("{\"")).unwrap_or_default();
            // The output of `s_client` at the end of the connection may be on the same line.
            let echo = Deserializer::from_str(body).into_iter().next();
            let echo = Echoed(echo.expect("an answer").expect("an echo"));
            assert_eq!(told(&echo), expected, "{version}");
        }
    }
}

#[test]
fn an_envoy_style_header_says_what_openssl_says() {
    let dir = TempDir::new("xfcc");
    let subject = "/DC=example/C=NL/ST=NH/L=Amsterdam/street=Dam 1/title=Dr/serialNumber=7/SN=S/GN=G/UID=j/O=Doe, Inc.;\\+<x>/OU=#1/CN=J\u{fc}rgen/emailAddress=j@example.com";
    let sans = "subjectAltName=URI:spiffe://example/j?a=b,URI:urn:j,DNS:j.example,DNS:*.j.example";
    let new_key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
                   -keyout own.key -out own.pem -utf8";
    let mut args: Vec<&str> = new_key.split_whitespace().collect();
    args.extend(["-subj", subject, "-addext", sans]);
    openssl(dir.path(), &args);
    let own = Pair { cert: dir.path().join("own.pem"), key: dir.path().join("own.key") };
    let said = openssl(
        dir.path(),
        &["x509", "-in", "own.pem", "-noout", "-subject", "-nameopt", "RFC2253"],
    );
    let said = said.trim().strip_prefix("subject=").expect("a subject");
    let pem = fs::read_to_string(&own.cert).expect("a PEM file");
    let encoded = [("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")]
        .iter()
        .fold(pem, |text, (from, to)| text.replace(from, to));

    let backend = Backend::echo();
    let proxy = forwarding(&own.cert, "", EVERYTHING)
        .forward(
            "mtls",
            &backend.url(),
            "set_request_headers: {X-Subject: '${portcullis.client_cert_subject}', X-Serial: \
             '$portcullis.client_cert_serial', X-Uri: '$portcullis.client_cert_san_uri'}",
        )
        .start();
    let echoed = proxy.curl("mtls", "/").client(&own).ok().echoed();
    let value = echoed.all("x-forwarded-client-cert").concat();
    let (certificates, names) = value.split_once(";Subject=").expect("a subject");
    let fingerprint = own.fingerprint();
    let expected = format!("Hash={fingerprint};Cert=\"{encoded}\";Chain=\"{encoded}\"");
    assert_eq!(certificates, expected);
    let sans = "URI=\"spiffe://example/j?a=b\";URI=urn:j;DNS=j.example;DNS=*.j.example";
    assert_eq!(names, format!("\"{said}\";{sans}"));
    assert_eq!(echoed.all("x-subject"), [said]);
    assert_eq!(echoed.all("x-serial"), [own.serial()]);
    assert_eq!(echoed.all("x-uri"), ["spiffe://example/j?a=b,urn:j"]);
    assert!(echoed.all("client-cert-chain").is_empty(), "it is its own CA");
}

#[test]
fn an_untrusted_certificate_is_not_forwarded() {
    let backend = Backend::echo();
    let other = format!("tls_downstream_client_ca_file: {:?}", pki().other_ca());
    let proxy = forwarding(&pki().ca(), ", enforcement: policy", EVERYTHING)
        .forward("mtls", &backend.url(), "prefix: /mine")
        .forward("mtls", &backend.url(), &format!("prefix: /other\n{other}"))
        .forward(
            "mtls",
            &backend.url(),
            "prefix: /off\nportcullis: {forward_client_certificate: {}}",
        )
        .start();
    let count = |path: &str, client: Option<Pair>| {
        let curl = proxy.curl("mtls", path).header("Client-Cert: :AA==:");
        let curl = match &client {
            Some(pair) => curl.client(pair),
            None => curl,
        };
        told(&curl.ok().echoed()).concat().len()
    };
    let pair = |name| Some(pki().pair(name));
    assert_eq!(count("/mine", pair("client")), 3);
    assert_eq!(count("/other", pair("other/client")), 3);
    for client in ["other/client", "client-expired", "client-early", "client-wrong-use"] {
        assert_eq!(count("/mine", pair(client)), 0, "{client}");
    }
    assert_eq!(count("/other", pair("client")), 0);
    assert_eq!(count("/mine", None), 0);
    assert_eq!(count("/off", pair("client")), 0);
}

/// Names that an upstream could take for headers of its proxy.
const FORGED: [&str; 14] = [
    "CLIENT-CERT",
    "cLiEnT-cErT-cHaIn",
    "Client_Cert",
    "Client_Cert-Chain",
    "X-Forwarded-Client-Cert",
    "X_FORWARDED_CLIENT_CERT",
    "x-forwarded_client-cert",
    "SSL_CLIENT_CERT",
    "Ssl-Client-Verify",
    "X-SSL-Client-DN",
    "X-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Who",
    "X_Who",
];

#[test]
fn no_spelling_of_a_forged_header_reaches_an_upstream() {
    let backend = Backend::echo();
    let who = "set_request_headers: {X-Who: '$pomerium.client_cert_san_email'}";
    let config = forwarding(&pki().ca(), ", enforcement: policy", EVERYTHING)
        .global("headers_with_underscores_action: allow")
        .forward("mtls", &backend.url(), who)
        .forward(
            "off",
            &backend.url(),
            &format!("{who}\nportcullis: {{forward_client_certificate: {{}}}}"),
        );
    let proxy = config.start();
    for host in ["mtls", "off"] {
        for http in ["--http1.1", "--http2"] {
            for client in [None, Some(pki().client())] {
                let mut curl = proxy.curl(host, "/").args([http]).header("X_Kept: kept");
                for name in FORGED {
                    curl = curl.header(&format!("{name}: forged"));
                }
                if http == "--http1.1" {
                    let all = FORGED.join(", ");
                    curl = curl.header(&format!("Connection: keep-alive, {all}"));
                }
                if let Some(pair) = &client {
                    curl = curl.client(pair);
                }
                let echoed = curl.ok().echoed();
                let text = echoed.0.to_string();
                assert!(!text.contains("forged"), "{host} {http}: {text}");
                assert_eq!(echoed.all("x_kept"), ["kept"]);
                let email = client.as_ref().map_or("", |_| "user@localhost.pomerium.io");
                assert_eq!(echoed.all("x-who"), [email], "{host} {http}");
                let is_told = client.is_some() && host == "mtls";
                assert_eq!(told(&echoed).concat().len(), if is_told { 3 } else { 0 });
            }
        }
    }
}

#[test]
fn a_connection_header_cannot_take_a_forwarded_certificate_away() {
    let backend = Backend::echo();
    let proxy = forwarding(&pki().ca(), "", EVERYTHING).forward("mtls", &backend.url(), "").start();
    let curl = proxy.curl("mtls", "/").http1().client(&pki().client());
    let named = "Connection: client-cert, Client-Cert-Chain, X-FORWARDED-CLIENT-CERT, close";
    assert_eq!(told(&curl.header(named).ok().echoed()).concat().len(), 3);
}

#[test]
fn trailers_say_nothing_of_certificates() {
    let backend = Backend::echo();
    let proxy = forwarding(&pki().ca(), "", EVERYTHING)
        .global("headers_with_underscores_action: allow")
        .forward("mtls", &backend.url(), "set_request_headers: {X-Who: me}")
        .start();
    let forged: String = FORGED.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nTrailer: X-Sum, {}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n{forged}X-Sum: 7\r\n\r\n",
        FORGED.join(", ")
    );
    let options = TlsOptions::name(HOST).client(pki().client());
    let mut raw = Raw::try_tls(proxy.address(), &options).expect("a handshake");
    raw.send(request);
    let echoed = Echoed::parse(&raw.to_end().response().text());
    let trailers = echoed.trailers();
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert!(trailers[0].0.eq_ignore_ascii_case("x-sum"), "{trailers:?}");
    assert_eq!(told(&echoed).concat().len(), 3);
}

#[test]
fn trailers_of_http2_say_nothing_of_certificates() {
    let backend = Backend::echo();
    let proxy = forwarding(&pki().ca(), "", CHAIN).forward("mtls", &backend.url(), "").start();
    let dir = TempDir::new("nghttp");
    let body = dir.write("body", "abc");
    let client = pki().client();
    let mut command = Command::new(need("nghttp"));
    command.args(["--no-verify-peer", "--no-content-length"]);
    command.args(["--trailer", "client-cert: forged", "--trailer"]);
    command.args(["ssl-client-verify: forged", "--trailer", "x-sum: 7", "--data"]).arg(body);
    command.arg("--cert").arg(&client.cert).arg("--key").arg(&client.key);
    command.args(["-H", &format!(":authority: {HOST}"), "-H", "te: trailers"]);
    command.args(["-H", "trailer: client-cert, ssl-client-verify, x-sum"]);
    // nghttp takes SNI from the URL; the host `localhost` asks for any CA.
    command.arg(format!("https://localhost:{}/", proxy.address().port()));
    let done = run(&mut command, b"");
    let echoed = Echoed::parse(done.stdout.trim());
    assert_eq!(echoed.trailers(), [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(told(&echoed)[0], byte_sequences(&client.cert));
}

#[test]
fn a_bare_line_feed_smuggles_no_certificate_header() {
    let backend = Backend::echo();
    let proxy = forwarding(&pki().ca(), ", enforcement: policy", CHAIN)
        .forward("mtls", &backend.url(), "")
        .start();
    for lines in [
        "X-A: b\r\n Client-Cert: :AA==:",
        "X-A: b\r\n\tClient-Cert: :AA==:",
        " Client-Cert: :AA==:",
        "Client-Cert : :AA==:",
        "Client-Cert\t: :AA==:",
        "X-A: b\rClient-Cert: :AA==:",
        "X-A: b\0\nClient-Cert: :AA==:",
        "Client-Cert\u{0}: :AA==:",
    ] {
        let mut raw = proxy.raw("mtls");
        raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\nConnection: close\r\n\r\n"));
        assert_eq!(raw.to_end().response().status, 400, "{lines:?}");
    }
    // A lone line feed ends a line (RFC 9112 section 2.2), so this is a header like any other.
    let mut raw = proxy.raw("mtls");
    let request = "X-A: b\nClient-Cert: forged\nConnection: close\r\n\r\n";
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{request}"));
    let echoed = Echoed::parse(&raw.to_end().response().text());
    assert!(!echoed.0.to_string().contains("forged"), "{}", echoed.0);
}

#[test]
fn a_response_that_varies_by_certificate_is_not_cacheable() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nVary: Accept, Client-Cert\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let proxy = forwarding(&pki().ca(), "", CHAIN)
        .forward("mtls", &backend.url(), "")
        .forward("off", &backend.url(), "portcullis: {forward_client_certificate: {}}")
        .start();
    let vary = |host| {
        let fetched = proxy.curl(host, "/").client(&pki().client()).ok();
        fetched.header("vary").map(str::to_owned)
    };
    assert_eq!(vary("mtls").as_deref(), Some("*"));
    assert_eq!(vary("off").as_deref(), Some("Accept, Client-Cert"));
}

#[test]
fn a_certificate_too_large_for_the_upstream_gets_its_answer() {
    let dir = TempDir::new("large");
    let names: Vec<String> =
        (0..400).map(|number| format!("DNS:name-{number}.of.a.long.list.example")).collect();
    let sans = format!("subjectAltName={}", names.join(","));
    let new_key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj \
                   /CN=large -keyout own.key -out own.pem";
    let mut args: Vec<&str> = new_key.split_whitespace().collect();
    args.extend(["-addext", &sans]);
    openssl(dir.path(), &args);
    let own = Pair { cert: dir.path().join("own.pem"), key: dir.path().join("own.key") };
    let patient = Backend::echo();
    let nginx = Nginx::plain().with("location / { return 200 ok; }").start();
    let proxy = forwarding(&own.cert, "", "{rfc9440: leaf}")
        .forward("mtls", &patient.url(), "")
        .forward("nginx", &nginx.url(), "")
        .start();
    let echoed = proxy.curl("mtls", "/").client(&own).ok().echoed();
    assert!(echoed.all("client-cert")[0].len() > 16 << 10);
    let refused = proxy.curl("nginx", "/").client(&own).ok();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("Request Header Or Cookie Too Large"), "{refused:?}");
}
