//! What is said of routes: matching, actions, balancing, headers, upstream TLS.

use super::{
    super::support::{base64_of, errors, errors_of, warnings},
    assert_errors, assert_route_errors, route,
};

#[test]
fn routes_need_a_source_and_one_action() {
    assert_errors(&[
        (
            "routes: [{to: https://b}]",
            &["config.yaml:1: routes[0].from: is missing (write from: https://app.example.com)"],
        ),
        (
            "routes: [{from: a.example, to: http://b}]",
            &[
                "config.yaml:1: routes[0].from: bad source url: `a.example` has no scheme (write from: https://app.example.com)",
            ],
        ),
        (
            "routes: [{from: 'https://', to: http://b}]",
            &["config.yaml:1: routes[0].from: bad source url: it has no host"],
        ),
        (
            "routes: [{from: 'tcp+https://db.example:5432', to: 'tcp://db:5432'}]",
            &[
                "config.yaml:1: routes[0].from: tcp+https routes are not supported yet",
                "config.yaml:1: routes[0].to: tcp upstreams are not supported yet",
            ],
        ),
        (
            "routes: [{from: ssh://s, to: http://b}]",
            &["config.yaml:1: routes[0].from: ssh routes are not supported yet"],
        ),
        (
            "policy: [{from: https://a}]",
            &[
                "config.yaml:1: policy[0].to: this route needs one of `to`, `redirect`, `response` (write to: http://127.0.0.1:8080)",
            ],
        ),
    ]);
    assert_route_errors(&[
        (
            "to: http://b\nresponse: {status: 200}",
            &["config.yaml:4: routes[0].to: cannot set both to and response"],
        ),
        ("to: []", &["config.yaml:4: routes[0].to: is an empty list"]),
        (
            "redirect: {https_redirect: true, response_code: 300}",
            &[
                "config.yaml:4: routes[0].redirect.response_code: unsupported redirect response code 300 (supported values: 301, 302, 303, 307, 308)",
            ],
        ),
        (
            "redirect: {strip_query: true}",
            &["config.yaml:4: routes[0].redirect: redirects to the same URL (set a scheme, host, \
                port or path to go to)"],
        ),
        (
            "redirect: {https_redirect: true, scheme_redirect: http}",
            &[
                "config.yaml:4: routes[0].redirect.https_redirect: cannot set both https_redirect and scheme_redirect",
            ],
        ),
        (
            "redirect: {path_redirect: /a, prefix_rewrite: /b}",
            &[
                "config.yaml:4: routes[0].redirect.path_redirect: cannot set both path_redirect and prefix_rewrite",
            ],
        ),
        (
            "redirect: {host_redirect: \"a\\r\\nb\"}",
            &[
                "config.yaml:4: routes[0].redirect.host_redirect: `a\\r\\nb` is not a host (the port is port_redirect)",
            ],
        ),
        ("response: {body: x}", &["config.yaml:4: routes[0].response.status: is missing"]),
        (
            "response: {status: 101}",
            &["config.yaml:4: routes[0].response.status: 101 is not a status from 200 to 599"],
        ),
    ]);
}

#[test]
fn a_route_that_another_hides_is_told_of() {
    let told = warnings(
        "routes:\n- {from: https://A.example, to: http://b, prefix: /x}\n- {from: https://a.example., to: http://c, prefix: /x}",
    );
    let expected = "config.yaml:3: routes[1].from: is never reached: routes[0] (line 2) serves the same requests (several upstreams of one route are a list in `to`)";
    assert!(told.iter().any(|warning| warning == expected), "{told:#?}");
}

