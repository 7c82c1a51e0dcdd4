//! Bearer tokens of machines: signed tokens in `Authorization` that say who a request is from.

use portcullis_tests::{
    Backend, BadProvider, CurlBrowser, OidcProvider, Proxy,
    bad_provider::{BadAnswer, BadSignature, BadToken},
    curl::{Curl, Fetched},
    proxy::Config,
};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const API: &str = "https://api.example";

/// A proxy with the issuer `ci`, a route for its tokens, and one that anybody may use.
fn config(issuer: &str, backend: &Backend, policy: &str) -> Config {
    let providers = format!("identity_providers: {{ci: {{issuer: '{issuer}', audiences: [app]}}}}");
    Proxy::config()
        .global(&providers)
        .global("jwt_claims_headers: {x-who: user, x-email: email}")
        .route_as_is(&format!(
            "from: https://api.localhost.pomerium.io\nto: {}\npass_identity_headers: true\n\
             bearer_token_format: jwt\n{policy}",
            backend.url()
        ))
        .forward("public", &backend.url(), "")
}

const ANYBODY: &str = "allow_any_authenticated_user: true";

fn with_token(proxy: &Proxy, host: &str, token: &str) -> Fetched {
    let line = format!("Authorization: Bearer {token}");
    proxy.curl(host, "/").header("Accept: application/json").long_header(&line).ok()
}

fn is_invalid(fetched: &Fetched) -> bool {
    fetched.status == 401
        && fetched.header("www-authenticate") == Some("Bearer error=\"invalid_token\"")
        && fetched.header("cache-control") == Some("no-store")
        && fetched.json()["error"] == "Unauthenticated"
}

#[test]
fn a_machine_s_token_names_the_user_and_goes_no_further() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let proxy = config(&issuer.url(), &backend, ANYBODY).start();
    let token = issuer.token(&json!({"sub": "job"}));
    for _ in 0..3 {
        let fetched = with_token(&proxy, "api", &token);
        assert_eq!(fetched.status, 200, "{fetched:?}");
        let seen = fetched.echoed();
        assert_eq!(seen.header("x-who").as_deref(), Some("ci/job"));
        assert_eq!(seen.header("authorization"), None, "the token is a credential for us");
        assert!(seen.header("x-pomerium-jwt-assertion").is_some());
    }
    assert_eq!(issuer.seen("/jwks").len(), 1);
    let public = with_token(&proxy, "public", &token).echoed();
    assert_eq!(public.header("authorization").as_deref(), Some(&*format!("Bearer {token}")));
    let nobody = proxy.curl("api", "/").ok();
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    let text = proxy.output().join("\n");
    assert!(!text.contains(&token) && !text.contains(token.rsplit('.').next().unwrap()));
}

#[test]
fn a_token_that_breaks_a_rule_is_refused_whatever_the_policy_says() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let public = "allow_public_unauthenticated_access: true";
    let proxy = config(&issuer.url(), &backend, public).start();
    assert_eq!(proxy.curl("api", "/").ok().status, 200);
    assert_eq!(with_token(&proxy, "api", &issuer.token(&json!({}))).status, 200);
    for change in [
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"iss": "https://other.example"}),
        json!({"exp": null}),
        json!({"exp": 1_700_000_000}),
        json!({"exp": "4000000000"}),
        json!({"iat": null}),
        json!({"nbf": 4_000_000_000_u64}),
        json!({"sub": ""}),
    ] {
        let refused = with_token(&proxy, "api", &issuer.token(&change));
        assert!(is_invalid(&refused), "{change}: {refused:?}");
    }
    for (signature, header) in [
        (BadSignature::OtherKey, json!({})),
        (BadSignature::Zeros, json!({})),
        (BadSignature::Absent, json!({"alg": "none"})),
        (BadSignature::Hmac(b"secret".to_vec()), json!({"alg": "HS256"})),
        (BadSignature::Right, json!({"crit": ["x"]})),
    ] {
        issuer.set_token(BadToken { header, signature: signature.clone(), ..BadToken::default() });
        let refused = with_token(&proxy, "api", &issuer.token(&json!({})));
        assert!(is_invalid(&refused), "{signature:?}: {refused:?}");
    }
    for token in ["opaque", "a.b.c", "Pomerium-x"] {
        assert!(is_invalid(&with_token(&proxy, "api", token)), "{token}");
    }
}

#[test]
fn policies_see_the_claims_of_a_token() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let policy = "policy:\n- allow:\n    and:\n    - email: {is: ann@example.com}\n    \
                  - claim/ref: main";
    let proxy = config(&issuer.url(), &backend, policy).start();
    let status = |change: Value| with_token(&proxy, "api", &issuer.token(&change)).status;
    assert_eq!(status(json!({"ref": "main"})), 200);
    assert_eq!(status(json!({"ref": "other"})), 403);
    assert_eq!(status(json!({"ref": "main", "email_verified": false})), 403);
    assert_eq!(status(json!({"ref": "main", "email": "bob@example.com"})), 403);
}

#[test]
fn an_issuer_that_is_away_gives_503_and_harms_no_other_route() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let proxy = config(&issuer.url(), &backend, ANYBODY).start();
    issuer.answer("/jwks", BadAnswer::Json(500, json!({})));
    let away = with_token(&proxy, "api", &issuer.token(&json!({})));
    assert_eq!(away.status, 503, "{away:?}");
    assert!(away.header("retry-after").is_some());
    assert_eq!(proxy.curl("public", "/").ok().status, 200);
}

