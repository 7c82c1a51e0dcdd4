//! Policies and client certificates: what is wrong with them, and what they do not do.

use super::super::support::{errors, warnings};

#[test]
fn an_absent_enforcement_is_pomeriums_default_and_no_surprise() {
    assert!(warnings("routes: []\ndownstream_mtls: {ca_file: '@ca.pem'}").is_empty());
}

#[test]
fn a_policy_mode_in_which_nobody_looks_is_warned_of() {
    let mode = "downstream_mtls: {ca_file: '@ca.pem', enforcement: policy}";
    let public = "allow_public_unauthenticated_access: true";
    assert_eq!(
        warnings(&format!("routes: [{{from: https://a, to: http://b, {public}}}]\n{mode}")),
        [
            "config.yaml:2: downstream_mtls.enforcement: is `policy`, but no route's policy depends on \
          client certificates: clients are not asked for one (use `client_certificate` or \
          `invalid_client_certificate` in a policy)"
        ]
    );
}

#[test]
fn a_policy_about_the_user_causes_one_warning_per_route() {
    let routes = "routes:\n- {from: https://a, to: http://b, allowed_domains: [a.example]}\n\
                  - from: https://c\n  to: http://b\n  policy: {allow: {or: [{email: a}, {user: b}]}}\n";
    let expected = |line: u32, route: u32| {
        format!(
            "config.yaml:{line}: routes[{route}]: its policy depends on the user, and nobody can \
             sign in: these criteria match nobody (set idp_provider; or \
             portcullis.client_certificate_identity and a client CA, to identify users by their \
             client certificate)"
        )
    };
    assert_eq!(warnings(routes), [expected(2, 0), expected(3, 1)]);
    let identity = "portcullis: {client_certificate_identity: email}\n";
    assert_eq!(warnings(&format!("{routes}{identity}")).len(), 2, "no CA vouches for anybody");
    let ca = "downstream_mtls: {ca_file: '@ca.pem'}";
    assert!(warnings(&format!("{routes}{identity}{ca}")).is_empty());
}

#[test]
fn mistakes_in_a_policy_are_shown_with_their_lines() {
    let snippet = "routes:\n- from: https://a.example\n  to: http://b\n  policy:\n  - allow:\n      or:\n      \
                   - emial: x\n      - source_ip: 10.0.0.0/33\n    forbid: {}\n  \
                   allowed_idp_claims: [x]";
    let errors = errors(snippet);
    let places: Vec<&str> =
        errors.iter().map(|error| error.split(':').nth(2).unwrap().trim()).collect();
    assert_eq!(
        places,
        [
            "routes[0].policy[0].allow.or[0].emial",
            "routes[0].policy[0].allow.or[1].source_ip",
            "routes[0].policy[0].forbid",
            "routes[0].allowed_idp_claims",
        ]
    );
    assert!(
        errors[0].starts_with("config.yaml:7:") && errors[0].contains("`email`?"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("config.yaml:8:"), "{errors:?}");
    assert!(errors[2].starts_with("config.yaml:9:"), "{errors:?}");
    assert!(errors[3].starts_with("config.yaml:10:"), "{errors:?}");
}

#[test]
fn public_and_whitelisted_contradict_each_other() {
    let errors =
        |keys: &str| errors(&format!("routes:\n- {{from: https://a, to: http://b, {keys}}}"));
    for list in ["allowed_users: [a]", "allowed_domains: [a]", "allowed_idp_claims: {a: b}"] {
        let key = list.split(':').next().unwrap();
        assert_eq!(
            errors(&format!("allow_public_unauthenticated_access: true, {list}")),
            [format!(
                "config.yaml:2: routes[0].allow_public_unauthenticated_access: route marked as \
                 public but contains whitelists (remove it, or `{key}`)"
            )]
        );
        assert_eq!(
            errors(&format!("allow_any_authenticated_user: true, {list}")),
            [format!(
                "config.yaml:2: routes[0].allow_any_authenticated_user: route marked accessible \
                 for any authenticated user but contains whitelists (remove it, or `{key}`)"
            )]
        );
    }
}

#[test]
fn policies_below_policies_are_refused() {
    assert_eq!(
        errors("routes:\n- from: https://a.example\n  to: http://b\n  sub_policies: [{}]"),
        [
            "config.yaml:4: routes[0].sub_policies: is not supported yet, and ignoring it would change \
          who may do what (write their rules under `policy`)"
        ]
    );
}

#[test]
fn a_certificate_is_not_forwarded_where_no_ca_vouches_for_it() {
    let of_all = "portcullis: {forward_client_certificate: {rfc9440: leaf}}";
    let of_one = "  portcullis: {forward_client_certificate: {xfcc: [hash]}}";
    let routes = "routes:\n- from: https://a.example\n  to: http://b\n  \
                  allow_public_unauthenticated_access: true\n";
    let message =
        "no client CA is configured, and only certificates that a client CA trusts are forwarded";
    assert_eq!(
        errors(&format!("{routes}{of_all}")),
        [format!(
            "config.yaml:5: portcullis.forward_client_certificate: {message} (set \
             downstream_mtls.ca_file)"
        )]
    );
    assert_eq!(
        errors(&format!("{routes}{of_one}")),
        [format!(
            "config.yaml:5: routes[0].portcullis.forward_client_certificate: {message} (set \
             downstream_mtls.ca_file or the route's tls_downstream_client_ca_file)"
        )]
    );
    let own_ca = "  tls_downstream_client_ca_file: '@ca.pem'\n";
    assert!(warnings(&format!("{routes}{own_ca}{of_one}")).is_empty());
    assert!(warnings(&format!("{routes}{own_ca}{of_all}")).is_empty());
}

#[test]
fn mistakes_in_what_is_forwarded_are_refused() {
    let yaml = "downstream_mtls: {ca_file: '@ca.pem'}\nportcullis:\n  forward_client_certificate:\n    \
                rfc9440: yes please\n    xfcc: [by, hash]\nroutes:\n- from: https://a.example\n  \
                to: http://b\n  portcullis: {forward_client_certificates: {}}";
    let errors = errors(yaml);
    assert_eq!(
        errors,
        [
            "config.yaml:4: portcullis.forward_client_certificate.rfc9440: `yes please` is not an \
             allowed value (one of none, leaf, chain)",
            "config.yaml:5: portcullis.forward_client_certificate.xfcc: `by` is not a known \
             field (hash, cert, chain, subject, uri, dns)",
            "config.yaml:9: routes[0].portcullis.forward_client_certificates: is not a known key \
             (`forward_client_certificate`?)",
        ]
    );
}

#[test]
fn a_reference_that_does_not_exist_is_refused() {
    let of = |value: &str| {
        let route = "routes:\n- from: https://a.example\n  to: http://b\n  set_request_headers:\n";
        errors(&format!("{route}    X-T: '{value}'"))
    };
    let expected = |name: &str, hint: &str| {
        let place = "config.yaml:5: routes[0].set_request_headers.X-T";
        vec![format!("{place}: `{name}` is not a known reference ({hint})")]
    };
    assert_eq!(
        of("${pomerium.client_cert_fingerprnt}"),
        expected("pomerium.client_cert_fingerprnt", "`pomerium.client_cert_fingerprint`?")
    );
    assert_eq!(of("a${USER}b"), expected("USER", "`$$` stands for a `$`"));
    assert_eq!(
        of("$pomerium.request.headers"),
        expected("pomerium.request.headers", "`$$` stands for a `$`")
    );
}
