//! The steps at the authenticate host before the provider, and the handover.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use ring::{error::Unspecified, hmac};

use super::{
    answer::{FlowAnswer, FlowEvent, FlowStep, StepInput},
    context::FlowEnvironment,
    parameters::{encode, pairs, single},
    pending::{FlowPending, WaitingStep},
    room,
    sealed::{HandedSession, Handover, SealedSignInRequest, SignInState, is_fresh},
    who::SessionState,
};
use crate::identity::{
    binding::BrowserBinding,
    calls::{
        CheckOutcome, CheckRequest, IdentityCall, IdentityReply, OneTimeObject, ProviderFailure,
        UseOnce,
    },
    cookies::{MasterSession, RequestCookies},
    provider_tokens::WantedTokens,
    session::{Session, random_bytes},
    shared::ProviderView,
    spec::ProviderPreset,
};

/// How long a request to sign in counts, in seconds.
const REQUEST_LIFE_S: u64 = 5 * 60;

/// The longest handover in a URL, in bytes.
const MAX_HANDOVER_LEN: usize = 6 * 1024;

/// Parameters of the authorization request that are ours alone.
const OWN_PARAMETERS: [&str; 11] = [
    "client_id",
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// `/.pomerium/sign_in` at the authenticate host.
pub(super) fn start(input: StepInput<'_>) -> FlowStep {
    let (environment, http) = input;
    let context = environment.context;
    if !http.is_read() {
        return FlowAnswer::method_not_allowed().into();
    }
    let text = single(http.query(), "request").ok().flatten();
    let opened = text.and_then(|text| SealedSignInRequest::open(context, &text));
    let Some(request) = opened.filter(|request| environment.is_own(&request.place)) else {
        return FlowAnswer::link_invalid(None, "the request to sign in is not ours").into();
    };
    let now_s = environment.now_s;
    if !is_fresh(request.issued_s, REQUEST_LIFE_S, now_s)
        || request.process != environment.shared.process
        || environment.of_client(request.provider).is_none()
    {
        return FlowAnswer::redirect(request.place.url(), FlowEvent::BegunAgain)
            .because("the request to sign in is late, or of another process or provider")
            .into();
    }
    // Else somebody who sees this URL could sign in with it himself, and send the victim the handover
    // for her own request.
    let until_s = request.issued_s.saturating_add(REQUEST_LIFE_S).max(now_s).saturating_add(60);
    let call = IdentityCall::UseOnce { object: OneTimeObject::Request, id: request.id, until_s };
    FlowStep::ask(call, FlowPending(WaitingStep::RequestUsed { request }))
}

/// The request's first presentation goes on.
pub(super) fn used(
    input: StepInput<'_>,
    request: SealedSignInRequest,
    reply: &IdentityReply,
) -> FlowStep {
    match reply {
        IdentityReply::Used(UseOnce::First) => decide(input, request),
        // A reloaded page, say.
        IdentityReply::Used(UseOnce::Again) => {
            FlowAnswer::redirect(request.place.url(), FlowEvent::BegunAgain)
                .because("the request to sign in was used before")
                .into()
        }
        IdentityReply::Used(UseOnce::Full) => FlowAnswer::too_many(request.place.url()).into(),
        reply => FlowAnswer::unexpected(reply, request.place.url()).into(),
    }
}

/// Vouches for the browser if it is signed in here, and sends it to the provider if not.
pub(super) fn decide(input: StepInput<'_>, request: SealedSignInRequest) -> FlowStep {
    let (environment, http) = input;
    let cookies = environment.context.cookies.read(http.headers);
    match master_session(environment, http.host, &cookies) {
        None => to_provider(input, request, false, false),
        Some((master, SessionState::Good)) => {
            hand_over(input, &request, &master.session, Vec::new())
        }
        Some((master, state)) => {
            let call = IdentityCall::Check(CheckRequest {
                session: master.session.id,
                client: http.client,
            });
            let waiting = WaitingStep::MasterChecked { request, master, state };
            FlowStep::ask(call, FlowPending(waiting))
        }
    }
}

/// The session of the authenticate host that counts.
pub(super) fn master_session(
    environment: &FlowEnvironment<'_>,
    host: &str,
    cookies: &RequestCookies<'_>,
) -> Option<(MasterSession, SessionState)> {
    let FlowEnvironment { context, shared, now_s, .. } = *environment;
    let masters = context.cookies.master_sessions(host, cookies).into_iter();
    let good = masters.filter_map(|master| {
        let judged = context.judge(&master.session, shared, now_s, WantedTokens::ALL)?;
        let session = judged.changed.unwrap_or(master.session);
        Some((MasterSession { session, id_token: master.id_token }, judged.state))
    });
    let binding = || context.cookies.binding(host, cookies, now_s);
    context.chosen(good, binding, |(master, _)| &master.session)
}

/// After the check of the session at the authenticate host.
pub(super) fn checked(
    input: StepInput<'_>,
    request: SealedSignInRequest,
    (master, state): (MasterSession, SessionState),
    reply: IdentityReply,
) -> FlowStep {
    let (environment, http) = input;
    let kept = match reply {
        IdentityReply::Checked(CheckOutcome::Good(renewed)) => Some(renewed.apply(&master.session)),
        IdentityReply::Checked(CheckOutcome::ProviderAway) if state != SessionState::MustCheck => {
            Some(master.session.clone())
        }
        // A session that the control thread does not know is not believed by its cookie alone.
        IdentityReply::Checked(_) => None,
        reply => return FlowAnswer::unexpected(&reply, request.place.url()).into(),
    };
    let Some(session) = kept.filter(|session| environment.now_s < session.ends_at_s) else {
        return to_provider(input, request, true, false);
    };
    let context = environment.context;
    let cookies = context.cookies.read(http.headers);
    let master = MasterSession { session, ..master };
    let FlowEnvironment { now_s, random, .. } = *environment;
    // Without the new cookie the next sign-in checks once more, so this one need not fail.
    let set = context.cookies.set_master(http.host, &master, &cookies, now_s, random);
    let mut set = set.unwrap_or_default();
    set.extend(room::make_room(input, &set));
    hand_over(input, &request, &master.session, set)
}

/// Sends the browser to the provider. `known`: it has a session here, which only could not be
/// checked, so nobody needs to choose an account. `asked`: the control thread was asked already.
pub(super) fn to_provider(
    input: StepInput<'_>,
    request: SealedSignInRequest,
    known: bool,
    asked: bool,
) -> FlowStep {
    let (environment, _) = input;
    match environment.provider_view() {
        Some(view) => redirect_to_provider(input, request, &view, known)
            .unwrap_or_else(|Unspecified| FlowAnswer::internal())
            .into(),
        None if asked => no_metadata(request.place.url()).into(),
        None => {
            let waiting = WaitingStep::ProviderFound { request, known };
            FlowStep::ask(IdentityCall::Discover, FlowPending(waiting))
        }
    }
}

/// The control thread has metadata, yet of another provider: the configuration changed just now.
pub(super) fn no_metadata(again: String) -> FlowAnswer {
    FlowAnswer::failed(&ProviderFailure::Away("its metadata is missing".into()), again)
}

fn redirect_to_provider(
    (environment, http): StepInput<'_>,
    request: SealedSignInRequest,
    view: &ProviderView,
    known: bool,
) -> Result<FlowAnswer, Unspecified> {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let cookies = context.cookies.read(http.headers);
    let binding = match environment.binding(http, &cookies) {
        Some(binding) => binding,
        None => BrowserBinding::generate(now_s, random)?,
    };
    let state = SignInState {
        id: random_bytes(random)?,
        process: environment.shared.process,
        issued_s: now_s,
        seed: random_bytes(random)?,
        binding: binding.digest(),
        request,
    };
    let url = authorization_url(environment, view, &state, known)?;
    let set = context.cookies.set_binding(http.host, &binding, now_s, random);
    let answer = FlowAnswer::redirect(url, FlowEvent::SentToProvider);
    Ok(answer.with_cookies(set.into_iter().collect()))
}

/// The authorization request (RFC 6749 section 4.1.1, with PKCE by S256 and a nonce always).
fn authorization_url(
    environment: &FlowEnvironment<'_>,
    view: &ProviderView,
    state: &SignInState,
    known: bool,
) -> Result<String, Unspecified> {
    let FlowEnvironment { context, random, .. } = *environment;
    let provider = &context.spec.provider;
    let challenge = crate::digest::sha256(state.verifier().as_bytes());
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(challenge);
    let (scope, nonce) = (provider.scopes.join(" "), state.nonce());
    let (redirect_uri, sealed) = (redirect_uri(environment), state.seal(context, random)?);
    let own = [
        ("client_id", context.client_id()),
        ("response_type", "code"),
        ("redirect_uri", &redirect_uri),
        ("scope", &scope),
        ("state", &sealed),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let (endpoint, query) =
        view.authorization_endpoint.split_once('?').unwrap_or((&view.authorization_endpoint, ""));
    let configured = provider.request_params.iter().map(|(name, value)| {
        let without_choice = known && offers_accounts(provider.preset) && &**name == "prompt";
        (
            name.to_string(),
            if without_choice { without_account_choice(value) } else { value.to_string() },
        )
    });
    // Neither the provider's own query nor the configuration can replace a parameter of ours.
    let others: Vec<(String, String)> = pairs(query)
        .chain(configured)
        .filter(|(name, _)| !OWN_PARAMETERS.contains(&&**name))
        .filter(|(name, value)| name != "prompt" || !value.is_empty())
        .collect();
    let others = others.iter().map(|(name, value)| (&**name, &**value));
    Ok(format!("{endpoint}?{}", encode(own.into_iter().chain(others))))
}

/// Presets whose `prompt` asks which account to use.
fn offers_accounts(preset: ProviderPreset) -> bool {
    matches!(preset, ProviderPreset::Google | ProviderPreset::Azure)
}

fn without_account_choice(prompt: &str) -> String {
    let kept: Vec<&str> = prompt.split(' ').filter(|value| *value != "select_account").collect();
    kept.join(" ")
}

/// Where the provider sends people back to.
pub(super) fn redirect_uri(environment: &FlowEnvironment<'_>) -> String {
    environment.context.authenticate_url("/oauth2/callback")
}

impl SignInState {
    /// The ID token must carry it.
    pub(super) fn nonce(&self) -> String {
        self.derive(b"nonce")
    }

    /// PKCE verifier (RFC 7636): 43 characters.
    pub(super) fn verifier(&self) -> String {
        self.derive(b"verifier")
    }

    fn derive(&self, label: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed);
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, label))
    }
}

