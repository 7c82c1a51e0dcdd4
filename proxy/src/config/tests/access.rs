//! Who may use a route, and whose certificate is asked for.

use std::sync::Arc;

use super::support::{Dir, config, with_certificate};
use crate::{config::RouteConfig, policy, tls::ClientAuthMode};

/// The only route, with these keys.
fn route(keys: &str) -> RouteConfig {
    let keys = keys.replace('\n', "\n  ");
    config(&format!("routes:\n- from: https://a.example\n  {keys}")).routes.remove(0)
}

#[test]
fn only_the_public_key_lets_anybody_in() {
    assert_eq!(outcome(&route("to: http://b")), policy::PolicyOutcome::Deny);
    let public = |value| {
        outcome(&route(&format!("to: http://b\nallow_public_unauthenticated_access: {value}")))
    };
    assert_eq!(public("true"), policy::PolicyOutcome::Allow);
    assert_eq!(public("false"), policy::PolicyOutcome::Deny);
}

/// What becomes of `GET /` from somebody of whom nothing is known.
fn outcome(route: &RouteConfig) -> policy::PolicyOutcome {
    let request = policy::PolicyInput {
        method: "GET",
        path: "/",
        source_ip: [192, 0, 2, 1].into(),
        is_cors_preflight: false,
        client_certificate: match &route.http.client_trust {
            Some(_) => policy::ClientCertificateStatus::Missing,
            None => policy::ClientCertificateStatus::Unverified(None),
        },
        identity: None,
    };
    route.http.policy.evaluate(&request).outcome
}

#[test]
fn every_key_that_grants_access_becomes_a_policy() {
    use policy::PolicyOutcome::{Allow, Deny, NeedsSignIn};
    for (keys, expected) in [
        ("policy: {allow: {and: [{http_method: GET}]}}", Allow),
        ("policy: [{allow: {and: [{http_method: POST}]}}]", Deny),
        ("policy: [{allow: {or: [accept: true]}}, {deny: {or: [{http_path: /}]}}]", Deny),
        ("policy: [{allow: {or: [{email: {is: a.b}}]}}]", NeedsSignIn),
        ("allow_any_authenticated_user: true", NeedsSignIn),
        ("allowed_users: [a]", NeedsSignIn),
        ("allowed_domains: a.example,b.example", NeedsSignIn),
        ("allowed_idp_claims: {groups: [x]}", NeedsSignIn),
        ("cors_allow_preflight: true", Deny),
    ] {
        assert_eq!(outcome(&route(&format!("to: http://b\n{keys}"))), expected, "{keys}");
    }
}

#[test]
fn enforcement_adds_its_rule_where_a_ca_is_in_force() {
    use policy::PolicyOutcome::{Allow, ClientCertificateRequired};
    let outcome = |global: &str, of_route: &str| {
        let yaml = format!(
            "{global}\nroutes: [{{from: https://a, to: http://b, \
             allow_public_unauthenticated_access: true, {of_route}}}]"
        );
        outcome(&config(&yaml).routes[0])
    };
    let with = |enforcement| format!("downstream_mtls: {{ca_file: '@ca.pem', {enforcement}}}");
    assert_eq!(outcome("", ""), Allow);
    assert_eq!(outcome(&with(""), ""), ClientCertificateRequired);
    assert_eq!(outcome("client_ca_file: '@ca.pem'", ""), ClientCertificateRequired);
    assert_eq!(
        outcome(&with("enforcement: policy_with_default_deny"), ""),
        ClientCertificateRequired
    );
    assert_eq!(outcome(&with("enforcement: policy"), ""), Allow);
    assert_eq!(outcome(&with("enforcement: reject_connection"), ""), ClientCertificateRequired);
    let of_route = "tls_downstream_client_ca_file: '@ca.pem'";
    assert_eq!(outcome("", of_route), ClientCertificateRequired);
    assert_eq!(outcome("downstream_mtls: {enforcement: policy}", of_route), Allow);
}

#[test]
fn a_route_has_its_own_ca_in_place_of_the_global_one() {
    let config = config(
        "downstream_mtls: {ca_file: '@ca.pem', enforcement: reject_connection}\nroutes:\n\
         - {from: https://a, to: http://x, prefix: /own, \
         tls_downstream_client_ca_file: '@client.pem'}\n- {from: https://a, to: http://x}\n\
         - {from: https://b, to: http://x, tls_downstream_client_ca_file: '@ca.pem'}",
    );
    let trust = |route: usize| config.routes[route].http.client_trust.clone().unwrap();
    assert_ne!(trust(0).digest(), trust(1).digest());
    assert!(Arc::ptr_eq(&trust(1), &trust(2)), "one CA is compiled once");
    let client_auth = config.tls.unwrap().client_auth;
    let ClientAuthMode::Require(union) = client_auth.mode else { panic!("not required") };
    assert_ne!(union.digest(), trust(0).digest());
    assert_ne!(union.digest(), trust(1).digest());
    assert!(client_auth.routes.iter().all(|route| route.looks));
}

#[test]
fn the_ca_of_a_route_is_watched_like_the_global_one() {
    let dir = Dir::new();
    let yaml = with_certificate(
        "downstream_mtls: {ca_file: '@ca.pem'}\nroutes:\n\
         - {from: https://a, to: http://x, tls_downstream_client_ca_file: '@client.pem'}",
    );
    let files = dir.load(&yaml, &[]).unwrap().config.files;
    for name in ["ca.pem", "client.pem"] {
        assert!(files.iter().any(|file| file.path == dir.file(name)), "{name}");
    }
}

#[test]
fn certificates_are_asked_for_where_a_route_looks_at_them() {
    let looks = |keys: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem', enforcement: policy}}\n\
             portcullis: {{client_certificate_identity: email}}\n\
             routes: [{{from: https://a, to: http://b, {keys}}}]"
        );
        config(&yaml).tls.unwrap().client_auth.routes[0].looks
    };
    assert!(!looks("allow_public_unauthenticated_access: true"));
    assert!(!looks("policy: {allow: {and: [{http_method: GET}]}}"));
    assert!(looks(
        "policy: {allow: {and: [accept: true]}, deny: {or: [invalid_client_certificate: true]}}"
    ));
    assert!(looks("policy: {allow: {or: [{client_certificate: {san_email: a}}]}}"));
    assert!(looks("policy: {allow: {or: [{domain: {is: example.com}}]}}"), "an identity is needed");
    assert!(looks("allowed_users: [a], set_request_headers: {X: y}"));
    assert!(looks(
        "allow_public_unauthenticated_access: true, \
         set_request_headers: {X: '${pomerium.client_cert_san_dns}'}"
    ));
}
