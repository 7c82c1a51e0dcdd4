//! Bearer tokens of requests, with a worker whose control thread the tests play.

use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};

use http::Request;
use jsonwebtoken::Algorithm;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};

use super::*;
use crate::{
    control_call::{ControlCalls, channel},
    http::{
        ClientConnection, Peer, RequestConfig, RequestHandler,
        testing::{people, settings, sign_in_spec},
    },
    identity::{
        bearer::spec::TokenIssuerSpec,
        calls::ProviderFailure,
        jose::{
            AllowedAlgorithms,
            testing::{KEYS, NOW_S, parse_set, with},
        },
        shared::IdentityShared,
        worker::IdentityHandle,
    },
    observe::{RouteMetrics, WorkerObserver},
    upstream::Upstreams,
};

const CI: &str = "https://ci.example";

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW_S)))
    }
}

static ISSUER: LazyLock<Arc<TokenIssuerSpec>> = LazyLock::new(|| issuer("app"));

fn issuer(audience: &str) -> Arc<TokenIssuerSpec> {
    Arc::new(TokenIssuerSpec {
        name: "ci".into(),
        issuer: CI.into(),
        jwks_url: None,
        algorithms: AllowedAlgorithms::from_metadata(Some(&["ES256"])),
        audiences: [audience.into()].into(),
        anchors: None,
    })
}

fn rules(issuer: &Arc<TokenIssuerSpec>) -> BearerRules {
    BearerRules::new(BearerFormat::Jwt { issuers: [Arc::clone(issuer)].into() })
}

fn token(change: Value) -> String {
    let claims =
        json!({"iss": CI, "sub": "job", "aud": "app", "iat": NOW_S - 5, "exp": NOW_S + 300});
    KEYS.token(Algorithm::ES256, &with(claims, change))
}

fn keys(keys: &[Value]) -> TokenKeys {
    TokenKeys {
        issuer: CI.into(),
        algorithms: ISSUER.algorithms.clone(),
        keys: Arc::new(parse_set(keys)),
        fresh_until_s: NOW_S + 300,
        forced_at_s: None,
        is_away: false,
        serial: 1,
    }
}

type Outcome = Option<Result<String, BearerRefusal>>;

struct Bench {
    conn: Rc<ClientConnection>,
    shared: Arc<IdentityShared>,
    calls: ControlCalls<IdentityCall, IdentityReply>,
}

impl Bench {
    fn new() -> Bench {
        let metrics = Arc::new(RouteMetrics::new(1));
        let config = RequestConfig::new(settings(), Vec::new(), metrics, Arc::default());
        let config = config.with_people(Arc::new(people(Some(sign_in_spec()))));
        let observer = Rc::new(WorkerObserver::detached(0));
        let (caller, calls) = channel(10);
        let shared = Arc::new(IdentityShared::new([7; 16]));
        let identity = IdentityHandle { caller, shared: Arc::clone(&shared) };
        let upstreams = Upstreams::new(observer.clone());
        let handler = RequestHandler::new(upstreams, observer, identity, Arc::new(config));
        let handler = Rc::new(handler.with_clock(Arc::new(Clock)));
        let conn = ClientConnection::new(&handler, Peer::new("192.0.2.1:5".parse().unwrap(), None));
        Bench { conn, shared, calls }
    }

    fn with_keys(published: TokenKeys) -> Bench {
        let bench = Bench::new();
        bench.shared.token_keys.set(ISSUER.id(), published);
        bench
    }

    fn ask(&mut self, rules: &BearerRules, authorization: &str) -> Outcome {
        self.ask_with(rules, &[("authorization", authorization)], Vec::new())
    }

    /// What a request comes to if the control thread does and answers this; it must ask so often.
    fn ask_with(
        &mut self,
        rules: &BearerRules,
        fields: &[(&str, &str)],
        answers: Vec<(Option<TokenKeys>, IdentityReply)>,
    ) -> Outcome {
        let request = fields
            .iter()
            .fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let active = ActiveRequest::begin(&self.conn, &parts);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let shared = Arc::clone(&self.shared);
        let calls = &mut self.calls;
        runtime.block_on(async {
            let asked = async {
                for (published, reply) in answers {
                    let call = calls.next().await.unwrap();
                    if let Some(published) = published {
                        shared.token_keys.set(ISSUER.id(), published);
                    }
                    call.answer(reply);
                }
            };
            let (outcome, ()) = tokio::join!(token_user(&active, (rules, None), &parts), asked);
            let user = |known: Rc<KnownToken>| known.identity.user_id.to_string();
            outcome.map(|known| known.map(user))
        })
    }
}

fn invalid(outcome: &Outcome) -> bool {
    matches!(outcome, Some(Err(BearerRefusal::Invalid(_))))
}

