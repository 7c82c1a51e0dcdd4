//! Bytes of any kind where sealed objects, cookies and parameters are expected. For fuzzing.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header::COOKIE};
use ring::rand::SystemRandom;

use super::{
    FlowBody, FlowEnvironment, FlowPath, FlowRequest, FlowStep, SignInClients, SignInContext,
    begin, challenge,
    sealed::{Handover, SealedSignInRequest, SignInState, SignOutRequest},
};
use crate::identity::{
    cookies::RequestCookies,
    seal::SealPurpose,
    session::{Session, SessionId},
    shared::IdentityShared,
    spec::{
        AuthenticateUrl, CookieSpec, ProviderPreset, ProviderSpec, SameSite, SealSecret,
        SignInSpec, UnverifiedEmail, WithoutRefreshToken,
    },
};

const NOW_S: u64 = 1_700_000_000;
const HOST: &str = "app.example";

/// Takes bytes as a `Cookie` field, as contents of sealed objects, and as a request's path, query and
/// `Accept`. An error says what they may not do.
pub fn probe(bytes: &[u8]) -> Result<(), &'static str> {
    let clients = SignInClients::new(Arc::new(example_spec()), &SealSecret([7; 32]));
    let context = clients.main();
    cookies(context, bytes)?;
    session(context, bytes)?;
    contents(context, bytes)?;
    if let Ok(text) = std::str::from_utf8(bytes) {
        requests(&clients, text)?;
    }
    Ok(())
}

/// Settings for fuzzing, benchmarks and tests.
pub(crate) fn example_spec() -> SignInSpec {
    SignInSpec {
        authenticate: AuthenticateUrl { host: "auth.example".into(), port: 443 },
        provider: ProviderSpec {
            preset: ProviderPreset::Oidc,
            issuer_url: "https://idp.test".into(),
            client_id: "client".into(),
            client_secret: None,
            scopes: vec!["openid".into(), "email".into()],
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
            expire: Duration::from_secs(50_400),
            same_site: SameSite::Lax,
        },
        cookie_secret: None,
        previous_secrets: Vec::new(),
        recheck: Duration::from_secs(600),
        without_refresh_token: WithoutRefreshToken::CookieExpire,
        unverified_email: UnverifiedEmail::Ignore,
        kept_claims: Arc::new(["groups".into()]),
        signout_redirect_url: None,
        program_hosts: ["localhost".into()].into(),
        state_file: None,
        listen_ports: vec![443, 8443],
    }
}

/// Junk opens nowhere, and hides no good cookie behind it unless there are eight.
fn cookies(context: &SignInContext, bytes: &[u8]) -> Result<(), &'static str> {
    let Ok(junk) = HeaderValue::from_bytes(bytes) else { return Ok(()) };
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, junk);
    let cookies = context.cookies.read(&headers);
    let shared = IdentityShared::new([1; 16]);
    if context.who(HOST, &cookies, &shared, NOW_S).is_some()
        || !context.cookies.master_sessions(HOST, &cookies).is_empty()
        || context.cookies.binding(HOST, &cookies, NOW_S).is_some()
    {
        return Err("a cookie that nobody sealed opened");
    }
    let is_full = cookies.session_values().iter().filter(|(piece, _)| *piece == 0).count() >= 8;
    let good = Session {
        id: SessionId([1; 16]),
        provider: context.provider,
        binding: [3; 16],
        identity: Default::default(),
        name: "Alice".into(),
        claims_digest: context.claims_digest,
        signed_in_at_s: NOW_S,
        ends_at_s: NOW_S + 100,
        check_at_s: NOW_S + 50,
        tokens: None,
    };
    let none = RequestCookies::default();
    let set = context
        .cookies
        .set_session(HOST, &good, &none, NOW_S, &SystemRandom::new())
        .map_err(|_| "a small session has no cookie")?;
    for value in set {
        let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        headers.append(COOKIE, HeaderValue::from_bytes(pair).map_err(|_| "no cookie")?);
    }
    let who = context.who(HOST, &context.cookies.read(&headers), &shared, NOW_S);
    if !is_full && who.map(|who| who.session) != Some(good) {
        return Err("junk hid a good cookie");
    }
    Ok(())
}

