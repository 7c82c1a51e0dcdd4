//! The control thread's part against a provider on loopback, with a clock of ours.

use std::{cell::Cell, net::Ipv4Addr};

use serde_json::{Value, json};

use super::*;
use crate::{
    control_call::{self, ControlCaller},
    identity::{
        calls::{
            CheckOutcome, CheckRequest, CodeExchange, OneTimeObject, RenewedSession, SignedIn,
            UseOnce,
        },
        provider::testing::{
            NONCE, NOW_S, TestAnswer, TestProvider, run, run_in_no_time, sign_in_spec,
        },
        shared::SessionUpdate,
        spec::WithoutRefreshToken,
    },
    observe::{ProviderCallOutcome, ProviderEndpoint},
    upstream::{DnsFamily, DnsSpec},
};

const METADATA: &str = "/.well-known/openid-configuration";
const SESSION: SessionId = SessionId([7; 16]);
/// Only a fault waits this long.
const LONG: Duration = Duration::from_secs(600);

struct Ours {
    control: IdentityControl,
    caller: ControlCaller<IdentityCall, IdentityReply>,
    shared: Arc<IdentityShared>,
    now_s: Rc<Cell<u64>>,
}

impl Ours {
    fn new(spec: SignInSpec) -> Ours {
        let names = Arc::new(DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred }));
        let shared = Arc::new(IdentityShared::new([0; 16]));
        let now_s = Rc::new(Cell::new(NOW_S));
        let clock = Rc::clone(&now_s);
        let clock: Clock = Rc::new(move || clock.get());
        let control =
            IdentityControl::with_clock(Arc::clone(&shared), names, Arc::default(), clock);
        let (caller, calls) = control_call::channel(512);
        control.configure(Some(Arc::new(spec)));
        spawn_local(control.clone().run(calls));
        Ours { control, caller, shared, now_s }
    }

    fn of(theirs: &TestProvider) -> Ours {
        Ours::new(sign_in_spec(&theirs.url))
    }

    async fn call(&self, call: IdentityCall) -> IdentityReply {
        self.caller.call(call, LONG).await.unwrap()
    }

    fn code(&self, network: u8) -> CodeExchange {
        CodeExchange {
            provider: self.control.0.provider().unwrap().spec().provider.id(),
            code: "code".into(),
            verifier: "verifier".into(),
            nonce: NONCE.into(),
            redirect_uri: "https://a.example/oauth2/callback".into(),
            client: Ipv4Addr::new(192, 0, 2, network).into(),
            session: SESSION,
            ends_at_s: NOW_S + 50_000,
        }
    }

    async fn sign_in(&self) -> SignedIn {
        match self.call(IdentityCall::Exchange(self.code(1))).await {
            IdentityReply::SignedIn(signed_in) => *signed_in,
            other => panic!("{other:?}"),
        }
    }

    async fn check(&self) -> CheckOutcome {
        match self.call(IdentityCall::Check(request())).await {
            IdentityReply::Checked(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn renewed(&self) -> Arc<RenewedSession> {
        match self.check().await {
            CheckOutcome::Good(renewed) => renewed,
            other => panic!("{other:?}"),
        }
    }

    async fn sign_out(&self, revoke: bool) {
        let ends_at_s = NOW_S + 50_000;
        let reply = self.call(IdentityCall::SignOut { session: SESSION, ends_at_s, revoke }).await;
        assert!(matches!(reply, IdentityReply::SignedOut));
        assert!(self.is_ended());
    }

    fn later(&self, seconds: u64) {
        self.now_s.set(self.now_s.get() + seconds);
    }

    fn is_ended(&self) -> bool {
        matches!(self.shared.update(SESSION), Some(SessionUpdate::Ended))
    }
}

fn request() -> CheckRequest {
    CheckRequest { session: SESSION, client: Ipv4Addr::LOCALHOST.into() }
}

/// What the token endpoint says to a refresh; no new ID token.
fn refreshed(next: &str) -> Value {
    json!({"access_token": "access-2", "token_type": "Bearer", "refresh_token": next})
}

fn is_away(outcome: &CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::ProviderAway)
}

fn is_over(outcome: &CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::Ended)
}

