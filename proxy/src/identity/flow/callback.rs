//! The callback of the provider, at the authenticate host.

use http::Method;
use ring::error::Unspecified;

use super::{
    answer::{FlowAnswer, FlowEvent, FlowPage, FlowStep, StepInput},
    context::FlowEnvironment,
    parameters::{TwiceError, single},
    pending::{FlowPending, WaitingStep},
    room,
    sealed::{SealedSignInRequest, SignInState, is_fresh},
    sign_in,
    who::SessionState,
};
use crate::identity::{
    calls::{
        CodeExchange, IdentityCall, IdentityReply, OneTimeObject, ProviderFailure, SignedIn,
        UseOnce,
    },
    cookies::{MasterSession, RequestCookies, SessionCookieError},
    session::{Session, SessionId},
    shared::ProviderView,
};

/// How long a state counts, in seconds.
const STATE_LIFE_S: u64 = 60 * 60;

/// How often one sign-in may begin again by itself.
pub(super) const MAX_RESTARTS: u8 = 3;

/// A session this much older than a state, in seconds, was made while the state's tab was loading:
/// with the cookie, that tab would not have gone to the provider.
const CONCURRENT_S: u64 = 60;

/// The longest code, in bytes.
const MAX_CODE_LEN: usize = 8 * 1024;

/// The parameters of the provider's response (RFC 6749 section 4.1.2).
struct ProviderResponse {
    code: Option<String>,
    error: Option<String>,
    description: Option<String>,
    issuer: Option<String>,
}

/// `/oauth2/callback`: the state, and whether it was used.
pub(super) fn start((environment, http): StepInput<'_>) -> FlowStep {
    let FlowEnvironment { context, now_s, .. } = *environment;
    if *http.method != Method::GET {
        return FlowAnswer::method_not_allowed().into();
    }
    let text = single(http.query(), "state").ok().flatten();
    let opened = text.and_then(|text| SignInState::open(context, &text));
    let Some(state) = opened.filter(|state| environment.is_own(&state.request.place)) else {
        return FlowAnswer::link_invalid(None, "the state is not ours").into();
    };
    let again = state.request.place.url();
    if !is_fresh(state.issued_s, STATE_LIFE_S, now_s) {
        return FlowAnswer::link_invalid(Some(again), "the state is late").into();
    }
    let is_of_client = environment.of_client(state.request.provider).is_some();
    if state.process != environment.shared.process || !is_of_client {
        return FlowAnswer::redirect(again, FlowEvent::BegunAgain)
            .because("the state is of another process or provider")
            .into();
    }
    // Its first presentation uses it up, whatever comes next: whoever sees this URL afterwards has
    // nothing of it.
    let until_s = state.issued_s.saturating_add(STATE_LIFE_S).max(now_s).saturating_add(60);
    let call = IdentityCall::UseOnce { object: OneTimeObject::State, id: state.id, until_s };
    FlowStep::ask(call, FlowPending(WaitingStep::StateUsed { state }))
}

/// The binding.
pub(super) fn used(input: StepInput<'_>, state: SignInState, reply: IdentityReply) -> FlowStep {
    let (environment, http) = input;
    let again = state.request.place.url();
    let cookies = environment.context.cookies.read(http.headers);
    let is_signed_in = || sign_in::master_session(environment, http.host, &cookies).is_some();
    match reply {
        IdentityReply::Used(UseOnce::First) => {}
        IdentityReply::Used(UseOnce::Full) => return FlowAnswer::too_many(again).into(),
        IdentityReply::Used(UseOnce::Again) if is_signed_in() => {
            return FlowAnswer::redirect(again, FlowEvent::AlreadySignedIn).into();
        }
        IdentityReply::Used(UseOnce::Again) => {
            return FlowAnswer::link_invalid(Some(again), "the state was used before").into();
        }
        reply => return FlowAnswer::unexpected(&reply, again).into(),
    }
    match environment.binding(http, &cookies) {
        Some(binding) if binding.digest() == state.binding => judge(input, state, false),
        None if is_signed_in() => FlowAnswer::redirect(again, FlowEvent::AlreadySignedIn).into(),
        // Several tabs began before the first answer came; the browser kept the last one's cookie.
        Some(_) if state.request.restarts < MAX_RESTARTS => {
            sign_in::begin_again(environment, &state.request)
                .unwrap_or_else(|Unspecified| FlowAnswer::internal())
                .into()
        }
        _ => {
            let detail = "the cookie that binds the state to a browser is missing or another's";
            FlowAnswer::cookie_lost(again, detail).into()
        }
    }
}

/// The provider's response. `asked`: the control thread was asked for metadata already.
pub(super) fn judge(input: StepInput<'_>, state: SignInState, asked: bool) -> FlowStep {
    let (environment, http) = input;
    let again = state.request.place.url();
    let Some(view) = environment.provider_view() else {
        if asked {
            return sign_in::no_metadata(again).into();
        }
        let waiting = WaitingStep::CallbackProviderFound { state };
        return FlowStep::ask(IdentityCall::Discover, FlowPending(waiting));
    };
    let Ok(response) = ProviderResponse::read(http.query()) else {
        return FlowAnswer::link_invalid(Some(again), "a parameter is there twice").into();
    };
    if !response.has_issuer(&view) {
        return FlowAnswer::link_invalid(Some(again), "the response is of another issuer").into();
    }
    match response {
        ProviderResponse { error: Some(error), code: None, description, .. } => {
            reported(&error, &description.unwrap_or_default(), again).into()
        }
        ProviderResponse { code: Some(code), error: None, .. }
            if !code.is_empty() && code.len() <= MAX_CODE_LEN =>
        {
            exchange(input, state, code)
        }
        _ => FlowAnswer::link_invalid(Some(again), "neither a code nor an error").into(),
    }
}