/// What a session decodes to is encoded to the same session.
fn session(context: &SignInContext, bytes: &[u8]) -> Result<(), &'static str> {
    if let Some(session) = Session::decode(bytes) {
        let again = session.encode().as_deref().and_then(Session::decode);
        // A number may be read in another form than it is written.
        if again.is_none_or(|again| again.id != session.id || again.name != session.name) {
            return Err("a session is not encoded as it was decoded");
        }
    }
    let sealed = seal(context, SealPurpose::Session, HOST, bytes)?;
    let value = HeaderValue::from_str(&format!("_pomerium={sealed}")).map_err(|_| "no cookie")?;
    let headers = HeaderMap::from_iter([(COOKIE, value)]);
    let _ = context.cookies.sessions(HOST, &context.cookies.read(&headers));
    Ok(())
}

/// Contents that somebody with our secrets might seal: each object comes back as it was.
fn contents(context: &SignInContext, bytes: &[u8]) -> Result<(), &'static str> {
    let (a, random) = (&*context.spec.authenticate.host, SystemRandom::new());
    let request = seal(context, SealPurpose::Request, a, bytes)?;
    if let Some(request) = SealedSignInRequest::open(context, &request) {
        let again = request.seal(context, &random).map_err(|_| "a request has no form")?;
        if SealedSignInRequest::open(context, &again) != Some(request) {
            return Err("a request changed");
        }
    }
    let state = seal(context, SealPurpose::State, a, bytes)?;
    if let Some(state) = SignInState::open(context, &state) {
        let again = state.seal(context, &random).map_err(|_| "a state has no form")?;
        // A long one loses its path.
        if SignInState::open(context, &again).is_none_or(|again| again.id != state.id) {
            return Err("a state changed");
        }
    }
    let handover = seal(context, SealPurpose::Handover, HOST, bytes)?;
    if let Some(handover) = Handover::open(context, HOST, &handover) {
        let again = handover.seal(context, &random).map_err(|_| "a handover has no form")?;
        if Handover::open(context, HOST, &again).is_none_or(|again| again.id != handover.id) {
            return Err("a handover changed");
        }
    }
    let sign_out = seal(context, SealPurpose::SignOut, a, bytes)?;
    if let Some(request) = SignOutRequest::open(context, &sign_out) {
        let again = request.seal(context, &random).map_err(|_| "a sign-out has no form")?;
        if SignOutRequest::open(context, &again) != Some(request) {
            return Err("a sign-out changed");
        }
    }
    Ok(())
}

fn seal(
    context: &SignInContext,
    purpose: SealPurpose,
    host: &str,
    content: &[u8],
) -> Result<String, &'static str> {
    let sealed = context.cookies.seals.seal(purpose, host, content, &SystemRandom::new());
    sealed.map_err(|_| "the random generator failed")
}

/// Every step with this query, and a request for this path: no answer leads to a foreign host.
fn requests(clients: &SignInClients, text: &str) -> Result<(), &'static str> {
    let mut headers = HeaderMap::new();
    if let Ok(accept) = HeaderValue::from_str(text) {
        headers.append("accept", accept);
    }
    let _ = challenge(&Method::GET, &headers);
    let shared = IdentityShared::new([1; 16]);
    let random = SystemRandom::new();
    let context = clients.main();
    let environment = FlowEnvironment {
        clients,
        context,
        shared: &shared,
        now_s: NOW_S,
        random: &random,
        is_own_host: &|host| host.ends_with(".example"),
        depends_on: &|_, _, _| Vec::new(),
    };
    let own = |path: &str| format!("{path}?{text}");
    for (host, path) in [
        (HOST, text.to_owned()),
        (HOST, own("/.pomerium/callback/")),
        (HOST, own("/.pomerium/sign_in_too")),
        (HOST, own("/.pomerium/sign_out")),
        ("auth.example", own("/.pomerium/sign_in")),
        ("auth.example", own("/oauth2/callback")),
        ("auth.example", own("/.pomerium/sign_out")),
        ("auth.example", own("/.pomerium/signed_out")),
    ] {
        let request = FlowRequest {
            method: &Method::GET,
            headers: &headers,
            host,
            port: None,
            route_port: None,
            path_and_query: &path,
            client: [127, 0, 0, 1].into(),
        };
        let found = FlowPath::find(context, host, path.split('?').next().unwrap_or_default());
        let answer = match found {
            None => begin(&environment, &request),
            Some(found) => match found.start(&environment, &request) {
                FlowStep::Answer(answer) => answer,
                FlowStep::Ask(..) => continue,
            },
        };
        if matches!(&answer.body, FlowBody::Redirect(to) if !is_own(to)) {
            return Err("an answer leads to a foreign host");
        }
    }
    Ok(())
}

fn is_own(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', ':']).next());
    host.is_some_and(|host| host.ends_with(".example"))
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}
