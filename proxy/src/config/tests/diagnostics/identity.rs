//! Sign-in and identity: what is wrong with a configuration, and what it does not do.

mod clients;
mod cookies;
mod hosts;
mod provider;
mod secrets;
mod tokens;

use super::super::support::{Dir, errors, warnings, with_certificate};

const SECRET: &str = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=";

/// Four lines with which people can sign in; further keys follow in line 5.
fn signing_in(keys: &str) -> String {
    format!(
        "authenticate_service_url: https://authenticate.localhost.pomerium.io\n\
         idp_provider: oidc\nidp_provider_url: https://idp.example\n\
         idp_client_id: c\n{keys}"
    )
}

/// The same with a shared secret, and no route to be warned of.
fn quiet(keys: &str) -> Vec<String> {
    warnings(&signing_in(&format!("{keys}\nshared_secret: {SECRET}\nroutes: []")))
}

fn assert_refused(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        assert_eq!(errors(keys), [*expected], "{keys}");
    }
}

fn assert_keys_refused(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        assert_eq!(errors(&signing_in(keys)), [*expected], "{keys}");
    }
}

fn assert_warned(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        assert_eq!(quiet(keys), [*expected], "{keys}");
    }
}

#[test]
fn a_configuration_with_its_secret_causes_no_warning() {
    assert!(quiet("").is_empty(), "{:?}", quiet(""));
}

#[test]
fn mistakes_in_the_own_section_are_refused() {
    assert_keys_refused(&[
        (
            "portcullis: {sign_in: {recheck: 0s}}",
            "config.yaml:5: portcullis.sign_in.recheck: must be at least one second (1m or longer)",
        ),
        (
            "portcullis: {sign_in: {recheck: 999ms}}",
            "config.yaml:5: portcullis.sign_in.recheck: must be at least one second (1m or longer)",
        ),
        (
            "portcullis: {sign_in: {without_refresh_token: never}}",
            "config.yaml:5: portcullis.sign_in.without_refresh_token: `never` is not an allowed \
             value (one of access_token, cookie_expire)",
        ),
        (
            "portcullis: {sign_in: {unverified_email: perhaps}}",
            "config.yaml:5: portcullis.sign_in.unverified_email: `perhaps` is not an allowed \
             value (one of ignore, accept)",
        ),
        (
            "portcullis: {sign_in: {rechek: 1m}}",
            "config.yaml:5: portcullis.sign_in.rechek: is not a known key (`recheck`?)",
        ),
    ]);
    assert_warned(&[(
        "portcullis: {sign_in: {recheck: 1s}}",
        "config.yaml:5: portcullis.sign_in.recheck: is below one minute: the provider is asked \
         often, which is for tests",
    )]);
}

#[test]
fn a_state_file_is_of_no_use_without_a_secret() {
    let file = "routes: []\nportcullis: {sign_in: {state_file: /x}}";
    let of_file = |secret: &str| {
        let found = warnings(&signing_in(&format!("{secret}\n{file}")));
        found.into_iter().filter(|warning| warning.contains("state_file")).collect::<Vec<_>>()
    };
    let [warning] = &*of_file("") else { panic!() };
    assert!(warning.contains("is of no use") && warning.contains("cookie_secret"), "{warning}");
    for secret in ["shared_secret", "cookie_secret"] {
        assert!(of_file(&format!("{secret}: {SECRET}")).is_empty(), "{secret}");
    }
}

#[test]
fn claims_do_not_travel_in_headers_of_others() {
    for name in [
        "Host",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Cookie",
        "Authorization",
        "Proxy-Authorization",
        "Proxy-Connection",
        "X-Pomerium-Jwt-Assertion",
    ] {
        let shown = name.to_lowercase();
        assert_eq!(
            errors(&format!("jwt_claims_headers: {{{name}: email}}")),
            [format!(
                "config.yaml:1: jwt_claims_headers.{name}: the header `{shown}` cannot carry a claim"
            )]
        );
    }
    assert_refused(&[
        ("jwt_claims_headers: {X-A: ''}", "config.yaml:1: jwt_claims_headers.X-A: names no claim"),
        (
            "jwt_claims_headers: {X-A: a, x-a: b}",
            "config.yaml:1: jwt_claims_headers.x-a: the header `x-a` is given twice",
        ),
        (
            "jwt_claims_headers:\n- email\n- 'https://a/b'",
            "config.yaml:3: jwt_claims_headers[1]: has invalid header name \
             \"x-pomerium-claim-https://a/b\"",
        ),
    ]);
}

#[test]
fn what_waits_for_the_second_part_is_said_aloud() {
    assert_warned(&[
        (
            "jwt_groups_filter: {groups: [x]}",
            "config.yaml:5: jwt_groups_filter: has no effect: assertions and claim headers name \
             all groups of the user",
        ),
        (
            "runtime_flags: {mcp: true, routes_portal: false}",
            "config.yaml:5: runtime_flags.mcp: has no effect",
        ),
    ]);
}

#[test]
fn the_issuer_has_one_of_two_forms() {
    assert_refused(&[(
        "jwt_issuer_format: url",
        "config.yaml:1: jwt_issuer_format: `url` is not an allowed value (one of hostOnly, uri)",
    )]);
}

#[test]
fn keys_of_sign_in_without_a_provider_share_one_warning() {
    let expected = |place: &str| {
        vec![format!(
            "{place}: has no effect: nobody can sign in, because no identity provider is \
             configured (set idp_provider, idp_client_id and authenticate_service_url)"
        )]
    };
    let keys = "cookie_expire: 1h\nidp_client_id: c\nroutes: []";
    assert_eq!(warnings(keys), expected("config.yaml:2: idp_client_id"));
    let own = "portcullis: {sign_in: {claims: [a]}}\nroutes: []";
    assert_eq!(warnings(own), expected("config.yaml:1: portcullis.sign_in"));
    assert!(warnings(&format!("shared_secret: {SECRET}\nroutes: []")).is_empty());
}

#[test]
fn with_a_provider_a_policy_about_users_causes_no_warning() {
    let route = "routes:\n- {from: https://a.example, to: http://b, allowed_domains: [x.example], \
                 pass_identity_headers: true, set_request_headers: {X-T: '${pomerium.jwt}'}}";
    assert!(warnings(&signing_in(&format!("shared_secret: {SECRET}\n{route}"))).is_empty());
}