impl ProviderResponse {
    fn read(query: &str) -> Result<ProviderResponse, TwiceError> {
        // The state too was looked at by `single`.
        Ok(ProviderResponse {
            code: single(query, "code")?,
            error: single(query, "error")?,
            description: single(query, "error_description")?,
            issuer: single(query, "iss")?,
        })
    }

    /// RFC 9207: against mix-up of providers.
    fn has_issuer(&self, view: &ProviderView) -> bool {
        match &self.issuer {
            Some(issuer) => **issuer == *view.issuer,
            None => !view.iss_in_response,
        }
    }
}

/// The provider's error instead of a code.
fn reported(error: &str, description: &str, again: String) -> FlowAnswer {
    let is_denied = matches!(error, "access_denied" | "unauthorized_client");
    let (error, description) = (cut(error), cut(description));
    if is_denied {
        let page = FlowPage::ProviderDenied { error, description, again };
        return FlowAnswer::page(page, FlowEvent::Denied);
    }
    let page = FlowPage::ProviderError { error, description, again };
    FlowAnswer::page(page, FlowEvent::ProviderError)
}

/// At most 200 characters.
fn cut(text: &str) -> Box<str> {
    text.chars().take(200).collect::<String>().into()
}

fn exchange(input: StepInput<'_>, state: SignInState, code: String) -> FlowStep {
    let (environment, http) = input;
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let cookies = context.cookies.read(http.headers);
    let older = sign_in::master_session(environment, http.host, &cookies);
    if let Some((older, SessionState::Good)) = &older
        && older.session.signed_in_at_s.saturating_add(CONCURRENT_S) >= state.issued_s
        && older.session.binding == state.binding
    {
        // Another tab of this browser signed in meanwhile. One session for all tabs.
        return sign_in::hand_over(input, &state.request, &older.session, Vec::new());
    }
    let Ok(session) = SessionId::generate(random) else {
        return FlowAnswer::internal().into();
    };
    let call = IdentityCall::Exchange(CodeExchange {
        provider: context.provider,
        code: code.into(),
        verifier: state.verifier().into(),
        nonce: state.nonce().into(),
        redirect_uri: sign_in::redirect_uri(environment).into(),
        client: http.client,
        session,
        ends_at_s: now_s.saturating_add(context.spec.cookies.expire.as_secs()),
    });
    let older = older.map(|(older, _)| older.session);
    FlowStep::ask(call, FlowPending(WaitingStep::Exchanged { state, session, older }))
}

/// A new session, and the end of the browser's older one.
pub(super) fn exchanged(
    input: StepInput<'_>,
    state: SignInState,
    id: SessionId,
    older: Option<Session>,
    reply: IdentityReply,
) -> FlowStep {
    let (environment, _) = input;
    let again = state.request.place.url();
    let signed_in = match reply {
        IdentityReply::SignedIn(signed_in) => *signed_in,
        reply => return FlowAnswer::unexpected(&reply, again).into(),
    };
    let master = master_of(environment, &state, id, signed_in);
    if environment.now_s >= master.session.ends_at_s {
        let failure = ProviderFailure::Invalid("the session has ended already".into());
        return FlowAnswer::failed(&failure, again).into();
    }
    let Some(older) = older else {
        return self::signed_in(input, &state.request, &master);
    };
    let call =
        IdentityCall::SignOut { session: older.id, ends_at_s: older.ends_at_s, revoke: false };
    let waiting = WaitingStep::OlderEnded { request: state.request, master };
    FlowStep::ask(call, FlowPending(waiting))
}

fn master_of(
    environment: &FlowEnvironment<'_>,
    state: &SignInState,
    id: SessionId,
    signed_in: SignedIn,
) -> MasterSession {
    let FlowEnvironment { context, now_s, .. } = *environment;
    let latest_s = now_s.saturating_add(context.spec.cookies.expire.as_secs());
    MasterSession {
        session: Session {
            id,
            provider: context.provider,
            binding: state.binding,
            identity: signed_in.identity,
            name: signed_in.name,
            claims_digest: context.claims_digest,
            signed_in_at_s: signed_in.signed_in_at_s,
            ends_at_s: signed_in.ends_at_s.min(latest_s),
            check_at_s: signed_in.check_at_s,
            tokens: signed_in.tokens,
        },
        id_token: signed_in.id_token,
    }
}

/// Keeps the session here, and hands it over.
pub(super) fn signed_in(
    input: StepInput<'_>,
    request: &SealedSignInRequest,
    master: &MasterSession,
) -> FlowStep {
    let (environment, http) = input;
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let cookies: RequestCookies<'_> = context.cookies.read(http.headers);
    let set = context.cookies.set_master(http.host, master, &cookies, now_s, random);
    let mut set = match set {
        Ok(set) => set,
        Err(error) => return no_cookie(error).into(),
    };
    set.extend(room::make_room(input, &set));
    if let Some(binding) = environment.binding(http, &cookies) {
        set.extend(context.cookies.set_binding(http.host, &binding, now_s, random));
    }
    sign_in::hand_over(input, request, &master.session, set)
}

/// A session that no cookie can hold.
pub(super) fn no_cookie(error: SessionCookieError) -> FlowAnswer {
    match error {
        SessionCookieError::TooLarge { claim } => {
            let detail = format!("the session is too large; its longest claim is {claim:?}");
            FlowAnswer::page(FlowPage::SessionTooLarge { claim }, FlowEvent::TooLarge)
                .because(detail)
        }
        SessionCookieError::Random => FlowAnswer::internal(),
    }
}
