use serde_json::{Value, json};

use super::*;
use crate::identity::{
    provider::testing::sign_in_spec,
    spec::{ClientSecret, ProviderPreset},
};

fn provider(issuer_url: &str) -> ProviderSpec {
    sign_in_spec(issuer_url).provider
}

fn metadata() -> Value {
    json!({
        "issuer": "https://idp.example",
        "authorization_endpoint": "https://idp.example/auth",
        "token_endpoint": "https://idp.example/token",
        "jwks_uri": "https://idp.example/jwks",
        "something": {"else": [1]},
    })
}

fn with(members: Value) -> Value {
    let mut metadata = metadata();
    let object = metadata.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    metadata
}

fn read(metadata: &Value, spec: &ProviderSpec) -> Result<ProviderMetadata, ProviderFailure> {
    parse(metadata.to_string().as_bytes(), spec)
}

fn is_taken(metadata: &Value) -> bool {
    read(metadata, &provider("https://idp.example")).is_ok()
}

#[test]
fn metadata_is_of_the_issuer_that_is_configured() {
    for (configured, issuer, is_taken) in [
        ("https://idp.example", "https://idp.example", true),
        ("https://idp.example", "https://idp.example/", true),
        ("https://idp.example/", "https://idp.example", true),
        ("https://idp.example", "https://idp.example//", false),
        ("https://idp.example", "https://idp.example/a", false),
        ("https://idp.example/a", "https://idp.example", false),
        ("https://idp.example", "https://IDP.example", false),
        ("https://idp.example", "https://evil.example", false),
        ("https://idp.example", "", false),
    ] {
        let metadata = with(json!({ "issuer": issuer }));
        let read = read(&metadata, &provider(configured));
        assert_eq!(read.is_ok(), is_taken, "{configured} {issuer}");
        // The token's `iss` must be this one to the letter.
        assert!(read.is_err() || *read.unwrap().view.issuer == *issuer);
    }
}

#[test]
fn azure_s_common_metadata_speaks_of_a_tenant_in_general() {
    let url = "https://login.microsoftonline.com/common/v2.0";
    let metadata = with(json!({"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}));
    let mut spec = provider(url);
    assert!(read(&metadata, &spec).is_err());
    spec.preset = ProviderPreset::Azure;
    assert!(read(&metadata, &spec).is_ok());
    spec.issuer_url = "https://login.microsoftonline.com/5f3a/v2.0".into();
    assert!(read(&metadata, &spec).is_err());
}

#[test]
fn required_endpoints_are_required() {
    assert!(is_taken(&metadata()));
    for name in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
        let mut metadata = metadata();
        metadata.as_object_mut().unwrap().remove(name);
        assert!(!is_taken(&metadata), "{name}");
        assert!(!is_taken(&with(json!({ name: 7 }))), "{name}");
    }
    let twice = metadata().to_string().replacen('{', r#"{"issuer":"https://idp.example","#, 1);
    assert!(parse(twice.as_bytes(), &provider("https://idp.example")).is_err());
    assert!(parse(b"<html>", &provider("https://idp.example")).is_err());
}

#[test]
fn every_endpoint_of_a_remote_provider_has_https() {
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
    ] {
        for url in ["http://idp.example/x", "http://127.0.0.1/x", "http://localhost/x", "/x", ""] {
            assert!(!is_taken(&with(json!({ name: url }))), "{name} {url}");
        }
        assert!(is_taken(&with(json!({ name: "https://other.example/x" }))), "{name}");
        let mut local = with(json!({ "issuer": "http://127.0.0.1:9400" }));
        let object = local.as_object_mut().unwrap();
        object.insert(name.to_owned(), "http://127.0.0.1:9400/x".into());
        assert!(read(&local, &provider("http://127.0.0.1:9400")).is_ok(), "{name}");
    }
}

#[test]
fn an_endpoint_s_own_query_names_no_parameter_of_ours() {
    let at = |query: &str| with(json!({"authorization_endpoint": format!("https://i/a?{query}")}));
    assert!(is_taken(&at("p=b2c_1_sign_in")));
    for query in ["state=1", "p=1&redirect_uri=x", "%73cope=x", "a;nonce=1", "client_id"] {
        assert!(!is_taken(&at(query)), "{query}");
    }
}

#[test]
fn the_client_secret_goes_where_the_provider_takes_it() {
    let in_form = |methods: Value, secret: Option<&str>| {
        let mut spec = provider("https://idp.example");
        spec.client_secret = secret.map(|secret| ClientSecret(secret.into()));
        let metadata = with(json!({"token_endpoint_auth_methods_supported": methods}));
        read(&metadata, &spec).map(|metadata| metadata.secret_in_form).ok()
    };
    assert_eq!(in_form(Value::Null, Some("s")), Some(false));
    let both = json!(["client_secret_post", "client_secret_basic"]);
    assert_eq!(in_form(both, Some("s")), Some(false));
    assert_eq!(in_form(json!(["client_secret_post"]), Some("s")), Some(true));
    assert_eq!(in_form(json!(["private_key_jwt"]), Some("s")), None);
    assert_eq!(in_form(json!(["private_key_jwt"]), None), Some(false));
}

#[test]
fn the_view_of_workers_says_whether_iss_is_promised() {
    let iss = |value: Value| {
        let metadata = with(json!({"authorization_response_iss_parameter_supported": value}));
        read(&metadata, &provider("https://idp.example")).unwrap().view.iss_in_response
    };
    assert!(iss(json!(true)));
    assert!(!iss(json!(false)) && !iss(Value::Null));
}

#[test]
fn metadata_is_asked_for_below_the_configured_url() {
    let at = |url: &str| discovery_url(&provider(url)).unwrap().text;
    let path = ".well-known/openid-configuration";
    assert_eq!(*at("https://idp.example"), format!("https://idp.example/{path}"));
    assert_eq!(*at("https://idp.example/a/"), format!("https://idp.example/a/{path}"));
    assert!(discovery_url(&provider("http://idp.example")).is_err());
}

#[test]
fn cognito_s_revocation_endpoint_is_found_where_it_is_not_named() {
    let at = |preset, named: Value| {
        let mut spec = provider("https://idp.example");
        spec.preset = preset;
        let metadata = with(json!({
            "authorization_endpoint": "https://pool.auth.example/oauth2/authorize",
            "revocation_endpoint": named,
        }));
        read(&metadata, &spec).unwrap().revocation_endpoint.map(|url| url.text)
    };
    let own = "https://pool.auth.example/oauth2/revoke";
    assert_eq!(at(ProviderPreset::Cognito, Value::Null).as_deref(), Some(own));
    let named = "https://pool.auth.example/revoke";
    assert_eq!(at(ProviderPreset::Cognito, json!(named)).as_deref(), Some(named));
    assert_eq!(at(ProviderPreset::Oidc, Value::Null), None);
}
