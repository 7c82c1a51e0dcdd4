//! The guide "Client-side mTLS With Pomerium" in full, with its `policy:`. Its identity provider is out
//! of reach, and not needed: the certificate says who its holder is.

use portcullis_tests::{Backend, Proxy, openssl::SClient, openssl::get, pki, proxy::Config};

const NAME: &str = "verify.localhost.pomerium.io";

/// The guide's file, by either generation of the key that names the CA.
fn guide(backend: &Backend, ca: &str, domain: &str) -> Config {
    without_provider(backend, ca, domain)
        .global("authenticate_service_url: https://authenticate.localhost.pomerium.io")
        .global("idp_provider: google\nidp_client_id: REPLACE_ME\nidp_client_secret: REPLACE_ME")
}

fn without_provider(backend: &Backend, ca: &str, domain: &str) -> Config {
    let server = pki().server();
    Proxy::config()
        .certificates(&[])
        .global(&format!(
            "certificate_file: {}\ncertificate_key_file: {}",
            server.cert.display(),
            server.key.display()
        ))
        .global(ca)
        .own("client_certificate_identity", "email")
        .route_as_is(&format!(
            "from: https://{NAME}\nto: {}\npass_identity_headers: true\npolicy:\n- allow:\n    \
             or:\n    - domain:\n        is: {domain}",
            backend.url()
        ))
}

fn both_generations() -> [String; 2] {
    let ca = pki().ca();
    let ca = ca.display();
    [format!("client_ca_file: {ca}"), format!("downstream_mtls:\n  ca_file: {ca}")]
}

#[test]
fn whoever_has_a_certificate_of_the_domain_gets_in() {
    for ca in both_generations() {
        let backend = Backend::text("inside");
        let proxy = guide(&backend, &ca, "localhost.pomerium.io").start();
        for tls in ["1.2", "1.3"] {
            for http in ["--http1.1", "--http2"] {
                let curl = proxy.curl("verify", "/").client(&pki().client());
                let fetched = curl.args([http, "--tls-max", tls]).ok();
                assert_eq!(fetched.text(), "inside", "TLS {tls} {http}: {fetched:?}");
            }
        }
        assert_eq!(proxy.curl("verify", "/").ok().status, 495, "without a certificate");
        let stranger = pki().pair("other/client");
        assert_eq!(proxy.curl("verify", "/").client(&stranger).ok().status, 495);
    }
}

#[test]
fn a_certificate_of_another_domain_is_forbidden() {
    let backend = Backend::text("inside");
    let [ca, _] = both_generations();
    let proxy = guide(&backend, &ca, "example.com").start();
    let fetched = proxy.curl("verify", "/mine").client(&pki().client()).ok();
    assert_eq!(fetched.status, 403, "{fetched:?}");
    let record = proxy.wait_for_access("/mine");
    assert_eq!(record["allow-why-false"], serde_json::json!(["domain-unauthorized"]), "{record}");
}

#[test]
fn without_identity_a_user_policy_leads_to_sign_in() {
    let backend = Backend::text("inside");
    let [ca, _] = both_generations();
    let config = guide(&backend, &ca, "localhost.pomerium.io");
    let proxy = config.own("client_certificate_identity", "''").start();
    let fetched = proxy.curl("verify", "/mine").client(&pki().client()).ok();
    assert_eq!(fetched.status, 302, "{fetched:?}");
    let location = fetched.header("location").unwrap_or_default();
    let sign_in = "https://authenticate.localhost.pomerium.io/.pomerium/sign_in?";
    assert!(location.starts_with(sign_in), "{location}");
    assert_eq!(proxy.curl("verify", "/").ok().status, 495, "the certificate comes first");
}

#[test]
fn where_nobody_can_sign_in_a_user_policy_allows_nobody_with_a_reason() {
    let backend = Backend::text("inside");
    let [ca, _] = both_generations();
    let config = without_provider(&backend, &ca, "localhost.pomerium.io");
    let proxy = config.own("client_certificate_identity", "''").start();
    proxy.wait_for_log("a warning about signing in", |line| {
        line["level"] == "warn" && line.to_string().contains("nobody can sign in")
    });
    let fetched = proxy.curl("verify", "/mine").client(&pki().client()).ok();
    assert_eq!(fetched.status, 403);
    let record = proxy.wait_for_access("/mine");
    assert_eq!(record["allow-why-false"], serde_json::json!(["user-unauthenticated"]), "{record}");
    assert_eq!(proxy.curl("verify", "/").ok().status, 495, "the certificate comes first");
}

#[test]
fn the_certificate_request_names_the_ca() {
    let backend = Backend::text("inside");
    let [ca, _] = both_generations();
    let proxy = guide(&backend, &ca, "localhost.pomerium.io").start();
    let seen = SClient::new(proxy.address(), NAME).client(&pki().client()).run(&get(NAME));
    assert!(seen.stdout.contains("Acceptable client certificate CA names"), "{seen:?}");
    assert!(seen.stdout.contains("inside"), "{seen:?}");
}
