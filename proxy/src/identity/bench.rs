//! A door for the benchmarks to what is no part of this room's interface. Behind the feature
//! `bench`, which no build of the proxy has.

use std::{rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, header};
use ring::rand::SystemRandom;

use super::{
    bearer::spec::TokenSpec,
    config::{AssertedUser, IdentityConfig},
    flow::{RequestSession, SessionState, SignInContext, example_spec},
    memory::{KnownSession, SessionMemory},
    provider_tokens::WantedTokens,
    session::{Session, SessionId},
    shared::IdentityShared,
    spec::{IdentitySpec, IssuerFormat, ProviderSpec, SealSecret, SignInSpec},
};
use crate::policy::Identity;

const HOST: &str = "app.example.com";
const NOW_S: u64 = 1_800_000_000;
const EPOCH: u64 = 1;

/// The settings of which a proxy takes the cookies of [`session_cookies`], as YAML. Nobody is at the
/// provider's address: a session needs no check in its first hour.
pub const SETTINGS: &str = "\
idp_provider: oidc
idp_provider_url: http://127.0.0.1:1
idp_client_id: bench
idp_client_secret: bench
shared_secret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=
";

/// Values of the `Cookie` header at a host, each with a session of another person that began at this
/// second.
pub fn session_cookies(host: &str, now_s: u64, count: usize) -> Vec<String> {
    let worker = SessionWorker::new();
    (0..count).map(|number| worker.cookie(host, now_s, number)).collect()
}

/// A worker that people with sessions visit.
#[derive(Debug)]
pub struct SessionWorker {
    people: IdentityConfig,
    memory: SessionMemory,
    shared: IdentityShared,
    random: SystemRandom,
}

impl SessionWorker {
    /// One that remembers nobody yet.
    pub fn new() -> SessionWorker {
        let secret = SealSecret([7; 32]);
        let spec = IdentitySpec {
            sign_in: Some(Arc::new(sign_in())),
            shared_secret: None,
            signing_keys: Arc::default(),
            claim_headers: Arc::default(),
            tokens: Arc::new(TokenSpec::none()),
        };
        SessionWorker {
            people: IdentityConfig::new(&spec, &secret, EPOCH).expect("a derived key"),
            memory: SessionMemory::default(),
            shared: IdentityShared::new([7; 16]),
            random: SystemRandom::new(),
        }
    }

    /// The headers of requests by so many people: a `Cookie` field with a session of about 600 bytes,
    /// another cookie, and the cookie that binds the browser.
    pub fn requests(&self, count: usize) -> Vec<HeaderMap> {
        let request = |number| {
            let value = HeaderValue::try_from(self.cookie(HOST, NOW_S, number)).expect("a cookie");
            HeaderMap::from_iter([(header::COOKIE, value)])
        };
        (0..count).map(request).collect()
    }

    fn cookie(&self, host: &str, now_s: u64, number: usize) -> String {
        let context = self.people.sign_in.as_ref().expect("a provider").main();
        let session = session(context, now_s, number);
        let none = HeaderMap::new();
        let set = context.seal((host, &none), &session, false, now_s, &self.random);
        let pair = set[0].to_str().expect("text").split(';').next().unwrap_or_default();
        format!("theme=dark; __Host-pomerium_csrf=0123456789abcdef; {pair}")
    }

    /// Who makes a request: remembered, or opened and then remembered.
    ///
    /// # Panics
    /// When the session does not count.
    pub fn who(&self, headers: &HeaderMap) -> Rc<dyn std::fmt::Debug> {
        self.session(headers)
    }

    fn session(&self, headers: &HeaderMap) -> Rc<KnownSession> {
        let context = self.people.sign_in.as_ref().expect("a provider").main();
        let presented = context.presented(headers).expect("a session cookie");
        let remembered = self.memory.find(EPOCH, HOST, &presented);
        let known = remembered.unwrap_or_else(|| {
            let cookies = context.cookies.read(headers);
            let found = context.who(HOST, &cookies, &self.shared, NOW_S);
            let RequestSession { session, seal_again, .. } = found.expect("a session");
            let known = Rc::new(KnownSession::new(&presented, HOST, session, seal_again));
            self.memory.insert(EPOCH, &known);
            known
        });
        if known.is_to_be_judged(&self.shared) {
            let judged =
                context.judge(&known.session, &self.shared, NOW_S, WantedTokens::default());
            known.set_suspect(judged.expect("a session").state == SessionState::MustCheck);
        }
        let state = context.state(&known.session, known.is_suspect(), NOW_S);
        assert!(known.paced(state, NOW_S) == SessionState::Good);
        known
    }

    /// The assertion about who makes a request, signed now or a moment ago: its length.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn assert(&self, headers: &HeaderMap) -> usize {
        let known = self.session(headers);
        let scope = (HOST, IssuerFormat::HostOnly);
        let Session { identity, name, id, .. } = &known.session;
        let user = AssertedUser { identity, name, session: Some(*id) };
        let sign = || self.people.sign(scope, user, NOW_S, &self.random);
        let kept = known.assertions.get_or_sign(scope, NOW_S, sign).expect("an assertion");
        kept.assertion.len()
    }

    /// Forgets everybody.
    pub fn forget_all(&mut self) {
        self.memory = SessionMemory::default();
    }
}

impl Default for SessionWorker {
    fn default() -> SessionWorker {
        SessionWorker::new()
    }
}

/// As the configuration of [`SETTINGS`] has it.
fn sign_in() -> SignInSpec {
    let example = example_spec();
    let provider = ProviderSpec {
        issuer_url: "http://127.0.0.1:1".into(),
        client_id: "bench".into(),
        ..example.provider
    };
    SignInSpec { provider, kept_claims: ["groups".into()].into(), ..example }
}

fn session(context: &SignInContext, now_s: u64, number: usize) -> Session {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let groups: Vec<_> = (0..10).map(|group| format!("team-{group}-of-the-company")).collect();
    let claims = serde_json::json!({
        "groups": groups,
        "department": "research",
        "sub": "00000000-0000-0000-0000-000000000000",
        "preferred_username": "alice.liddell",
    });
    Session {
        id: SessionId(id),
        provider: context.provider,
        binding: [3; 16],
        identity: Identity {
            user_id: "00u1a2b3c4d5e6f7g8h9".into(),
            email: "alice.liddell@example.com".into(),
            claims: claims.as_object().cloned().unwrap_or_default(),
        },
        name: "Alice Liddell".into(),
        claims_digest: context.claims_digest,
        signed_in_at_s: now_s,
        ends_at_s: now_s + 50_400,
        check_at_s: now_s + 3_600,
        tokens: None,
    }
}
