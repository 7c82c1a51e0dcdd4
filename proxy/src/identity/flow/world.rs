//! Browsers, hosts, a control thread and a provider in memory, for the tests of the flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::rand::SystemRandom;

use super::{
    CheckedSession, FlowAnswer, FlowBody, FlowEnvironment, FlowPage, FlowPath, FlowRequest,
    FlowStep, RequestSession, SessionState, SignInClients, SignInContext, begin, parameters,
};
use crate::{
    digest::sha256,
    identity::{
        calls::{
            CheckOutcome, CodeExchange, IdentityCall, IdentityReply, ProviderFailure,
            RenewedSession, SignedIn, UseOnce,
        },
        provider::EndSession,
        provider_tokens::WantedTokens,
        session::SessionId,
        shared::{IdentityShared, ProviderView, SessionUpdate},
        spec::{
            ClientSecret, DependentHost, RouteClient, SealSecret, SignInSpec, client_provider_id,
        },
    },
    policy::Identity,
};

pub(super) const A: &str = "auth.example";
pub(super) const IDP: &str = "idp.test";
pub(super) const START_S: u64 = 1_700_000_000;

/// One process of ours, and the provider.
pub(super) struct World {
    pub(super) clients: SignInClients,
    pub(super) shared: IdentityShared,
    pub(super) control: ControlModel,
    pub(super) provider: ProviderModel,
    pub(super) now_s: u64,
    /// `depends_on` of the routes.
    pub(super) depends_on: DependsOn,
    /// Whether the route of a host and a path has the client [`OWN_CLIENT`], if that is configured.
    pub(super) has_own_client: fn(&str, &str) -> bool,
}

pub(super) type DependsOn = fn(&str, u16, &str) -> Vec<DependentHost>;

/// What the control thread knows.
#[derive(Default)]
pub(super) struct ControlModel {
    used: BTreeSet<[u8; 16]>,
    kept: BTreeMap<[u8; 16], Bytes>,
    /// Sessions, the browser whose request made each, and the user.
    pub(super) sessions: BTreeMap<SessionId, (usize, String)>,
    /// Sessions that were made by a process before this one.
    pub(super) forgotten: BTreeMap<SessionId, (usize, String)>,
    /// Every call, for tests that look at one.
    pub(super) calls: Vec<&'static str>,
    pub(super) revoked: Vec<SessionId>,
    pub(super) is_full: bool,
    pub(super) fails: Option<ProviderFailure>,
    /// `None`: the provider lets everybody stay signed in.
    pub(super) check: Option<CheckOutcome>,
    pub(super) last_exchange: Option<CodeExchange>,
    /// Claims of whoever signs in.
    pub(super) groups: usize,
    /// How long sessions live, in place of what the flow asks for.
    pub(super) life_s: Option<u64>,
}

/// The provider: pure, and correct.
#[derive(Default)]
pub(super) struct ProviderModel {
    codes: BTreeMap<String, IssuedCode>,
    counter: u64,
    pub(super) without_iss: bool,
}

struct IssuedCode {
    browser: usize,
    user: String,
    challenge: String,
    nonce: String,
    client_id: String,
}

/// A browser with its cookies.
pub(super) struct Browser {
    pub(super) number: usize,
    pub(super) cookies: Vec<JarCookie>,
    /// Who is signed in at the provider.
    pub(super) at_provider: Option<String>,
    pub(super) keeps_cookies: bool,
}

#[derive(Debug, Clone)]
pub(super) struct JarCookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) host: String,
    pub(super) is_domain: bool,
    pub(super) expires_s: u64,
    pub(super) same_site: String,
}

/// What a request got.
#[derive(Debug)]
pub(super) enum Seen {
    Redirect(String),
    Page(FlowPage),
    /// The provider's page, with the URL that follows once somebody signs in there.
    Login(String),
    /// What was asked for, served to this session.
    Served(Box<RequestSession>),
}

pub(super) struct Received {
    pub(super) seen: Seen,
    pub(super) host: String,
    pub(super) set_cookies: Vec<HeaderValue>,
}

/// The client of routes that have one of their own.
pub(super) const OWN_CLIENT: &str = "own";

