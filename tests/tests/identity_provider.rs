//! The real provider by itself: what the other tests of sign-in stand on.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use portcullis_tests::bad_provider::BadSignature;
use portcullis_tests::{BadProvider, Canaille, Curl, CurlBrowser, OidcProvider, ports::free_port};
use serde_json::{Value, json};

const SITE: &str = "https://a.example:8443";

/// The authorization request of a client, with the verifier `v` forty-three times.
fn authorization(endpoint: &str, client: &str) -> String {
    let callback = "https%3A%2F%2Fa.example%3A8443%2Foauth2%2Fcallback";
    // base64url(SHA-256(verifier)), RFC 7636, section 4.2.
    let challenge = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM";
    format!(
        "{endpoint}?client_id={client}&redirect_uri={callback}&response_type=code&state=s&nonce=n\
         &scope=openid%20profile%20email%20offline_access&prompt=consent\
         &code_challenge={challenge}&code_challenge_method=S256"
    )
}

fn post(provider: &OidcProvider, client: &str, form: &str) -> Value {
    let url = format!("{}/token", provider.url());
    Curl::new(provider.address(), &url).args(["--user", client]).post(form).run().json()
}

/// A code, by a browser that signs in and consents.
fn code(provider: &OidcProvider, login: &str) -> String {
    let mut browser = CurlBrowser::new(nowhere(), provider, login);
    let url = authorization(&format!("{}/auth", provider.url()), "c-ES256");
    code_at_the_end(&mut browser, &url)
}

/// No proxy is there: the browsers stop before they would come to it.
fn nowhere() -> std::net::SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

fn code_at_the_end(browser: &mut CurlBrowser, url: &str) -> String {
    let last = browser.open_until(url, |url| url.starts_with(SITE));
    let location = last.header("location").expect("a redirect");
    let (_, query) = location.split_once('?').expect("a query");
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code");
    assert!(query.contains("state=s") && query.contains("iss="), "{location}");
    code.to_owned()
}

fn exchange(provider: &OidcProvider, code: &str, verifier: &str) -> Value {
    let form = format!(
        "grant_type=authorization_code&code={code}&code_verifier={verifier}\
         &redirect_uri=https%3A%2F%2Fa.example%3A8443%2Foauth2%2Fcallback"
    );
    post(provider, "c-ES256:secret", &form)
}

#[test]
fn a_login_by_curl_ends_with_a_code_and_rotating_refresh_tokens() {
    let provider = OidcProvider::start(SITE);
    let verifier = "v".repeat(43);
    let tokens = exchange(&provider, &code(&provider, "alice"), &verifier);
    let mut last = tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
    let first = last.clone();
    for _ in 0..2 {
        let form = format!("grant_type=refresh_token&refresh_token={last}");
        let tokens = post(&provider, "c-ES256:secret", &form);
        let next = tokens["refresh_token"].as_str().expect("another refresh token");
        assert_ne!(next, last);
        next.clone_into(&mut last);
    }
    assert_eq!(provider.grants("refresh_token", "alice"), 2);
    // An old one ends the whole grant.
    for token in [first, last] {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        assert_eq!(post(&provider, "c-ES256:secret", &form)["error"], "invalid_grant");
    }
}

#[test]
fn the_provider_refuses_a_code_without_its_verifier() {
    let provider = OidcProvider::start(SITE);
    let refused = exchange(&provider, &code(&provider, "alice"), &"w".repeat(43));
    assert_eq!(refused["error"], "invalid_grant");
}

#[test]
fn a_user_who_is_disabled_gets_no_further_tokens() {
    let provider = OidcProvider::start(SITE);
    let tokens = exchange(&provider, &code(&provider, "bob"), &"v".repeat(43));
    provider.set_user("bob", &json!({"disabled": true}));
    let token = tokens["refresh_token"].as_str().expect("a refresh token");
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    assert_eq!(post(&provider, "c-ES256:secret", &form)["error"], "invalid_grant");
    provider.set_user("bob", &json!({"disabled": false, "groups": ["x"]}));
}

#[test]
fn a_restart_changes_the_provider_s_keys() {
    let provider = OidcProvider::start(SITE);
    let keys = |provider: &OidcProvider| {
        Curl::new(provider.address(), &format!("{}/jwks", provider.url())).ok().json()
    };
    let before = keys(&provider);
    let provider = provider.restart();
    assert_ne!(keys(&provider), before);
    assert_eq!(provider.requests("GET /jwks"), 1);
}

#[test]
fn canaille_is_an_independent_provider_with_other_algorithms() {
    let provider = Canaille::start(SITE);
    let get = |path: &str| Curl::new(provider.address(), &format!("{}{path}", provider.url())).ok();
    let metadata = get("/.well-known/openid-configuration").json();
    let algorithms = metadata["id_token_signing_alg_values_supported"].as_array().unwrap();
    assert!(algorithms.contains(&json!("none")) && algorithms.contains(&json!("RS256")));
    let mut browser = CurlBrowser::with_canaille(nowhere(), &provider);
    let endpoint = metadata["authorization_endpoint"].as_str().unwrap();
    assert!(!code_at_the_end(&mut browser, &authorization(endpoint, Canaille::CLIENT)).is_empty());
}

#[test]
fn our_own_provider_gives_what_it_was_told_to_give() {
    let provider = BadProvider::start();
    let mut browser = CurlBrowser::at(nowhere(), provider.address(), "ann");
    let url = authorization(&format!("{}/auth", provider.url()), "c");
    let code = code_at_the_end(&mut browser, &url);
    let token = || {
        let url = format!("{}/token", provider.url());
        let tokens = Curl::new(provider.address(), &url).post(format!("code={code}")).ok().json();
        tokens["id_token"].as_str().unwrap().to_owned()
    };
    let claims = |token: &str| -> Value {
        let payload = token.split('.').nth(1).unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
        serde_json::from_slice(&payload).unwrap()
    };
    let good = claims(&token());
    assert_eq!((&good["nonce"], &good["aud"]), (&json!("n"), &json!("c")));
    provider.set_claims(json!({"sub": "eve", "aud": null}));
    provider.set_signature(BadSignature::Absent);
    let bad = token();
    assert_eq!((&claims(&bad)["sub"], &claims(&bad)["aud"]), (&json!("eve"), &Value::Null));
    assert!(bad.ends_with('.'));
    assert_eq!(provider.seen("/token").len(), 2);
}