#[test]
fn a_good_token_names_the_user_without_the_control_thread() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    for scheme in ["Bearer", "bearer", "BEARER "] {
        let user = bench.ask(&rules(&ISSUER), &format!("{scheme} {}", token(json!({}))));
        assert_eq!(user, Some(Ok("ci/job".to_owned())));
    }
}

#[test]
fn another_scheme_or_none_is_no_bearer_token() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    assert_eq!(bench.ask(&rules(&ISSUER), "Basic dTpw"), None);
    assert_eq!(bench.ask(&rules(&ISSUER), "Bearerx y"), None);
    assert_eq!(bench.ask_with(&rules(&ISSUER), &[], Vec::new()), None);
}

#[test]
fn a_token_that_is_not_good_is_refused() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    for (what, authorization) in [
        ("empty", "Bearer".to_owned()),
        ("opaque", "Bearer opaque".to_owned()),
        ("of our own", "Bearer Pomerium-x".to_owned()),
        ("audience", format!("Bearer {}", token(json!({"aud": "x"})))),
        ("no audience", format!("Bearer {}", token(json!({"aud": null})))),
        ("issuer", format!("Bearer {}", token(json!({"iss": "https://x.example"})))),
        ("expired", format!("Bearer {}", token(json!({"exp": NOW_S - 61})))),
        ("two", format!("Bearer {0} {0}", token(json!({})))),
    ] {
        assert!(invalid(&bench.ask(&rules(&ISSUER), &authorization)), "{what}");
    }
    let good = format!("Bearer {}", token(json!({})));
    for other in ["Basic dTpw", &*good] {
        let fields = [("authorization", other), ("authorization", &*good)];
        assert!(invalid(&bench.ask_with(&rules(&ISSUER), &fields, Vec::new())), "{other}");
    }
}

#[test]
fn a_token_remembered_for_one_route_counts_at_no_other() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    let authorization = format!("Bearer {}", token(json!({})));
    assert_eq!(bench.ask(&rules(&ISSUER), &authorization), Some(Ok("ci/job".to_owned())));
    bench.shared.token_keys.set(ISSUER.id(), keys(&[]));
    let remembered = bench.ask(&rules(&ISSUER), &authorization);
    assert_eq!(remembered, Some(Ok("ci/job".to_owned())), "it is not verified again");
    bench.shared.token_keys.set(ISSUER.id(), keys(&KEYS.set()));
    assert!(invalid(&bench.ask(&rules(&issuer("other")), &authorization)));
    let identity_token = BearerRules::new(BearerFormat::IdentityToken { client_id: None });
    let away = IdentityReply::Failed(ProviderFailure::Busy);
    let fields = [("authorization", &*authorization)];
    let outcome = bench.ask_with(&identity_token, &fields, vec![(None, away)]);
    assert!(matches!(outcome, Some(Err(_))), "{outcome:?}");
}

#[test]
fn a_session_cookie_beside_a_jwt_is_refused_whatever_it_holds() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    let good = format!("Bearer {}", token(json!({})));
    for authorization in [&*good, "Bearer opaque"] {
        let fields = [("authorization", authorization), ("cookie", "a=b; s=x")];
        let outcome = bench.ask_with(&rules(&ISSUER), &fields, Vec::new());
        if authorization == good {
            assert_eq!(outcome, Some(Err(BearerRefusal::SessionBesides)));
        } else {
            assert!(matches!(outcome, Some(Err(_))));
        }
    }
    let fields = [("authorization", &*good), ("cookie", "a=b")];
    assert!(matches!(bench.ask_with(&rules(&ISSUER), &fields, Vec::new()), Some(Ok(_))));
}

#[test]
fn missing_and_old_keys_are_asked_for_once() {
    let authorization = format!("Bearer {}", token(json!({})));
    let fields = [("authorization", &*authorization)];
    let good = Some(Ok("ci/job".to_owned()));
    let fetched = || vec![(Some(keys(&KEYS.set())), IdentityReply::Ready)];
    let mut bench = Bench::new();
    assert_eq!(bench.ask_with(&rules(&ISSUER), &fields, fetched()), good);
    let old = TokenKeys { fresh_until_s: NOW_S - 60, ..keys(&[]) };
    let mut bench = Bench::with_keys(old);
    assert_eq!(bench.ask_with(&rules(&ISSUER), &fields, fetched()), good);
}

