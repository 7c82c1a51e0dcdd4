//! The provider against a server on loopback that makes the mistakes that no real one makes.

use serde_json::json;

use super::{
    testing::{
        NONCE, NOW_S, TestAnswer, TestProvider, response, run, run_in_no_time, sign_in_spec,
    },
    *,
};
use crate::{
    identity::{
        session::SessionId,
        spec::{ClientSecret, ProviderPreset},
    },
    tls::TrustAnchors,
    upstream::{DnsFamily, DnsSpec},
};
use jsonwebtoken::Algorithm;

use crate::identity::jose::testing::KEYS;

const METADATA: &str = "/.well-known/openid-configuration";

/// Our side, its clock, and what it has published and counted.
struct Ours {
    provider: Provider,
    now_s: Rc<Cell<u64>>,
    shared: Arc<IdentityShared>,
    metrics: Arc<IdentityMetrics>,
}

fn ours(spec: SignInSpec) -> Ours {
    let names = Arc::new(DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred }));
    let shared = Arc::new(IdentityShared::new([0; 16]));
    let metrics = Arc::<IdentityMetrics>::default();
    let now_s = Rc::new(Cell::new(NOW_S));
    let clock = Rc::clone(&now_s);
    let provider = Provider::new(
        Arc::new(spec),
        names,
        Arc::clone(&shared),
        Arc::clone(&metrics),
        Rc::new(move || clock.get()),
    );
    Ours { provider, now_s, shared, metrics }
}

fn of(theirs: &TestProvider) -> Ours {
    ours(sign_in_spec(&theirs.url))
}

impl Ours {
    async fn exchange(&self) -> Result<VerifiedSignIn, ProviderFailure> {
        let exchange = CodeExchange { provider: self.provider.spec().provider.id(), ..code() };
        self.provider.exchange(&exchange).await
    }
}

fn code() -> CodeExchange {
    CodeExchange {
        provider: ProviderId([0; 16]),
        code: "the code&".into(),
        verifier: "the-verifier".into(),
        nonce: NONCE.into(),
        redirect_uri: "https://a.example/oauth2/callback".into(),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        session: SessionId([1; 16]),
        ends_at_s: NOW_S + 50_000,
    }
}

async fn failure(ours: &Ours) -> ProviderFailure {
    match ours.exchange().await {
        Ok(_) => panic!("the sign-in is good"),
        Err(failure) => failure,
    }
}

async fn is_invalid(ours: &Ours) -> bool {
    matches!(failure(ours).await, ProviderFailure::Invalid(_))
}

#[test]
fn a_code_becomes_a_person_with_the_claims_of_both_sources() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = of(&theirs);
        let verified = ours.exchange().await.unwrap();
        let identity = verified.person.identity;
        assert_eq!((&*identity.user_id, &*identity.email), ("ann", "ann@example.com"));
        assert_eq!(Value::Object(identity.claims), json!({"groups": ["dev"]}));
        assert_eq!(&*verified.person.name, "Ann");
        assert_eq!(verified.tokens.refresh_token.as_deref(), Some("refresh-1"));
        assert!(!verified.id_token.claims.contains_key("groups"), "that is UserInfo's");
        let view = ours.shared.provider(ours.provider.spec().provider.id()).unwrap();
        assert_eq!(*view.authorization_endpoint, format!("{}/auth", theirs.url));
        let calls = |endpoint| ours.metrics.calls(endpoint, ProviderCallOutcome::Ok);
        use ProviderEndpoint::*;
        assert_eq!([Metadata, Jwks, Token, Userinfo].map(calls), [1; 4]);
    });
}

#[test]
fn the_token_endpoint_gets_verifier_and_encoded_credentials() {
    run(async {
        let theirs = TestProvider::start().await;
        of(&theirs).exchange().await.unwrap();
        let [call] = &theirs.seen("/token")[..] else { panic!("one call") };
        assert_eq!(
            call.body,
            "grant_type=authorization_code&code=the+code%26\
             &redirect_uri=https%3A%2F%2Fa.example%2Foauth2%2Fcallback&code_verifier=the-verifier"
        );
        // RFC 6749, section 2.3.1: `client` and `se+cr/et %:`, form-encoded, joined by a colon.
        let basic = BASE64_STANDARD.encode("client:se%2Bcr%2Fet+%25%3A");
        assert!(call.head.contains(&format!("authorization: Basic {basic}\r\n")), "{}", call.head);
        for field in ["accept-encoding: identity", "connection: close"] {
            assert!(call.head.contains(field), "{}", call.head);
        }
        let [call] = &theirs.seen("/userinfo")[..] else { panic!("one call") };
        assert!(call.head.contains("authorization: Bearer the-access-token\r\n"));
    });
}