#[test]
fn tokens_of_unknown_keys_make_one_fetch() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let proxy = config(&issuer.url(), &backend, ANYBODY).start();
    assert_eq!(with_token(&proxy, "api", &issuer.token(&json!({}))).status, 200);
    issuer.set_token(BadToken { header: json!({"kid": "new"}), ..BadToken::default() });
    for _ in 0..10 {
        assert!(is_invalid(&with_token(&proxy, "api", &issuer.token(&json!({})))));
    }
    assert_eq!(issuer.seen("/jwks").len(), 2);
}

#[test]
fn a_token_remembered_at_one_route_counts_at_no_other() {
    let (issuer, backend) = (BadProvider::start(), Backend::echo());
    let other = BadProvider::start();
    let (to, first, second) = (backend.url(), issuer.url(), other.url());
    let route = |host: &str, names: &str| {
        format!(
            "from: https://{host}.localhost.pomerium.io\nto: {to}\n{ANYBODY}\n\
             bearer_token_format: jwt\nidentity_providers: [{names}]"
        )
    };
    let proxy = Proxy::config()
        .global(&format!(
            "identity_providers:\n  ci: {{issuer: '{first}', audiences: [app]}}\n  \
             cd: {{issuer: '{second}', audiences: [app]}}"
        ))
        .route_as_is(&route("api", "ci"))
        .route_as_is(&route("other", "cd"))
        .route_as_is(&route("both", "ci, cd"))
        .start();
    let token = issuer.token(&json!({}));
    for _ in 0..3 {
        assert_eq!(with_token(&proxy, "api", &token).status, 200);
        assert!(is_invalid(&with_token(&proxy, "other", &token)));
        assert_eq!(with_token(&proxy, "both", &token).status, 200);
    }
    assert!(is_invalid(&with_token(&proxy, "api", &other.token(&json!({})))));
}

/// Routes for tokens of the identity provider, where people sign in too.
fn with_people(provider: &OidcProvider, backend: &Backend) -> Config {
    let to = backend.url();
    let api = |host: &str, more: &str| {
        let from = format!("from: https://{host}.localhost.pomerium.io\nto: {to}");
        format!("{from}\npass_identity_headers: true\n{ANYBODY}\n{more}")
    };
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global("idp_provider: oidc\nidp_client_id: c-ES256\nidp_client_secret: secret")
        .global(&format!("idp_provider_url: {}", provider.url()))
        .global(&format!(
            "identity_providers: {{machines: {{issuer: '{}', audiences: ['{API}']}}}}",
            provider.url()
        ))
        .global("jwt_claims_headers: {x-who: user}")
        .route_as_is(&api(
            "access",
            &format!(
                "bearer_token_format: idp_access_token\n\
                 idp_access_token_allowed_audiences: ['{API}']"
            ),
        ))
        .route_as_is(&api("identity", "bearer_token_format: idp_identity_token"))
        .route_as_is(&api("jwt", "bearer_token_format: jwt"))
        .route_as_is(&api("default", ""))
}

/// A token by the grant `client_credentials`.
fn machine_token(provider: &OidcProvider, more: &str) -> String {
    let answer = Curl::new(provider.address(), &format!("{}/token", provider.url()))
        .args(["--user", "c-machine:secret"])
        .post(format!("grant_type=client_credentials&scope=api{more}"))
        .ok();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

#[test]
fn an_access_token_of_a_real_provider_counts_for_its_audience_only() {
    let provider = OidcProvider::with(AUTHENTICATE, json!({"machines": true}));
    let backend = Backend::echo();
    let proxy = with_people(&provider, &backend).start();
    let token = machine_token(&provider, &format!("&resource={API}"));
    let known = with_token(&proxy, "access", &token);
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(known.echoed().header("x-who").as_deref(), Some("c-machine"));
    let known = with_token(&proxy, "jwt", &token);
    assert_eq!(known.status, 200, "{known:?}");
    assert_eq!(known.echoed().header("x-who").as_deref(), Some("machines/c-machine"));
    assert!(is_invalid(&with_token(&proxy, "identity", &token)), "it is no ID token");
    let other = machine_token(&provider, "&resource=https://other.example");
    for host in ["access", "jwt", "identity"] {
        assert!(is_invalid(&with_token(&proxy, host, &other)), "{host}");
    }
    let passed = with_token(&proxy, "default", &token);
    assert_eq!(passed.status, 401);
    assert_eq!(passed.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn a_session_counts_without_a_token_and_never_in_place_of_one() {
    let provider = OidcProvider::with(AUTHENTICATE, json!({"machines": true}));
    let backend = Backend::echo();
    let proxy = with_people(&provider, &backend).start();
    let mut alice = CurlBrowser::new(proxy.address(), &provider, "alice");
    let mut cookie_of = |host: &str| {
        let url = format!("https://{host}.localhost.pomerium.io/");
        let fetched = alice.open(&url);
        assert_eq!(fetched.status, 200, "{fetched:?}");
        assert_eq!(fetched.echoed().header("x-who").as_deref(), Some("alice"));
        alice.cookies(&format!("{host}.localhost.pomerium.io"))["_pomerium"].clone()
    };
    let (access, jwt) = (cookie_of("access"), cookie_of("jwt"));
    let with_both = |host: &str, cookie: &str, token: &str| {
        let cookie = format!("Cookie: _pomerium={cookie}");
        let line = format!("Authorization: Bearer {token}");
        let curl = proxy.curl(host, "/").header("Accept: application/json");
        curl.header(&cookie).header(&line).ok()
    };
    let token = machine_token(&provider, &format!("&resource={API}"));
    let known = with_both("access", &access, &token);
    assert_eq!(known.echoed().header("x-who").as_deref(), Some("c-machine"));
    assert!(is_invalid(&with_both("access", &access, "opaque")));
    for token in [&*token, "opaque"] {
        let refused = with_both("jwt", &jwt, token);
        assert_eq!(refused.status, 400, "{refused:?}");
    }
}
