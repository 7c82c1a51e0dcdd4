//! The identity provider.

use super::*;

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
