//! An OpenID Connect provider of our own that makes the mistakes that no real one makes: wrong
//! signatures, foreign subjects, redirects, answers that are huge, slow or missing. It asks nobody for
//! anything: whoever comes is signed in at once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    },
};
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Conn},
    http::RequestHead,
    process::run,
    tempdir::TempDir,
    tools::need,
    wait::until,
};

/// The access token of everybody.
pub const ACCESS_TOKEN: &str = "the-access-token";

/// A running provider. Without any change it makes no mistake.
#[derive(Debug)]
pub struct BadProvider {
    backend: Backend,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `k` in the key set.
    key: EcKey,
    other_key: EcKey,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    url: String,
    answers: HashMap<String, BadAnswer>,
    /// Paths that are answered as another one.
    aliases: HashMap<String, String>,
    seen: Vec<(RequestHead, String)>,
    /// By code.
    nonces: HashMap<String, String>,
    token: BadToken,
    callback: Value,
}

/// One key, in both forms that signatures have.
#[derive(Debug)]
struct EcKey {
    fixed: EcdsaKeyPair,
    asn1: EcdsaKeyPair,
}

/// What is wrong with the ID tokens. [`BadToken::default`] is a token without a mistake.
#[derive(Debug, Clone)]
pub struct BadToken {
    /// Changes members of the header; `null` takes one away.
    pub header: Value,
    /// Changes claims; `null` takes one away.
    pub claims: Value,
    /// How it is signed.
    pub signature: BadSignature,
    /// Changes header and payload as text, before they are signed.
    pub parts: fn(&str, &str) -> (String, String),
    /// Changes the whole token in the end.
    pub whole: fn(&str) -> String,
}