/// Waits until the provider has seen so many requests for a path.
async fn seen(theirs: &TestProvider, path: &str, count: usize) {
    let waits = async {
        while theirs.seen(path).len() < count {
            tokio::task::yield_now().await;
        }
    };
    let come = tokio::time::timeout(Duration::from_secs(60), waits).await;
    assert!(come.is_ok(), "{path}: {:?}", theirs.seen(path));
}

#[test]
fn a_sign_in_begins_a_session_that_is_checked_later() {
    run(async {
        let theirs = TestProvider::start().await;
        let signed_in = Ours::of(&theirs).sign_in().await;
        assert_eq!(&*signed_in.identity.email, "ann@example.com");
        assert_eq!((signed_in.ends_at_s, signed_in.check_at_s), (NOW_S + 50_000, NOW_S + 600));
        assert!(signed_in.id_token.is_some());
    });
}

#[test]
fn twenty_requests_at_a_check_s_time_make_one_refresh() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        let mut checks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let caller = ours.caller.clone();
            checks.spawn(async move { caller.call(IdentityCall::Check(request()), LONG).await });
        }
        for reply in checks.join_all().await {
            let good = matches!(reply, Ok(IdentityReply::Checked(CheckOutcome::Good(_))));
            assert!(good, "{reply:?}");
        }
        assert_eq!(theirs.seen("/token").len(), 2, "the code and one refresh");
    });
}

#[test]
fn each_refresh_uses_the_token_of_the_one_before() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        for next in ["refresh-2", "refresh-3"] {
            theirs.json("/token", 200, refreshed(next));
            ours.later(600);
            assert_eq!(ours.renewed().await.check_at_s, ours.now_s.get() + 600);
        }
        // A provider that does not rotate gives none: the old one stays.
        theirs.json("/token", 200, json!({"access_token": "a", "token_type": "Bearer"}));
        ours.later(600);
        ours.renewed().await;
        ours.later(600);
        ours.renewed().await;
        let used: Vec<_> = theirs.seen("/token").into_iter().map(|call| call.body).collect();
        let form = |token| format!("grant_type=refresh_token&refresh_token=refresh-{token}");
        assert_eq!(used[1..], [form(1), form(2), form(3), form(3)]);
    });
}

#[test]
fn a_rotated_refresh_token_is_kept_though_userinfo_fails() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        theirs.json("/userinfo", 500, json!({}));
        ours.later(600);
        assert!(is_away(&ours.check().await));
        ours.later(10);
        assert!(is_away(&ours.check().await));
        assert!(theirs.seen("/token")[2].body.ends_with("refresh_token=refresh-2"));
    });
}

#[test]
fn a_session_outlives_failures_and_ends_with_a_refusal() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        for (status, answer) in [
            (500, json!({})),
            (429, json!({})),
            (400, json!({"error": "temporarily_unavailable"})),
            (200, json!("<html>")),
            (401, json!({"error": "invalid_client"})),
            (400, json!({"error": "unauthorized_client"})),
        ] {
            ours.later(600);
            theirs.json("/token", status, answer.clone());
            assert!(is_away(&ours.check().await), "{status} {answer}");
            assert!(!ours.is_ended());
        }
        ours.later(600);
        theirs.json("/token", 400, json!({"error": "invalid_grant"}));
        assert!(is_over(&ours.check().await));
        assert!(ours.is_ended());
        let calls = theirs.seen("/token").len();
        assert!(is_over(&ours.check().await), "also for another host's cookie");
        assert_eq!(theirs.seen("/token").len(), calls);
    });
}

