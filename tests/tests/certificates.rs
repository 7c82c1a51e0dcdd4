//! The certificate that a client gets for a name, and the supported kinds of keys.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use portcullis_tests::{
    Backend, Pair, Proxy, Raw,
    openssl::{self, SClient, get},
    pki,
    raw::{TlsOptions, read_chain},
    tempdir::TempDir,
};

/// The name in the certificate that a client gets for this server name.
fn shown(proxy: &Proxy, sni: Option<&str>, among: &[&str]) -> String {
    // A client of this harness rejects a certificate with another name, so use OpenSSL.
    let client = match sni {
        Some(name) => SClient::new(proxy.address(), name),
        None => SClient::nameless(proxy.address()),
    };
    let seen = client.args(["-showcerts"]).run(&get("app.localhost.pomerium.io")).stdout;
    let pem = |name: &str| {
        let text = std::fs::read_to_string(pki().pair(name).cert).expect("a PEM file");
        text.split("-----END").next().unwrap_or_default().trim().to_owned()
    };
    let found = among.iter().find(|name| seen.contains(&pem(name)));
    found.map_or_else(|| format!("none of {among:?}: {seen}"), |name| (*name).to_owned())
}

#[test]
fn the_name_asked_for_decides_which_certificate_is_shown() {
    let backend = Backend::text("x");
    let names = ["elsewhere", "server", "exact", "apps"];
    let proxy = Proxy::config()
        .certificates(&names.map(|name| pki().pair(name)))
        .forward("app", &backend.url(), "")
        .start();
    let cases = [
        (Some("exact.localhost.pomerium.io"), "exact"),
        (Some("EXACT.localhost.POMERIUM.io"), "exact"),
        (Some("other.localhost.pomerium.io"), "server"),
        (Some("a.apps.localhost.pomerium.io"), "apps"),
        (Some("elsewhere.test"), "elsewhere"),
        // A wildcard stands for one label, and for at least one.
        (Some("a.b.localhost.pomerium.io"), "elsewhere"),
        (Some("localhost.pomerium.io"), "elsewhere"),
        (Some("unknown.example"), "elsewhere"),
        (None, "elsewhere"),
    ];
    for (sni, certificate) in cases {
        assert_eq!(shown(&proxy, sni, &names), certificate, "{sni:?}");
    }
}

#[test]
fn every_kind_of_key_works_with_every_version_of_tls() {
    let backend = Backend::text("x");
    for name in ["server", "rsa", "p384", "pkcs1"] {
        let proxy = Proxy::config()
            .certificates(&[pki().pair(name)])
            .forward("app", &backend.url(), "")
            .start();
        for version in ["1.2", "1.3"] {
            let fetched = proxy.curl("app", "/").args(["--tls-max", version]).ok();
            assert_eq!(fetched.text(), "x", "{name} with TLS {version}");
        }
    }
}

#[test]
fn in_tls12_the_ecdsa_certificate_is_for_clients_with_its_curve() {
    let backend = Backend::text("x");
    let ecdsa = || Proxy::config().forward("app", &backend.url(), "");
    let both = ecdsa().certificates(&[pki().server(), pki().pair("rsa")]).start();
    let host = "app.localhost.pomerium.io";
    let seen = |proxy: &Proxy, version: &str, curves: &str| {
        let client = SClient::new(proxy.address(), host);
        client.args([version, "-curves", curves]).run(&get(host))
    };
    for (version, curves, kind) in [
        ("-tls1_2", "X25519:P-256", "ECDSA"),
        ("-tls1_2", "X25519", "RSA"),
        ("-tls1_2", "P-384", "RSA"),
        // There the signature schemes name the curves of certificates.
        ("-tls1_3", "X25519", "ECDSA"),
    ] {
        let seen = seen(&both, version, curves);
        assert!(seen.stdout.contains("HTTP/1.1 200"), "{version} {curves}: {seen:?}");
        let signature = seen.stdout.lines().find(|line| line.starts_with("Peer signature type"));
        assert!(signature.is_some_and(|line| line.contains(kind)), "{curves}: {signature:?}");
    }
    let one = ecdsa().start();
    assert_eq!(openssl::alert(&seen(&one, "-tls1_2", "X25519")), Some(40));
    assert!(seen(&one, "-tls1_3", "X25519").stdout.contains("HTTP/1.1 200"));
    let failure = one.wait_for_refusal(|line| line["alert"] == "HandshakeFailure");
    let reason = failure["downstream-transport-failure-reason"].as_str().unwrap_or_default();
    assert!(reason.contains("no curve of a certificate"), "{failure}");
}

