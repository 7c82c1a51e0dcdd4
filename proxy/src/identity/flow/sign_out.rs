//! Sign-out, at any host and then at the authenticate host.

use http::{HeaderValue, Method, Uri};
use ring::error::Unspecified;

use super::{
    answer::{FlowAnswer, FlowEvent, FlowPage, FlowStep, StepInput},
    context::{FlowEnvironment, FlowRequest, SignInContext},
    parameters::{encode, single},
    pending::{FlowPending, WaitingStep},
    return_path::{ReturnPath, return_port},
    sealed::{ReturnPlace, SignOutRequest, is_fresh},
};
use crate::{
    hostname,
    identity::{
        calls::{IdentityCall, IdentityReply},
        cookies::choose,
        session::{ProviderId, SessionId},
        spec::origin,
    },
};

/// How long a request to sign out counts, in seconds.
const REQUEST_LIFE_S: u64 = 5 * 60;

/// How long the provider may take to sign somebody out, in seconds.
const RETURN_LIFE_S: u64 = 60 * 60;

/// A sign-out that is decided.
pub(crate) struct LeavingSession {
    /// Sessions that are still to end.
    sessions: Vec<(SessionId, u64)>,
    /// The sessions that a route's host tells the authenticate host of, one of each client.
    told: Vec<SessionId>,
    /// Where to go at the end.
    then: Option<ReturnPlace>,
    /// For the provider: the client that signs out there, and its ID token.
    client: ProviderId,
    id_token: Option<Box<str>>,
    cookies: Vec<HeaderValue>,
}

/// Whether a request to sign out is the person's own wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignOutWish {
    Certain,
    /// Another site may have led here: ask.
    Doubtful,
    /// A form of another site: refuse.
    Foreign,
    /// No method for this.
    NotAllowed,
}

/// `/.pomerium/sign_out`.
pub(super) fn start(input: StepInput<'_>) -> FlowStep {
    let (_, http) = input;
    let request = sealed_request(input);
    match wish(http) {
        SignOutWish::NotAllowed => FlowAnswer::method_not_allowed().into(),
        SignOutWish::Foreign => refused(input).into(),
        _ if request.as_ref().is_some_and(|request| is_same(input, request)) => {
            sign_out(input, request)
        }
        SignOutWish::Certain => sign_out(input, request),
        SignOutWish::Doubtful => ask(input).into(),
    }
}

/// What a route's host tells the authenticate host.
fn sealed_request((environment, http): StepInput<'_>) -> Option<SignOutRequest> {
    let context = environment.context;
    if http.host != context.authenticate_host() {
        return None;
    }
    let text = single(http.query(), "request").ok().flatten()?;
    SignOutRequest::open(context, &text)
        .filter(|request| is_fresh(request.issued_s, REQUEST_LIFE_S, environment.now_s))
}

/// Whether a sealed request was made in this browser, so that no session is ended by a request of
/// another browser. It was if it names every session that this browser has at the authenticate host, or
/// one that was made for this browser: a sibling host can plant sessions, yet not the binding. The
/// browser may have sessions of other clients, which the route's host did not know of. Without any
/// session, the request does not say in whose browser it was made, so another site must not have led
/// here: people would be sent on to sign out at the provider.
fn is_same((environment, http): StepInput<'_>, request: &SignOutRequest) -> bool {
    let (mut is_any, mut is_each_named, mut is_bound) = (false, true, false);
    for context in environment.clients.presented(http.headers) {
        let cookies = context.cookies.read(http.headers);
        let binding = environment.binding(http, &cookies).map(|binding| binding.digest());
        let masters = context.cookies.master_sessions(http.host, &cookies).into_iter();
        let opened = context.cookies.sessions(http.host, &cookies).into_iter();
        let masters = masters.map(|master| master.session);
        for session in masters.chain(opened.map(|opened| opened.session)) {
            let is_named = request.sessions.contains(&session.id);
            is_any = true;
            is_each_named &= is_named;
            is_bound |= is_named && Some(session.binding) == binding;
        }
    }
    match is_any {
        true => is_each_named || is_bound,
        false => {
            matches!(http.header("sec-fetch-site"), Some("none" | "same-origin" | "same-site"))
        }
    }
}

fn wish(http: &FlowRequest<'_>) -> SignOutWish {
    let site = http.header("sec-fetch-site");
    if *http.method == Method::GET {
        let is_navigation = http.header("sec-fetch-mode") == Some("navigate")
            && http.header("sec-fetch-dest") == Some("document");
        return match site {
            Some("same-origin" | "none") if is_navigation => SignOutWish::Certain,
            _ => SignOutWish::Doubtful,
        };
    }
    if *http.method != Method::POST {
        return SignOutWish::NotAllowed;
    }
    if http.is_of_own_page() { SignOutWish::Certain } else { SignOutWish::Foreign }
}

