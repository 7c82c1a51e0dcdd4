//! Each preset of `idp_provider` with an imitation of its provider: the metadata, ID tokens and UserInfo
//! answers are shaped as the provider documents them.

use portcullis_tests::{
    Backend, BadProvider, Proxy, Visitor,
    bad_provider::{BadAnswer, BadSignature, BadToken, rsa_jwk},
    curl::Fetched,
    pki,
    proxy::Config,
    sign_in::parameter,
};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const METADATA: &str = "/.well-known/openid-configuration";
const CLIENT: &str = "the-client";
const SIGNED_OUT: &str =
    "https%3A%2F%2Fauthenticate.localhost.pomerium.io%2F.pomerium%2Fsigned_out";

/// What a provider documents, and what a user of it is to be here.
struct Imitated {
    /// `idp_provider`, with what else the configuration needs.
    preset: &'static str,
    /// `idp_provider_url` behind the provider's origin.
    configured: &'static str,
    /// The issuer behind the provider's origin.
    issuer: &'static str,
    /// Paths of authorization, token, key and UserInfo endpoint.
    endpoints: [&'static str; 4],
    /// Further members of the metadata; texts that begin with `/` are URLs at the provider.
    metadata: Value,
    /// Claims of the ID token besides `iss`, `aud`, `iat`, `exp` and `nonce`.
    id_token: Value,
    user_info: Value,
    scope: &'static str,
    /// Parameters of the authorization request that only this preset has.
    parameters: &'static [(&'static str, &'static str)],
    user: &'static str,
    email: &'static str,
    /// `x-groups`, of the claim that the configuration names.
    groups: &'static str,
    /// Where people sign out at the provider, if they do: the path, and the parameter with the way back.
    sign_out: Option<(&'static str, &'static str)>,
    /// Where the refresh token is revoked.
    revocation: Option<&'static str>,
}

const SCOPE: &str = "openid profile email offline_access";
const ONLINE: &str = "openid profile email";

struct Running {
    provider: BadProvider,
    proxy: Proxy,
    _backend: Backend,
}

fn start(imitated: &Imitated) -> Running {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    imitate(&provider, imitated);
    let proxy = config(&provider, &backend, imitated).start();
    Running { provider, proxy, _backend: backend }
}

fn imitate(provider: &BadProvider, imitated: &Imitated) {
    let url = |path: &str| Value::from(format!("{}{path}", provider.url()));
    let [authorization, token, keys, user_info] = imitated.endpoints;
    let mut metadata = json!({
        "issuer": url(imitated.issuer),
        "authorization_endpoint": url(authorization),
        "token_endpoint": url(token),
        "jwks_uri": url(keys),
        "userinfo_endpoint": url(user_info),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token"],
        "subject_types_supported": ["public"],
    });
    for (name, value) in imitated.metadata.as_object().into_iter().flatten() {
        metadata[name] = match value.as_str() {
            Some(path) if path.starts_with('/') => url(path),
            _ => value.clone(),
        };
    }
    let place = format!("{}{METADATA}", imitated.configured.trim_end_matches('/'));
    provider.answer(&place, BadAnswer::Json(200, metadata));
    provider.serve_at(authorization, "/auth");
    provider.serve_at(token, "/token");
    let key = pki().pair("rsa").key;
    provider.answer(keys, BadAnswer::Json(200, json!({"keys": [rsa_jwk(&key)]})));
    provider.answer(user_info, BadAnswer::Json(200, imitated.user_info.clone()));
    let mut claims = json!({"iss": url(imitated.issuer), "name": null, "email": null});
    let more = imitated.id_token.as_object().expect("claims").clone();
    claims.as_object_mut().expect("claims").extend(more);
    provider.set_token(BadToken {
        claims,
        signature: BadSignature::Rsa(key),
        ..BadToken::default()
    });
    // Not all promise `iss` in the response, and these do not send it.
    provider.set_callback(json!({"iss": null}));
}

/// A route for everybody who is signed in, and one for an address.
fn config(provider: &BadProvider, backend: &Backend, imitated: &Imitated) -> Config {
    let to = backend.url();
    let route = |host: &str, criterion: &str| {
        format!(
            "from: https://{host}.localhost.pomerium.io\nto: {to}\npass_identity_headers: true\n\
             policy:\n- allow:\n    and:\n    - {criterion}"
        )
    };
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global(&format!("idp_client_id: {CLIENT}\nidp_client_secret: secret"))
        .global(&format!("idp_provider_url: {}{}", provider.url(), imitated.configured))
        .global(&format!("idp_provider: {}", imitated.preset))
        .route_as_is(&route("app", "authenticated_user: true"))
        .route_as_is(&route("address", &format!("email:\n        is: {}", imitated.email)))
}

/// Signs somebody in and out, and looks at every place where a preset differs.
fn check(imitated: &Imitated) {
    let running = start(imitated);
    let Running { provider, proxy, .. } = &running;
    let visitor = Visitor::new(proxy, provider);
    let fetched = visitor.open("app", "/");
    assert_eq!(fetched.status, 200, "{}: {fetched:?}", imitated.preset);
    check_request(provider, imitated);
    let seen = fetched.echoed();
    for (header, expected) in
        [("x-who", imitated.user), ("x-email", imitated.email), ("x-groups", imitated.groups)]
    {
        assert_eq!(seen.header(header).as_deref(), Some(expected), "{}: {header}", imitated.preset);
    }
    assert_eq!(visitor.open("address", "/").status, 200, "{}: by address", imitated.preset);
    check_sign_out(&running, &visitor, imitated);
}

fn check_request(provider: &BadProvider, imitated: &Imitated) {
    let (target, _) = provider.seen(imitated.endpoints[0]).remove(0);
    assert_eq!(parameter(&target, "scope"), imitated.scope.replace(' ', "%20"), "{target}");
    for (name, value) in imitated.parameters {
        assert_eq!(parameter(&target, name), value.replace(' ', "%20"), "{target}");
    }
    for name in ["prompt", "access_type"] {
        let is_there = target.contains(&format!("&{name}="));
        let is_named = imitated.parameters.iter().any(|(named, _)| *named == name);
        assert_eq!(is_there, is_named, "{}: {target}", imitated.preset);
    }
    assert_eq!(parameter(&target, "code_challenge_method"), "S256");
}

fn check_sign_out(running: &Running, visitor: &Visitor, imitated: &Imitated) {
    let left = sign_out(visitor);
    let origin = running.provider.url();
    match imitated.sign_out {
        Some((path, back)) => {
            let to = left.header("location").expect("the way to the provider").to_owned();
            assert!(to.starts_with(&format!("{origin}{path}?")), "{}: {to}", imitated.preset);
            assert_eq!(parameter(&to, "client_id"), CLIENT, "{to}");
            assert_eq!(parameter(&to, back), SIGNED_OUT, "{to}");
            let hint = to.contains("id_token_hint=");
            assert_eq!(hint, back == "post_logout_redirect_uri", "{}: {to}", imitated.preset);
        }
        None => {
            let to = left.header("location").unwrap_or_default();
            assert!(!to.starts_with(&origin), "{}: {to}", imitated.preset);
        }
    }
    if let Some(path) = imitated.revocation {
        portcullis_tests::wait::until("the revocation", || !running.provider.seen(path).is_empty());
        let (_, form) = running.provider.seen(path).remove(0);
        assert!(form.contains("token=the-refresh-token"), "{form}");
    }
}

/// A person's own wish, up to where the authenticate host leads.
fn sign_out(visitor: &Visitor) -> Fetched {
    let curl = visitor.curl("app", "/.pomerium/sign_out").args(["--max-redirs", "1"]);
    let wish = ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
    wish.iter().fold(curl, |curl, line| curl.header(line)).run()
}

#[test]
fn google_s_users_choose_an_account_and_stay_by_access_type() {
    check(&Imitated {
        preset: "google\njwt_claims_headers: {x-who: user, x-email: email, x-groups: hd}",
        configured: "",
        issuer: "",
        endpoints: ["/o/oauth2/v2/auth", "/token", "/oauth2/v3/certs", "/v1/userinfo"],
        metadata: json!({
            "revocation_endpoint": "/revoke",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": ["openid", "email", "profile"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }),
        id_token: json!({
            "sub": "110169484474386276334", "azp": CLIENT, "hd": "example.com",
            "email": "ann@example.com", "email_verified": true,
        }),
        user_info: json!({
            "sub": "110169484474386276334", "name": "Ann", "given_name": "Ann",
            "picture": "https://lh3.example/a", "email": "ann@example.com", "email_verified": true,
            "hd": "example.com",
        }),
        scope: ONLINE,
        parameters: &[("prompt", "select_account consent"), ("access_type", "offline")],
        user: "110169484474386276334",
        email: "ann@example.com",
        groups: "example.com",
        sign_out: None,
        revocation: Some("/revoke"),
    });
}

const AZURE: &str = "/5f3a7b1c-0000-4000-8000-1234567890ab/v2.0";

fn azure() -> Imitated {
    Imitated {
        preset: concat!(
            "azure\n",
            "jwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}"
        ),
        configured: AZURE,
        issuer: AZURE,
        endpoints: [
            "/5f3a7b1c/oauth2/v2.0/authorize",
            "/5f3a7b1c/oauth2/v2.0/token",
            "/5f3a7b1c/discovery/v2.0/keys",
            "/oidc/userinfo",
        ],
        metadata: json!({
            "end_session_endpoint": "/5f3a7b1c/oauth2/v2.0/logout",
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "http_logout_supported": true, "frontchannel_logout_supported": true,
            "subject_types_supported": ["pairwise"],
            "tenant_region_scope": "EU", "cloud_instance_name": "microsoftonline.com",
        }),
        id_token: json!({
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
            "oid": "00000000-0000-0000-66f3-3332eca7ea81",
            "tid": "5f3a7b1c-0000-4000-8000-1234567890ab", "ver": "2.0", "name": "Ann",
            "preferred_username": "ann@example.com", "email": "ann@example.com",
            "groups": ["0b7f", "1c8e"],
        }),
        user_info: json!({
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "name": "Ann",
            "family_name": "B", "given_name": "Ann", "email": "ann@example.com",
            "picture": "https://graph.microsoft.com/v1.0/me/photo/$value",
        }),
        scope: SCOPE,
        parameters: &[("prompt", "select_account")],
        user: "00000000-0000-0000-66f3-3332eca7ea81",
        email: "ann@example.com",
        groups: "0b7f,1c8e",
        sign_out: Some(("/5f3a7b1c/oauth2/v2.0/logout", "post_logout_redirect_uri")),
        revocation: None,
    }
}

#[test]
fn azure_s_users_are_known_by_their_id_in_the_tenant() {
    check(&azure());
}

#[test]
fn groups_that_azure_leaves_out_are_in_the_log_once() {
    let mut imitated = azure();
    imitated.groups = "";
    imitated.id_token["groups"] = Value::Null;
    imitated.id_token["_claim_names"] = json!({"groups": "src1"});
    imitated.id_token["_claim_sources"] = json!({"src1": {"endpoint": "https://graph.example/x"}});
    let running = start(&imitated);
    for _ in 0..2 {
        let visitor = Visitor::new(&running.proxy, &running.provider);
        assert_eq!(visitor.open("app", "/").echoed().header("x-groups").as_deref(), Some(""));
    }
    let lines = running.proxy.log();
    let noted = lines.iter().filter(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("leaves the groups of some users out"))
    });
    assert_eq!(noted.count(), 1);
}

#[test]
fn okta_s_thin_id_tokens_are_completed_by_userinfo() {
    check(&Imitated {
        preset: "okta\njwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}",
        configured: "",
        issuer: "",
        endpoints: [
            "/oauth2/v1/authorize",
            "/oauth2/v1/token",
            "/oauth2/v1/keys",
            "/oauth2/v1/userinfo",
        ],
        metadata: json!({
            "revocation_endpoint": "/oauth2/v1/revoke",
            "end_session_endpoint": "/oauth2/v1/logout",
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "client_secret_jwt", "none"],
            "request_parameter_supported": true,
        }),
        id_token: json!({
            "sub": "00uid4BxXw6I6TV4m0g3", "ver": 1, "amr": ["pwd"], "idp": "00o1", "jti": "ID.4eAWJ",
            "auth_time": 1_311_280_969,
        }),
        user_info: json!({
            "sub": "00uid4BxXw6I6TV4m0g3", "name": "Ann", "locale": "en-US",
            "email": "ann@example.com", "email_verified": true, "zoneinfo": "Europe/Berlin",
            "groups": ["Everyone", "dev"],
        }),
        scope: SCOPE,
        parameters: &[],
        user: "00uid4BxXw6I6TV4m0g3",
        email: "ann@example.com",
        groups: "Everyone,dev",
        sign_out: Some(("/oauth2/v1/logout", "post_logout_redirect_uri")),
        revocation: Some("/oauth2/v1/revoke"),
    });
}