#[test]
fn a_user_whom_userinfo_refuses_or_confuses_is_out() {
    run(async {
        for (status, answer) in [(401, json!({})), (403, json!({})), (200, json!({"sub": "bob"}))] {
            let theirs = TestProvider::start().await;
            let ours = Ours::of(&theirs);
            ours.sign_in().await;
            theirs.json("/token", 200, refreshed("refresh-2"));
            theirs.json("/userinfo", status, answer.clone());
            ours.later(600);
            assert!(is_over(&ours.check().await), "{status} {answer}");
            assert!(ours.is_ended());
        }
    });
}

#[test]
fn a_refresh_with_another_user_s_id_token_ends_the_session() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let mut claims = theirs.claims();
        claims["sub"] = "bob".into();
        theirs.json("/token", 200, theirs.tokens(&claims));
        theirs.json("/userinfo", 200, json!({"sub": "bob"}));
        ours.later(600);
        assert!(is_over(&ours.check().await));
    });
}

#[test]
fn a_provider_is_asked_about_a_session_once_in_ten_seconds() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 500, json!({}));
        ours.later(600);
        for _ in 0..5 {
            assert!(is_away(&ours.check().await));
        }
        assert_eq!(theirs.seen("/token").len(), 2);
        ours.later(10);
        assert!(is_away(&ours.check().await));
        assert_eq!(theirs.seen("/token").len(), 3);
    });
}

#[test]
fn a_group_that_is_taken_away_leaves_the_session_on_all_workers() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        assert_eq!(ours.sign_in().await.identity.claims["groups"], json!(["dev"]));
        theirs.json("/token", 200, refreshed("refresh-2"));
        theirs.json("/userinfo", 200, json!({"sub": "ann"}));
        ours.later(600);
        assert!(ours.renewed().await.identity.claims.is_empty());
        let Some(SessionUpdate::Renewed(published)) = ours.shared.update(SESSION) else {
            panic!("not published")
        };
        assert!(published.identity.claims.is_empty());
        assert_eq!(&*published.name, "Ann", "the ID token's claims stay");
    });
}

#[test]
fn without_a_refresh_token_userinfo_is_asked() {
    run(async {
        let theirs = TestProvider::start().await;
        let mut tokens = theirs.tokens(&theirs.claims());
        tokens.as_object_mut().unwrap().remove("refresh_token");
        tokens["expires_in"] = 1000.into();
        theirs.json("/token", 200, tokens);
        let ours = Ours::of(&theirs);
        assert_eq!(ours.sign_in().await.ends_at_s, NOW_S + 1000);
        ours.later(600);
        assert_eq!(ours.renewed().await.check_at_s, NOW_S + 1000);
        assert_eq!((theirs.seen("/token").len(), theirs.seen("/userinfo").len()), (1, 2));
    });
}

#[test]
fn the_operator_may_let_a_session_outlive_its_access_token() {
    run(async {
        let theirs = TestProvider::start().await;
        let mut tokens = theirs.tokens(&theirs.claims());
        tokens.as_object_mut().unwrap().remove("refresh_token");
        theirs.json("/token", 200, tokens);
        let mut spec = sign_in_spec(&theirs.url);
        spec.without_refresh_token = WithoutRefreshToken::CookieExpire;
        let ours = Ours::new(spec);
        assert_eq!(ours.sign_in().await.ends_at_s, NOW_S + 50_000);
        ours.later(600);
        let renewed = ours.renewed().await;
        assert_eq!(renewed.identity.claims["groups"], json!(["dev"]));
        assert_eq!(theirs.seen("/userinfo").len(), 1, "the access token is over");
    });
}

#[test]
fn sign_out_is_published_and_revokes_the_refresh_token() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        ours.sign_out(true).await;
        seen(&theirs, "/revoke", 1).await;
        let revoked = theirs.seen("/revoke").remove(0).body;
        assert_eq!(revoked, "token=refresh-1&token_type_hint=refresh_token");
        assert!(is_over(&ours.check().await));
        ours.sign_out(true).await;
    });
}