pub(super) fn spec() -> SignInSpec {
    super::probe::example_spec()
}

/// With a client of single routes, too.
pub(super) fn with_own_client(spec: SignInSpec) -> SignInSpec {
    let own = RouteClient {
        provider: client_provider_id(&spec.provider.issuer_url, OWN_CLIENT),
        client_id: OWN_CLIENT.into(),
        client_secret: ClientSecret("secret".into()),
    };
    SignInSpec { route_clients: [own].into(), ..spec }
}

/// With many clients of single routes: the path `/client/N` has the client of the number N.
pub(super) fn with_own_clients(spec: SignInSpec, count: usize) -> SignInSpec {
    let client = |number| {
        let client_id = format!("{OWN_CLIENT}-{number}");
        RouteClient {
            provider: client_provider_id(&spec.provider.issuer_url, &client_id),
            client_id: client_id.into(),
            client_secret: ClientSecret("secret".into()),
        }
    };
    let route_clients = (0..count).map(client).collect();
    SignInSpec { route_clients, ..spec }
}

impl World {
    pub(super) fn new(spec: SignInSpec) -> World {
        let clients = SignInClients::new(Arc::new(spec), &SealSecret([7; 32]));
        let world = World {
            shared: IdentityShared::new([1; 16]),
            control: ControlModel::default(),
            provider: ProviderModel::default(),
            now_s: START_S,
            depends_on: |_, _, _| Vec::new(),
            has_own_client: |_, _| true,
            clients,
        };
        world.publish();
        world
    }

    /// The client of all routes.
    pub(super) fn context(&self) -> &SignInContext {
        self.clients.main()
    }

    /// The client of the route of a host and a path; of all routes unless the settings have another.
    pub(super) fn context_at(&self, host: &str, path: &str) -> &SignInContext {
        let number = path.strip_prefix("/client/").and_then(|number| number.parse().ok());
        let own = self.context().spec.route_clients.get(number.unwrap_or(0));
        let own = own.map(|client| client.provider).filter(|_| (self.has_own_client)(host, path));
        self.clients.of(own).unwrap()
    }

    /// Another client of all routes.
    pub(super) fn set_client(&mut self, client_id: &str) {
        let mut spec = SignInSpec::clone(&self.context().spec);
        spec.provider.client_id = client_id.into();
        self.clients = SignInClients::new(Arc::new(spec), &SealSecret([7; 32]));
        self.publish();
    }

    pub(super) fn publish(&self) {
        self.shared.set_provider(ProviderView {
            id: self.context().provider,
            issuer: "https://idp.test".into(),
            authorization_endpoint: "https://idp.test/authorize?tenant=t&nonce=theirs".into(),
            end_session: Some(EndSession::standard("https://idp.test/end")),
            iss_in_response: true,
        });
    }

    /// A new process with the same secrets. It knows neither sessions nor used ids.
    pub(super) fn restart(&mut self, process: u8) {
        self.shared = IdentityShared::new([process; 16]);
        let old = std::mem::take(&mut self.control);
        self.control.revoked = old.revoked;
        self.control.groups = old.groups;
        self.control.forgotten = old.forgotten;
        self.control.forgotten.extend(old.sessions);
        self.publish();
    }

    /// Which browser's sign-in made a session.
    pub(super) fn made_by(&self, session: SessionId) -> Option<usize> {
        let known = self.control.sessions.get(&session);
        known.or_else(|| self.control.forgotten.get(&session)).map(|(browser, _)| *browser)
    }

    /// Ends a session, as a check or a sign-out elsewhere does.
    pub(super) fn end(&self, session: SessionId) {
        self.shared.set_update(session, Some(SessionUpdate::Ended));
    }

    pub(super) fn has_ended(&self, session: SessionId) -> bool {
        matches!(self.shared.update(session), Some(SessionUpdate::Ended))
    }