#[test]
fn keys_that_were_fresh_lately_are_used_while_newer_ones_are_fetched() {
    let old = TokenKeys { fresh_until_s: NOW_S - 59, ..keys(&KEYS.set()) };
    let mut bench = Bench::with_keys(old);
    let user = bench.ask(&rules(&ISSUER), &format!("Bearer {}", token(json!({}))));
    assert_eq!(user, Some(Ok("ci/job".to_owned())));
    let next = pin!(bench.calls.next()).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Some(call)) = next else { panic!("nobody fetches newer ones") };
    assert!(
        matches!(call.request, IdentityCall::RenewTokenKeys { issuer } if issuer == ISSUER.id())
    );
}

#[test]
fn old_keys_count_while_an_issuer_is_away_but_no_new_key_does() {
    let authorization = format!("Bearer {}", token(json!({})));
    let fields = [("authorization", &*authorization)];
    let away = || (None, IdentityReply::Failed(ProviderFailure::Away("x".to_owned())));
    let old = |set: &[Value]| TokenKeys { fresh_until_s: NOW_S - 5_000, ..keys(set) };
    let mut bench = Bench::with_keys(old(&KEYS.set()));
    let outcome = bench.ask_with(&rules(&ISSUER), &fields, vec![away()]);
    assert_eq!(outcome, Some(Ok("ci/job".to_owned())));
    let mut bench = Bench::with_keys(old(&[]));
    let outcome = bench.ask_with(&rules(&ISSUER), &fields, vec![away(), away()]);
    assert!(matches!(outcome, Some(Err(BearerRefusal::Unavailable(_)))), "{outcome:?}");
}

#[test]
fn the_debug_form_of_a_token_does_not_show_it() {
    let shown = format!("{:?}", PresentedToken::One("secret"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_token_of_a_new_key_waits_for_newer_keys_once_a_minute() {
    let authorization = format!("Bearer {}", token(json!({})));
    let fields = [("authorization", &*authorization)];
    let newer = TokenKeys { serial: 2, ..keys(&KEYS.set()) };
    let mut bench = Bench::with_keys(keys(&[]));
    let outcome =
        bench.ask_with(&rules(&ISSUER), &fields, vec![(Some(newer), IdentityReply::Ready)]);
    assert_eq!(outcome, Some(Ok("ci/job".to_owned())));
    let forced = TokenKeys { forced_at_s: Some(NOW_S - 59), ..keys(&[]) };
    let mut bench = Bench::with_keys(forced.clone());
    assert!(invalid(&bench.ask(&rules(&ISSUER), &authorization)), "nobody is asked");
    let mut bench = Bench::with_keys(keys(&[]));
    let outcome =
        bench.ask_with(&rules(&ISSUER), &fields, vec![(Some(forced), IdentityReply::Ready)]);
    assert!(invalid(&outcome), "the new keys have it neither");
}

#[test]
fn an_issuer_that_is_away_makes_a_token_unavailable_not_good() {
    let authorization = format!("Bearer {}", token(json!({})));
    let fields = [("authorization", &*authorization)];
    let unavailable =
        |outcome: Outcome| matches!(outcome, Some(Err(BearerRefusal::Unavailable(_))));
    for reply in [
        IdentityReply::Failed(ProviderFailure::Away("x".to_owned())),
        IdentityReply::Failed(ProviderFailure::Busy),
        IdentityReply::SignedOut,
        IdentityReply::Ready, // but nothing was published
    ] {
        let mut bench = Bench::new();
        assert!(unavailable(bench.ask_with(&rules(&ISSUER), &fields, vec![(None, reply)])));
    }
    let forced = TokenKeys { forced_at_s: Some(NOW_S), is_away: true, ..keys(&[]) };
    let mut bench = Bench::with_keys(forced);
    assert!(unavailable(bench.ask(&rules(&ISSUER), &authorization)), "it may have a new key");
}

#[test]
fn a_control_thread_that_never_answers_makes_a_token_unavailable() {
    let mut bench = Bench::new();
    let authorization = format!("Bearer {}", token(json!({})));
    // The clock of the runtime runs on when nothing else is left to do.
    let outcome = bench.ask(&rules(&ISSUER), &authorization);
    assert!(matches!(outcome, Some(Err(BearerRefusal::Unavailable(_)))), "{outcome:?}");
}

#[test]
fn a_known_token_is_found_without_waiting() {
    let mut bench = Bench::with_keys(keys(&KEYS.set()));
    let authorization = format!("Bearer {}", token(json!({})));
    assert!(matches!(bench.ask(&rules(&ISSUER), &authorization), Some(Ok(_))));
    let request = Request::get("/").header("authorization", &authorization).body(()).unwrap();
    let (parts, ()) = request.into_parts();
    let active = ActiveRequest::begin(&bench.conn, &parts);
    let rules = rules(&ISSUER);
    let mut user = pin!(token_user(&active, (&rules, None), &parts));
    let polled = user.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
}