#[test]
fn a_session_that_is_replaced_keeps_its_grant() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        ours.sign_out(false).await;
        assert_eq!(ours.control.0.waiting_revocations.get(), 0);
        assert!(theirs.seen("/revoke").is_empty());
    });
}

#[test]
fn a_sign_out_in_the_middle_of_a_refresh_wins() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        let caller = ours.caller.clone();
        let check =
            tokio::spawn(async move { caller.call(IdentityCall::Check(request()), LONG).await });
        seen(&theirs, "/token", 2).await;
        ours.sign_out(true).await;
        let reply = check.await.unwrap();
        assert!(matches!(reply, Ok(IdentityReply::Checked(CheckOutcome::Ended))), "{reply:?}");
        assert!(ours.is_ended());
        seen(&theirs, "/revoke", 2).await;
        let revoked = theirs.seen("/revoke").into_iter().map(|call| call.body);
        let revoked: Vec<_> = revoked.map(|body| body.contains("refresh-2")).collect();
        assert_eq!(revoked.iter().filter(|new| **new).count(), 1, "{revoked:?}");
    });
}

#[test]
fn sessions_of_a_provider_that_was_replaced_are_not_checked() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let other = TestProvider::start().await;
        ours.control.configure(Some(Arc::new(sign_in_spec(&other.url))));
        ours.later(600);
        assert!(matches!(ours.check().await, CheckOutcome::Unknown));
        assert_eq!((theirs.seen("/token").len(), other.seen("/token").len()), (1, 0));
        ours.control.configure(None);
        let reply = ours.call(IdentityCall::Check(request())).await;
        assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))));
    });
}

#[test]
fn a_configuration_that_needs_more_claims_gets_them_at_once() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        let mut spec = sign_in_spec(&theirs.url);
        spec.kept_claims = Arc::from(["groups".into(), "name".into()]);
        let digest = spec.claims_digest();
        ours.control.configure(Some(Arc::new(spec)));
        theirs.json("/token", 200, refreshed("refresh-2"));
        let renewed = ours.renewed().await;
        assert_eq!(renewed.identity.claims["name"], json!("Ann"));
        assert_eq!(renewed.claims_digest, digest);
        assert_eq!(theirs.seen(METADATA).len(), 1);
    });
}

#[test]
fn a_session_of_before_a_restart_is_unknown() {
    run(async {
        let theirs = TestProvider::start().await;
        assert!(matches!(Ours::of(&theirs).check().await, CheckOutcome::Unknown));
    });
}

#[test]
fn a_provider_that_hangs_fills_the_queue_and_nothing_else() {
    run_in_no_time(async {
        let theirs = TestProvider::start().await;
        theirs.answer("/token", TestAnswer::Hang);
        let ours = Ours::of(&theirs);
        assert!(matches!(ours.call(IdentityCall::Discover).await, IdentityReply::Ready));
        let mut sign_ins = tokio::task::JoinSet::new();
        for network in 0..200 {
            let caller = ours.caller.clone();
            let exchange = IdentityCall::Exchange(ours.code(network));
            sign_ins.spawn(async move { caller.call(exchange, LONG).await });
        }
        let begun = tokio::time::Instant::now();
        let mut busy = 0;
        while busy < 200 - 32 - 64 {
            let reply = sign_ins.join_next().await.unwrap().unwrap();
            assert!(matches!(reply, Ok(IdentityReply::Failed(ProviderFailure::Busy))));
            busy += 1;
        }
        let used = ours
            .call(IdentityCall::UseOnce {
                object: OneTimeObject::State,
                id: [1; 16],
                until_s: NOW_S + 60,
            })
            .await;
        assert!(matches!(used, IdentityReply::Used(UseOnce::First)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut away = 0;
        while let Some(reply) = sign_ins.join_next().await {
            let reply = reply.unwrap().unwrap();
            assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))), "{reply:?}");
            away += 1;
        }
        assert_eq!(away, 32 + 64);
    });
}