    /// One request of a browser. `site` is its `Sec-Fetch-Site`.
    pub(super) fn send(
        &mut self,
        browser: &Browser,
        method: &Method,
        url: &str,
        site: &str,
    ) -> Received {
        let (host, port, path) = split(url);
        let seen = |seen| Received { seen, host: host.clone(), set_cookies: Vec::new() };
        if host == IDP {
            return seen(self.provider.authorize(browser, &path));
        }
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        };
        add("sec-fetch-mode", "navigate");
        add("sec-fetch-dest", "document");
        add("sec-fetch-site", site);
        for cookie in browser.sent_to(&host, site, method, self.now_s) {
            add("cookie", &cookie);
        }
        let request = FlowRequest {
            method,
            headers: &headers,
            host: &host,
            port,
            route_port: None,
            path_and_query: &path,
            client: [127, 0, 0, 1].into(),
        };
        let (seen, set_cookies) = match self.handle(browser.number, &request) {
            Handled::Served(session) => (Seen::Served(session), Vec::new()),
            Handled::Answered(answer) => {
                for value in &answer.cookies {
                    check_prefix(value.to_str().unwrap());
                }
                match answer.body {
                    FlowBody::Redirect(to) => (Seen::Redirect(to), answer.cookies),
                    FlowBody::Page(page) => (Seen::Page(page), answer.cookies),
                }
            }
        };
        Received { seen, host, set_cookies }
    }

    /// What a worker does.
    pub(super) fn handle(&mut self, browser: usize, request: &FlowRequest<'_>) -> Handled {
        let path = request.path_and_query.split('?').next().unwrap();
        let random = SystemRandom::new();
        let Some(found) = FlowPath::find(self.context(), request.host, path) else {
            let context = self.context_at(request.host, path);
            let cookies = context.cookies.read(request.headers);
            let who = context.who(request.host, &cookies, &self.shared, self.now_s);
            if let Some(session) = who.and_then(|who| self.checked(who)) {
                return Handled::Served(Box::new(session));
            }
            let environment = self.environment(&random);
            let context = self.context_at(request.host, path);
            let environment = FlowEnvironment { context, ..environment };
            return Handled::Answered(Box::new(begin(&environment, request)));
        };
        let of_host = |environment| FlowEnvironment {
            context: self.context_at(request.host, "/"),
            ..environment
        };
        let mut step = found.start(&of_host(self.environment(&random)), request);
        loop {
            match step {
                FlowStep::Answer(answer) => return Handled::Answered(Box::new(answer)),
                FlowStep::Ask(call, pending) => {
                    let reply = self.reply(browser, call);
                    step = pending.resume(&self.environment(&random), request, reply);
                }
            }
        }
    }

    pub(super) fn environment<'a>(&'a self, random: &'a SystemRandom) -> FlowEnvironment<'a> {
        FlowEnvironment {
            clients: &self.clients,
            context: self.context(),
            shared: &self.shared,
            now_s: self.now_s,
            random,
            is_own_host: &is_own_host,
            depends_on: &self.depends_on,
        }
    }

    fn reply(&mut self, browser: usize, call: IdentityCall) -> IdentityReply {
        let control = &mut self.control;
        control.calls.push(match &call {
            IdentityCall::Discover => "discover",
            IdentityCall::Exchange(_) => "exchange",
            IdentityCall::Check(_) => "check",
            IdentityCall::UseOnce { .. } => "use_once",
            IdentityCall::KeepHandover { .. } => "keep",
            IdentityCall::TakeHandover { .. } => "take",
            IdentityCall::SignOut { .. } => "sign_out",
            IdentityCall::TokenKeys { .. } => "token_keys",
            IdentityCall::RenewTokenKeys { .. } => "renew_token_keys",
            IdentityCall::ProviderLogout { .. } => "provider_logout",
        });
        match call {
            IdentityCall::UseOnce { .. } if control.is_full => IdentityReply::Used(UseOnce::Full),
            IdentityCall::UseOnce { id, until_s, .. } => {
                assert!(until_s > self.now_s);
                let first = control.used.insert(id);
                IdentityReply::Used(if first { UseOnce::First } else { UseOnce::Again })
            }
            IdentityCall::KeepHandover { id, sealed } => {
                control.kept.insert(id, sealed);
                IdentityReply::Ready
            }
            IdentityCall::TakeHandover { id } => IdentityReply::Handover(control.kept.remove(&id)),
            IdentityCall::SignOut { session, revoke, .. } => {
                if revoke {
                    control.revoked.push(session);
                }
                let ended = SessionUpdate::Ended;
                self.shared.set_update(session, Some(ended));
                IdentityReply::SignedOut
            }
            IdentityCall::Discover => match control.fails.clone() {
                Some(failure) => IdentityReply::Failed(failure),
                None => {
                    self.publish();
                    IdentityReply::Ready
                }
            },
            IdentityCall::Check(check) => self.check(check.session),
            IdentityCall::TokenKeys { .. }
            | IdentityCall::RenewTokenKeys { .. }
            | IdentityCall::ProviderLogout { .. } => panic!("no step of a browser"),
            IdentityCall::Exchange(exchange) => self.exchange(browser, exchange),
        }
    }

    fn check(&mut self, session: SessionId) -> IdentityReply {
        if let Some(outcome) = self.control.check.clone() {
            return IdentityReply::Checked(outcome);
        }
        let Some((_, user)) = self.control.sessions.get(&session) else {
            return IdentityReply::Checked(CheckOutcome::Unknown);
        };
        let renewed = self.renewed(user);
        self.shared.set_update(session, Some(SessionUpdate::Renewed(Arc::clone(&renewed))));
        IdentityReply::Checked(CheckOutcome::Good(renewed))
    }

    /// The session of a request that may have to wait for a check.
    fn checked(&mut self, who: RequestSession) -> Option<RequestSession> {
        if !matches!(who.state, SessionState::CheckNow | SessionState::MustCheck) {
            return Some(who);
        }
        let IdentityReply::Checked(outcome) = self.check(who.session.id) else { panic!() };
        match self.context().after_check(
            &who.session,
            who.state,
            Some(&outcome),
            self.now_s,
            WantedTokens::ALL,
        ) {
            CheckedSession::Good(session) => Some(RequestSession { session, ..who }),
            CheckedSession::Nobody => None,
        }
    }

    fn exchange(&mut self, browser: usize, exchange: CodeExchange) -> IdentityReply {
        self.control.last_exchange = Some(exchange.clone());
        if let Some(failure) = self.control.fails.clone() {
            return IdentityReply::Failed(failure);
        }
        let refused = || ProviderFailure::Refused { error: "invalid_grant".into() };
        let client = self.clients.of(Some(exchange.provider)).unwrap();
        let Some(code) = self.provider.codes.remove(&*exchange.code) else {
            return IdentityReply::Failed(refused());
        };
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(exchange.verifier.as_bytes()));
        if challenge != code.challenge || client.client_id() != code.client_id {
            return IdentityReply::Failed(refused());
        }
        if *exchange.nonce != *code.nonce {
            return IdentityReply::Failed(ProviderFailure::Invalid("nonce".into()));
        }
        assert_eq!(code.browser, browser, "a code of another browser was exchanged");
        self.control.sessions.insert(exchange.session, (browser, code.user.clone()));
        IdentityReply::SignedIn(Box::new(SignedIn {
            identity: identity(&code.user, self.control.groups),
            name: code.user.into(),
            signed_in_at_s: self.now_s,
            ends_at_s: self.control.life_s.map_or(exchange.ends_at_s, |life_s| self.now_s + life_s),
            check_at_s: self.now_s + 600,
            id_token: Some("id.token".into()),
            tokens: None,
        }))
    }

    /// The session as a check would bring it.
    pub(super) fn renewed(&self, user: &str) -> Arc<RenewedSession> {
        Arc::new(RenewedSession {
            identity: identity(user, 0),
            name: user.into(),
            claims_digest: self.context().claims_digest,
            check_at_s: self.now_s + 600,
            ends_at_s: self.now_s + 50_000,
            tokens: None,
        })
    }
}

