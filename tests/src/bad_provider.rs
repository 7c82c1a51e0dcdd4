//! An OpenID Connect provider of our own that makes the mistakes that no real one makes: wrong
//! signatures, foreign subjects, redirects, answers that are huge, slow or missing. It asks nobody for
//! anything: whoever comes is signed in at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Conn},
    http::RequestHead,
};

/// A running provider. Without any change it makes no mistake.
#[derive(Debug)]
pub struct BadProvider {
    backend: Backend,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    url: String,
    answers: HashMap<String, BadAnswer>,
    seen: Vec<(RequestHead, String)>,
    /// By code.
    nonces: HashMap<String, String>,
    claims: Value,
    header: Value,
    callback: Value,
    signature: BadSignature,
}

/// What the provider does with a request in the place of the right thing.
#[derive(Debug, Clone)]
pub enum BadAnswer {
    /// This status and JSON.
    Json(u16, Value),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing; the connection stays open.
    Hang,
    /// A head, then one byte a second.
    Drip,
    /// A reset of the connection.
    Reset,
}

/// How ID tokens are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSignature {
    /// ES256 by the key of the key set: no mistake.
    Right,
    /// ES256 by another key under the same key id.
    OtherKey,
    /// No signature at all.
    Absent,
    /// Bytes of zero.
    Zeros,
    /// HS256 with this secret.
    Hmac(Vec<u8>),
}

