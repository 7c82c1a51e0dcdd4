//! Sign-in and identity: what is wrong with a configuration, and what it does not do.

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
fn sign_in_needs_a_host_of_ours() {
    let of = |line: &str| format!("{line}\nidp_provider: google\nidp_client_id: c");
    let key = "authenticate_service_url";
    let hint = "(write https://authenticate.example.com)";
    for (line, expected) in [
        (
            "x: y",
            format!(
                "config.yaml: {key}: is missing, and is required with `idp_provider`: sign-in is \
             served here {hint}"
            ),
        ),
        (
            "authenticate_service_url: ''",
            format!(
                "config.yaml:1: {key}: is missing, and is required with `idp_provider`: sign-in is \
             served here {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://authenticate.pomerium.app",
            format!(
                "config.yaml:1: {key}: `authenticate.pomerium.app` is Pomerium's hosted service, \
             which serves only Pomerium; sign-in is served here (give it a name of yours)"
            ),
        ),
        (
            "authenticate_service_url: http://a.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: its scheme must be https {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://a.example/x",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: it must not have a path {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://a.example?x",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: a query or a fragment is not \
             allowed here {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://*.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: it must name one host {hint}"
            ),
        ),
        (
            "authenticate_service_url: a.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: `a.example` has no scheme {hint}"
            ),
        ),
    ] {
        assert_eq!(errors(&of(line)), [expected], "{line}");
    }
    assert_keys_refused(&[(
        "authenticate_callback_path: /callback",
        "config.yaml:5: authenticate_callback_path: only /oauth2/callback is supported (remove \
         the key)",
    )]);
}

#[test]
fn a_host_without_a_certificate_is_warned_of() {
    let at = |host: &str| {
        let yaml = signing_in(&format!("shared_secret: {SECRET}\nroutes: []"));
        warnings(&yaml.replace("authenticate.localhost.pomerium.io", host))
    };
    assert!(at("x.localhost.pomerium.io:8443").is_empty());
    for host in ["a.x.localhost.pomerium.io", "localhost.pomerium.io", "xlocalhost.pomerium.io"] {
        assert_eq!(
            at(host),
            [format!(
                "config.yaml:1: authenticate_service_url: no server certificate is for `{host}`: \
                 browsers will refuse it (add one to `certificates`)"
            )]
        );
    }
    let yaml = signing_in(&format!("shared_secret: {SECRET}\nroutes: []\ninsecure_server: true"));
    let dir = Dir::new();
    let loaded = dir.load(&yaml, &[]).unwrap();
    let shown: Vec<String> = loaded.warnings.iter().map(|it| dir.shown(it)).collect();
    assert_eq!(
        shown,
        [
            "config.yaml:1: authenticate_service_url: is served over plain HTTP (insecure_server): a \
          proxy in front must terminate TLS for it"
        ]
    );
}

#[test]
fn only_providers_of_openid_connect_are_taken() {
    let known = "oidc, google, azure, okta, auth0, onelogin, ping, cognito, gitlab";
    let of = |provider: &str| {
        signing_in("").replace("idp_provider: oidc", &format!("idp_provider: {provider}"))
    };
    assert_eq!(
        errors(&of("keycloak")),
        [format!(
            "config.yaml:2: idp_provider: `keycloak` is not a known provider (one of {known})"
        )]
    );
    for provider in ["apple", "github"] {
        assert_eq!(
            errors(&of(provider)),
            [format!(
                "config.yaml:2: idp_provider: `{provider}` does not speak OpenID Connect and is \
                 not supported (use an OpenID Connect provider)"
            )]
        );
    }
    assert_eq!(
        warnings(&format!("{}\nroutes: []", of("hosted"))),
        [format!(
            "config.yaml:2: idp_provider: has no effect: Pomerium's hosted service serves only \
             Pomerium, so nobody can sign in (one of {known})"
        )]
    );
}

#[test]
fn a_provider_has_a_url_and_a_client() {
    let authenticate = "authenticate_service_url: https://authenticate.localhost.pomerium.io\n";
    for provider in ["oidc", "okta", "auth0", "azure", "ping", "cognito"] {
        assert_eq!(
            errors(&format!("{authenticate}idp_client_id: c\nidp_provider: {provider}")),
            ["config.yaml: idp_provider_url: is missing, and this provider has no default (the \
              issuer, such as https://idp.example.com)"],
            "{provider}"
        );
    }
    assert_eq!(
        errors(&format!("{authenticate}idp_provider: google")),
        ["config.yaml: idp_client_id: is missing (the id that the provider gave when the client \
          was registered)"]
    );
    for (url, problem) in [
        ("http://idp.example", "`http` is supported on loopback only"),
        ("http://10.0.0.1", "`http` is supported on loopback only"),
        ("http://localhost.evil", "`http` is supported on loopback only"),
        ("http://127.0.0.1.evil", "`http` is supported on loopback only"),
        ("\"http://localhost\\x40evil.example\"", "a user name or password is not allowed here"),
        ("https://idp.example?x", "a query or a fragment is not allowed here"),
        ("ftp://idp.example", "its scheme must be https"),
        ("https://", "it names no host"),
        ("https://*.example", "it names no host"),
        ("idp.example", "`idp.example` has no scheme"),
    ] {
        let yaml = signing_in("").replace("https://idp.example", url);
        assert_eq!(
            errors(&yaml),
            [format!("config.yaml:3: idp_provider_url: {problem} (write https://idp.example.com)")],
            "{url}"
        );
    }
    for url in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "http://127.9.9.9"] {
        let yaml = signing_in(&format!("shared_secret: {SECRET}\nroutes: []"));
        assert!(warnings(&yaml.replace("https://idp.example", url)).is_empty(), "{url}");
    }
}