fn is_own_host(host: &str) -> bool {
    host.ends_with(".example") || host == "other.test"
}

pub(super) enum Handled {
    Served(Box<RequestSession>),
    Answered(Box<FlowAnswer>),
}

fn identity(user: &str, groups: usize) -> Identity {
    let groups: Vec<_> = (0..groups).map(|n| format!("group-number-{n}-of-us")).collect();
    let claims = serde_json::json!({ "groups": groups });
    Identity {
        user_id: user.into(),
        email: format!("{user}@example.com").into(),
        claims: claims.as_object().unwrap().clone(),
    }
}

impl ProviderModel {
    fn authorize(&mut self, browser: &Browser, path: &str) -> Seen {
        let query = path.split_once('?').unwrap().1;
        if path.starts_with("/end?") {
            let (to, state) = (get(query, "post_logout_redirect_uri"), get(query, "state"));
            let joint = if state.is_empty() { "" } else { "?state=" };
            return Seen::Redirect(format!("{to}{joint}{state}"));
        }
        assert_eq!(get(query, "response_type"), "code");
        assert_eq!(get(query, "code_challenge_method"), "S256");
        let client_id = get(query, "client_id");
        assert!(client_id == "client" || client_id.starts_with(OWN_CLIENT), "{client_id}");
        let redirect_uri = get(query, "redirect_uri");
        assert_eq!(redirect_uri, format!("https://{A}/oauth2/callback"));
        let Some(user) = &browser.at_provider else {
            return Seen::Login(format!("https://{IDP}{path}"));
        };
        self.counter += 1;
        let code = format!("code-{}", self.counter);
        self.codes.insert(
            code.clone(),
            IssuedCode {
                browser: browser.number,
                user: user.clone(),
                challenge: get(query, "code_challenge"),
                nonce: get(query, "nonce"),
                client_id,
            },
        );
        let state = get(query, "state");
        let mut pairs = vec![("code", &*code), ("state", &state)];
        if !self.without_iss {
            pairs.push(("iss", "https://idp.test"));
        }
        Seen::Redirect(format!("{redirect_uri}?{}", parameters::encode(pairs)))
    }
}