fn refused((environment, http): StepInput<'_>) -> FlowAnswer {
    let page = FlowPage::SignOutRefused { user_page: own_url(environment, http, "/.pomerium/") };
    FlowAnswer::page(page, FlowEvent::SignOutRefused)
}

fn ask((environment, http): StepInput<'_>) -> FlowAnswer {
    let FlowEnvironment { context, shared, now_s, .. } = *environment;
    let clients = environment.clients.presented(http.headers);
    let here = clients.iter().find_map(|context| {
        let cookies = context.cookies.read(http.headers);
        context.who(http.host, &cookies, shared, now_s).map(|who| who.session)
    });
    let master = || {
        clients.iter().find_map(|context| {
            let cookies = context.cookies.read(http.headers);
            let masters = context.cookies.master_sessions(http.host, &cookies);
            masters.into_iter().next().map(|master| master.session)
        })
    };
    let known_as = here.or_else(master).map(|session| match &*session.identity.email {
        "" => session.identity.user_id,
        email => email.into(),
    });
    let page = FlowPage::ConfirmSignOut {
        known_as,
        action: http.return_url(context),
        stay: own_url(environment, http, "/.pomerium/"),
    };
    FlowAnswer::page(page, FlowEvent::SignOutAsked)
}

fn own_url(environment: &FlowEnvironment<'_>, http: &FlowRequest<'_>, path: &str) -> String {
    format!("{}{path}", origin(http.host, http.return_port(environment.context)))
}

/// Ends the sessions that this host has of the browser, of every client.
fn sign_out(input: StepInput<'_>, request: Option<SignOutRequest>) -> FlowStep {
    let (environment, http) = input;
    let main = environment.clients.main();
    let cookies = main.cookies.read(http.headers);
    let then = match &request {
        Some(request) => request.then.clone(),
        None => asked_place(input),
    };
    let mut leaving = LeavingSession {
        sessions: Vec::new(),
        told: Vec::new(),
        then,
        client: main.provider,
        id_token: None,
        cookies: Vec::new(),
    };
    let named = request.map(|request| request.sessions).unwrap_or_default();
    for context in environment.clients.presented(http.headers) {
        leave_client(input, context, &named, &mut leaving);
    }
    leaving.cookies.extend(main.cookies.delete_binding(&cookies));
    leaving.sessions.sort_unstable();
    leaving.sessions.dedup_by_key(|(id, _)| *id);
    end_next(input, leaving)
}

/// Adds the sessions of one client. The ID token for the provider is that of a session that a route's
/// host has named, if there is one.
fn leave_client(
    (environment, http): StepInput<'_>,
    context: &SignInContext,
    named: &[SessionId],
    leaving: &mut LeavingSession,
) {
    let cookies = context.cookies.read(http.headers);
    let binding = environment.binding(http, &cookies);
    let opened = context.cookies.sessions(http.host, &cookies);
    let here = choose(opened.iter(), |opened| &opened.session, binding.as_ref());
    let masters = if http.host == context.authenticate_host() {
        context.cookies.master_sessions(http.host, &cookies)
    } else {
        Vec::new()
    };
    let master = choose(masters.iter(), |master| &master.session, binding.as_ref());
    if let Some(master) = master
        && (leaving.id_token.is_none() || named.contains(&master.session.id))
    {
        (leaving.client, leaving.id_token) = (context.provider, master.id_token.clone());
    }
    leaving.told.extend(here.map(|opened| opened.session.id));
    let sessions = opened.iter().map(|opened| &opened.session);
    let sessions = sessions.chain(masters.iter().map(|master| &master.session));
    let sessions = sessions.filter(|session| environment.now_s < session.ends_at_s);
    leaving.sessions.extend(sessions.map(|session| (session.id, session.ends_at_s)));
    leaving.cookies.extend(context.cookies.delete_session(http.host, &cookies));
    leaving.cookies.extend(context.cookies.delete_master(&cookies));
}