#[test]
fn auth0_s_issuer_has_a_slash_and_its_sign_out_its_own_form() {
    check(&Imitated {
        preset: "auth0\njwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}",
        configured: "",
        issuer: "/",
        endpoints: ["/authorize", "/oauth/token", "/.well-known/jwks.json", "/userinfo"],
        metadata: json!({
            "revocation_endpoint": "/oauth/revoke",
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "mfa_challenge_endpoint": "/mfa/challenge",
        }),
        id_token: json!({
            "sub": "auth0|507f1f77bcf86cd799439011", "name": "Ann", "nickname": "ann",
            "email": "ann@example.com", "email_verified": true, "sid": "s-1",
        }),
        user_info: json!({
            "sub": "auth0|507f1f77bcf86cd799439011", "email": "ann@example.com",
            "email_verified": true, "updated_at": "2026-01-01T00:00:00.000Z", "groups": ["dev"],
        }),
        scope: SCOPE,
        parameters: &[],
        user: "auth0|507f1f77bcf86cd799439011",
        email: "ann@example.com",
        groups: "dev",
        sign_out: Some(("/v2/logout", "returnTo")),
        revocation: Some("/oauth/revoke"),
    });
}

/// `configured` is the provider's URL behind its origin.
fn onelogin(configured: &'static str, scope: &'static str) -> Imitated {
    Imitated {
        preset: concat!(
            "onelogin\n",
            "jwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}"
        ),
        configured,
        issuer: configured,
        endpoints: ["/oidc/auth", "/oidc/token", "/oidc/certs", "/oidc/me"],
        metadata: json!({
            "revocation_endpoint": "/oidc/token/revocation",
            "end_session_endpoint": "/oidc/logout",
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "none"],
            "acr_values_supported": ["onelogin:nist:level:1:re-auth"],
        }),
        id_token: json!({"sub": "77259340", "sid": "b2c0", "preferred_username": "ann"}),
        user_info: json!({
            "sub": "77259340", "email": "ann@example.com", "preferred_username": "ann",
            "name": "Ann", "updated_at": "2026-01-01T00:00:00Z", "groups": ["dev", "ops"],
        }),
        scope,
        parameters: &[],
        user: "77259340",
        email: "ann@example.com",
        groups: "dev,ops",
        sign_out: Some(("/oidc/logout", "post_logout_redirect_uri")),
        revocation: Some("/oidc/token/revocation"),
    }
}