/// Sends a signed-in browser back to the route's host.
pub(super) fn hand_over(
    (environment, _): StepInput<'_>,
    request: &SealedSignInRequest,
    session: &Session,
    cookies: Vec<HeaderValue>,
) -> FlowStep {
    try_hand_over(environment, request, session, cookies)
        .unwrap_or_else(|Unspecified| FlowAnswer::internal().into())
}

fn try_hand_over(
    environment: &FlowEnvironment<'_>,
    request: &SealedSignInRequest,
    session: &Session,
    cookies: Vec<HeaderValue>,
) -> Result<FlowStep, Unspecified> {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let wanted = context.wanted_tokens(request.place.sign_in_host());
    let session = session.clone().with_tokens(wanted);
    let handover = Handover {
        id: random_bytes(random)?,
        process: environment.shared.process,
        issued_s: now_s,
        place: request.place.clone(),
        binding: request.binding,
        provider: request.provider,
        restarts: request.restarts,
        session: HandedSession::Here(Session { binding: request.binding, ..session }),
    };
    let sealed = handover.seal(context, random)?;
    if sealed.len() <= MAX_HANDOVER_LEN {
        let answer = FlowAnswer::redirect(handover_url(&handover, &sealed), FlowEvent::HandedOver);
        return Ok(answer.with_cookies(cookies).into());
    }
    let call = IdentityCall::KeepHandover {
        id: handover.id,
        sealed: handover.seal_raw(context, random)?.into(),
    };
    let short = Handover { session: HandedSession::Kept, ..handover };
    let url = handover_url(&short, &short.seal(context, random)?);
    let waiting = WaitingStep::HandoverKept { url, cookies, again: request.place.url() };
    Ok(FlowStep::ask(call, FlowPending(waiting)))
}