impl Default for BadToken {
    fn default() -> Self {
        Self {
            header: json!({}),
            claims: json!({}),
            signature: BadSignature::Right,
            parts: |header, payload| (header.to_owned(), payload.to_owned()),
            whole: str::to_owned,
        }
    }
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
    /// The right thing, once the path is repaired.
    Wait,
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
    /// ES256 as DER, as certificates have it.
    Der,
    /// No signature at all.
    Absent,
    /// Bytes of zero.
    Zeros,
    /// The first half of the right one.
    Half,
    /// RS256 by OpenSSL with the RSA key in this file, which the key set names by its file.
    Rsa(PathBuf),
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
            aliases: HashMap::new(),
            seen: Vec::new(),
            nonces: HashMap::new(),
            token: BadToken::default(),
            callback: json!({}),
        };
        let shared =
            Shared { key: EcKey::new(), other_key: EcKey::new(), state: Mutex::new(state) };
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

    /// Answers one path as another one from now on: providers differ in their paths.
    pub fn serve_at(&self, path: &str, as_path: &str) {
        self.shared.state().aliases.insert(path.to_owned(), as_path.to_owned());
    }

    /// The metadata without a mistake, to change it.
    pub fn metadata(&self) -> Value {
        self.shared.state().metadata()
    }

    /// The key set.
    pub fn jwks(&self) -> Value {
        self.shared.jwks()
    }

    /// The key set with the public part of another key in it, whose id is `other`.
    ///
    /// # Panics
    /// Never.
    pub fn jwks_with_other(&self) -> Value {
        let mut jwks = self.jwks();
        let other = self.shared.other_key.jwk("other");
        jwks["keys"].as_array_mut().expect("a list").push(other);
        jwks
    }

    /// The public key of the key set as PEM.
    pub fn public_key_pem(&self) -> String {
        self.shared.key.pem()
    }

    /// Changes claims of ID tokens; `null` takes one away.
    pub fn set_claims(&self, change: Value) {
        self.shared.state().token.claims = change;
    }

    /// Changes the header of ID tokens; `null` takes a member away.
    pub fn set_header(&self, change: Value) {
        self.shared.state().token.header = change;
    }

    /// Signs ID tokens in this way from now on.
    pub fn set_signature(&self, signature: BadSignature) {
        self.shared.state().token.signature = signature;
    }

    /// Makes ID tokens like this from now on.
    pub fn set_token(&self, token: BadToken) {
        self.shared.state().token = token;
    }

    /// Changes the parameters of the redirect back to us; `null` takes one away.
    pub fn set_callback(&self, change: Value) {
        self.shared.state().callback = change;
    }

    /// A token that a machine presents: of this issuer, for an hour, with these claims over the usual
    /// ones; `null` takes one away. Its header and its signature are those of ID tokens.
    pub fn token(&self, change: &Value) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let state = self.shared.state();
        let mut claims = json!({
            "iss": state.url, "sub": "ann", "aud": "app", "iat": now_s, "exp": now_s + 3600,
            "email": "ann@example.com",
        });
        merge(&mut claims, change);
        self.shared.id_token(&claims, &state.token)
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
            let path = self.state().aliases.get(&path).cloned().unwrap_or(path);
            match answer {
                None => self.answer(conn, &path, &head, &body),
                Some(BadAnswer::Json(status, body)) => conn.respond(status, &body.to_string()),
                Some(BadAnswer::Raw(bytes)) => return conn.send(bytes),
                Some(BadAnswer::Wait) => {
                    until("the path to be repaired", || !self.state().answers.contains_key(&path));
                    self.answer(conn, &path, &head, &body);
                }
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
        json!({"keys": [self.key.jwk("k")]})
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
        merge(&mut claims, &state.token.claims);
        json!({
            "access_token": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": "the-refresh-token",
            "id_token": self.id_token(&claims, &state.token),
        })
    }

    fn id_token(&self, claims: &Value, token: &BadToken) -> String {
        let mut header = match &token.signature {
            BadSignature::Hmac(_) => json!({"alg": "HS256", "kid": "k"}),
            BadSignature::Rsa(key) => json!({"alg": "RS256", "kid": rsa_key_id(key)}),
            _ => json!({"alg": "ES256", "kid": "k"}),
        };
        merge(&mut header, &token.header);
        let (header, payload) = (token.parts)(&header.to_string(), &claims.to_string());
        let message = [header, payload].map(|part| encode(part.as_bytes())).join(".");
        let signature = encode(&self.sign(&token.signature, message.as_bytes()));
        (token.whole)(&format!("{message}.{signature}"))
    }

    fn sign(&self, signature: &BadSignature, message: &[u8]) -> Vec<u8> {
        let by = |key: &EcdsaKeyPair| {
            key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
        };
        match signature {
            BadSignature::Right => by(&self.key.fixed),
            BadSignature::OtherKey => by(&self.other_key.fixed),
            BadSignature::Der => by(&self.key.asn1),
            BadSignature::Absent => Vec::new(),
            BadSignature::Zeros => vec![0; 64],
            BadSignature::Half => by(&self.key.fixed)[..32].to_vec(),
            BadSignature::Rsa(key) => rsa_signature(key, message),
            BadSignature::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
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

impl EcKey {
    fn new() -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = made.expect("a new key");
        let key =
            |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("it");
        Self {
            fixed: key(&ECDSA_P256_SHA256_FIXED_SIGNING),
            asn1: key(&ECDSA_P256_SHA256_ASN1_SIGNING),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.fixed.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig",
        })
    }

    fn pem(&self) -> String {
        // SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480).
        const BEFORE: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let der = [&BEFORE, self.fixed.public_key().as_ref()].concat();
        let text = BASE64_STANDARD.encode(der);
        let (first, second) = text.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
    }
}

/// The public part of an RSA key for a key set; its id is the name of its file.
///
/// # Panics
/// When OpenSSL cannot read the key.
pub fn rsa_jwk(key: &Path) -> Value {
    let mut command = Command::new(need("openssl"));
    command.args(["rsa", "-noout", "-modulus", "-in"]).arg(key);
    let done = run(&mut command, b"");
    let digits = done.stdout.trim().strip_prefix("Modulus=").expect("the modulus of an RSA key");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    json!({
        "kty": "RSA", "n": encode(&modulus), "e": "AQAB", "kid": rsa_key_id(key), "use": "sig",
    })
}

fn rsa_key_id(key: &Path) -> String {
    key.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn rsa_signature(key: &Path, message: &[u8]) -> Vec<u8> {
    let dir = TempDir::new("signature");
    let file = dir.path().join("signature");
    let mut command = Command::new(need("openssl"));
    command.args(["dgst", "-sha256", "-sign"]).arg(key).arg("-out").arg(&file);
    let done = run(&mut command, message);
    assert_eq!(done.code, Some(0), "openssl dgst: {}", done.stderr);
    std::fs::read(&file).expect("a signature")
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