#[test]
fn onelogin_is_asked_for_groups_and_its_second_version_for_less() {
    check(&onelogin("/oidc", "openid profile email groups offline_access"));
    check(&onelogin("/oidc/2", "openid profile email groups"));
}

#[test]
fn ping_s_users_may_have_mail_in_the_place_of_an_email() {
    check(&Imitated {
        preset: "ping\njwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}",
        configured: "/11111111-env/as",
        issuer: "/11111111-env/as",
        endpoints: ["/env/as/authorize", "/env/as/token", "/env/as/jwks", "/env/as/userinfo"],
        metadata: json!({
            "revocation_endpoint": "/env/as/revoke",
            "end_session_endpoint": "/env/as/signoff",
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "none"],
        }),
        id_token: json!({"sub": "c9f1", "acr": "Single_Factor", "amr": ["pwd"], "sid": "1"}),
        user_info: json!({"sub": "c9f1", "mail": "ann@example.com", "groups": ["dev"]}),
        scope: SCOPE,
        parameters: &[],
        user: "c9f1",
        email: "ann@example.com",
        groups: "dev",
        sign_out: Some(("/env/as/signoff", "post_logout_redirect_uri")),
        revocation: Some("/env/as/revoke"),
    });
}

#[test]
fn cognito_s_flags_are_texts_and_its_sign_out_its_own_form() {
    check(&Imitated {
        preset: concat!(
            "cognito\n",
            "jwt_claims_headers: {x-who: user, x-email: email, x-groups: 'cognito:groups'}"
        ),
        configured: "/eu-west-1_pool",
        issuer: "/eu-west-1_pool",
        endpoints: [
            "/oauth2/authorize",
            "/oauth2/token",
            "/eu-west-1_pool/.well-known/jwks.json",
            "/oauth2/userInfo",
        ],
        // No revocation endpoint is named.
        metadata: json!({
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }),
        id_token: json!({
            "sub": "aaaa-bbbb", "cognito:groups": ["dev"], "cognito:username": "ann",
            "token_use": "id", "event_id": "e-1", "email": "ann@example.com", "email_verified": true,
        }),
        user_info: json!({
            "sub": "aaaa-bbbb", "email": "ann@example.com", "email_verified": "true",
            "username": "ann",
        }),
        scope: ONLINE,
        parameters: &[],
        user: "aaaa-bbbb",
        email: "ann@example.com",
        groups: "dev",
        sign_out: Some(("/logout", "logout_uri")),
        revocation: Some("/oauth2/revoke"),
    });
}

