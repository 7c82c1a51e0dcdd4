use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{Request, request::Parts};
use ring::rand::SystemRandom;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::*;
use crate::{
    control_call::{ControlCalls, channel},
    http::{
        ClientConnection, Peer, RequestConfig,
        testing::{people, settings, sign_in_spec},
    },
    identity::{
        calls::RenewedSession,
        provider_tokens::ProviderTokens,
        session::{ProviderId, SessionId},
        shared::{IdentityShared, SessionUpdate},
        spec::{SignInSpec, TokenHost},
        worker::IdentityHandle,
    },
    observe::{RouteMetrics, WorkerObserver},
    policy::Identity,
    route::{HostMatch, WildcardHost},
    upstream::Upstreams,
};

const NOW: u64 = 1_800_000_000;

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW)))
    }
}

/// A worker, and the control thread's side of it.
struct Bench {
    conn: Rc<ClientConnection>,
    shared: Arc<IdentityShared>,
    calls: ControlCalls<IdentityCall, IdentityReply>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(sign_in_spec())
    }

    fn with(sign_in: SignInSpec) -> Bench {
        let metrics = Arc::new(RouteMetrics::new(1));
        let config = RequestConfig::new(settings(), Vec::new(), metrics, Arc::default());
        let config = config.with_people(Arc::new(people(Some(sign_in))));
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

    /// The cookies of a session at this host.
    fn cookie(&self, host: &str, session: &Session) -> String {
        let config = self.conn.handler.config();
        let sign_in = config.sign_in().unwrap();
        let none = HeaderMap::new();
        let set = sign_in.seal((host, &none), session, false, NOW, &SystemRandom::new());
        let [field] = set.as_slice() else { panic!("{} cookies", set.len()) };
        field.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    /// The token of a program for a session at this host.
    fn token(&self, host: &str, session: &Session) -> String {
        let config = self.conn.handler.config();
        config.sign_in().unwrap().token(host, session, &SystemRandom::new()).unwrap()
    }

    /// The user of a program with this token, and how many cookies are set and deleted.
    fn user_of_token(&self, host: &str, token: &str) -> (Option<String>, usize) {
        let Begun { mut active, .. } = self.begun("");
        let known = {
            let credentials = Credentials::Token(token.as_bytes());
            let Poll::Ready(known) =
                poll(pin!(session(&mut active, credentials, host, SessionNeeds::default())))
            else {
                panic!("it waits");
            };
            known
        };
        let set = known.as_ref().map_or(0, |known| known.set_cookies().len());
        (
            known.map(|known| known.session.identity.user_id.to_string()),
            set + active.junk_cookies.len(),
        )
    }

    fn user(&self, host: &str, cookie: &str) -> Option<String> {
        self.begun(cookie).settled(host).0
    }

    fn begun(&self, cookie: &str) -> Begun {
        let request = Request::get("/").header("cookie", cookie).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        Begun { active: ActiveRequest::begin(&self.conn, &parts), parts }
    }

    fn count(&self, outcome: SessionCookieOutcome) -> u64 {
        self.conn.handler.observer.metrics.session_cookies.get(outcome)
    }
}

struct Begun {
    active: Box<ActiveRequest>,
    parts: Parts,
}

impl Begun {
    /// The user, and how many cookies are deleted and set with the answer.
    fn settled(mut self, host: &str) -> (Option<String>, usize, usize) {
        let Poll::Ready(user) = poll(pin!(user(&mut self.active, &self.parts, host))) else {
            panic!("it waits");
        };
        let set = self.active.account.session().map_or(0, |known| known.set_cookies().len());
        (user, self.active.junk_cookies.len(), set)
    }
}

async fn user(active: &mut ActiveRequest, parts: &Parts, host: &str) -> Option<String> {
    let cookies = Credentials::Cookies(&parts.headers);
    session(active, cookies, host, SessionNeeds::default())
        .await
        .map(|known| known.session.identity.user_id.to_string())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn alice() -> Session {
    let spec = sign_in_spec();
    Session {
        id: SessionId([1; 16]),
        provider: spec.provider.id(),
        binding: [3; 16],
        identity: Identity { user_id: "alice".into(), ..Identity::default() },
        name: "Alice".into(),
        claims_digest: spec.claims_digest(),
        signed_in_at_s: NOW - 100,
        ends_at_s: NOW + 3_000,
        check_at_s: NOW + 500,
        tokens: None,
    }
}

fn overdue() -> Session {
    Session { check_at_s: NOW - 61, ..alice() }
}

fn renewed(user: &str) -> Arc<RenewedSession> {
    Arc::new(RenewedSession {
        identity: Identity { user_id: user.into(), ..Identity::default() },
        name: "A".into(),
        claims_digest: sign_in_spec().claims_digest(),
        check_at_s: NOW + 600,
        ends_at_s: NOW + 3_000,
        tokens: None,
    })
}

/// What a request with an overdue session comes to if the control thread answers this.
fn after_check(session: &Session, reply: Option<IdentityReply>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut bench = Bench::new();
    let cookie = bench.cookie("a.example", session);
    let mut begun = bench.begun(&cookie);
    runtime.block_on(async {
        let asking = user(&mut begun.active, &begun.parts, "a.example");
        let answering = async {
            let call = bench.calls.next().await.unwrap();
            assert!(
                matches!(&call.request, IdentityCall::Check(check) if check.session == session.id)
            );
            match reply {
                Some(reply) => call.answer(reply),
                None => drop(call),
            }
        };
        tokio::join!(asking, answering).0
    })
}

fn checked(outcome: CheckOutcome) -> Option<IdentityReply> {
    Some(IdentityReply::Checked(outcome))
}

/// A request at a route whose upstream gets the access token: the token, and how often the control thread
/// was asked. It answers with this one, if there is one.
fn token_of(session: &Session, answer: Option<&str>, requests: usize) -> (Vec<String>, usize) {
    let (found, asked, _) = tokens_of(session, answer, requests);
    (found, asked)
}

/// The same, and how many cookies the last response sets.
fn tokens_of(
    session: &Session,
    answer: Option<&str>,
    requests: usize,
) -> (Vec<String>, usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let tokens = |access: &str| ProviderTokens { access: access.into(), id: "id".into() };
    let mut bench = Bench::with(tokens_at("a.example"));
    let cookie = bench.cookie("a.example", session);
    let needs = SessionNeeds { tokens: ACCESS, ..SessionNeeds::default() };
    let (mut asked, mut set) = (0, 0);
    let found = (0..requests).map(|_| {
        let mut begun = bench.begun(&cookie);
        runtime.block_on(async {
            let credentials = Credentials::Cookies(&begun.parts.headers);
            let asking = super::session(&mut begun.active, credentials, "a.example", needs);
            tokio::select! {
                biased;
                known = asking => {
                    let known = known.unwrap();
                    set = known.set_cookies().len();
                    let tokens = known.session.tokens.clone();
                    tokens.map(|tokens| tokens.access.to_string()).unwrap_or_default()
                }
                () = async {
                    let call = bench.calls.next().await.unwrap();
                    asked += 1;
                    let tokens = answer.map(|access| Arc::new(tokens(access)));
                    let Session { check_at_s, ends_at_s, name, .. } = session.clone();
                    let renewed = (*renewed("alice")).clone();
                    let renewed =
                        RenewedSession { tokens, check_at_s, ends_at_s, name, ..renewed };
                    call.answer(IdentityReply::Checked(CheckOutcome::Good(Arc::new(renewed))));
                    std::future::pending::<()>().await;
                } => unreachable!(),
            }
        })
    });
    let found = found.collect();
    (found, asked, set)
}

const ACCESS: WantedTokens = WantedTokens { access: true, id: false };

/// Sign-in where the upstreams of a host get the access token.
fn tokens_at(host: &str) -> SignInSpec {
    let spec = sign_in_spec();
    let host = HostMatch::Exact(host.into());
    let tokens = TokenHost { host, provider: spec.provider.id(), tokens: ACCESS };
    SignInSpec { token_hosts: [tokens].into(), ..spec }
}

#[test]
fn a_pattern_broader_than_the_cookie_domain_gets_its_tokens() {
    let pattern = HostMatch::Wildcard(WildcardHost {
        pattern: "*.example".into(),
        regex: regex::Regex::new(r"\A.*\.example\z").unwrap(),
    });
    let mut spec = tokens_at("a.example");
    let tokens = TokenHost { host: pattern, provider: spec.provider.id(), tokens: ACCESS };
    spec.token_hosts = [tokens].into();
    let mut cookies = spec.cookies.clone();
    for (domain, host) in [
        (None, "a.example"),
        (Some("apps.example"), "a.apps.example"),
        (Some("apps.example"), "b.example"),
    ] {
        cookies.domain = domain.map(Into::into);
        let bench = Bench::with(SignInSpec { cookies: cookies.clone(), ..spec.clone() });
        let config = bench.conn.handler.config();
        assert_eq!(config.sign_in().unwrap().wanted_tokens(host), ACCESS, "{domain:?} {host}");
    }
}

#[test]
fn a_session_without_the_token_of_its_route_gets_it_once() {
    let (found, asked) = token_of(&alice(), Some("access"), 3);
    assert_eq!((found, asked), (vec!["access".to_owned(); 3], 1));
    let (found, asked) = token_of(&alice(), None, 3);
    assert_eq!((found, asked), (vec![String::new(); 3], 1), "nobody waits for it again at once");
}

#[test]
fn tokens_too_long_for_cookies_are_remembered_without_them() {
    let long = "t".repeat(16_000);
    assert_eq!(tokens_of(&alice(), Some("access"), 2), (vec!["access".to_owned(); 2], 1, 1));
    assert_eq!(tokens_of(&alice(), Some(&long), 2), (vec![long.clone(); 2], 1, 0));
}

#[test]
fn a_session_has_no_other_tokens_than_its_host_s_upstreams_get() {
    let tokens = ProviderTokens { access: "access".into(), id: "id".into() };
    let with = Session { tokens: Some(Arc::new(tokens)), ..alice() };
    assert_eq!(token_of(&with, None, 1), (vec!["access".to_owned()], 0));
    for (host, kept) in [("a.example", Some("")), ("b.example", None)] {
        let bench = Bench::with(tokens_at("a.example"));
        let mut begun = bench.begun(&bench.cookie(host, &with));
        let user = poll(pin!(user(&mut begun.active, &begun.parts, host)));
        assert!(matches!(user, Poll::Ready(Some(_))), "{host}");
        let known = begun.active.account.session().unwrap();
        let id = known.session.tokens.as_ref().map(|tokens| &*tokens.id);
        assert_eq!(id, kept, "{host}");
        assert!(!known.set_cookies().is_empty(), "{host}: the cookie is sealed without it");
    }
}

#[test]
fn a_session_is_opened_once_and_then_remembered() {
    let bench = Bench::new();
    let cookie = bench.cookie("a.example", &alice());
    for _ in 0..3 {
        assert_eq!(bench.user("a.example", &format!("x=y; {cookie}")).as_deref(), Some("alice"));
    }
    assert_eq!(bench.count(SessionCookieOutcome::Opened), 1);
    assert_eq!(bench.count(SessionCookieOutcome::Remembered), 2);
}

#[test]
fn a_session_counts_at_its_own_host_alone() {
    let bench = Bench::new();
    let cookie = bench.cookie("a.example", &alice());
    assert!(bench.user("a.example", &cookie).is_some());
    assert!(bench.user("b.example", &cookie).is_none());
    assert!(bench.user("a.example", &cookie).is_some());
    assert_eq!(bench.count(SessionCookieOutcome::Refused), 1);
}

#[test]
fn cookies_that_a_sibling_host_plants_never_stand_for_a_session() {
    let bench = Bench::new();
    let cookie = bench.cookie("a.example", &alice());
    // Longer paths come first, so a sibling's cookies do.
    let planted: Vec<String> = (0..60).map(|number| format!("s_9=planted-{number}")).collect();
    let planted = planted.join("; ");
    let both = format!("{planted}; {cookie}");
    assert_eq!(bench.user("a.example", &both).as_deref(), Some("alice"));
    assert_eq!(bench.user("a.example", &planted), None);
}

#[test]
fn a_session_of_another_provider_or_that_has_run_out_does_not_count() {
    let bench = Bench::new();
    for session in [
        Session { provider: ProviderId([9; 16]), ..alice() },
        Session { ends_at_s: NOW, ..alice() },
    ] {
        let cookie = bench.cookie("a.example", &session);
        assert!(bench.user("a.example", &cookie).is_none());
    }
}

#[test]
fn a_cookie_that_does_not_open_is_deleted_and_nobody_is_signed_in() {
    let bench = Bench::new();
    assert_eq!(bench.begun("s=junk; s_1=more").settled("a.example"), (None, 2, 0));
    assert_eq!(bench.begun("x=y").settled("a.example"), (None, 0, 0));
    let mut cookie = bench.cookie("a.example", &alice());
    assert_eq!(bench.begun(&cookie).settled("a.example"), (Some("alice".into()), 0, 0));
    cookie.replace_range(10..11, if cookie.as_bytes()[10] == b'A' { "B" } else { "A" });
    assert!(bench.user("a.example", &cookie).is_none(), "remembered by its tag alone");
}

#[test]
fn a_session_that_was_ended_does_not_count_at_the_next_request() {
    let bench = Bench::new();
    let cookie = bench.cookie("a.example", &alice());
    assert!(bench.user("a.example", &cookie).is_some());
    bench.shared.set_update(alice().id, Some(SessionUpdate::Ended));
    for _ in 0..2 {
        assert!(bench.user("a.example", &cookie).is_none());
    }
    let other = bench.cookie("b.example", &alice());
    assert!(bench.user("b.example", &other).is_none(), "a cookie seen for the first time");
    assert_eq!(bench.count(SessionCookieOutcome::Ended), 1);
    assert_eq!(bench.count(SessionCookieOutcome::Refused), 2);
    assert_eq!(bench.begun(&other).settled("b.example"), (None, 1, 0), "the cookie is deleted");
}

#[test]
fn what_a_check_brought_counts_at_once_and_is_sealed_anew() {
    let bench = Bench::new();
    let cookie = bench.cookie("a.example", &alice());
    assert_eq!(bench.begun(&cookie).settled("a.example"), (Some("alice".into()), 0, 0));
    bench.shared.set_update(alice().id, Some(SessionUpdate::Renewed(renewed("alicia"))));
    for _ in 0..2 {
        assert_eq!(bench.begun(&cookie).settled("a.example"), (Some("alicia".into()), 0, 1));
    }
}

#[test]
fn an_overdue_session_waits_for_its_check() {
    let good = checked(CheckOutcome::Good(renewed("alicia")));
    assert_eq!(after_check(&overdue(), good).as_deref(), Some("alicia"));
    assert_eq!(after_check(&overdue(), checked(CheckOutcome::Ended)), None);
    let away = checked(CheckOutcome::ProviderAway);
    assert_eq!(after_check(&overdue(), away).as_deref(), Some("alice"));
    assert_eq!(after_check(&overdue(), None).as_deref(), Some("alice"));
    let lacking = Session { claims_digest: [9; 8], ..alice() };
    assert_eq!(after_check(&lacking, checked(CheckOutcome::Ended)), None);
}

#[test]
fn a_session_from_before_a_restart_counts_for_ten_minutes() {
    let unknown = || checked(CheckOutcome::Unknown);
    let until = |check_at_s| after_check(&Session { check_at_s, ..alice() }, unknown());
    assert_eq!(until(NOW - 599).as_deref(), Some("alice"));
    assert_eq!(until(NOW - 600), None);
}

#[test]
fn a_program_s_token_counts_at_its_host_and_sets_no_cookie() {
    let bench = Bench::new();
    let token = bench.token("a.example", &alice());
    for _ in 0..3 {
        assert_eq!(bench.user_of_token("a.example", &token), (Some("alice".into()), 0));
    }
    assert_eq!(bench.user_of_token("b.example", &token), (None, 0));
    assert_eq!(bench.count(SessionCookieOutcome::Opened), 1);
    assert_eq!(bench.count(SessionCookieOutcome::Remembered), 2);
    bench.shared.set_update(alice().id, Some(SessionUpdate::Renewed(renewed("alicia"))));
    assert_eq!(bench.user_of_token("a.example", &token), (Some("alicia".into()), 0));
    bench.shared.set_update(alice().id, Some(SessionUpdate::Ended));
    assert_eq!(bench.user_of_token("a.example", &token), (None, 0));
}

#[test]
fn a_token_is_no_cookie_and_a_cookie_no_token() {
    let bench = Bench::new();
    let (token, cookie) = (bench.token("a.example", &alice()), bench.cookie("a.example", &alice()));
    assert!(bench.user("a.example", &format!("s={token}")).is_none());
    assert!(bench.user("a.example", &cookie).is_some());
    let (_, value) = cookie.split_once('=').unwrap();
    for presented in [&*cookie, value, "", "."] {
        assert_eq!(bench.user_of_token("a.example", presented), (None, 0), "{presented}");
    }
}