impl BadProvider {
    /// A provider without a mistake, on plain HTTP.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        let state = State {
            url: String::new(),
            answers: HashMap::new(),
            seen: Vec::new(),
            nonces: HashMap::new(),
            claims: json!({}),
            header: json!({}),
            callback: json!({}),
            signature: BadSignature::Right,
        };
        let shared = Shared { key: key(), other_key: key(), state: Mutex::new(state) };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let backend = Backend::plain(move |conn| serving.serve(conn));
        shared.state().url = backend.url();
        Self { backend, shared }
    }

    /// Its issuer.
    pub fn url(&self) -> String {
        self.backend.url()
    }

    /// Its address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.backend.address()
    }

    /// Answers a path in this way from now on, whatever its query.
    pub fn answer(&self, path: &str, answer: BadAnswer) {
        self.shared.state().answers.insert(path.to_owned(), answer);
    }

    /// Answers a path rightly again.
    pub fn repair(&self, path: &str) {
        self.shared.state().answers.remove(path);
    }

    /// The metadata without a mistake, to change it.
    pub fn metadata(&self) -> Value {
        self.shared.state().metadata()
    }

    /// The key set.
    pub fn jwks(&self) -> Value {
        self.shared.jwks()
    }

    /// Changes claims of ID tokens; `null` takes one away.
    pub fn set_claims(&self, change: Value) {
        self.shared.state().claims = change;
    }

    /// Changes the header of ID tokens; `null` takes a member away.
    pub fn set_header(&self, change: Value) {
        self.shared.state().header = change;
    }

    /// Changes the parameters of the redirect back to us; `null` takes one away.
    pub fn set_callback(&self, change: Value) {
        self.shared.state().callback = change;
    }

    /// Signs ID tokens in this way from now on.
    pub fn set_signature(&self, signature: BadSignature) {
        self.shared.state().signature = signature;
    }

    /// A token that a machine presents: of this issuer, for an hour, with these claims over the usual
    /// ones; `null` takes one away. Its header and its signature are as those of ID tokens.
    pub fn token(&self, change: &Value) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let state = self.shared.state();
        let mut claims = json!({
            "iss": state.url, "sub": "ann", "aud": "app", "iat": now_s, "exp": now_s + 3600,
            "email": "ann@example.com",
        });
        merge(&mut claims, change);
        let mut header = json!({"alg": "ES256", "kid": "k"});
        merge(&mut header, &state.header);
        self.shared.signed(&state.signature, &header, &claims)
    }

    /// The requests so far for a path: the target, and the body.
    pub fn seen(&self, path: &str) -> Vec<(String, String)> {
        let state = self.shared.state();
        let of_path = state.seen.iter().filter(|(head, _)| path_of(head) == path);
        of_path.map(|(head, body)| (head.target.clone(), body.clone())).collect()
    }

    /// Ends every connection and takes no further ones: the provider is down.
    pub fn stop(&self) {
        self.backend.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, conn: &mut Conn) {
        while let Some(head) = conn.request() {
            let body = String::from_utf8_lossy(&conn.body(&head)).into_owned();
            let path = path_of(&head).to_owned();
            let answer = {
                let mut state = self.state();
                state.seen.push((head.clone(), body.clone()));
                state.answers.get(&path).cloned()
            };
            match answer {
                None => self.answer(conn, &path, &head, &body),
                Some(BadAnswer::Json(status, body)) => conn.respond(status, &body.to_string()),
                Some(BadAnswer::Raw(bytes)) => return conn.send(bytes),
                Some(BadAnswer::Hang) => return conn.wait_for_end(),
                Some(BadAnswer::Drip) => return drip(conn),
                Some(BadAnswer::Reset) => return conn.end_with_reset(),
            }
        }
    }

    fn answer(&self, conn: &mut Conn, path: &str, head: &RequestHead, body: &str) {
        let answer = match path {
            "/.well-known/openid-configuration" => self.state().metadata(),
            "/jwks" => self.jwks(),
            "/auth" => {
                let location = self.state().authorize(&head.target);
                return conn.send(format!(
                    "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                ));
            }
            "/token" => self.tokens(body),
            "/userinfo" => json!({"sub": "ann", "groups": ["dev"]}),
            "/revoke" => json!({}),
            _ => return conn.respond(404, "{}"),
        };
        conn.respond(200, &answer.to_string());
    }

    fn jwks(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k", "alg": "ES256", "use": "sig"},
        ]})
    }

    fn tokens(&self, body: &str) -> Value {
        let state = self.state();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let code = parameter(body, "code").unwrap_or_default();
        let client = state.seen.iter().find_map(|(head, _)| {
            let (_, query) = head.target.split_once('?')?;
            parameter(query, "client_id")
        });
        let mut claims = json!({
            "iss": state.url,
            "sub": "ann",
            "aud": client,
            "iat": now_s,
            "exp": now_s + 3600,
            "nonce": state.nonces.get(&code),
            "name": "Ann",
            "email": "ann@example.com",
        });
        merge(&mut claims, &state.claims);
        let mut header = json!({"alg": "ES256", "kid": "k"});
        if matches!(state.signature, BadSignature::Hmac(_)) {
            header["alg"] = "HS256".into();
        }
        merge(&mut header, &state.header);
        let id_token = self.signed(&state.signature, &header, &claims);
        json!({
            "access_token": "the-access-token",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": "the-refresh-token",
            "id_token": id_token,
        })
    }

    fn signed(&self, signature: &BadSignature, header: &Value, claims: &Value) -> String {
        let message = [header, claims].map(|part| encode(part.to_string().as_bytes())).join(".");
        let signature = encode(&self.sign(signature, message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn sign(&self, signature: &BadSignature, message: &[u8]) -> Vec<u8> {
        let key = match signature {
            BadSignature::Right => &self.key,
            BadSignature::OtherKey => &self.other_key,
            BadSignature::Absent => return Vec::new(),
            BadSignature::Zeros => return vec![0; 64],
            BadSignature::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                return hmac::sign(&key, message).as_ref().to_vec();
            }
        };
        key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }
}

impl State {
    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": at("/auth"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"),
            "userinfo_endpoint": at("/userinfo"),
            "revocation_endpoint": at("/revoke"),
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Where somebody goes who asks for a code.
    fn authorize(&mut self, target: &str) -> String {
        let (_, query) = target.split_once('?').unwrap_or((target, ""));
        let code = format!("code-{}", self.nonces.len());
        self.nonces.insert(code.clone(), parameter(query, "nonce").unwrap_or_default());
        let mut answer = json!({
            "code": code,
            "state": parameter(query, "state"),
            "iss": self.url,
        });
        merge(&mut answer, &self.callback);
        let members = answer.as_object().into_iter().flatten();
        let pairs = members.map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", percent_encode(&text))
        });
        let pairs: Vec<_> = pairs.collect();
        let back = parameter(query, "redirect_uri").unwrap_or_default();
        format!("{back}?{}", pairs.join("&"))
    }
}

fn drip(conn: &mut Conn) {
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    // Ends when the client has had enough.
    while conn.try_send(" ") {
        thread::sleep(Duration::from_secs(1));
    }
}

fn key() -> EcdsaKeyPair {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a new key");
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("the new key")
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn path_of(head: &RequestHead) -> &str {
    head.target.split('?').next().unwrap_or_default()
}

fn merge(into: &mut Value, change: &Value) {
    let Some(into) = into.as_object_mut() else { return };
    for (name, value) in change.as_object().into_iter().flatten() {
        match value {
            Value::Null => into.remove(name),
            value => into.insert(name.clone(), value.clone()),
        };
    }
}

fn parameter(form: &str, name: &str) -> Option<String> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| percent_decode(value)).next()
}

fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