/// `pomerium_redirect_uri`, if it is a URL of a host of ours.
fn asked_place((environment, http): StepInput<'_>) -> Option<ReturnPlace> {
    let context = environment.context;
    let text = single(http.query(), "pomerium_redirect_uri").ok().flatten()?;
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"))?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = hostname::normalise_host(authority.host())?;
    let is_own = *host == *context.authenticate_host() || (environment.is_own_host)(&host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    is_own.then(|| ReturnPlace {
        host,
        port: return_port(
            authority.port_u16(),
            Some(context.spec.authenticate.port),
            &context.spec.listen_ports,
        ),
        path: ReturnPath::of_request(path),
        visit: None,
    })
}

/// Ends one session after the other, then goes on. All workers can see the end before the answer.
fn end_next(input: StepInput<'_>, mut leaving: LeavingSession) -> FlowStep {
    match leaving.sessions.pop() {
        Some((session, ends_at_s)) => {
            let call = IdentityCall::SignOut { session, ends_at_s, revoke: true };
            FlowStep::ask(call, FlowPending(WaitingStep::SignedOut { leaving }))
        }
        None => leave(input, leaving, false),
    }
}

/// After one session ended.
pub(super) fn ended(
    input: StepInput<'_>,
    leaving: LeavingSession,
    reply: &IdentityReply,
) -> FlowStep {
    match reply {
        IdentityReply::SignedOut => end_next(input, leaving),
        // The cookies stay: somebody who reads "signed out" must be.
        reply => FlowAnswer::unexpected(reply, input.1.return_url(input.0.context)).into(),
    }
}

/// Goes on: to the authenticate host, from there to the provider. `asked`: the control thread was
/// asked for the provider's metadata already; without it, people sign out of us alone.
pub(super) fn leave(input: StepInput<'_>, leaving: LeavingSession, asked: bool) -> FlowStep {
    let (environment, http) = input;
    let context = environment.context;
    let is_last = http.host == context.authenticate_host();
    if is_last && !asked && environment.provider_view().is_none() {
        let waiting = WaitingStep::SignOutProviderFound { leaving };
        return FlowStep::ask(IdentityCall::Discover, FlowPending(waiting));
    }
    let to = if is_last {
        after_sign_out(environment, &leaving)
    } else {
        to_authenticate(environment, &leaving)
    };
    let Ok(to) = to else {
        return FlowAnswer::internal().into();
    };
    let answer = if *http.method == Method::POST {
        // A redirect after a form is subject to the page's `form-action`, wherever it leads.
        FlowAnswer::page(FlowPage::SigningOut { to }, FlowEvent::SignedOut)
    } else {
        FlowAnswer::redirect(to, FlowEvent::SignedOut)
    };
    answer.with_cookies(leaving.cookies).into()
}

/// The sealed way from a route's host to the authenticate host.
fn to_authenticate(
    environment: &FlowEnvironment<'_>,
    leaving: &LeavingSession,
) -> Result<String, Unspecified> {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let sealed = SignOutRequest {
        issued_s: now_s,
        sessions: leaving.told.clone(),
        then: leaving.then.clone(),
    }
    .seal(context, random)?;
    let query = encode([("request", &*sealed)]);
    Ok(context.authenticate_url(&format!("/.pomerium/sign_out?{query}")))
}

/// Where the authenticate host leads to: the provider if it signs people out, else the end.
fn after_sign_out(
    environment: &FlowEnvironment<'_>,
    leaving: &LeavingSession,
) -> Result<String, Unspecified> {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let signed_out = context.authenticate_url("/.pomerium/signed_out");
    let configured = context.spec.signout_redirect_url.as_deref();
    let view = environment.provider_view();
    let Some(end_session) = view.as_ref().and_then(|view| view.end_session.as_ref()) else {
        let then = leaving.then.as_ref().map(ReturnPlace::url);
        return Ok(then.unwrap_or_else(|| configured.map_or(signed_out, str::to_owned)));
    };
    let return_to = match (&leaving.then, configured) {
        (None, Some(configured)) => configured,
        _ => &signed_out,
    };
    let client = environment.clients.of(Some(leaving.client)).unwrap_or(context);
    let client_id = client.client_id();
    let mut url = end_session.url(client_id, leaving.id_token.as_deref(), return_to);
    if let Some(then) = &leaving.then {
        // The provider gives it back with the return URL, which must be one it knows.
        let request =
            SignOutRequest { issued_s: now_s, sessions: Vec::new(), then: Some(then.clone()) };
        url.push_str(if url.contains('?') { "&" } else { "?" });
        url.push_str(&encode([("state", &*request.seal(context, random)?)]));
    }
    Ok(url)
}

/// `/.pomerium/signed_out` at the authenticate host.
pub(super) fn signed_out((environment, http): StepInput<'_>) -> FlowAnswer {
    if !http.is_read() {
        return FlowAnswer::method_not_allowed();
    }
    let text = single(http.query(), "state").ok().flatten();
    let then = text
        .and_then(|text| SignOutRequest::open(environment.context, &text))
        .filter(|request| is_fresh(request.issued_s, RETURN_LIFE_S, environment.now_s))
        .and_then(|request| request.then);
    match then {
        Some(place) => FlowAnswer::redirect(place.url(), FlowEvent::SignedOut),
        None => FlowAnswer::page(FlowPage::SignedOut, FlowEvent::SignedOut),
    }
}
