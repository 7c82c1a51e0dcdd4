//! The signed assertion for upstreams, verified by others: the npm package `jose` as an upstream that
//! fetches the key set over TLS, and Node's own cryptography.

use std::{path::Path, process::Command};

use portcullis_tests::{
    AssertionVerifier, CurlBrowser, OidcProvider, Proxy, ports::free_port, process::run,
    proxy::Config, tempdir::TempDir, tools::need, wait::until,
};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";
const HOSTS: [&str; 2] = ["app", "other"];

/// Two hosts, each with a verifier of its own.
struct Verified {
    provider: OidcProvider,
    proxy: Proxy,
    browser: CurlBrowser,
    _verifiers: Vec<AssertionVerifier>,
}

fn start(keys: &str) -> Verified {
    let provider = OidcProvider::start(AUTHENTICATE);
    let ports = HOSTS.map(|_| free_port());
    let proxy = config(&provider, ports, keys).start();
    let start = |(host, port): (&str, u16)| {
        let host = format!("{host}.localhost.pomerium.io");
        AssertionVerifier::start(port, proxy.address(), &host)
    };
    let verifiers = HOSTS.into_iter().zip(ports).map(start).collect();
    let browser = CurlBrowser::new(proxy.address(), &provider, "alice");
    Verified { provider, proxy, browser, _verifiers: verifiers }
}

fn config(provider: &OidcProvider, ports: [u16; 2], keys: &str) -> Config {
    let config = Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}\nshared_secret: {SECRET}"))
        .global("idp_provider: oidc\nidp_client_id: c-ES256\nidp_client_secret: secret")
        .global(&format!("idp_provider_url: {}", provider.url()))
        .global("jwt_claims_headers: {x-department: department}");
    let config = if keys.is_empty() { config } else { config.global(keys) };
    HOSTS.into_iter().zip(ports).fold(config, |config, (host, port)| {
        config.route_as_is(&format!(
            "from: https://{host}.localhost.pomerium.io\nto: http://127.0.0.1:{port}\n\
             pass_identity_headers: true\n\
             policy:\n- allow:\n    and:\n    - authenticated_user: true"
        ))
    })
}

impl Verified {
    /// What the upstream of a host says of the assertion.
    fn open(&mut self, host: &str) -> Value {
        let fetched = self.browser.open(&format!("https://{host}.localhost.pomerium.io/x"));
        assert_eq!(fetched.status, 200, "{}", fetched.text());
        let said = fetched.json();
        assert_eq!(said["verified"], true, "{said}");
        said
    }

    fn public_keys(&self) -> Vec<Value> {
        let keys = self.proxy.curl("app", "/.well-known/pomerium/jwks.json").ok().json();
        keys["keys"].as_array().expect("a key set").clone()
    }
}

/// A private key by OpenSSL.
fn key(dir: &TempDir, name: &str, options: &[&str]) -> String {
    let path = dir.path().join(name);
    let mut command = Command::new(need("openssl"));
    let done = run(command.args(options).arg("-out").arg(&path), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    read(&path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a key")
}

const EC: &[&str] = &["ecparam", "-name", "prime256v1", "-genkey", "-noout"];
const RSA: &[&str] =
    &["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

#[test]
fn jose_verifies_assertions_by_the_derived_key() {
    let mut verified = start("");
    verified.provider.set_user("alice", &json!({"groups": null, "department": ["a", "b,c", "d"]}));
    let said = verified.open("app");
    let claims = &said["claims"];
    let keys = verified.public_keys();
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": keys[0]["kid"]});
    assert_eq!((&said["header"], keys.len()), (&header, 1));
    assert_eq!(claims["groups"], json!([]), "a list, though the user has none");
    assert_eq!((&claims["sub"], &claims["user"]), (&json!("alice"), &json!("alice")));
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["department"], "a,d", "{claims}");
    let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
    assert_eq!(life, Some(300));
    // Each verifier insists on its own host as issuer and audience.
    let other = verified.open("other");
    assert_eq!(claims["aud"], "app.localhost.pomerium.io");
    assert_eq!(other["claims"]["aud"], "other.localhost.pomerium.io");
    assert_eq!(claims["sid"], other["claims"]["sid"], "one session at both hosts");
    assert_ne!(claims["jti"], other["claims"]["jti"]);
}

#[test]
fn jose_verifies_assertions_while_given_keys_rotate() {
    let dir = TempDir::new("keys");
    let (first, second) = (key(&dir, "first", EC), key(&dir, "second", RSA));
    let file = dir.write("signing-keys.pem", &first);
    let mut verified = start(&format!("signing_key_file: {}", file.display()));
    assert_eq!(verified.open("app")["header"]["alg"], "ES256");
    let before = verified.public_keys();
    assert_eq!(before.len(), 1);

    // The new one is published before it signs, and the old one after it has signed.
    for (content, algorithm) in [
        (format!("{first}{second}"), "ES256"),
        (format!("{second}{first}"), "RS256"),
        (second.clone(), "RS256"),
    ] {
        dir.write("signing-keys.pem", &content);
        let wanted = content.matches("BEGIN").count();
        until("the new keys", || {
            verified.open("app");
            let keys = verified.public_keys();
            keys.len() == wanted && keys[0]["alg"] == algorithm
        });
        let said = verified.open("app");
        assert_eq!(said["header"]["alg"], algorithm);
        assert_eq!(said["header"]["kid"], verified.public_keys()[0]["kid"]);
        assert_eq!(verified.open("other")["header"]["alg"], algorithm);
    }
    assert_ne!(verified.public_keys()[0]["kid"], before[0]["kid"]);
}

/// The public point of Pomerium's derived key, by Node's own cryptography.
const DERIVE: &str = r#"
import { createECDH, hkdfSync } from 'node:crypto';
const secret = Buffer.from(process.argv[1], 'base64');
const bytes = Buffer.from(hkdfSync('sha256', secret, '', 'derived-jwt-signing-key', 40));
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const d = (BigInt('0x' + bytes.toString('hex')) % (n - 1n)) + 1n;
const key = createECDH('prime256v1');
key.setPrivateKey(Buffer.from(d.toString(16).padStart(64, '0'), 'hex'));
const point = key.getPublicKey();
const text = (from, to) => point.subarray(from, to).toString('base64url');
console.log(JSON.stringify({ x: text(1, 33), y: text(33, 65) }));
"#;

#[test]
fn the_published_key_is_what_others_derive_from_the_secret() {
    let proxy = Proxy::config().global(&format!("shared_secret: {SECRET}")).start();
    let keys = proxy.curl("app", "/.well-known/pomerium/jwks.json").ok().json();
    let mut node = Command::new(need("node"));
    node.args(["--input-type=module", "--eval", DERIVE, SECRET]);
    let done = run(&mut node, b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    let point: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((&keys["keys"][0]["x"], &keys["keys"][0]["y"]), (&point["x"], &point["y"]));
}
