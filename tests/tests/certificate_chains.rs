//! What a certificate, and the CAs above it, may be used for: key usages, name constraints, algorithms
//! and certificates that cannot be used, of clients and of upstreams. All made by OpenSSL.

use std::path::Path;

use portcullis_tests::{
    Backend, Pair, Proxy,
    chains::{Forge, P256},
    openssl::{SClient, SServer, alert, get},
    proxy::Config,
    tempdir::TempDir,
};

const DOMAIN: &str = "localhost.pomerium.io";
const CLIENT: &str = "extendedKeyUsage=clientAuth\nsubjectAltName=email:user@good.test\n";
const SERVER: &str = "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n";

fn under(ca: &Path, more: &str) -> Config {
    Proxy::config().global(&format!("downstream_mtls: {{ca_file: {ca:?}{more}}}"))
}

/// The status that a client with this certificate gets, and why it is refused.
fn answer(proxy: &Proxy, path: &str, client: &Pair) -> (u16, String) {
    let fetched = proxy.curl("mtls", path).client(client).ok();
    let details = &proxy.wait_for_access(path)["response-code-details"];
    (fetched.status, details.as_str().unwrap_or_default().to_owned())
}

/// The same of an upstream with this certificate.
fn answer_from(upstream: &Pair, ca: &Path) -> (u16, String) {
    let server = SServer::start(upstream, &["-cert_chain", &upstream.cert.display().to_string()]);
    let more = format!("tls_custom_ca_file: {}", ca.display());
    let proxy = Proxy::config().forward("mtls", &server.url(), &more).start();
    let status = proxy.curl("mtls", "/").ok().status;
    proxy.wait_for_access("/");
    (status, proxy.output().join("\n"))
}