#[test]
fn balance_weights_are_all_or_none() {
    assert_route_errors(&[
        (
            "to: ['http://a,1', http://b]",
            &[
                "config.yaml:4: routes[0].to: either no weights should be provided, or all endpoints must have non-zero weight specified",
            ],
        ),
        (
            "to: ['http://a,0']",
            &["config.yaml:4: routes[0].to[0]: zero load balancing weight not permitted"],
        ),
        ("to: 'http://a,x'", &["config.yaml:4: routes[0].to: `x` is not a load balancing weight"]),
        (
            "to: [http://, http://b]",
            &["config.yaml:4: routes[0].to[0]: endpoint hostname must be specified"],
        ),
        (
            "to: [unix:///run/x, http://b]",
            &["config.yaml:4: routes[0].to: cannot mix unix and non-unix To URLs"],
        ),
        (
            "to: unix://run/x",
            &["config.yaml:4: routes[0].to: has no socket path (write unix:///run/app.sock)"],
        ),
        (
            "to: http://a\nload_balancing_policy: best",
            &["config.yaml:5: routes[0].load_balancing_policy: `best` is not an allowed value \
                 (one of round_robin, least_request, random, ring_hash, maglev)"],
        ),
        (
            "to: http://a\nlb_policy: random\nload_balancing_policy: maglev",
            &[
                "config.yaml:5: routes[0].lb_policy: cannot set both lb_policy and load_balancing_policy",
            ],
        ),
    ]);
}

#[test]
fn expressions_are_compiled_at_load() {
    assert_route_errors(&[
        (
            "to: http://b\nregex: '['",
            &[
                "config.yaml:5: routes[0].regex: couldn't parse pattern \"[\": unclosed character class",
            ],
        ),
        (
            "to: http://b\nregex: 'a)|(b'",
            &["config.yaml:5: routes[0].regex: couldn't parse pattern \"a)|(b\": unopened group"],
        ),
        (
            "to: http://b\nregex_rewrite_pattern: '^/(a)$'\nregex_rewrite_substitution: '\\2'",
            &[
                "config.yaml:6: routes[0].regex_rewrite_substitution: \\2 refers to a missing group; the pattern has 1",
            ],
        ),
        (
            "to: http://b\nprefix: x",
            &[
                "config.yaml:5: routes[0].prefix: `x` matches no path (paths begin with / and are matched without their query)",
            ],
        ),
        (
            "to: http://b\npath: /x?y",
            &[
                "config.yaml:5: routes[0].path: `/x?y` matches no path (paths begin with / and are matched without their query)",
            ],
        ),
        (
            "to: http://b\nprefix_rewrite: /x\nregex_rewrite_pattern: /y",
            &[
                "config.yaml:6: routes[0].regex_rewrite_pattern: only prefix_rewrite or regex_rewrite_pattern can be specified, but not both",
            ],
        ),
        (
            "to: http://b\nregex_rewrite_pattern: ^/(.*)$\nregex_rewrite_substitution: '/a b\\1'",
            &[
                "config.yaml:6: routes[0].regex_rewrite_substitution: contains a character that a path cannot have",
            ],
        ),
        (
            "to: http://b\nprefix_rewrite: x",
            &["config.yaml:5: routes[0].prefix_rewrite: `x` is not a path (it must begin with / \
                 and contain no ? or #)"],
        ),
    ]);
}

#[test]
fn header_rules_cannot_change_framing() {
    assert_route_errors(&[
        (
            "to: http://b\nset_request_headers: {Host: x}",
            &[
                "config.yaml:5: routes[0].set_request_headers.Host: the header `Host` cannot be changed (host_rewrite changes the Host)",
            ],
        ),
        (
            "to: http://b\nset_request_headers: {Transfer-Encoding: chunked}",
            &[
                "config.yaml:5: routes[0].set_request_headers.Transfer-Encoding: the header `Transfer-Encoding` cannot be changed",
            ],
        ),
        (
            "to: http://b\nset_request_headers: {':path': /}",
            &[
                "config.yaml:5: routes[0].set_request_headers.:path: `:path` is a pseudo-header, which cannot be changed",
            ],
        ),
        (
            "to: http://b\nset_request_headers: {X-A: \"a\\r\\nX-B: c\"}",
            &[
                "config.yaml:5: routes[0].set_request_headers.X-A: contains characters that a header value cannot have",
            ],
        ),
        (
            "to: http://b\nremove_request_headers: [Content-Length]",
            &[
                "config.yaml:5: routes[0].remove_request_headers: the header `Content-Length` cannot be changed",
            ],
        ),
        (
            "to: http://b\nset_response_headers: {'a b': x}",
            &["config.yaml:5: routes[0].set_response_headers.a b: `a b` is not a header name"],
        ),
        (
            "to: http://b\nrewrite_response_headers: [{header: Location}]",
            &["config.yaml:5: routes[0].rewrite_response_headers[0].prefix: is missing"],
        ),
        (
            "to: http://b\nhost_rewrite: \"a b\"",
            &["config.yaml:5: routes[0].host_rewrite: `a b` is not a host"],
        ),
    ]);
    assert_errors(&[(
        "jwt_claims_headers: {'a b': email}",
        &["config.yaml:1: jwt_claims_headers.a b: has invalid header name \"a b\""],
    )]);
}