#[test]
fn credentials_go_into_the_form_where_the_provider_wants_that() {
    run(async {
        let theirs = TestProvider::start().await;
        let mut metadata = theirs.metadata();
        metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        theirs.json(METADATA, 200, metadata);
        of(&theirs).exchange().await.unwrap();
        let mut public = sign_in_spec(&theirs.url);
        public.provider.client_secret = None;
        ours(public).exchange().await.unwrap();
        let [post, public] = &theirs.seen("/token")[..] else { panic!("two calls") };
        assert!(post.body.ends_with("&client_id=client&client_secret=se%2Bcr%2Fet+%25%3A"));
        assert!(public.body.ends_with("&client_id=client"));
        assert!(!post.head.contains("authorization:") && !public.head.contains("authorization:"));
    });
}

#[test]
fn an_id_token_that_is_not_ours_is_refused() {
    run(async {
        let theirs = TestProvider::start().await;
        for (claim, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!(format!("{}/", theirs.url))),
            ("aud", json!("other")),
            ("nonce", json!("other")),
            ("nonce", json!(null)),
            ("sub", json!("")),
            ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ] {
            let mut claims = theirs.claims();
            claims[claim] = value.clone();
            theirs.json("/token", 200, theirs.tokens(&claims));
            assert!(is_invalid(&of(&theirs)).await, "{claim} {value}");
        }
        let mut tokens = theirs.tokens(&theirs.claims());
        tokens["id_token"] = KEYS.token(Algorithm::ES384, &theirs.claims()).into();
        theirs.json("/token", 200, tokens.clone());
        assert!(is_invalid(&of(&theirs)).await, "an algorithm that the metadata lacks");
        tokens.as_object_mut().unwrap().remove("id_token");
        theirs.json("/token", 200, tokens);
        assert!(is_invalid(&of(&theirs)).await, "no ID token");
    });
}

#[test]
fn a_provider_whose_clock_differs_is_told_apart() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = of(&theirs);
        for (difference, is_good) in [(-45_i64, true), (45, true), (-3720, false), (120, false)] {
            ours.now_s.set(NOW_S.saturating_add_signed(-difference));
            let result = ours.exchange().await;
            assert_eq!(result.is_ok(), is_good, "{difference}");
            if let Err(failure) = result {
                assert!(matches!(failure, ProviderFailure::Clock { .. }), "{failure}");
            }
        }
    });
}

#[test]
fn userinfo_of_another_user_fails_the_sign_in() {
    run(async {
        let theirs = TestProvider::start().await;
        for user_info in [json!({"sub": "bob"}), json!({"email": "x@y.example"}), json!({"sub": 1})]
        {
            theirs.json("/userinfo", 200, user_info);
            assert!(is_invalid(&of(&theirs)).await);
        }
        let own = json!({"sub": "ann", "iss": "https://evil.example", "aud": "x", "exp": 1});
        theirs.json("/userinfo", 200, own);
        assert!(of(&theirs).exchange().await.is_ok());
    });
}

#[test]
fn userinfo_may_be_signed() {
    run(async {
        let theirs = TestProvider::start().await;
        let mut metadata = theirs.metadata();
        metadata["userinfo_signing_alg_values_supported"] = json!(["ES256"]);
        theirs.json(METADATA, 200, metadata);
        let signed = |claims: &Value| {
            let token = KEYS.token(Algorithm::ES256, claims);
            let length = token.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/jwt\r\n";
            TestAnswer::Raw(format!("{head}content-length: {length}\r\n\r\n{token}").into())
        };
        let mut claims = json!({
            "iss": theirs.url, "aud": "client", "sub": "ann", "groups": ["signed"],
        });
        theirs.answer("/userinfo", signed(&claims));
        let verified = of(&theirs).exchange().await.unwrap();
        assert_eq!(verified.person.identity.claims["groups"], json!(["signed"]));
        claims["aud"] = "other".into();
        theirs.answer("/userinfo", signed(&claims));
        assert!(is_invalid(&of(&theirs)).await);
    });
}

#[test]
fn a_refused_code_is_told_apart_from_a_provider_that_fails() {
    run(async {
        let theirs = TestProvider::start().await;
        theirs.json("/token", 400, json!({"error": "invalid_grant", "error_description": "x"}));
        let refused = ProviderFailure::Refused { error: "invalid_grant".into() };
        let ours = of(&theirs);
        assert_eq!(failure(&ours).await, refused);
        let outcome = ProviderCallOutcome::Refused;
        assert_eq!(ours.metrics.calls(ProviderEndpoint::Token, outcome), 1);
        for status in [500, 503, 429] {
            theirs.json("/token", status, json!({"error": "invalid_grant"}));
            assert!(matches!(failure(&of(&theirs)).await, ProviderFailure::Away(_)), "{status}");
        }
        theirs.json("/token", 200, json!({"error": "invalid_grant"}));
        assert_eq!(failure(&of(&theirs)).await, refused);
    });
}