#[test]
fn gitlab_s_groups_come_from_userinfo_and_nobody_signs_out_there() {
    check(&Imitated {
        preset: "gitlab\njwt_claims_headers: {x-who: user, x-email: email, x-groups: groups}",
        configured: "",
        issuer: "",
        endpoints: ["/oauth/authorize", "/oauth/token", "/oauth/discovery/keys", "/oauth/userinfo"],
        metadata: json!({
            "revocation_endpoint": "/oauth/revoke",
            "introspection_endpoint": "/oauth/introspect",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claim_types_supported": ["normal"],
        }),
        id_token: json!({
            "sub": "3574", "sub_legacy": "f0cd", "auth_time": 1_700_000_000, "name": "Ann",
            "nickname": "ann", "email": "ann@example.com", "email_verified": true,
            "groups_direct": ["acme"],
        }),
        user_info: json!({
            "sub": "3574", "sub_legacy": "f0cd", "name": "Ann", "nickname": "ann",
            "email": "ann@example.com", "email_verified": true, "groups": ["acme", "acme/dev"],
            "https://gitlab.org/claims/groups/developer": ["acme/dev"],
        }),
        scope: ONLINE,
        parameters: &[],
        user: "3574",
        email: "ann@example.com",
        groups: "acme,acme/dev",
        sign_out: None,
        revocation: Some("/oauth/revoke"),
    });
}
