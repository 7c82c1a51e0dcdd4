//! Bearer tokens.

use super::*;

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
        let route = super::super::route(&keys);
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