#[test]
fn no_redirect_is_followed() {
    run(async {
        let theirs = TestProvider::start().await;
        let inside = TestProvider::start().await;
        let location = format!("location: {}{METADATA}\r\n", inside.url);
        let redirect = format!("HTTP/1.1 302 X\r\n{location}content-length: 0\r\n\r\n");
        for path in ["/userinfo", "/token", "/jwks", METADATA] {
            theirs.answer(path, TestAnswer::Raw(redirect.clone().into()));
            assert!(is_invalid(&of(&theirs)).await, "{path}");
        }
        assert!(inside.seen(METADATA).is_empty());
    });
}

#[test]
fn an_answer_that_is_too_large_compressed_or_no_json_is_refused() {
    run(async {
        let theirs = TestProvider::start().await;
        let padding = " ".repeat(1 << 20);
        let mut answers = vec![
            (METADATA, theirs.metadata()),
            ("/jwks", json!({"keys": KEYS.set()})),
            ("/token", theirs.tokens(&theirs.claims())),
            ("/userinfo", json!({"sub": "ann"})),
        ];
        for (path, good) in &mut answers {
            let good = good.to_string();
            let with = |fields, body: &str| TestAnswer::Raw(response(200, fields, body));
            for (what, answer) in [
                ("too large", with("", &format!("{good}{padding}"))),
                ("compressed", with("content-encoding: gzip\r\n", &good)),
                ("HTML", with("", "<html>")),
                ("nothing", with("", "")),
                ("not found", TestAnswer::Json(404, json!({}))),
            ] {
                theirs.answer(path, answer);
                assert!(is_invalid(&of(&theirs)).await, "{path} {what}");
            }
            let fields = "content-type: text/html; charset=x\r\ncontent-encoding: identity\r\n";
            theirs.answer(path, with(fields, &format!("{good}{}", &padding[1 << 12..])));
            assert!(of(&theirs).exchange().await.is_ok(), "{path}");
        }
        let huge = format!("{}{padding}", theirs.tokens(&theirs.claims()));
        let chunks = format!("{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len());
        let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        theirs.answer("/token", TestAnswer::Raw(chunked.into()));
        assert!(is_invalid(&of(&theirs)).await);
    });
}

#[test]
fn a_provider_that_is_dead_or_breaks_off_is_away() {
    run(async {
        let theirs = TestProvider::start().await;
        for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "nonsense\r\n\r\n"] {
            theirs.answer("/token", TestAnswer::Raw(bytes.into()));
            assert!(matches!(failure(&of(&theirs)).await, ProviderFailure::Away(_)), "{bytes}");
        }
        // A port that was just given back.
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ours = ours(sign_in_spec(&format!("http://{dead}")));
        assert!(matches!(failure(&ours).await, ProviderFailure::Away(_)));
    });
}

#[test]
fn a_provider_that_hangs_or_drips_is_given_up_in_ten_seconds() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        for answer in [TestAnswer::Hang, TestAnswer::Drip] {
            theirs.answer("/token", answer);
            let begun = tokio::time::Instant::now();
            assert!(matches!(failure(&of(&theirs)).await, ProviderFailure::Away(_)));
            assert!(begun.elapsed() <= std::time::Duration::from_secs(11));
        }
    });
}

#[test]
fn new_keys_are_fetched_when_a_token_names_an_unknown_one() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = of(&theirs);
        theirs.json("/jwks", 200, json!({"keys": []}));
        for _ in 0..5 {
            assert!(is_invalid(&ours).await);
        }
        assert_eq!(theirs.seen("/jwks").len(), 2, "the first, and one more for all five");
        theirs.json("/jwks", 200, json!({"keys": KEYS.set()}));
        ours.now_s.set(NOW_S + 59);
        assert!(is_invalid(&ours).await);
        ours.now_s.set(NOW_S + 60);
        assert!(ours.exchange().await.is_ok());
    });
}

#[test]
fn the_old_keys_stay_while_the_provider_cannot_show_new_ones() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = of(&theirs);
        assert!(ours.exchange().await.is_ok());
        theirs.json("/jwks", 500, json!({}));
        theirs.json(METADATA, 200, json!({"issuer": "https://evil.example"}));
        ours.now_s.set(NOW_S + 3600);
        let mut claims = theirs.claims();
        claims["iat"] = (NOW_S + 3600).into();
        claims["exp"] = (NOW_S + 7200).into();
        theirs.json("/token", 200, theirs.tokens(&claims));
        assert!(ours.exchange().await.is_ok());
        assert_eq!(theirs.seen("/jwks").len(), 2);
    });
}