pub(super) fn get(query: &str, name: &str) -> String {
    parameters::single(query, name).unwrap().unwrap_or_default()
}

/// Host, port, and path with query.
pub(super) fn split(url: &str) -> (String, Option<u16>, String) {
    let rest = url.strip_prefix("https://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (authority, None),
    };
    (host.into(), port, path.into())
}

/// What browsers demand of a name that begins with `__Host-`.
fn check_prefix(value: &str) {
    assert!(value.contains("; Secure"), "{value}");
    assert!(value.contains("; Path=/;"), "{value}");
    assert!(!value.starts_with("__Host-") || !value.contains("Domain"), "{value}");
}

impl Browser {
    pub(super) fn new(number: usize, user: Option<&str>) -> Browser {
        Browser {
            number,
            cookies: Vec::new(),
            at_provider: user.map(str::to_owned),
            keeps_cookies: true,
        }
    }

    fn sent_to(&self, host: &str, site: &str, method: &Method, now_s: u64) -> Vec<String> {
        self.cookies
            .iter()
            .filter(|cookie| cookie.expires_s > now_s)
            .filter(|cookie| match cookie.is_domain {
                true => host == cookie.host || host.ends_with(&format!(".{}", cookie.host)),
                false => host == cookie.host,
            })
            .filter(|cookie| match &*cookie.same_site {
                "Strict" => site != "cross-site",
                "Lax" => site != "cross-site" || *method == Method::GET,
                _ => true,
            })
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect()
    }

    /// Takes the cookies of a response.
    pub(super) fn receive(&mut self, received: &Received, now_s: u64) {
        if !self.keeps_cookies {
            return;
        }
        for value in &received.set_cookies {
            let text = value.to_str().unwrap();
            let (pair, attributes) = text.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let attribute = |name: &str| {
                let parts = attributes.split("; ").filter_map(|part| part.split_once('='));
                parts.filter(|(other, _)| *other == name).map(|(_, value)| value.to_owned()).next()
            };
            let domain = attribute("Domain");
            let max_age: u64 = attribute("Max-Age").unwrap().parse().unwrap();
            let cookie = JarCookie {
                name: name.into(),
                value: value.into(),
                is_domain: domain.is_some(),
                host: domain.unwrap_or_else(|| received.host.clone()),
                expires_s: now_s + max_age,
                same_site: attribute("SameSite").unwrap_or_default(),
            };
            self.cookies.retain(|old| {
                (&old.name, &old.host, old.is_domain)
                    != (&cookie.name, &cookie.host, cookie.is_domain)
            });
            if max_age > 0 {
                self.cookies.push(cookie);
            }
        }
    }
}
