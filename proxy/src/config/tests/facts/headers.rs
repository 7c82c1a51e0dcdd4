//! Headers of requests and responses.

use super::*;

#[test]
fn hsts_is_only_for_those_who_serve_tls() {
    let has_hsts = |yaml: &str| {
        let headers = config_of(yaml, &[]).http.response_headers;
        headers.iter().any(|(name, _)| name == "strict-transport-security")
    };
    assert!(has_hsts(&with_certificate("")));
    assert!(!has_hsts("insecure_server: true"));
    assert!(!has_hsts(&with_certificate("set_response_headers: {X-Other: a}")));
}

#[test]
fn response_headers_replace_the_defaults_or_disable_them() {
    let headers = |yaml: &str| config(yaml).http.response_headers;
    assert_eq!(headers("").len(), 3);
    assert_eq!(headers("set_response_headers: {X-Other: a}")[0].0, "x-other");
    assert!(headers("set_response_headers: {disable: true}").is_empty());
    assert!(headers("set_response_headers: {disable: true, X-Other: a}").is_empty());
}

#[test]
fn templates_are_taken_apart() {
    let literal = |text: &str| TemplatePart::Literal(text.into());
    for (text, expected) in [
        ("plain", vec![literal("plain")]),
        ("", vec![]),
        ("a$$b", vec![literal("a$b")]),
        ("$5 off", vec![literal("$5 off")]),
        ("$", vec![literal("$")]),
        ("${open", vec![literal("${open")]),
        (
            "$pomerium.client_cert_fingerprint.",
            vec![TemplatePart::ClientCert(CertificateField::Fingerprint), literal(".")],
        ),
        (
            "x${pomerium.client_cert_san_dns}y",
            vec![literal("x"), TemplatePart::ClientCert(CertificateField::SanDns), literal("y")],
        ),
        (
            "${pomerium.client_cert_san_email}",
            vec![TemplatePart::ClientCert(CertificateField::SanEmail)],
        ),
        (
            r#"${pomerium.request.headers["X-A"]}"#,
            vec![TemplatePart::RequestHeader("x-a".parse().unwrap())],
        ),
        (
            "$portcullis.client_cert_subject ",
            vec![TemplatePart::ClientCert(CertificateField::Subject), literal(" ")],
        ),
        ("$portcullis", vec![literal("$portcullis")]),
        ("$${pomerium.jwt}", vec![literal("${pomerium.jwt}")]),
        ("a${pomerium.jwt}b", vec![literal("a"), TemplatePart::IdentityJwt, literal("b")]),
        ("a${pomerium.id_token}b", vec![literal("a"), TemplatePart::IdToken, literal("b")]),
        ("$pomerium.access_token", vec![TemplatePart::AccessToken]),
    ] {
        let rules = route(&format!("to: http://b\nset_request_headers: {{X-T: '{text}'}}"))
            .http
            .request_headers;
        assert_eq!(rules.set[0].1.0, expected, "{text}");
    }
}

#[test]
fn a_route_says_for_itself_what_is_forwarded_of_a_certificate() {
    let of = |global: &str, own: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem'}}\nportcullis: {{{global}}}\nroutes:\n\
             - from: https://a.example\n  to: http://b\n  portcullis: {{{own}}}"
        );
        let ActionSpec::Proxy(proxy) = config(&yaml).routes.remove(0).http.action else { panic!() };
        proxy.client_certificate
    };
    let nothing = CertificateHeaders::default();
    let chain = CertificateHeaders { rfc9440: Rfc9440::Chain, ..nothing };
    let fields = XfccFields { hash: true, uri: true, ..XfccFields::default() };
    let xfcc = CertificateHeaders { xfcc: fields, ..nothing };
    let global = "forward_client_certificate: {rfc9440: chain}";
    assert_eq!(of("", ""), nothing);
    assert_eq!(of(global, ""), chain);
    assert_eq!(of(global, "forward_client_certificate: {}"), nothing);
    assert_eq!(of(global, "forward_client_certificate: {rfc9440: none}"), nothing);
    assert_eq!(of(global, "forward_client_certificate: {xfcc: [Hash, uri]}"), xfcc);
    let leaf = CertificateHeaders { rfc9440: Rfc9440::Leaf, ..xfcc };
    assert_eq!(of("", "forward_client_certificate: {rfc9440: leaf, xfcc: 'uri, hash'}"), leaf);
}

#[test]
fn only_forwarding_routes_depend_on_forwarded_certificates() {
    let looks = |action: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem', enforcement: policy}}\n\
             portcullis: {{forward_client_certificate: {{rfc9440: leaf}}}}\nroutes:\n\
             - from: https://a.example\n  {action}\n  \
             allow_public_unauthenticated_access: true"
        );
        config(&yaml).routes.remove(0).http.looks_at_certificate(None)
    };
    assert!(looks("to: http://b"));
    assert!(!looks("redirect: {host_redirect: b.example}"));
}

#[test]
fn response_rules_are_read() {
    let rules = route(
        "to: http://b\nset_response_headers: {Disable: true, X-A: '1'}\n\
         rewrite_response_headers: [{header: Location, prefix: 'http://b/', value: 'https://a/'}]",
    )
    .http
    .response_headers;
    assert!(rules.disable);
    assert_eq!(rules.set[0].0, "x-a");
    assert_eq!(rules.rewrite[0].header, "location");
    assert_eq!(&*rules.rewrite[0].value, "https://a/");
}

#[test]
fn claim_headers_are_removed_under_every_name_they_may_have() {
    let names = |yaml: &str| -> Vec<String> {
        let names = config(yaml).http.identity_headers;
        names.iter().skip(2).map(|name| name.to_string()).collect()
    };
    assert_eq!(names("jwt_claims_headers: {X-Email: email}"), ["x-email"]);
    assert_eq!(
        names("jwt_claims_headers: [email, groups]"),
        ["x-pomerium-claim-email", "x-pomerium-claim-groups"]
    );
    assert_eq!(
        names("jwt_claims_headers: email,user"),
        ["x-pomerium-claim-email", "x-pomerium-claim-user"]
    );
}