#[test]
fn metadata_of_another_issuer_is_refused_and_fetched_again() {
    run(async {
        let theirs = TestProvider::start().await;
        let good = theirs.metadata();
        let mut other = good.clone();
        other["issuer"] = "https://evil.example".into();
        theirs.json(METADATA, 200, other);
        let ours = of(&theirs);
        assert!(is_invalid(&ours).await);
        assert!(ours.shared.provider(ours.provider.spec().provider.id()).is_none());
        theirs.json(METADATA, 200, good);
        assert!(ours.exchange().await.is_ok());
    });
}

#[test]
fn a_tenant_that_is_not_listed_is_refused() {
    run(async {
        let theirs = TestProvider::start().await;
        let base = format!("{}/common/v2.0", theirs.url);
        let mut metadata = theirs.metadata();
        metadata["issuer"] = format!("{}/{{tenantid}}/v2.0", theirs.url).into();
        theirs.json("/common/v2.0/.well-known/openid-configuration", 200, metadata);
        let mut spec = sign_in_spec(&base);
        spec.provider.preset = ProviderPreset::Azure;
        spec.provider.tenants = vec!["good".into()];
        for (tid, in_issuer, is_good) in
            [("good", "good", true), ("evil", "evil", false), ("good", "evil", false)]
        {
            let mut claims = theirs.claims();
            claims["tid"] = tid.into();
            claims["iss"] = format!("{}/{in_issuer}/v2.0", theirs.url).into();
            theirs.json("/token", 200, theirs.tokens(&claims));
            let result = ours(spec.clone()).exchange().await;
            assert_eq!(result.is_ok(), is_good, "{tid} {in_issuer}");
        }
    });
}

#[test]
fn settings_that_keep_the_provider_need_no_new_metadata() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = of(&theirs);
        assert!(ours.exchange().await.is_ok());
        let mut spec = sign_in_spec(&theirs.url);
        spec.kept_claims = Arc::from([]);
        assert!(ours.provider.reconfigure(&Arc::new(spec.clone())));
        let verified = ours.exchange().await.unwrap();
        assert!(verified.person.identity.claims.is_empty());
        assert_eq!(theirs.seen(METADATA).len(), 1);
        spec.provider.client_secret = Some(ClientSecret("other".into()));
        assert!(!ours.provider.reconfigure(&Arc::new(spec)));
    });
}

#[test]
fn a_provider_whose_certificate_is_not_trusted_is_away() {
    run(async {
        let (tls, anchors) = certificate();
        let theirs = TestProvider::start_tls(tls).await;
        let mut spec = sign_in_spec(&theirs.url);
        assert!(matches!(failure(&ours(spec.clone())).await, ProviderFailure::Away(_)), "no roots");
        spec.anchors = Some(certificate().1);
        let other = failure(&ours(spec.clone())).await;
        assert!(matches!(other, ProviderFailure::Away(_)), "other roots");
        assert!(theirs.seen(METADATA).is_empty());
        spec.anchors = Some(anchors);
        assert!(ours(spec.clone()).exchange().await.is_ok());
        // The same address by a name that the certificate lacks.
        let by_address = theirs.url.replace("localhost", "127.0.0.1");
        let mut metadata = theirs.metadata();
        metadata["issuer"] = by_address.clone().into();
        theirs.json(METADATA, 200, metadata);
        spec.provider.issuer_url = by_address.into();
        assert!(matches!(failure(&ours(spec)).await, ProviderFailure::Away(_)), "another name");
    });
}

/// A new certificate for `localhost`, which is its own root.
fn certificate() -> (tokio_rustls::TlsAcceptor, Arc<TrustAnchors>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let anchors = TrustAnchors::from_pem(cert.pem().as_bytes(), "a test").unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    (Arc::new(config).into(), Arc::new(anchors))
}

#[test]
fn no_failure_shows_a_secret() {
    run(async {
        for (path, answer) in [
            ("/token", json!({"error": "bad"})),
            ("/token", json!({"access_token": "the-access-token"})),
            ("/userinfo", json!({"sub": "bob"})),
        ] {
            let theirs = TestProvider::start().await;
            theirs.json(path, 200, answer);
            let text = format!("{:?}", failure(&of(&theirs)).await);
            for secret in ["the-access-token", "the code", "the-verifier", "se+cr", NONCE] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    });
}