#[test]
fn upstream_tls_fails_closed() {
    assert_route_errors(&[
        (
            "to: https://b\ntls_custom_ca_fle: '@ca.pem'",
            &[
                "config.yaml:5: routes[0].tls_custom_ca_fle: is not a known key (`tls_custom_ca_file`?)",
            ],
        ),
        ("to: https://b\ntls_pins: x", &["config.yaml:5: routes[0].tls_pins: is not a known key"]),
        (
            "to: https://b\ntls_custom_ca_file: nope.pem",
            &[
                "config.yaml:5: routes[0].tls_custom_ca_file: cannot read nope.pem: no such file or directory (a relative path starts in the working directory, HERE)",
            ],
        ),
        (
            "to: https://b\ntls_custom_ca_file: ''",
            &[
                "config.yaml:5: routes[0].tls_custom_ca_file: is empty (give it a value, or remove the key)",
            ],
        ),
        (
            "to: https://b\ntls_client_cert_file: '@client.pem'",
            &["config.yaml:2: routes[0].tls_client_key_file: is missing, but \
                 `tls_client_cert_file` is set"],
        ),
        (
            "to: https://b\ntls_server_name: 'a b'",
            &["config.yaml:5: routes[0].tls_server_name: `a b` cannot be the name in a \
                 certificate"],
        ),
        (
            "to: https+unix:///run/x",
            &[
                "config.yaml:4: routes[0].to: a unix socket has no name to verify the certificate against (set tls_upstream_server_name)",
            ],
        ),
        (
            "to: https://b\ntls_downstream_client_ca_file: '@server-key.pem'",
            &[
                "config.yaml:5: routes[0].tls_downstream_client_ca_file: server-key.pem: no certificate found",
            ],
        ),
        (
            "to: https://b\ntls_downstream_client_ca_file: '@ca.pem'\ntls_downstream_client_ca: eA==",
            &[
                "config.yaml:6: routes[0].tls_downstream_client_ca: cannot set both tls_downstream_client_ca and tls_downstream_client_ca_file",
            ],
        ),
        (
            "to: https://b\ntls_downstream_client_ca_file: ''",
            &[
                "config.yaml:5: routes[0].tls_downstream_client_ca_file: is empty (give it a value, or remove the key)",
            ],
        ),
    ]);
    let both = route(&format!(
        "to: https://b\ntls_custom_ca_file: '@ca.pem'\ntls_custom_ca: {}",
        base64_of("ca.pem")
    ));
    assert_eq!(
        errors(&both),
        [
            "config.yaml:6: routes[0].tls_custom_ca: cannot set both tls_custom_ca and tls_custom_ca_file"
        ]
    );
}

#[test]
fn missing_system_roots_are_one_error_and_only_if_needed() {
    let yaml = super::super::support::with_certificate(
        "routes:\n- {from: https://a, to: https://x}\n- {from: https://b, to: https://y}\n",
    );
    let errors = errors_of(&yaml, &[("SSL_CERT_FILE", "/nonexistent")]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(
        "config.yaml:2: routes[0].to: no trusted roots for upstream \
            certificates:"
    ));
    assert!(errors[0].ends_with(
        "(install ca-certificates, or set tls_custom_ca_file or certificate_authority_file)"
    ));
    let yaml = super::super::support::with_certificate(
        "routes:\n- {from: https://a, to: http://x}\n- {from: https://b, to: https://y, \
         tls_custom_ca_file: '@ca.pem'}\n- {from: https://c, to: https://z, tls_skip_verify: true}\n",
    );
    super::super::support::config_of(&yaml, &[("SSL_CERT_FILE", "/nonexistent")]);
}