#[test]
fn a_client_whose_key_may_not_sign_is_refused() {
    let (dir, backend) = (TempDir::new("usage"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    let proxy = under(&root, "").forward("mtls", &backend.url(), "").start();
    for (usage, status) in [
        ("digitalSignature", 200),
        ("nonRepudiation", 495),
        ("keyEncipherment", 495),
        ("keyCertSign", 495),
    ] {
        let client = forge.leaf(usage, "root", &format!("{CLIENT}keyUsage=critical,{usage}"));
        let (got, why) = answer(&proxy, &format!("/{usage}"), &client);
        assert_eq!(got, status, "{usage}");
        assert_eq!(why.contains("digitalSignature"), status == 495, "{why}");
    }
}

#[test]
fn a_ca_that_may_not_sign_certificates_has_issued_none() {
    let (dir, backend) = (TempDir::new("ca-usage"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    let depth = ", max_verify_depth: 2";
    let proxy = under(&root, depth).forward("mtls", &backend.url(), "").start();
    for (usage, status) in [("keyCertSign", 200), ("digitalSignature", 495)] {
        forge.ca(usage, "root", &format!("keyUsage=critical,{usage}"));
        let leaf = format!("of-{usage}");
        forge.leaf(&leaf, usage, CLIENT);
        let (got, why) = answer(&proxy, &format!("/{usage}"), &forge.chain(&leaf, &[usage]));
        assert_eq!(got, status, "{usage}");
        assert_eq!(why.contains("keyCertSign"), status == 495, "{why}");
        let server = format!("up-{usage}");
        forge.leaf(&server, usage, SERVER);
        let (got, log) = answer_from(&forge.chain(&server, &[usage]), &root);
        assert_eq!(got, if status == 200 { 200 } else { 503 }, "{log}");
        assert_eq!(log.contains("keyCertSign"), status == 495, "{log}");
    }
}

#[test]
fn an_upstream_whose_key_may_not_sign_is_refused() {
    let dir = TempDir::new("up-usage");
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    for (usage, status) in [("digitalSignature,keyEncipherment", 200), ("keyEncipherment", 503)] {
        let name = format!("up{status}");
        let upstream = forge.leaf(&name, "root", &format!("{SERVER}keyUsage=critical,{usage}"));
        let (got, log) = answer_from(&upstream, &root);
        assert_eq!(got, status, "{log}");
        assert_eq!(log.contains("does not include digitalSignature"), status == 503, "{log}");
    }
}

#[test]
fn name_constraints_hold_for_clients_of_a_ca() {
    let (dir, backend) = (TempDir::new("constraints"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let constraints = "nameConstraints=critical,permitted;email:good.test,permitted;URI:good.test,\
                       excluded;DNS:evil.test,permitted;dirName:people\n[people]\nO=Good\n";
    let root = forge.root("root", P256, "");
    forge.ca("middle", "root", &format!("keyUsage=keyCertSign\n{constraints}"));
    let anchor = forge.root("anchor", P256, constraints);
    let depth = ", max_verify_depth: 2";
    let by_root = under(&root, depth).forward("mtls", &backend.url(), "").start();
    let by_anchor = under(&anchor, depth).forward("mtls", &backend.url(), "").start();
    for (name, subject, san, status) in [
        ("inside", "/O=Good/CN=user", "email:user@good.test,URI:spiffe://good.test/u", 200),
        ("email", "/O=Good/CN=user", "email:user@evil.test", 495),
        ("uri", "/O=Good/CN=user", "URI:spiffe://evil.test/u", 495),
        ("dns", "/O=Good/CN=user", "DNS:a.evil.test", 495),
        ("subject", "/O=Evil/CN=user", "email:user@good.test", 495),
        ("address", "/O=Good/emailAddress=user@evil.test", "", 495),
        ("good-address", "/O=Good/emailAddress=user@good.test", "", 200),
    ] {
        let san = if san.is_empty() { String::new() } else { format!("subjectAltName={san}\n") };
        let extensions = format!("extendedKeyUsage=clientAuth\n{san}");
        forge.leaf_of(name, "middle", P256, subject, &extensions, "");
        let path = format!("/{name}");
        let (got, why) = answer(&by_root, &path, &forge.chain(name, &["middle"]));
        assert_eq!(got, status, "under an intermediate, {name}: {why}");
        assert_eq!(why.contains("name constraints"), status == 495, "{why}");
        let client = forge.leaf_of(name, "anchor", P256, subject, &extensions, "");
        let (got, why) = answer(&by_anchor, &path, &client);
        assert_eq!(got, status, "under the trusted CA, {name}: {why}");
    }
}

#[test]
fn name_constraints_hold_for_upstreams() {
    let dir = TempDir::new("up-constraints");
    let forge = Forge::new(&dir);
    for (name, constraint, status) in [
        ("permitted", "permitted;DNS:localhost", 200),
        ("other", "permitted;DNS:good.test", 503),
        ("excluded", "excluded;DNS:localhost", 503),
        ("subject", "excluded;dirName:people\n[people]\nCN=up-subject", 503),
    ] {
        let root = forge.root(name, P256, &format!("nameConstraints=critical,{constraint}\n"));
        let (got, log) = answer_from(&forge.leaf(&format!("up-{name}"), name, SERVER), &root);
        assert_eq!(got, status, "{name}: {log}");
        assert_eq!(log.contains("name constraints"), status == 503, "{log}");
    }
}

/// Certificates whose possession cannot be verified.
fn unusable(forge: &Forge<'_>) -> Vec<(&'static str, Pair)> {
    const P521: &str = "ec -pkeyopt ec_paramgen_curve:P-521";
    let subject = "/CN=user";
    let unknown = format!("{CLIENT}1.2.3.4=critical,ASN1:UTF8String:x");
    vec![
        ("X.509 version 1", forge.leaf_of("version-1", "root", P256, subject, "", "")),
        ("critical extension", forge.leaf("unknown", "root", &unknown)),
        ("RSA with 1024 bits", forge.leaf_of("short", "root", "rsa:1024", subject, CLIENT, "")),
        ("P-521", forge.leaf_of("p-521", "root", P521, subject, CLIENT, "")),
    ]
}

fn connect(proxy: &Proxy, client: &Pair, version: &str, path: &str) -> (String, Option<u8>) {
    let name = format!("mtls.{DOMAIN}");
    let client = SClient::new(proxy.address(), &name)
        .args([version, "-cipher", "DEFAULT:@SECLEVEL=0"])
        .client(client);
    let done = client.run(&get(&name).replace(" / ", &format!(" {path} ")));
    let status = done.stdout.lines().find_map(|line| line.split("HTTP/1.1 ").nth(1));
    (status.unwrap_or_default().chars().take(3).collect(), alert(&done))
}

#[test]
fn a_certificate_that_cannot_be_used_counts_as_none() {
    let (dir, backend) = (TempDir::new("unusable"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    let proxy = under(&root, ", enforcement: policy")
        .route_as_is(&format!(
            "from: https://mtls.{DOMAIN}\nto: {0}\nprefix: /open\n\
             allow_public_unauthenticated_access: true",
            backend.url()
        ))
        .route_as_is(&format!(
            "from: https://mtls.{DOMAIN}\nto: {0}\npolicy:\n- allow: {{or: [accept: true]}}\n  \
             deny: {{or: [invalid_client_certificate: true]}}",
            backend.url()
        ))
        .start();
    for (reason, client) in unusable(&forge) {
        for version in ["-tls1_2", "-tls1_3"] {
            let label = reason.replace(' ', "-");
            let path = format!("/{label}{version}");
            assert_eq!(connect(&proxy, &client, version, &path).0, "495", "{reason} {version}");
            assert_eq!(connect(&proxy, &client, version, "/open").0, "200", "{reason} {version}");
            let details = proxy.wait_for_access(&path)["response-code-details"].to_string();
            // In TLS 1.3 a client learns that its P-521 key is of no use, and sends no certificate.
            let is_sent = (reason, version) != ("P-521", "-tls1_3");
            assert_eq!(details.contains(reason), is_sent, "{details}");
        }
    }
    assert_eq!(proxy.count_log("listener connection failure"), 0);
}

#[test]
fn a_certificate_that_cannot_be_used_fails_the_handshake_that_needs_one() {
    const UNSUPPORTED_CERTIFICATE: u8 = 43;
    let (dir, backend) = (TempDir::new("unusable-rejected"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    let proxy =
        Proxy::config().reject_connection(&root).forward("mtls", &backend.url(), "").start();
    for (reason, client) in unusable(&forge) {
        let (status, alert) = connect(&proxy, &client, "-tls1_2", "/");
        assert_eq!((status.as_str(), alert), ("", Some(UNSUPPORTED_CERTIFICATE)), "{reason}");
        proxy.wait_for_refusal(|record| record.to_string().contains(reason));
    }
}

#[test]
fn a_signature_by_ecdsa_with_sha_512_is_refused_in_few_words() {
    let (dir, backend) = (TempDir::new("sha512"), Backend::text("inside"));
    let forge = Forge::new(&dir);
    let root = forge.root("root", P256, "");
    let proxy = under(&root, "").forward("mtls", &backend.url(), "").start();
    let client = forge.leaf_of("client", "root", P256, "/CN=user", CLIENT, "-sha512");
    let (status, why) = answer(&proxy, "/", &client);
    assert_eq!(status, 495);
    assert!(why.contains("ECDSA with SHA-512") && why.len() < 300, "{why}");
    let upstream = forge.leaf_of("up", "root", P256, "/CN=up", SERVER, "-sha512");
    let (status, log) = answer_from(&upstream, &root);
    assert_eq!(status, 503);
    let line = log.lines().find(|line| line.contains("ECDSA with SHA-512"));
    assert!(line.is_some_and(|line| line.len() < 2000), "{log}");
}

#[test]
fn check_tells_of_cas_that_cannot_verify_anybody() {
    let dir = TempDir::new("check-cas");
    let forge = Forge::new(&dir);
    let good = forge.root("good", P256, "");
    let p521 = forge.root("p521", "ec -pkeyopt ec_paramgen_curve:P-521", "");
    let pss = forge.root("pss", "rsa-pss -pkeyopt rsa_keygen_bits:2048", "");
    let checked = |ca: &Path| {
        let config = under(ca, "").forward("mtls", "http://127.0.0.1:1", "");
        let checked = config.check();
        (checked.code, format!("{}{}", checked.stdout, checked.stderr))
    };
    for (ca, name) in [(&p521, "P-521"), (&pss, "RSASSA-PSS")] {
        let (code, said) = checked(ca);
        assert_eq!(code, Some(0), "{said}");
        let place = format!("downstream_mtls.ca_file: {}", ca.display());
        let wanted = [&place, name, "every certificate is refused", "use a CA"];
        assert!(wanted.iter().all(|part| said.contains(part)), "{said}");
        let more = format!("tls_custom_ca_file: {}", ca.display());
        let upstream = Proxy::config().forward("up", "https://localhost:1", &more).check();
        assert!(format!("{upstream:?}").contains(name), "{upstream:?}");
    }
    let both: String = [&good, &p521].map(|ca| std::fs::read_to_string(ca).unwrap()).concat();
    let (code, said) = checked(&dir.write("both.pem", both));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the key of certificate 2 (P-521)"), "{said}");
    assert!(!said.contains("every certificate"), "{said}");
    let sha512 = Forge::new(&dir).leaf_of(
        "sha512",
        "good",
        P256,
        "/CN=sha512",
        "basicConstraints=CA:TRUE",
        "-sha512",
    );
    let (code, said) = checked(&sha512.cert);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ECDSA with SHA-512") && said.contains("default_md"), "{said}");
    assert_eq!(checked(&good).1.matches("certificate 1").count(), 0);
}

#[test]
fn check_says_how_deep_a_chain_may_be() {
    let dir = TempDir::new("check-depth");
    let root = Forge::new(&dir).root("root", P256, "");
    for (depth, is_told) in [(0, true), (1, false), (7, false), (8, true)] {
        let config = under(&root, &format!(", max_verify_depth: {depth}"));
        let checked = config.forward("mtls", "http://127.0.0.1:1", "").check();
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert_eq!(checked.code, Some(0), "{said}");
        assert_eq!(said.contains("more than 6 intermediate"), is_told, "{depth}: {said}");
    }
}