/// Sends a browser back whose binding is not the one of its flow. The request of the flow may be
/// another browser's, so nothing goes on with it: the sign-in begins again at the route's host.
pub(super) fn begin_again(
    environment: &FlowEnvironment<'_>,
    request: &SealedSignInRequest,
) -> Result<FlowAnswer, Unspecified> {
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let handover = Handover {
        id: random_bytes(random)?,
        process: environment.shared.process,
        issued_s: now_s,
        place: request.place.clone(),
        binding: request.binding,
        provider: request.provider,
        restarts: request.restarts.saturating_add(1),
        session: HandedSession::Missing,
    };
    let url = handover_url(&handover, &handover.seal(context, random)?);
    Ok(FlowAnswer::redirect(url, FlowEvent::BegunAgain))
}

fn handover_url(handover: &Handover, sealed: &str) -> String {
    let origin = handover.place.sign_in_origin();
    let query = encode([("pomerium_session_encrypted", sealed)]);
    format!("{origin}/.pomerium/callback/?{query}")
}

/// After the control thread took a long handover.
pub(super) fn kept(
    url: String,
    cookies: Vec<HeaderValue>,
    again: String,
    reply: &IdentityReply,
) -> FlowAnswer {
    match reply {
        IdentityReply::Ready => {
            FlowAnswer::redirect(url, FlowEvent::HandedOver).with_cookies(cookies)
        }
        reply => FlowAnswer::unexpected(reply, again),
    }
}
