//! A snippet, and exactly what is said about it. A certificate follows each snippet.

mod access;
mod health_checks;
mod identity;
mod leaf_rules;
mod outlier_detection;
mod pitfalls;
mod routes;
mod secret_files;
mod steering;

use super::support::{base64_of, errors, errors_of, warnings};

fn assert_errors(cases: &[(&str, &[&str])]) {
    for (snippet, expected) in cases {
        assert_eq!(errors(snippet), *expected, "{snippet}");
    }
}

/// A route that is fine but for what is added to it, in line 4 and after.
fn route(keys: &str) -> String {
    let mut yaml =
        "routes:\n- from: https://a.example\n  allow_public_unauthenticated_access: true"
            .to_owned();
    for line in keys.lines() {
        yaml.push_str("\n  ");
        yaml.push_str(line);
    }
    yaml
}

fn assert_route_errors(cases: &[(&str, &[&str])]) {
    for (keys, expected) in cases {
        assert_eq!(errors(&route(keys)), *expected, "{keys}");
    }
}

fn assert_route_warnings(cases: &[(&str, &[&str])]) {
    for (keys, expected) in cases {
        assert_eq!(warnings(&route(keys)), *expected, "{keys}");
    }
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    assert_eq!(
        errors(
            "address: nowhere\n\
             timeout_read: soon\n\
             codec_type: http9\n\
             routes:\n\
             - from: https://a.example/path\n\
             \x20 to: https://b:x\n\
             - to: ftp://c\n\
             portcullis: {wrokers: 2}"
        ),
        [
            "config.yaml:1: address: `nowhere` is not an IP address (write :443, 127.0.0.1:443 or \
             [::1]:443)",
            "config.yaml:2: timeout_read: `soon` is not a duration such as 30s, 5m or 1h30m",
            "config.yaml:3: codec_type: `http9` is not an allowed value (one of codec_type_auto, \
             codec_type_http1, codec_type_http2, codec_type_http3)",
            "config.yaml:5: routes[0].from: source url (https://a.example/path) contains a path, \
             but it should be set using the path field instead",
            "config.yaml:6: routes[0].to: `x` is not a port (write https://app.internal:8443)",
            "config.yaml:7: routes[1].from: is missing (write from: https://app.example.com)",
            "config.yaml:7: routes[1].to: `ftp` is not a known scheme (use http, https, h2c, unix \
             or https+unix)",
            "config.yaml:8: portcullis.wrokers: is not a known key (`workers`?)",
        ]
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused_without_being_shown() {
    assert_errors(&[
        (
            "timeout_read: [30s]",
            &["config.yaml:1: timeout_read: expected a duration such as 30s, found a list"],
        ),
        (
            "merge_slashes: perhaps",
            &["config.yaml:1: merge_slashes: expected true or false, found a text"],
        ),
        (
            "xff_num_trusted_hops: -1",
            &[
                "config.yaml:1: xff_num_trusted_hops: expected a whole number, in range and not negative, found a number",
            ],
        ),
        ("portcullis: 5", &["config.yaml:1: portcullis: expected a mapping, found a number"]),
        ("routes: {from: x}", &["config.yaml:1: routes: expected a list, found a mapping"]),
        ("routes: [x]", &["config.yaml:1: routes[0]: expected a mapping, found a text"]),
        (
            "set_response_headers: {X-A: [b]}",
            &["config.yaml:1: set_response_headers.X-A: expected a text, found a list"],
        ),
        (
            "log_level: !secret x",
            &["config.yaml:1: log_level: expected a text, found a value with a YAML tag"],
        ),
        ("1: x", &["config.yaml:1: 1: is a key that is not a string"]),
    ]);
}

#[test]
fn listeners_are_checked() {
    assert_errors(&[
        ("address: ':1,:1'", &["config.yaml:1: address: [::]:1 is listed twice"]),
        (
            "address: ':1'\nhttp_redirect_addr: ':1'",
            &["config.yaml:2: http_redirect_addr: [::]:1 is in `address` already"],
        ),
        (
            "metrics_address: 127.0.0.1",
            &[
                "config.yaml:1: metrics_address: `127.0.0.1` has no port (write :9464 or 127.0.0.1:9464)",
            ],
        ),
        (
            "portcullis: {admin_hosts: [a.test:80, 'b*.test', '*.c']}",
            &[
                "config.yaml:1: portcullis.admin_hosts: `a.test:80` is not a host name (write a name without a port, such as portcullis.internal, or `*`)",
                "config.yaml:1: portcullis.admin_hosts: `b*.test` is not a host name (write a name without a port, such as portcullis.internal, or `*`)",
                "config.yaml:1: portcullis.admin_hosts: `*.c` is not a host name (write a name without a port, such as portcullis.internal, or `*`)",
            ],
        ),
        ("codec_type: http3", &["config.yaml:1: codec_type: HTTP/3 is not supported (use auto)"]),
        (
            "portcullis: {max_response_headers: 0}",
            &["config.yaml:1: portcullis.max_response_headers: 0 is not from 1 to 10000"],
        ),
        (
            "portcullis: {pass_forwarding_headers: [X-Forwarded-For, X-Email, a b]}",
            &[
                "config.yaml:1: portcullis.pass_forwarding_headers: `X-Forwarded-For` is not a header that can be passed on (write names such as X-Real-IP or X-Forwarded-Port)",
                "config.yaml:1: portcullis.pass_forwarding_headers: `X-Email` is not a header that can be passed on (write names such as X-Real-IP or X-Forwarded-Port)",
                "config.yaml:1: portcullis.pass_forwarding_headers: `a b` is not a header that can be passed on (write names such as X-Real-IP or X-Forwarded-Port)",
            ],
        ),
        (
            "use_proxy_protocol: true",
            &[
                "config.yaml:1: use_proxy_protocol: is not supported yet, and ignoring it would change who may do what (connect clients directly, or through a proxy that does not send it)",
            ],
        ),
        (
            "autocert: true",
            &[
                "config.yaml:1: autocert: is not supported yet, and ignoring it would change who may do what (set `certificate_file` and let an ACME client renew the file: changes are reloaded)",
            ],
        ),
    ]);
}

#[test]
fn a_pair_of_certificate_and_key_is_whole_and_fits() {
    for (yaml, expected) in [
        (
            "certificate_file: '@server.pem'",
            "config.yaml: certificate_key_file: is missing, but `certificate_file` is set",
        ),
        (
            "certificates:\n- key: '@server-key.pem'",
            "config.yaml:2: certificates[0].cert: is missing, but `key` is set",
        ),
        (
            "certificates:\n- {}",
            "config.yaml:2: certificates[0].cert: is missing (each entry has `cert` and `key`)",
        ),
        (
            "certificate_file: nope.pem\ncertificate_key_file: '@server-key.pem'",
            "config.yaml:1: certificate_file: cannot read nope.pem: no such file or directory (a \
             relative path starts in the working directory, HERE)",
        ),
        (
            "certificate_file: ''\ncertificate_key_file: '@server-key.pem'",
            "config.yaml:1: certificate_file: is empty (give it a value, or remove the key)",
        ),
        (
            "certificate: '-----BEGIN CERTIFICATE-----'\ncertificate_key: aGVsbG8=",
            "config.yaml:1: certificate: is PEM text; base64 of the PEM is expected (`base64 -w0 \
             FILE`, or the path as `certificate_file`)",
        ),
        (
            "certificate_file: '-----BEGIN CERTIFICATE-----'\ncertificate_key_file: '@server-key.pem'",
            "config.yaml:1: certificate_file: holds PEM text; it takes the path of a file",
        ),
    ] {
        assert_eq!(errors_of(yaml, &[]), [expected], "{yaml}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_paths() {
    let yaml = "certificate_file: '@server.pem'\ncertificate_key_file: '@other-key.pem'";
    let errors = errors_of(yaml, &[]);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("config.yaml:1: certificate_file: server.pem and other-key.pem:"),
        "{errors:?}"
    );
}

#[test]
fn client_certificates_fail_closed() {
    assert_errors(&[
        (
            "downstream_mtls: {ca_file: nope.pem}",
            &[
                "config.yaml:1: downstream_mtls.ca_file: cannot read nope.pem: no such file or directory (a relative path starts in the working directory, HERE)",
            ],
        ),
        (
            "downstream_mtls: {ca_file: ''}",
            &[
                "config.yaml:1: downstream_mtls.ca_file: is empty (give it a value, or remove the key)",
            ],
        ),
        (
            "downstream_mtls:\n  ca_file:",
            &[
                "config.yaml:2: downstream_mtls.ca_file: is empty (give it a value, or remove the key)",
            ],
        ),
        (
            "client_ca: ''",
            &["config.yaml:1: client_ca: is empty (give it a value, or remove the key)"],
        ),
        (
            "downstream_mtls: {ca: '?'}",
            &[
                "config.yaml:1: downstream_mtls.ca: illegal base64 data at input byte 0 (`base64 -w0 FILE`, or the path as `ca_file`)",
            ],
        ),
        (
            "downstream_mtls: {enforcement: reject_connection}",
            &["config.yaml:1: downstream_mtls: no client CA is configured (set \
                 downstream_mtls.ca_file, or remove the section)"],
        ),
        (
            "downstream_mtls: {max_verify_depth: 2}",
            &["config.yaml:1: downstream_mtls: no client CA is configured (set \
                 downstream_mtls.ca_file, or remove the section)"],
        ),
        (
            "downstream_mtls: {ca_fle: '@ca.pem'}",
            &[
                "config.yaml:1: downstream_mtls.ca_fle: is not a known key (`ca_file`?)",
                "config.yaml:1: downstream_mtls: no client CA is configured (set \
                 downstream_mtls.ca_file, or remove the section)",
            ],
        ),
        (
            "downstream_mlts: {ca_file: '@ca.pem'}",
            &["config.yaml:1: downstream_mlts: is not a known key (`downstream_mtls`?)"],
        ),
        (
            "client_ca_fle: '@ca.pem'",
            &["config.yaml:1: client_ca_fle: is not a known key (`client_ca_file`?)"],
        ),
        (
            "downstream_mtls: {ca_file: '@ca.pem', enforcment: reject_connection}",
            &["config.yaml:1: downstream_mtls.enforcment: is not a known key (`enforcement`?)"],
        ),
        (
            "downstream_mtls: {ca_file: '@ca.pem', enforcement: none}",
            &["config.yaml:1: downstream_mtls.enforcement: `none` is not an allowed value (one \
                 of reject_connection, policy_with_default_deny, policy)"],
        ),
        (
            "downstream_mtls: {ca_file: '@ca.pem', enforcement: reject_connection, max_verify_depth: -1}",
            &[
                "config.yaml:1: downstream_mtls.max_verify_depth: expected a whole number, in range and not negative, found a number",
            ],
        ),
        (
            "client_ca_file: '@ca.pem'\ndownstream_mtls: {ca_file: '@ca.pem', enforcement: reject_connection}",
            &[
                "config.yaml:1: client_ca_file: cannot set both client_ca_file and downstream_mtls.ca_file",
            ],
        ),
        (
            "client_ca_file: '@ca.pem'\ninsecure_server: true",
            &[
                "config.yaml:2: insecure_server: plain HTTP cannot ask for client certificates (remove insecure_server, or the client CA)",
            ],
        ),
        (
            "insecure_server: true\nroutes:\n- {from: https://a, to: http://b, tls_downstream_client_ca_file: '@ca.pem'}",
            &[
                "config.yaml:1: insecure_server: plain HTTP cannot ask for client certificates (remove insecure_server, or the client CA)",
            ],
        ),
        (
            "client_ca_file: '@ca.pem'\nportcullis: {client_certificates: {ask: never}}",
            &["config.yaml:2: portcullis.client_certificates.ask: `never` is not an allowed \
                 value (one of needed, everywhere)"],
        ),
        (
            "client_ca_file: '@ca.pem'\nportcullis: {client_certificate_identity: cn}",
            &["config.yaml:2: portcullis.client_certificate_identity: `cn` is not an allowed \
                 value (one of email, uri)"],
        ),
    ]);
    let both = format!("downstream_mtls: {{ca_file: '@ca.pem', ca: {}}}", base64_of("ca.pem"));
    assert_eq!(
        errors(&both),
        ["config.yaml:1: downstream_mtls.ca: cannot set both ca and ca_file"]
    );
}

#[test]
fn an_unparsable_client_ca_is_refused() {
    for name in ["server-key.pem", "config.yaml"] {
        let errors = errors(&format!("downstream_mtls: {{ca_file: '@{name}'}}"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        let expected = format!("config.yaml:1: downstream_mtls.ca_file: {name}:");
        assert!(errors[0].starts_with(&expected), "{errors:?}");
    }
}

#[test]
fn gone_keys_say_what_took_their_place() {
    assert_errors(&[
        (
            "policy_file: x",
            &[
                "config.yaml:1: policy_file: is no longer supported (write the routes under `routes`)",
            ],
        ),
        (
            "idp_service_account: x",
            &[
                "config.yaml:1: idp_service_account: is no longer supported (Pomerium removed directory sync in 0.17)",
            ],
        ),
        (
            "tracing_provider: x",
            &["config.yaml:1: tracing_provider: is no longer supported (use the OTLP variables)"],
        ),
    ]);
    assert_route_errors(&[(
        "to: http://b\nallowed_groups: [x]",
        &[
            "config.yaml:5: routes[0].allowed_groups: is no longer supported (groups are named in `policy` since Pomerium 0.17)",
        ],
    )]);
}

#[test]
fn unknown_keys_are_warnings_and_with_strict_errors() {
    let snippet = "routes: []\nadress: x\nto_the_moon: y";
    assert_eq!(
        warnings(snippet),
        [
            "config.yaml:2: adress: is not a known key, and has no effect (`address`?)",
            "config.yaml:3: to_the_moon: is not a known key, and has no effect",
        ]
    );
    assert_eq!(
        errors(&format!("{snippet}\nportcullis: {{strict: true}}")),
        [
            "config.yaml:2: adress: is not a known key (`address`?)",
            "config.yaml:3: to_the_moon: is not a known key",
        ]
    );
}

#[test]
fn our_own_section_is_checked() {
    assert_errors(&[
        (
            "portcullis: {workers: 0}",
            &["config.yaml:1: portcullis.workers: 0 is not from 1 to 1024"],
        ),
        (
            "portcullis: {header_timeout: 0s}",
            &["config.yaml:1: portcullis.header_timeout: must be longer than zero"],
        ),
        (
            "portcullis: {max_header_bytes: 1}",
            &["config.yaml:1: portcullis.max_header_bytes: 1 is not from 8192 to 16777216"],
        ),
        (
            "portcullis: {steering: {mode: sideways}}",
            &[
                "config.yaml:1: portcullis.steering.mode: `sideways` is not an allowed value (one of \
                auto, kernel, handoff, none)",
            ],
        ),
        (
            "portcullis: {steering: {max_load_percent: 100}}",
            &["config.yaml:1: portcullis.steering.max_load_percent: 100 is not from 101 to 1000"],
        ),
        (
            "portcullis: {steering: {mdoe: auto}}",
            &["config.yaml:1: portcullis.steering.mdoe: is not a known key (`mode`?)"],
        ),
        (
            "portcullis: {log_format: xml}",
            &["config.yaml:1: portcullis.log_format: `xml` is not an allowed value (one of json, \
                 text)"],
        ),
    ]);
}

#[test]
fn the_metrics_listener_is_checked() {
    assert_errors(&[
        (
            "metrics_address: ':1'\nmetrics_basic_auth: dXNlcg==",
            &[
                "config.yaml:2: metrics_basic_auth: should contain a user name and password separated by a colon",
            ],
        ),
        (
            "metrics_address: ':1'\nmetrics_client_ca_file: '@ca.pem'",
            &[
                "config.yaml:2: metrics_client_ca_file: needs a certificate to serve metrics over TLS (set metrics_certificate_file and metrics_certificate_key_file)",
            ],
        ),
        (
            "metrics_address: ':1'\nmetrics_basic_auth: ''",
            &["config.yaml:2: metrics_basic_auth: is empty (give it a value, or remove the key)"],
        ),
    ]);
}

#[test]
fn what_has_no_effect_is_said() {
    assert_route_warnings(&[
        ("to: http://b", &[]),
        (
            "to: http://b\ntls_skip_verify: true",
            &["config.yaml:5: routes[0].tls_skip_verify: has no effect: no URL in `to` is https"],
        ),
        (
            "to: https://b\ntls_skip_verify: true",
            &[
                "config.yaml:5: routes[0].tls_skip_verify: any certificate of the upstream is accepted",
            ],
        ),
        (
            "to: http://b\nprefix: /a\npath: /b",
            &["config.yaml:5: routes[0].prefix: has no effect: `path` wins"],
        ),
        (
            "to: http://b\nhost_rewrite: c\npreserve_host_header: true",
            &["config.yaml:6: routes[0].preserve_host_header: has no effect: `host_rewrite` wins"],
        ),
        (
            "to: [http://b/x/, http://c/y]",
            &[
                "config.yaml:4: routes[0].to: the path of the first URL, `/x/`, is used with all of them",
            ],
        ),
        ("to: http://b/x", &["config.yaml:4: routes[0].to: the path `/x` becomes `/xx`"]),
        (
            "to: http://b\nprefix: /a\nprefix_rewrite: /b/",
            &["config.yaml:6: routes[0].prefix_rewrite: the path `/a/x` becomes `/b//x`"],
        ),
        (
            "to: http://b\nset_request_headers: {X-T: 'Bearer ${pomerium.id_token}'}",
            &[
                "config.yaml:5: routes[0].set_request_headers.X-T: `pomerium.id_token` is empty: nobody can sign in",
            ],
        ),
        (
            "to: http://b\npass_identity_headers: true",
            &[
                "config.yaml:5: routes[0].pass_identity_headers: has no effect: no setting identifies users (set idp_provider, or portcullis.client_certificate_identity with a client CA)",
            ],
        ),
        (
            "to: http://b\ndescription: x\nlogo_url: y",
            &[
                "config.yaml: these keys have no effect here: routes[].description, routes[].logo_url",
            ],
        ),
    ]);
}

#[test]
fn a_route_without_a_policy_is_warned_of() {
    assert_eq!(
        warnings("routes:\n- from: https://a.example\n  to: http://b"),
        ["config.yaml:2: routes[0]: nobody is allowed to use this route: it has no policy (set \
          allow_public_unauthenticated_access: true to allow everybody)"]
    );
}

#[test]
fn no_route_at_all_is_warned_of() {
    assert_eq!(warnings(""), ["config.yaml: routes: there is no route: every request gets 404"]);
}

#[test]
fn secrets_are_never_shown() {
    let secret = "c2VjcmV0IHNlY3JldA";
    for snippet in [
        format!("certificate_key: '{secret}*'\ncertificate: x"),
        format!("metrics_basic_auth: '{secret}*'"),
        format!(
            "routes: [{{from: https://a, to: http://b, set_request_headers: {{X: \"{secret}\\n\"}}}}]"
        ),
    ] {
        for error in errors(&snippet) {
            assert!(!error.contains(secret), "{error}");
        }
    }
}