#[test]
fn requests_to_the_provider_keep_their_own_parameters() {
    let message = "is a parameter of the flow itself and cannot be set";
    for name in [
        "client_id",
        "response_type",
        "response_mode",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
        "STATE",
    ] {
        assert_eq!(
            errors(&signing_in(&format!("idp_request_params: {{{name}: x, prompt: none}}"))),
            [format!("config.yaml:5: idp_request_params.{name}: {message}")]
        );
    }
    let hint = "(write a list, or separate scopes by commas)";
    for scope in ["openid email", "a\\\"b", "é"] {
        let shown = scope.replace('\\', "");
        let shown = shown.escape_debug();
        assert_eq!(
            errors(&signing_in(&format!("idp_scopes: [\"{scope}\"]"))),
            [format!("config.yaml:5: idp_scopes: `{shown}` is not a scope {hint}")]
        );
    }
}

#[test]
fn a_secret_has_32_bytes_and_is_never_shown() {
    let hint = "(`head -c32 /dev/urandom | base64` makes one)";
    for key in ["shared_secret", "cookie_secret"] {
        let what = key.replace('_', " ");
        for (value, problem) in [
            ("c2VjcmV0", "it has 6 bytes, not 32"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMQ==", "it has 34 bytes, not 32"),
            ("MTExMTExMTExMTExMTExMTEx MTExMTExMTExMTExMTE=", "it contains white space"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\\n", "it contains white space"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE", "it is not base64"),
            ("MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExM*E=", "it is not base64"),
        ] {
            assert_eq!(
                errors(&format!("{key}: \"{value}\"")),
                [format!("config.yaml:1: {key}: invalid {what}: {problem} {hint}")]
            );
        }
    }
    assert_keys_refused(&[(
        "portcullis: {sign_in: {previous_secrets: [MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=, x]}}",
        "config.yaml:5: portcullis.sign_in.previous_secrets[1]: invalid previous secret: it is \
         not base64 (`head -c32 /dev/urandom | base64` makes one)",
    )]);
}

#[test]
fn a_text_without_a_private_key_signs_nothing() {
    let hint = "(`openssl ecparam -genkey -name prime256v1 -noout` makes one)";
    for (keys, at, problem) in [
        ("signing_key: '*'", "signing_key", "is neither PEM nor base64 of PEM"),
        ("signing_key: gICA", "signing_key", "is base64, but not of PEM"),
        ("signing_key: aGVsbG8=", "signing_key", "there is no private key in PEM form"),
        (
            "signing_key_file: '@server.pem'",
            "signing_key_file",
            "found a certificate, but only private keys on EC P-256, or RSA of 2048 to 4096 bits, \
             can sign",
        ),
    ] {
        assert_eq!(errors(keys), [format!("config.yaml:1: {at}: {problem} {hint}")]);
    }
}

#[test]
fn both_forms_of_a_secret_contradict_each_other() {
    for key in ["shared_secret", "cookie_secret", "idp_client_secret", "signing_key"] {
        assert_eq!(
            errors(&format!("{key}: x\n{key}_file: '@ticket.key'")),
            [format!("config.yaml:1: {key}: cannot set both {key} and {key}_file")]
        );
        assert_eq!(
            errors(&format!("{key}: ''")),
            [format!("config.yaml:1: {key}: is empty (give it a value, or remove the key)")]
        );
        let hint = "a relative path starts in the working directory";
        assert_eq!(
            errors(&format!("{key}_file: nope")),
            [format!(
                "config.yaml:1: {key}_file: cannot read nope: no such file or directory ({hint})"
            )]
        );
        let dir = Dir::new();
        dir.write("empty", "\n");
        dir.write("binary", [0xff, 0xfe]);
        for (file, problem) in [("empty", "is empty"), ("binary", "is not UTF-8 text")] {
            let refused = dir.load(&with_certificate(&format!("{key}_file: '@{file}'")), &[]);
            let refused = refused.unwrap_err();
            let shown: Vec<String> = refused.errors().map(|error| dir.shown(error)).collect();
            assert_eq!(shown, [format!("config.yaml:1: {key}_file: {file} {problem}")]);
        }
    }
}

#[test]
fn a_random_shared_secret_is_warned_of_once() {
    let hint = "(`head -c32 /dev/urandom | base64` makes one)";
    let begin = "config.yaml: shared_secret: is not set, so each start makes a random one:";
    assert_eq!(
        warnings(&signing_in("routes: []")),
        [format!("{begin} everybody is signed out, and the derived signing key changes {hint}")]
    );
    assert_eq!(
        warnings(&signing_in(&format!("cookie_secret: {SECRET}\nroutes: []"))),
        [format!(
            "{begin} sign-ins under way begin again, and the derived signing key changes {hint}"
        )]
    );
    // A certificate's identity is signed too.
    let by_certificate = "downstream_mtls: {ca_file: '@ca.pem'}\n\
                          portcullis: {client_certificate_identity: email}\n\
                          routes:\n- from: https://a\n  to: http://b\n  \
                          allow_public_unauthenticated_access: true\n  \
                          pass_identity_headers: true\n";
    assert_eq!(warnings(by_certificate).len(), 1);
    assert!(warnings(&format!("{by_certificate}shared_secret: {SECRET}")).is_empty());
}

#[test]
fn mistakes_in_cookie_keys_are_refused() {
    assert_refused(&[
        (
            "cookie_name: 'a b'",
            "config.yaml:1: cookie_name: `a b` is not a cookie name (use letters, digits, `-` and \
             `_`)",
        ),
        (
            "cookie_name: 'a;b'",
            "config.yaml:1: cookie_name: `a;b` is not a cookie name (use letters, digits, `-` and \
             `_`)",
        ),
        (
            "cookie_name: __host-x\ncookie_domain: example.com",
            "config.yaml:1: cookie_name: a `__Host-` cookie belongs to one host (remove \
             cookie_domain, or choose another name)",
        ),
        (
            "cookie_domain: https://example.com",
            "config.yaml:1: cookie_domain: `https://example.com` is not a host name (write \
             example.com)",
        ),
        (
            "cookie_domain: 10.0.0.1",
            "config.yaml:1: cookie_domain: `10.0.0.1` is not a host name (write example.com)",
        ),
        (
            "cookie_expire: 0s",
            "config.yaml:1: cookie_expire: must be longer than zero and at most 400 days (9600h)",
        ),
        (
            "cookie_expire: 9601h",
            "config.yaml:1: cookie_expire: must be longer than zero and at most 400 days (9600h)",
        ),
        ("cookie_expire: -1h", "config.yaml:1: cookie_expire: `-1h` is negative"),
        (
            "cookie_same_site: x",
            "config.yaml:1: cookie_same_site: unknown cookie_same_site: x (one of strict, lax, none)",
        ),
        (
            "signout_redirect_url: /bye",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
        (
            "signout_redirect_url: javascript:alert(1)",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
        (
            "signout_redirect_url: \"https://a\\x40evil.example\"",
            "config.yaml:1: signout_redirect_url: is not an absolute http or https URL (write \
             https://www.example.com/bye)",
        ),
    ]);
}

#[test]
fn cookies_that_are_weaker_or_do_not_arrive_are_warned_of() {
    assert_warned(&[
        (
            "cookie_http_only: false",
            "config.yaml:5: cookie_http_only: scripts of every page can read the session cookie",
        ),
        (
            "cookie_secure: false",
            "config.yaml:5: cookie_secure: has no effect: cookies are always `Secure`",
        ),
        (
            "cookie_domain: localhost.pomerium.io",
            "config.yaml:5: cookie_domain: every host below `localhost.pomerium.io` can read the \
             session cookie",
        ),
    ]);
    assert!(quiet("cookie_secure: true\ncookie_http_only: true").is_empty());
    let keys = |domain: &str| {
        signing_in(&format!(
            "cookie_domain: {domain}\nshared_secret: {SECRET}\nroutes:\n\
             - {{from: https://public.example, to: http://b, \
             allow_public_unauthenticated_access: true}}\n\
             - {{from: https://a.localhost.pomerium.io, to: http://b, allowed_users: [a]}}\n\
             - {{from: 'https://*.example', to: http://b, allowed_users: [a]}}\n"
        ))
    };
    assert_eq!(
        warnings(&keys("localhost.pomerium.io")),
        [
            "config.yaml:5: cookie_domain: every host below `localhost.pomerium.io` can read the \
             session cookie",
            "config.yaml:5: cookie_domain: `*.example` is not below `localhost.pomerium.io`, so \
             its users sign in separately",
        ]
    );
    assert_eq!(
        warnings(&keys("com")),
        [
            "config.yaml:5: cookie_domain: browsers refuse cookies for all of `com`",
            "config.yaml:5: cookie_domain: `authenticate.localhost.pomerium.io` is not below \
             `com`, so its users sign in separately",
        ]
    );
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
            "portcullis: {sign_in: {state_file: /x}}",
            "config.yaml:5: portcullis.sign_in.state_file: is not supported yet, and ignoring it \
             would change who may do what (remove the key: after a restart, users are \
             redirected to the provider once, usually without a prompt)",
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
fn azures_common_urls_need_a_list_of_tenants() {
    let azure = |tenant: &str, keys: &str| {
        signing_in(&format!("shared_secret: {SECRET}\nroutes: []\n{keys}"))
            .replace("idp_provider: oidc", "idp_provider: azure")
            .replace("idp.example", &format!("login.microsoftonline.com/{tenant}/v2.0"))
    };
    let tenants = |tenants: &str| format!("portcullis: {{sign_in: {{tenants: {tenants}}}}}");
    for tenant in ["common", "organizations", "consumers"] {
        assert_eq!(
            errors(&azure(tenant, "")),
            ["config.yaml: portcullis.sign_in.tenants: is required with this idp_provider_url, \
              which lets in users of any tenant (list the ids of your tenants)"],
            "{tenant}"
        );
        assert_eq!(
            errors(&azure(tenant, &tenants("['']"))),
            ["config.yaml:7: portcullis.sign_in.tenants: names an empty tenant"]
        );
        assert!(warnings(&azure(tenant, &tenants("[t]"))).is_empty());
    }
    assert!(warnings(&azure("5f3a", "")).is_empty());
    assert!(warnings(&azure("5f3a", &tenants("[t]"))).is_empty());
    assert_eq!(
        quiet(&tenants("[t]")),
        ["config.yaml:5: portcullis.sign_in.tenants: refuses all users whose token has no `tid`, \
          which only Azure's have"]
    );
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
fn what_would_change_who_may_do_what_is_refused_until_it_works() {
    let message = "is not supported yet, and ignoring it would change who may do what";
    let client = "(remove the key: all routes use the global client)";
    for key in ["idp_client_id", "idp_client_secret"] {
        assert_eq!(
            errors(&super::route(&format!("to: http://b\n{key}: x"))),
            [format!("config.yaml:5: routes[0].{key}: {message} {client}")]
        );
    }
    assert!(quiet("bearer_token_format: default").is_empty());
}

const CI: &str = "identity_providers: {ci: {issuer: 'https://ci.example', audiences: [app]}}\n";

/// Warnings do not matter.
fn accepted(yaml: &str) {
    warnings(yaml);
}

#[test]
fn an_issuer_of_tokens_says_whose_and_for_whom_they_are() {
    let of = |provider: &str| errors(&format!("identity_providers: {{ci: {provider}}}"));
    let at = |key: &str, problem: &str| {
        vec![format!("config.yaml:1: identity_providers.ci.{key}: {problem}")]
    };
    accepted(CI);
    let no_audience = "names no audience: its tokens would be good for everybody's services (list \
                       the audiences that mean this proxy)";
    for provider in [
        "{issuer: 'https://a'}",
        "{issuer: 'https://a', audiences: []}",
        "{issuer: 'https://a', audiences: ['']}",
    ] {
        assert_eq!(of(provider), at("audiences", no_audience), "{provider}");
    }
    assert_eq!(of("{audiences: [app]}"), at("issuer", "is missing"));
    let hint = "(write https://idp.example.com)";
    let plain = format!("`http` is supported on loopback only {hint}");
    assert_eq!(of("{issuer: 'http://a', audiences: [b]}"), at("issuer", &plain));
    let jwks = "{issuer: 'https://a', jwks_url: 'http://b/k', audiences: [b]}";
    assert_eq!(of(jwks), at("jwks_url", &plain));
    let scheme = format!("its scheme must be https {hint}");
    assert_eq!(of("{issuer: 'kubernetes://a', audiences: [b]}"), at("issuer", &scheme));
    accepted("identity_providers: {ci: {issuer: 'http://127.0.0.1:1', audiences: [b]}}");
    let algorithms = "(RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA)";
    for algorithm in ["HS256", "none", "rs256", "ES512"] {
        assert_eq!(
            of(&format!("{{issuer: 'https://a', audiences: [b], supported_algs: [{algorithm}]}}")),
            at(
                "supported_algs",
                &format!("`{algorithm}` is not a supported algorithm {algorithms}")
            )
        );
    }
    assert_eq!(
        of("{issuer: 'https://a', audiences: [b], supported_algs: []}"),
        at("supported_algs", "names no algorithm")
    );
    assert_eq!(
        of("{issuer: 'https://a', audiences: [b], audience: c}"),
        at("audience", "is not a key of an identity provider")
    );
    assert_eq!(
        errors("identity_providers: {a/b: {issuer: 'https://a', audiences: [b]}}"),
        ["config.yaml:1: identity_providers.a/b: the name `a/b` is empty or has a slash"]
    );
    let twice = "identity_providers: {a: {issuer: 'https://a', audiences: [b]}, \
                 b: {issuer: 'https://a', audiences: [c]}}";
    assert_eq!(
        errors(twice),
        ["config.yaml:1: identity_providers.b.issuer: is the issuer of `a` too"]
    );
}

#[test]
fn a_route_takes_only_tokens_that_can_be_verified() {
    let asked = |global: &str, keys: &str| {
        let keys = format!("to: http://b\nallow_any_authenticated_user: true\n{keys}");
        let route = super::route(&keys);
        let route = route.replace("\n  allow_public_unauthenticated_access: true", "");
        format!("{global}{route}")
    };
    let unknown = errors(&asked(CI, "bearer_token_format: jwt\nidentity_providers: [cd]"));
    assert_eq!(
        unknown,
        ["config.yaml:7: routes[0].identity_providers[0]: `cd` is not among the global \
          identity_providers"]
    );
    accepted(&asked(CI, "bearer_token_format: jwt\nidentity_providers: [ci]"));
    accepted(&asked(CI, "bearer_token_format: JWT"));
    assert_eq!(
        errors(&asked(CI, "identity_providers: [ci]")),
        ["config.yaml:6: routes[0].identity_providers: is only for routes with the \
          bearer_token_format `jwt`"]
    );
    assert_eq!(
        errors(&asked("", "bearer_token_format: jwt")),
        [
            "config.yaml:5: routes[0].bearer_token_format: `jwt` needs the global identity_providers \
          (name the issuers of the tokens)"
        ]
    );
    assert_eq!(
        errors(&asked("", "bearer_token_format: idp_identity_token")),
        [
            "config.yaml:5: routes[0].bearer_token_format: needs idp_provider, whose tokens they are \
          (or use `jwt` with identity_providers)"
        ]
    );
    accepted(&asked(&signing_in(""), "bearer_token_format: idp_identity_token"));
    assert_eq!(
        errors(&asked(&signing_in(""), "bearer_token_format: idp_access_token")),
        ["config.yaml:6: routes[0].idp_access_token_allowed_audiences: is required with the \
          bearer_token_format `idp_access_token` (list the audiences of your API)"]
    );
    assert_eq!(
        errors(&asked(
            &signing_in(""),
            "bearer_token_format: idp_access_token\n\
                               idp_access_token_allowed_audiences: []"
        )),
        ["config.yaml:10: routes[0].idp_access_token_allowed_audiences: names no audience"]
    );
    let audiences = "bearer_token_format: idp_access_token\n\
                     idp_access_token_allowed_audiences: [api]";
    accepted(&asked(&signing_in(""), audiences));
    let warned = warnings(&asked(&signing_in(""), &audiences.replace("api", "api, c")));
    let message = "routes[0].idp_access_token_allowed_audiences: holds idp_client_id, which is the \
                   audience of ID tokens (list the audiences of your API)";
    assert!(warned.iter().any(|it| it.ends_with(message)), "{warned:?}");
    let warned = warnings(&asked(&signing_in(""), audiences));
    assert!(!warned.iter().any(|it| it.contains("holds idp_client_id")), "{warned:?}");
    let global = signing_in("bearer_token_format: idp_access_token\n");
    assert_eq!(errors(&asked(&global, "")).len(), 1, "the global format needs audiences too");
    assert!(errors("bearer_token_format: bearer")[0].contains("`bearer` is not an allowed value"));
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
fn the_hosts_of_programs_are_hosts() {
    assert!(quiet("programmatic_redirect_domain_whitelist: []").is_empty());
    assert!(quiet("programmatic_redirect_domain_whitelist: localhost, tools.example").is_empty());
    let message = "is not a host (write localhost or tools.example.com)";
    let key = "programmatic_redirect_domain_whitelist";
    for bad in ["https://a.example", "a.example:8443", "*.example", "a/b"] {
        let keys = format!("{key}: [localhost, '{bad}']");
        let expected = format!("config.yaml:5: {key}[1]: `{bad}` {message}");
        assert_eq!(errors(&signing_in(&keys)), [expected], "{bad}");
    }
}

/// A route at line 6 that depends on these hosts, and one at `other.example`.
fn depending(hosts: &str) -> String {
    signing_in(&format!(
        "shared_secret: {SECRET}\nroutes:\n\
         - {{from: https://other.example, to: http://b, allowed_users: [a]}}\n\
         - {{from: https://*.wild.example, to: http://b, allowed_users: [a]}}\n\
         - from: https://a.example\n  to: http://b\n  allowed_users: [a]\n  depends_on: {hosts}"
    ))
}

#[test]
fn a_route_depends_on_hosts_that_have_a_route() {
    for good in [
        "[other.example]",
        "other.example",
        "[Other.Example., 'https://other.example:8443/x', b.wild.example]",
        "[]",
    ] {
        assert!(warnings(&depending(good)).is_empty(), "{good}");
    }
    let at = "config.yaml:12: routes[2].depends_on";
    for (hosts, expected) in [
        (
            "[other.example, gone.example]",
            format!("{at}[1]: no route is for `gone.example` (add a route, or remove the host)"),
        ),
        (
            "[other.example/x]",
            format!("{at}[0]: bad host: a host has no path (write other.example.com)"),
        ),
        (
            "['*.wild.example']",
            format!("{at}[0]: bad host: it must name one host (write other.example.com)"),
        ),
        (
            "['ftp://other.example']",
            format!("{at}[0]: bad host: its scheme must be https (write other.example.com)"),
        ),
        (
            "[a.wild.example, b.wild.example, c.wild.example, d.wild.example, e.wild.example, \
             f.wild.example]",
            format!("{at}: is limited to 5 hosts, and names 6"),
        ),
    ] {
        assert_eq!(errors(&depending(hosts)), [expected], "{hosts}");
    }
}

#[test]
fn a_mistake_in_a_route_is_not_told_of_its_host_as_well() {
    let broken = depending("[other.example]").replace(
        "to: http://b, allowed_users: [a]}\n- {from: https://*",
        "allowed_users: [a]}\n- {from: https://*",
    );
    let found = errors(&broken);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("routes[0].to"), "{found:?}");
}

#[test]
fn hosts_that_a_route_depends_on_in_vain_are_told() {
    let at = "routes[2].depends_on";
    let own = warnings(&depending("[a.example]"));
    assert_eq!(
        own,
        [format!("config.yaml:12: {at}[0]: has no effect: it is the route's own host")]
    );
    let public = depending("[other.example]").replace(
        "to: http://b\n  allowed_users: [a]",
        "to: http://b\n  allow_public_unauthenticated_access: true",
    );
    let message = "has no effect: nobody needs to sign in for this route";
    assert_eq!(warnings(&public), [format!("config.yaml:12: {at}: {message}")]);
    let nobody = super::route("to: http://b\ndepends_on: [a.example]");
    let message = "has no effect: nobody can sign in, because no identity provider is configured \
                   (set idp_provider)";
    assert!(warnings(&nobody).contains(&format!("config.yaml:5: routes[0].depends_on: {message}")));
}

#[test]
fn the_issuer_has_one_of_two_forms() {
    assert_refused(&[(
        "jwt_issuer_format: url",
        "config.yaml:1: jwt_issuer_format: `url` is not an allowed value (one of hostOnly, uri)",
    )]);
}

#[test]
fn a_providers_token_in_a_header_is_refused_where_people_sign_in() {
    let route = "routes:\n- from: https://a.example\n  to: http://b\n  allowed_users: [a]\n  \
                 set_request_headers: {X-T: '${pomerium.access_token}'}";
    assert_eq!(
        errors(&signing_in(route)),
        ["config.yaml:9: routes[0].set_request_headers.X-T: `pomerium.access_token` is not \
          supported yet (`pomerium.jwt` is an assertion that upstreams can verify)"]
    );
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