#[test]
fn aes_128_is_preferred_and_old_tls_refused() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let seen = |args: &[&str]| {
        let client = SClient::new(proxy.address(), "app.localhost.pomerium.io");
        client.args(args.iter().copied()).run(&get("app.localhost.pomerium.io"))
    };
    assert!(seen(&["-tls1_3"]).stdout.contains("TLS_AES_128_GCM_SHA256"));
    let tls12 = seen(&["-tls1_2"]).stdout;
    assert!(tls12.contains("ECDHE-ECDSA-AES128-GCM-SHA256"), "{tls12}");
    let old = seen(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.stdout.contains("HTTP/1.1 200"), "{old:?}");
}

#[test]
fn a_key_of_another_certificate_names_both_files() {
    let mixed = Pair { cert: pki().server().cert, key: pki().pair("exact").key };
    let checked = Proxy::config().certificates(&[mixed]).check();
    assert_eq!(checked.code, Some(1));
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("server.pem") && said.contains("exact.key"), "{said}");
}

#[test]
fn missing_and_empty_files_are_errors_that_name_them() {
    let dir = TempDir::new("files");
    let empty = dir.write("empty.pem", "");
    let missing = dir.path().join("missing.key");
    let config = Proxy::config().certificates(&[
        Pair { cert: empty, key: pki().server().key },
        Pair { cert: pki().server().cert, key: missing },
    ]);
    let checked = config.check();
    assert_eq!(checked.code, Some(1));
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("empty.pem") && said.contains("missing.key"), "{said}");
}

#[test]
fn secrets_never_reach_the_diagnostics() {
    let dir = TempDir::new("secret");
    let key = std::fs::read_to_string(pki().server().key).unwrap();
    let body = key.lines().nth(1).unwrap();
    let broken = dir.write("broken.key", key.replace(body, "AAAA"));
    let inline = BASE64.encode(&key);
    let config = Proxy::config()
        .certificates(&[Pair { cert: pki().server().cert, key: broken }])
        .global(&format!("certificate: {inline}\ncertificate_key: {inline}"));
    let checked = config.check();
    assert_eq!(checked.code, Some(1));
    let said = checked.stdout + &checked.stderr;
    let rest = key.lines().nth(2).unwrap();
    assert!(!said.contains(rest) && !said.contains(&inline[..40]), "{said}");
}

#[test]
fn certificates_are_read_from_all_of_pomeriums_keys() {
    let backend = Backend::text("x");
    let inline = |path| BASE64.encode(std::fs::read(path).unwrap());
    let (first, last) = (pki().pair("elsewhere"), pki().pair("exact"));
    let proxy = Proxy::config()
        .global(&format!(
            "certificate_file: {}\ncertificate_key_file: {}\n\
             certificate: {}\ncertificate_key: {}",
            last.cert.display(),
            last.key.display(),
            inline(first.cert),
            inline(first.key)
        ))
        .forward("app", &backend.url(), "")
        .start();
    let among = ["elsewhere", "server", "exact"];
    assert_eq!(shown(&proxy, Some("unknown.example"), &among), "elsewhere");
    assert_eq!(shown(&proxy, Some("app.localhost.pomerium.io"), &among), "server");
    assert_eq!(shown(&proxy, Some("exact.localhost.pomerium.io"), &among), "exact");
}

#[test]
fn the_environment_gives_the_certificate_of_the_guide() {
    let backend = Backend::text("x");
    let pair = pki().server();
    let proxy = Proxy::config()
        .certificates(&[])
        .env("CERTIFICATE_FILE", &pair.cert.display().to_string())
        .env("CERTIFICATE_KEY_FILE", &pair.key.display().to_string())
        .forward("app", &backend.url(), "")
        .start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "x");
}

#[test]
fn the_whole_chain_is_sent() {
    let backend = Backend::text("x");
    let dir = TempDir::new("chain");
    let pair = pki().server();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let chain = Pair {
        cert: dir.write("chain.pem", read(pair.cert.clone()) + &read(pki().ca())),
        key: pair.key,
    };
    let proxy = Proxy::config()
        .certificates(std::slice::from_ref(&chain))
        .forward("app", &backend.url(), "")
        .start();
    let name = "app.localhost.pomerium.io";
    let raw = Raw::try_tls(proxy.address(), &TlsOptions::name(name)).unwrap();
    let sent = raw.session().peer_certificates().unwrap().to_vec();
    assert_eq!(sent, read_chain(&chain.cert));
}
