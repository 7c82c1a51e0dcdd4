//! Settings and a provider for tests of this room.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

use crate::identity::{
    jose::testing::{self as jose_testing, KEYS},
    spec::{
        AuthenticateUrl, ClientSecret, CookieSpec, ProviderPreset, ProviderSpec, SameSite,
        SignInSpec, UnverifiedEmail, WithoutRefreshToken,
    },
};

/// A client of the provider at this URL.
pub(in crate::identity) fn sign_in_spec(issuer_url: &str) -> SignInSpec {
    SignInSpec {
        authenticate: AuthenticateUrl { host: "a.example".into(), port: 443 },
        provider: ProviderSpec {
            preset: ProviderPreset::Oidc,
            issuer_url: issuer_url.into(),
            client_id: "client".into(),
            client_secret: Some(ClientSecret("se+cr/et %:".into())),
            scopes: vec!["openid".into()],
            request_params: Vec::new(),
            tenants: Vec::new(),
        },
        route_clients: Arc::default(),
        token_hosts: Arc::default(),
        anchors: None,
        cookies: CookieSpec {
            name: "_pomerium".into(),
            domain: None,
            http_only: true,
            expire: Duration::from_secs(14 * 3600),
            same_site: SameSite::Unset,
        },
        cookie_secret: None,
        previous_secrets: Vec::new(),
        recheck: Duration::from_secs(600),
        without_refresh_token: WithoutRefreshToken::AccessToken,
        unverified_email: UnverifiedEmail::Ignore,
        kept_claims: Arc::from(["groups".into()]),
        signout_redirect_url: None,
        program_hosts: Default::default(),
        state_file: None,
        listen_ports: vec![443],
    }
}

/// A provider on loopback, with answers that a test can change.
pub(in crate::identity) struct TestProvider {
    pub(in crate::identity) url: String,
    state: Rc<TestState>,
}

#[derive(Default)]
struct TestState {
    answers: RefCell<HashMap<&'static str, TestAnswer>>,
    seen: RefCell<Vec<SeenCall>>,
}

/// A request that the provider was sent.
#[derive(Debug, Clone)]
pub(in crate::identity) struct SeenCall {
    pub(in crate::identity) path: String,
    pub(in crate::identity) head: String,
    pub(in crate::identity) body: String,
}

/// What the provider does with a request.
#[derive(Debug, Clone)]
pub(in crate::identity) enum TestAnswer {
    Json(u16, Value),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Hang,
    /// One byte a second.
    Drip,
    /// This JSON after so long.
    Late(Duration, Value),
}

/// The time of tests, and of all tokens in them.
pub(in crate::identity) const NOW_S: u64 = jose_testing::NOW_S;

/// The nonce of all ID tokens in tests.
pub(in crate::identity) const NONCE: &str = "the-nonce";

impl TestProvider {
    /// A provider without faults; needs a `LocalSet`.
    pub(in crate::identity) async fn start() -> TestProvider {
        TestProvider::start_with(None).await
    }

    /// The same over TLS, by the name `localhost`.
    pub(in crate::identity) async fn start_tls(tls: TlsAcceptor) -> TestProvider {
        TestProvider::start_with(Some(tls)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> TestProvider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let provider = TestProvider { url, state: Rc::default() };
        provider.json("/.well-known/openid-configuration", 200, provider.metadata());
        provider.json("/jwks", 200, json!({"keys": KEYS.set()}));
        let tokens = provider.tokens(&provider.claims());
        provider.json("/token", 200, tokens);
        provider.json("/userinfo", 200, json!({"sub": "ann", "groups": ["dev"]}));
        provider.json("/revoke", 200, json!({}));
        let state = Rc::clone(&provider.state);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Rc::clone(&state);
                match tls.clone() {
                    None => tokio::task::spawn_local(serve(stream, state)),
                    Some(tls) => tokio::task::spawn_local(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, state).await;
                        }
                    }),
                };
            }
        });
        provider
    }

    pub(in crate::identity) fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": at("/auth"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"),
            "userinfo_endpoint": at("/userinfo"),
            "revocation_endpoint": at("/revoke"),
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        })
    }

    pub(in crate::identity) fn claims(&self) -> Value {
        json!({
            "iss": self.url,
            "sub": "ann",
            "aud": "client",
            "iat": NOW_S,
            "exp": NOW_S + 3600,
            "nonce": NONCE,
            "name": "Ann",
            "email": "ann@example.com",
        })
    }

    /// An answer of the token endpoint, with these claims in the ID token.
    pub(in crate::identity) fn tokens(&self, claims: &Value) -> Value {
        json!({
            "access_token": "the-access-token",
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "refresh-1",
            "id_token": KEYS.token(Algorithm::ES256, claims),
        })
    }

    pub(in crate::identity) fn json(&self, path: &'static str, status: u16, body: Value) {
        self.answer(path, TestAnswer::Json(status, body));
    }

    pub(in crate::identity) fn answer(&self, path: &'static str, answer: TestAnswer) {
        self.state.answers.borrow_mut().insert(path, answer);
    }

    /// The requests for a path so far.
    pub(in crate::identity) fn seen(&self, path: &str) -> Vec<SeenCall> {
        self.state.seen.borrow().iter().filter(|call| call.path == path).cloned().collect()
    }
}

/// Runs a test that talks to a provider.
pub(in crate::identity) fn run<F: Future>(test: F) -> F::Output {
    run_with(false, test)
}

/// The same with a clock that jumps to the next timer whenever nothing else is left to do.
pub(in crate::identity) fn run_in_no_time<F: Future>(test: F) -> F::Output {
    run_with(true, test)
}

fn run_with<F: Future>(is_paused: bool, test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(is_paused).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

/// A whole response; `fields` end with CR LF each.
pub(in crate::identity) fn response(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: Rc<TestState>) {
    let Some(call) = read_call(&mut stream).await else { return };
    let answer = state.answers.borrow().get(&*call.path).cloned();
    state.seen.borrow_mut().push(call);
    let bytes = match answer.unwrap_or(TestAnswer::Json(404, Value::Null)) {
        TestAnswer::Json(status, body) => response(status, "", &body.to_string()),
        TestAnswer::Late(delay, body) => {
            tokio::time::sleep(delay).await;
            response(200, "", &body.to_string())
        }
        TestAnswer::Raw(bytes) => bytes,
        TestAnswer::Hang => return std::future::pending().await,
        TestAnswer::Drip => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
            for byte in head.iter().chain(std::iter::repeat_n(&b' ', 1000)) {
                let _ = stream.write_all(&[*byte]).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn read_call<S: AsyncRead + Unpin>(stream: &mut S) -> Option<SeenCall> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let line = text.lines().next()?;
                let path = line.split(' ').nth(1)?.to_owned();
                return Some(SeenCall { path, head: text.clone(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
