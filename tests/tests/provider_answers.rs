//! What the provider answers: ID tokens, UserInfo, metadata and keys with mistakes that no real
//! provider makes. A sign-in over the running proxy for each.

use std::{
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use portcullis_tests::{
    Backend, BadProvider, Proxy, Visitor,
    bad_provider::{ACCESS_TOKEN, BadAnswer, BadSignature, BadToken, rsa_jwk},
    curl::Fetched,
    pki,
    process::run,
    proxy::Config,
    sign_in::parameter,
    tempdir::TempDir,
    tools::need,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";
const METADATA: &str = "/.well-known/openid-configuration";
const CLIENT_SECRET: &str = "the-client-secret";

/// A route for everybody who is signed in, two for some of them, and a public one.
fn config(issuer: &str, backend: &Backend) -> Config {
    let to = backend.url();
    let route = |host: &str, criterion: &str| {
        format!(
            "from: https://{host}.localhost.pomerium.io\nto: {to}\npass_identity_headers: true\n\
             policy:\n- allow:\n    and:\n    - {criterion}"
        )
    };
    Proxy::config()
        .global(&format!("authenticate_service_url: {AUTHENTICATE}\nshared_secret: {SECRET}"))
        .global(&format!("idp_client_id: client\nidp_client_secret: {CLIENT_SECRET}"))
        .global(&format!("idp_provider_url: {issuer}"))
        .global("jwt_claims_headers: {x-email: email, x-who: user, x-oid: oid}")
        .route_as_is(&route("app", "authenticated_user: true"))
        .route_as_is(&route("address", "email:\n        is: ann@example.com"))
        .route_as_is(&route("domain", "domain:\n        is: example.com"))
        .forward("public", &to, "")
}

fn oidc(provider: &BadProvider, backend: &Backend) -> Config {
    config(&provider.url(), backend).global("idp_provider: oidc")
}

fn start() -> (BadProvider, Backend, Proxy) {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let proxy = oidc(&provider, &backend).start();
    (provider, backend, proxy)
}

/// A new person opens the route for everybody.
fn sign_in(proxy: &Proxy, provider: &BadProvider) -> (Visitor, Fetched) {
    let visitor = Visitor::new(proxy, provider);
    let fetched = visitor.open("app", "/");
    (visitor, fetched)
}

fn assert_good(proxy: &Proxy, provider: &BadProvider, what: &str) -> (Visitor, Fetched) {
    let (visitor, fetched) = sign_in(proxy, provider);
    assert_eq!(fetched.status, 200, "{what}: {fetched:?}");
    assert!(visitor.holds_session(), "{what}");
    (visitor, fetched)
}

/// The sign-in ends with this status, and nobody is signed in anywhere.
fn assert_refused(proxy: &Proxy, provider: &BadProvider, status: u16, what: &str) -> Fetched {
    let (visitor, fetched) = sign_in(proxy, provider);
    assert_eq!(fetched.status, status, "{what}: {fetched:?}");
    assert!(!visitor.holds_session(), "{what}");
    let text = fetched.text();
    assert!(!text.contains(ACCESS_TOKEN) && !text.contains(CLIENT_SECRET), "{what}: {text}");
    fetched
}

/// Each token is refused, and a good one is accepted afterwards.
fn assert_all_refused(proxy: &Proxy, provider: &BadProvider, tokens: Vec<(&str, BadToken)>) {
    for (what, token) in tokens {
        provider.set_token(token);
        assert_refused(proxy, provider, 502, what);
    }
    provider.set_token(BadToken::default());
    assert_good(proxy, provider, "a token without a mistake");
}

fn header(header: Value) -> BadToken {
    BadToken { header, ..BadToken::default() }
}

fn claims(claims: Value) -> BadToken {
    BadToken { claims, ..BadToken::default() }
}

fn signed(signature: BadSignature) -> BadToken {
    BadToken { signature, ..BadToken::default() }
}

fn parts(parts: fn(&str, &str) -> (String, String)) -> BadToken {
    BadToken { parts, ..BadToken::default() }
}

fn whole(whole: fn(&str) -> String) -> BadToken {
    BadToken { whole, ..BadToken::default() }
}

/// Other text in the place of the first brace.
fn with_first(json: &str, member: &str) -> String {
    json.replacen('{', &format!("{{{member},"), 1)
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time of this century");
    now.as_secs().cast_signed()
}

fn left_half_of_hash(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&digest(&SHA256, token.as_bytes()).as_ref()[..16])
}

/// An RSA key below the least length, and one of it.
fn rsa_keys(dir: &TempDir) -> [PathBuf; 2] {
    let short = dir.path().join("short.pem");
    let mut command = Command::new(need("openssl"));
    command.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let done = run(command.arg("-out").arg(&short), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    [short, pki().pair("rsa").key]
}

#[test]
fn a_token_without_a_signature_by_the_provider_is_refused() {
    let (provider, backend, dir) = (BadProvider::start(), Backend::echo(), TempDir::new("keys"));
    let [short, long] = rsa_keys(&dir);
    let mut keys = provider.jwks();
    keys["keys"].as_array_mut().unwrap().extend([rsa_jwk(&short), rsa_jwk(&long)]);
    let jwk = keys["keys"][0].to_string();
    provider.answer("/jwks", BadAnswer::Json(200, keys));
    // As Canaille's: a provider may well list what nobody must accept.
    let mut metadata = provider.metadata();
    let listed = json!(["none", "HS256", "ES256", "RS256"]);
    metadata["id_token_signing_alg_values_supported"] = listed;
    provider.answer(METADATA, BadAnswer::Json(200, metadata));
    let proxy = oidc(&provider, &backend).start();

    provider.set_token(signed(BadSignature::Rsa(long.clone())));
    assert_good(&proxy, &provider, "RS256");
    let unsigned = |alg: Value| BadToken {
        header: json!({"alg": alg}),
        signature: BadSignature::Absent,
        ..BadToken::default()
    };
    let hmac = |secret: &str| signed(BadSignature::Hmac(secret.into()));
    let elsewhere = Backend::echo();
    let url = |path: &str| format!("{}{path}", elsewhere.url());
    let mallory = json!({"jwk": provider.jwks_with_other()["keys"][1], "jku": url("/jku"),
        "x5u": url("/x5u")});
    let rows = vec![
        ("the algorithm none", unsigned("none".into())),
        ("the algorithm None", unsigned("None".into())),
        ("the algorithm nOnE", unsigned("nOnE".into())),
        ("an empty algorithm", unsigned("".into())),
        ("no algorithm", unsigned(Value::Null)),
        ("no algorithm, though signed", header(json!({"alg": null}))),
        ("none, though signed", header(json!({"alg": "none"}))),
        ("HS256 with the client secret", hmac(CLIENT_SECRET)),
        ("HS256 with the public key", hmac(&provider.public_key_pem())),
        ("HS256 with the public key as JWK", hmac(&jwk)),
        ("RS256 for a P-256 key", header(json!({"alg": "RS256"}))),
        ("ES256 for an RSA key", header(json!({"kid": "rsa.key"}))),
        ("ES384 for a P-256 key", header(json!({"alg": "ES384"}))),
        ("a signature as DER", signed(BadSignature::Der)),
        ("a signature of zeros", signed(BadSignature::Zeros)),
        ("half a signature", signed(BadSignature::Half)),
        ("no signature", signed(BadSignature::Absent)),
        ("an RSA key of 1024 bits", signed(BadSignature::Rsa(short))),
        ("another key", signed(BadSignature::OtherKey)),
        (
            "another key, which the token brings along",
            BadToken { header: mallory.clone(), ..signed(BadSignature::OtherKey) },
        ),
    ];
    assert_all_refused(&proxy, &provider, rows);
    provider.set_token(header(mallory));
    assert_good(&proxy, &provider, "a key in the header beside a right signature");
    assert_eq!(elsewhere.connections(), 0, "no URL in a token is asked");
}

#[test]
fn a_token_for_others_or_for_another_time_is_refused() {
    let (provider, _backend, proxy) = start();
    let (now, url) = (now_s(), provider.url());
    assert_good(&proxy, &provider, "an earlier sign-in");
    let earlier = parameter(&provider.seen("/auth")[0].0, "nonce");
    let null_exp = parts(|header, payload| {
        let exp = payload.find("\"exp\":").expect("an exp") + "\"exp\":".len();
        let end = exp + payload[exp..].find([',', '}']).expect("its end");
        (header.to_owned(), format!("{}null{}", &payload[..exp], &payload[end..]))
    });
    let rows = vec![
        ("aud of another client", claims(json!({"aud": "other"}))),
        ("aud of other clients", claims(json!({"aud": ["other", "third"]}))),
        ("no aud", claims(json!({"aud": null}))),
        ("several aud without azp", claims(json!({"aud": ["other", "client"]}))),
        ("several aud, azp of another", claims(json!({"aud": ["a", "client"], "azp": "a"}))),
        ("azp of another", claims(json!({"azp": "other"}))),
        ("iss of another", claims(json!({"iss": "https://evil.example"}))),
        ("iss with a slash more", claims(json!({"iss": format!("{url}/")}))),
        ("no iss", claims(json!({"iss": null}))),
        ("no exp", claims(json!({"exp": null}))),
        ("exp in the past", claims(json!({"exp": now - 3600}))),
        ("exp as text", claims(json!({"exp": (now + 3600).to_string()}))),
        ("exp of 1e300", claims(json!({"exp": 1e300}))),
        ("a negative exp", claims(json!({"exp": -1}))),
        ("exp that is null", null_exp),
        ("no iat", claims(json!({"iat": null}))),
        ("iat in an hour", claims(json!({"iat": now + 3600, "exp": now + 7200}))),
        ("nbf in an hour", claims(json!({"nbf": now + 3600}))),
        ("nonce of another sign-in", claims(json!({"nonce": "other"}))),
        ("nonce of an earlier sign-in", claims(json!({"nonce": earlier}))),
        ("no nonce", claims(json!({"nonce": null}))),
        ("an empty sub", claims(json!({"sub": ""}))),
        ("no sub", claims(json!({"sub": null}))),
        ("at_hash of another token", claims(json!({"at_hash": left_half_of_hash("other")}))),
        (
            "at_hash of the whole hash",
            claims(json!({"at_hash": BASE64_URL_SAFE_NO_PAD
                .encode(digest(&SHA256, ACCESS_TOKEN.as_bytes()))})),
        ),
        ("an empty at_hash", claims(json!({"at_hash": ""}))),
    ];
    assert_all_refused(&proxy, &provider, rows);
    for (what, good) in [
        ("a list of our client alone", json!({"aud": ["client"]})),
        ("several, azp is our client", json!({"aud": ["other", "client"], "azp": "client"})),
        ("the right at_hash", json!({"at_hash": left_half_of_hash(ACCESS_TOKEN)})),
        ("a clock that is 45 s fast", json!({"iat": now + 45, "nbf": now + 45})),
        ("a clock that is 45 s slow", json!({"iat": now - 345, "exp": now - 30})),
    ] {
        provider.set_token(claims(good));
        assert_good(&proxy, &provider, what);
    }
}

#[test]
fn a_page_says_both_times_when_clocks_differ() {
    let (provider, _backend, proxy) = start();
    for difference in [120, -3720] {
        let theirs = now_s() + difference;
        provider.set_token(claims(json!({"iat": theirs, "exp": theirs + 3600})));
        let text = assert_refused(&proxy, &provider, 502, "a clock that differs").text();
        assert!(text.contains(&utc_minute(theirs)), "{difference}: {text}");
        let ours = now_s();
        let is_ours = |second: i64| text.contains(&utc_minute(ours - second));
        assert!((0..60).any(is_ours), "{difference}: {text}");
    }
}

/// As GNU date says it.
fn utc_minute(epoch_s: i64) -> String {
    let mut date = Command::new("date");
    date.args(["-u", "+%H:%M", "-d", &format!("@{epoch_s}")]);
    run(&mut date, b"").stdout.trim().to_owned()
}

#[test]
fn a_token_of_an_odd_form_is_refused() {
    let (provider, _backend, proxy) = start();
    let rows = vec![
        (
            "a member of the header twice",
            parts(|header, payload| (with_first(header, r#""alg":"ES256""#), payload.to_owned())),
        ),
        (
            "an unknown member of the header twice",
            parts(|header, payload| (with_first(header, r#""x":1,"x":1"#), payload.to_owned())),
        ),
        (
            "a claim twice",
            parts(|header, payload| (header.to_owned(), with_first(payload, r#""email":"x@y.z""#))),
        ),
        ("crit", header(json!({"crit": ["exp"]}))),
        ("b64", header(json!({"b64": false, "crit": ["b64"]}))),
        ("b64 alone", header(json!({"b64": false}))),
        ("an encrypted token", header(json!({"enc": "A128GCM"}))),
        ("another type", header(json!({"typ": "at+jwt"}))),
        (
            "five parts of an encrypted token",
            whole(|token| format!("{token}.{}.{}", "A".repeat(22), "A".repeat(22))),
        ),
        ("two parts", whole(|token| token.rsplit_once('.').expect("parts").0.to_owned())),
        ("padding", whole(|token| format!("{token}=="))),
        ("a blank in base64", whole(|token| format!("{} {}", &token[..9], &token[9..]))),
        ("a newline at the end", whole(|token| format!("{token}\n"))),
        ("17 KiB", claims(json!({"long": "x".repeat(13 << 10)}))),
        ("no token at all", whole(|_| String::new())),
    ];
    assert_all_refused(&proxy, &provider, rows);
}

#[test]
fn unknown_keys_cause_one_further_fetch_a_minute() {
    let (provider, _backend, proxy) = start();
    assert_good(&proxy, &provider, "a token without a mistake");
    provider.set_token(header(json!({"kid": "unknown"})));
    let visitor = Visitor::new(&proxy, &provider);
    let all = visitor.curl("app", "/[1-100]").ok();
    assert_eq!(all.status, 502, "{all:?}");
    assert_eq!(provider.seen("/token").len(), 101);
    assert_eq!(provider.seen("/jwks").len(), 2);
    assert!(!visitor.holds_session());
}

#[test]
fn a_token_without_a_key_id_needs_a_key_beyond_doubt() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let no_id = || header(json!({"kid": null}));
    let proxy = oidc(&provider, &backend).start();
    provider.set_token(no_id());
    assert_good(&proxy, &provider, "one key");
    provider.answer("/jwks", BadAnswer::Json(200, provider.jwks_with_other()));
    let proxy = oidc(&provider, &backend).start();
    assert_all_refused(&proxy, &provider, vec![("two keys", no_id())]);
}

#[test]
fn user_info_speaks_of_the_same_user_and_replaces_nothing_verified() {
    let (provider, _backend, proxy) = start();
    for (what, answer) in [
        ("another sub", json!({"sub": "bob", "email": "bob@example.com"})),
        ("no sub", json!({"email": "bob@example.com"})),
    ] {
        provider.answer("/userinfo", BadAnswer::Json(200, answer));
        assert_refused(&proxy, &provider, 502, what);
    }
    provider.answer("/userinfo", BadAnswer::Json(401, json!({})));
    assert_refused(&proxy, &provider, 400, "an access token that UserInfo refuses");
    provider.answer("/userinfo", BadAnswer::Json(200, json!({"sub": ""})));
    provider.set_token(claims(json!({"sub": ""})));
    assert_refused(&proxy, &provider, 502, "nobody's token and UserInfo");
    let others = json!({
        "sub": "ann", "iss": "https://evil.example", "aud": "other", "azp": "other", "exp": 1,
        "iat": 1, "oid": "bob's", "email": "ann@example.org",
    });
    provider.answer("/userinfo", BadAnswer::Json(200, others));
    provider.set_token(claims(json!({"oid": "ann's"})));
    let (_, fetched) = assert_good(&proxy, &provider, "UserInfo with claims of its own");
    let seen = fetched.echoed();
    assert_eq!(seen.header("x-oid").as_deref(), Some("ann's"));
    assert_eq!(
        seen.header("x-email").as_deref(),
        Some("ann@example.org"),
        "it may add and replace"
    );
}

#[test]
fn an_odd_or_unverified_address_matches_no_policy() {
    let (provider, _backend, proxy) = start();
    let ann = "ann@example.com";
    for (change, known, by_address, by_domain) in [
        (json!({}), ann, true, true),
        (json!({"email_verified": true}), ann, true, true),
        (json!({"email_verified": false}), "", false, false),
        (json!({"email_verified": "false"}), "", false, false),
        (json!({"email": "a@evil@example.com"}), "", false, false),
        (json!({"email": "\"a@evil\"@example.com"}), "", false, false),
        (json!({"email": "ann@example.com\0"}), "", false, false),
        (json!({"email": "ann@example.com\n"}), "", false, false),
        (json!({"email": "ann @example.com"}), "", false, false),
        (json!({"email": "example.com"}), "", false, false),
        (json!({"email": "@example.com"}), "", false, false),
        (json!({"email": "@"}), "", false, false),
        (json!({"email": ["ann@example.com"]}), "", false, false),
        (json!({"email": "ann@evilexample.com"}), "ann@evilexample.com", false, false),
        (json!({"email": "ann@example.com.evil"}), "ann@example.com.evil", false, false),
        (json!({"email": "ann@sub.example.com"}), "ann@sub.example.com", false, false),
        (json!({"email": "ann@EXAMPLE.com"}), "ann@EXAMPLE.com", false, false),
    ] {
        provider.set_token(claims(change.clone()));
        let (visitor, fetched) = assert_good(&proxy, &provider, "anybody may sign in");
        let email = fetched.echoed().header("x-email").unwrap_or_default();
        assert_eq!(email, known, "{change}");
        let status = |may: bool| if may { 200 } else { 403 };
        assert_eq!(visitor.open("address", "/").status, status(by_address), "{change}");
        assert_eq!(visitor.open("domain", "/").status, status(by_domain), "{change}");
    }
}

#[test]
fn azure_s_common_url_lets_in_the_listed_tenants_alone() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let common = format!("{}/common/v2.0", provider.url());
    let config = config(&common, &backend).global("idp_provider: azure");
    let refused = config.refused();
    assert!(refused.stderr.contains("tenants"), "{}", refused.stderr);

    let issuer = |tid: &str| format!("{}/{tid}/v2.0", provider.url());
    let mut metadata = provider.metadata();
    metadata["issuer"] = issuer("{tenantid}").into();
    metadata["authorization_response_iss_parameter_supported"] = false.into();
    provider.answer(&format!("/common/v2.0{METADATA}"), BadAnswer::Json(200, metadata));
    provider.set_callback(json!({"iss": null}));
    let proxy = config.own("sign_in", "{tenants: [ours]}").start();
    let of = |tid: Value, in_issuer: &str| {
        claims(json!({"tid": tid, "iss": issuer(in_issuer), "oid": "ann"}))
    };
    for (what, token) in [
        ("another tenant", of("theirs".into(), "theirs")),
        ("another tenant's issuer", of("ours".into(), "theirs")),
        ("no tenant", of(Value::Null, "ours")),
        ("the template itself", of("{tenantid}".into(), "{tenantid}")),
    ] {
        provider.set_token(token);
        assert_refused(&proxy, &provider, 502, what);
    }
    provider.set_token(of("ours".into(), "ours"));
    assert_good(&proxy, &provider, "our tenant");
}

/// An answer with these fields and this body.
fn raw(fields: &str, body: &str) -> BadAnswer {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
    BadAnswer::Raw(format!("{head}{body}").into_bytes())
}

#[test]
fn answers_that_are_huge_broken_or_lead_elsewhere_are_refused() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    provider.answer(METADATA, BadAnswer::Reset);
    let proxy = oidc(&provider, &backend).start();
    let inside = Backend::echo();
    let padding = " ".repeat(2 << 20);
    // In the order of the calls: what was good is kept, and not asked for again.
    for (path, good) in [
        (METADATA, provider.metadata().to_string()),
        ("/jwks", provider.jwks().to_string()),
        ("/token", "{}".to_owned()),
        ("/userinfo", json!({"sub": "ann"}).to_string()),
    ] {
        let location = format!("Location: {}\r\nContent-Length: 0\r\n\r\n", inside.url());
        let redirect = |status: &str| {
            BadAnswer::Raw(format!("HTTP/1.1 {status} Elsewhere\r\n{location}").into_bytes())
        };
        let half = good[..good.len() / 2].to_owned();
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{padding}\r\n0\r\n\r\n",
            padding.len()
        );
        for (what, status, answer) in [
            ("a redirect", 502, redirect("302")),
            ("a redirect of the method too", 502, redirect("307")),
            ("2 MiB", 502, raw("", &format!("{good}{padding}"))),
            ("2 MiB in chunks", 502, BadAnswer::Raw(chunked.into_bytes())),
            ("a compressed answer", 502, raw("Content-Encoding: gzip\r\n", &good)),
            ("HTML", 502, raw("Content-Type: text/html\r\n", "<html>")),
            ("nothing", 503, BadAnswer::Raw(Vec::new())),
            (
                "half an answer",
                503,
                BadAnswer::Raw(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{half}").into(),
                ),
            ),
            ("a reset", 503, BadAnswer::Reset),
            ("an error", 503, BadAnswer::Json(500, json!({}))),
        ] {
            provider.answer(path, answer);
            let refused = assert_refused(&proxy, &provider, status, &format!("{path}: {what}"));
            let retry = refused.header("retry-after").is_some();
            assert_eq!(retry, status == 503, "{path}: {what}");
        }
        assert_eq!(proxy.curl("public", "/").ok().status, 200);
        provider.repair(path);
    }
    assert_good(&proxy, &provider, "answers without a mistake");
    assert_eq!(inside.connections(), 0);
    proxy.assert_no_panic();
}

#[test]
fn metadata_that_misleads_is_refused() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    provider.answer(METADATA, BadAnswer::Reset);
    let proxy = oidc(&provider, &backend).start();
    for (what, member, value) in [
        ("another issuer", "issuer", "https://evil.example".to_owned()),
        ("no https", "token_endpoint", "http://192.0.2.1/token".to_owned()),
        ("no https", "jwks_uri", "http://192.0.2.1/jwks".to_owned()),
        ("no https", "userinfo_endpoint", "http://192.0.2.1/userinfo".to_owned()),
        ("another scheme", "authorization_endpoint", "javascript:alert(1)".to_owned()),
        ("our state", "authorization_endpoint", format!("{}/auth?state=x", provider.url())),
        ("our client", "authorization_endpoint", format!("{}/auth?%63lient_id=x", provider.url())),
    ] {
        let mut metadata = provider.metadata();
        metadata[member] = value.into();
        provider.answer(METADATA, BadAnswer::Json(200, metadata));
        assert_refused(&proxy, &provider, 502, &format!("{member}: {what}"));
    }
    assert_eq!(provider.seen("/auth").len(), 0);
    let mut metadata = provider.metadata();
    metadata["authorization_endpoint"] = format!("{}/auth?own=1", provider.url()).into();
    provider.answer(METADATA, BadAnswer::Json(200, metadata));
    assert_good(&proxy, &provider, "a parameter of its own");
    let (target, _) = provider.seen("/auth").remove(0);
    assert!(target.starts_with("/auth?client_id="), "{target}");
    for name in ["own", "client_id", "state", "nonce", "code_challenge", "redirect_uri", "scope"] {
        assert_eq!(target.matches(&format!("{name}=")).count(), 1, "{name} in {target}");
    }
}

#[test]
fn request_parameters_of_the_operator_cannot_name_ours() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
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
    ] {
        let config = oidc(&provider, &backend);
        let checked = config.global(&format!("idp_request_params: {{{name}: x}}")).check();
        assert_ne!(checked.code, Some(0), "{name}");
        assert!(checked.stderr.contains(name) || checked.stdout.contains(name), "{checked:?}");
    }
}

/// The page at the callback: curl itself sends no cookie of its jar beside so long a path.
fn callback(proxy: &Proxy, path: &str, cookie: &str) -> String {
    let mut raw = proxy.raw("authenticate");
    raw.send(format!(
        "GET {path} HTTP/1.1\r\nHost: authenticate.localhost.pomerium.io\r\n\
         Cookie: {cookie}\r\nConnection: close\r\n\r\n"
    ));
    String::from_utf8_lossy(&raw.to_end().bytes).into_owned()
}

#[test]
fn a_provider_s_error_text_is_shown_as_text_and_cut() {
    let (provider, _backend, proxy) = start();
    let markup = "<script>alert(1)</script>\"><img src=x>";
    provider.set_callback(json!({
        "code": null, "error": "access_denied", "error_description": markup,
    }));
    let page = assert_refused(&proxy, &provider, 401, "a person who denies").text();
    assert!(page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");

    // What curl takes as a `Location`, and what it does not.
    let short = "x".repeat(6 << 10);
    let change = json!({"code": null, "error": "oops", "error_description": short});
    provider.set_callback(change);
    for length in [short.len(), 60 << 10, 100 << 10] {
        let visitor = Visitor::new(&proxy, &provider);
        let led = visitor.curl("app", "/").args(["--max-redirs", "2"]).run();
        let url = led.header("location").expect("the provider leads back").to_owned();
        let (_, path) = url.split_once(AUTHENTICATE).expect("to the callback");
        let path = &path.replace(&short, &"x".repeat(length));
        let page = callback(&proxy, path, &visitor.binding("authenticate"));
        if length > 1 << 16 {
            assert!(page.starts_with("HTTP/1.1 414 "), "{page}");
            continue;
        }
        assert!(page.contains(&"x".repeat(200)), "{page}");
        assert!(!page.contains(&"x".repeat(201)), "{page}");
    }

    let long = "x".repeat(100 << 10);
    provider.set_callback(json!({}));
    let answer = json!({"error": "invalid_grant", "error_description": format!("{markup}{long}")});
    provider.answer("/token", BadAnswer::Json(400, answer));
    let page = assert_refused(&proxy, &provider, 400, "a code that is refused").text();
    assert!(!page.contains("<script") && page.len() < 64 << 10, "{page}");
    provider.repair("/token");
    assert_good(&proxy, &provider, "a provider without a mistake");
}