#[test]
fn a_sign_in_takes_ten_seconds_at_most_whichever_call_is_slow() {
    run_in_no_time(async {
        let slow = Duration::from_secs(6);
        for path in ["/jwks", "/token", "/userinfo", "two of them"] {
            let theirs = TestProvider::start().await;
            match path {
                "two of them" => {
                    let tokens = theirs.tokens(&theirs.claims());
                    theirs.answer("/token", TestAnswer::Late(slow, tokens));
                    theirs.answer("/userinfo", TestAnswer::Late(slow, json!({"sub": "ann"})));
                }
                path => theirs.answer(path, TestAnswer::Drip),
            }
            let ours = Ours::of(&theirs);
            let begun = tokio::time::Instant::now();
            let reply = ours.call(IdentityCall::Exchange(ours.code(1))).await;
            assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))), "{reply:?}");
            assert!(begun.elapsed() <= Duration::from_secs(11), "{path}");
            let slow = match path {
                "/jwks" => ProviderEndpoint::Jwks,
                "/token" => ProviderEndpoint::Token,
                _ => ProviderEndpoint::Userinfo,
            };
            let calls = ours.control.0.metrics.calls(slow, ProviderCallOutcome::Unavailable);
            assert_eq!(calls, 1, "{path}: a call that is given up counts");
        }
    });
}

#[test]
fn a_sign_in_whose_browser_has_gone_leaves_no_grant_behind() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let caller = ours.caller.clone();
        let exchange = IdentityCall::Exchange(ours.code(1));
        let exchange = tokio::spawn(async move { caller.call(exchange, LONG).await });
        seen(&theirs, "/token", 1).await;
        exchange.abort();
        seen(&theirs, "/revoke", 1).await;
        assert!(matches!(ours.check().await, CheckOutcome::Unknown));
    });
}

#[test]
fn sign_in_works_as_soon_as_the_provider_is_back() {
    run(async {
        let theirs = TestProvider::start().await;
        let good = theirs.metadata();
        theirs.json(METADATA, 503, json!({}));
        let ours = Ours::of(&theirs);
        let reply = ours.call(IdentityCall::Discover).await;
        assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))));
        theirs.json(METADATA, 200, good);
        assert!(matches!(ours.call(IdentityCall::Discover).await, IdentityReply::Ready));
        assert!(ours.shared.provider(sign_in_spec(&theirs.url).provider.id()).is_some());
        ours.sign_in().await;
    });
}

#[test]
fn what_is_over_is_forgotten() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        ours.sign_in().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        ours.renewed().await;
        ours.later(49_400);
        ours.control.0.remove_expired();
        assert!(ours.shared.update(SESSION).is_some(), "its last second");
        ours.later(1);
        ours.control.0.remove_expired();
        assert!(ours.shared.update(SESSION).is_none());
        assert!(ours.control.0.sessions.borrow().get(SESSION).is_none());
    });
}

#[test]
fn an_id_and_a_handover_are_served_once() {
    run(async {
        let theirs = TestProvider::start().await;
        let ours = Ours::of(&theirs);
        let id = [3; 16];
        let used =
            || IdentityCall::UseOnce { object: OneTimeObject::State, id, until_s: NOW_S + 60 };
        assert!(matches!(ours.call(used()).await, IdentityReply::Used(UseOnce::First)));
        assert!(matches!(ours.call(used()).await, IdentityReply::Used(UseOnce::Again)));
        let sealed = bytes::Bytes::from_static(b"sealed");
        let kept = ours.call(IdentityCall::KeepHandover { id, sealed: sealed.clone() }).await;
        assert!(matches!(kept, IdentityReply::Ready));
        let take = || IdentityCall::TakeHandover { id };
        let taken = ours.call(take()).await;
        assert!(matches!(taken, IdentityReply::Handover(Some(taken)) if taken == sealed));
        assert!(matches!(ours.call(take()).await, IdentityReply::Handover(None)));
    });
}

mod clients;
mod end_user;
mod provider_logout;
mod state;
mod token_keys;
