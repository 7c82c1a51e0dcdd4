//! The first step: somebody who must sign in asks a route's host for something.

use ring::error::Unspecified;

use super::{
    answer::{FlowAnswer, FlowBody, FlowEvent, FlowPage, SignInLossReason, StepInput},
    context::{FlowEnvironment, FlowRequest},
    parameters::encode,
    return_path::ReturnPath,
    sealed::{ReturnPlace, SealedSignInRequest},
};
use crate::identity::{
    binding::BrowserBinding,
    cookies::RequestCookies,
    session::{Session, random_bytes},
    shared::SessionUpdate,
    spec::SameSite,
};

/// A sign-in that would begin so soon after the last one does not help, in seconds.
const LOOP_GUARD_S: u64 = 10;

/// Sends the browser to the authenticate host. For requests that may be redirected.
pub(crate) fn begin(environment: &FlowEnvironment<'_>, request: &FlowRequest<'_>) -> FlowAnswer {
    let input = (environment, request);
    let context = environment.context;
    if !(environment.is_own_host)(request.host) {
        return FlowAnswer::link_invalid(None, "the host is not ours");
    }
    let cookies = context.cookies.read(request.headers);
    let binding = environment.binding(request, &cookies);
    if let Some(stopped) = stopped(input, &cookies, binding.as_ref()) {
        return stopped;
    }
    let place = ReturnPlace {
        host: request.host.into(),
        port: request.return_port(context),
        path: ReturnPath::of_request(request.path_and_query),
        visit: None,
    };
    begin_at(input, place, 0, FlowEvent::Begun)
}

/// Sends the browser to the authenticate host, from the host of the request.
pub(super) fn begin_at(
    input: StepInput<'_>,
    place: ReturnPlace,
    restarts: u8,
    event: FlowEvent,
) -> FlowAnswer {
    try_begin_at(input, place, restarts, event).unwrap_or_else(|Unspecified| FlowAnswer::internal())
}

fn try_begin_at(
    (environment, request): StepInput<'_>,
    place: ReturnPlace,
    restarts: u8,
    event: FlowEvent,
) -> Result<FlowAnswer, Unspecified> {
    let FlowEnvironment { context, shared, now_s, random, .. } = *environment;
    let cookies = context.cookies.read(request.headers);
    let binding = match environment.binding(request, &cookies) {
        Some(binding) => binding,
        None => BrowserBinding::generate(now_s, random)?,
    };
    let sealed = SealedSignInRequest {
        id: random_bytes(random)?,
        process: shared.process,
        place,
        binding: binding.digest(),
        provider: context.provider,
        issued_s: now_s,
        restarts,
    }
    .seal(context, random)?;
    let query = encode([("request", &*sealed)]);
    let url = context.authenticate_url(&format!("/.pomerium/sign_in?{query}"));
    let mut set = context.cookies.delete_session(request.host, &cookies);
    set.extend(context.cookies.set_binding(request.host, &binding, now_s, random));
    Ok(FlowAnswer::redirect(url, event).with_cookies(set))
}

/// The page instead of a sign-in that would not help.
fn stopped(
    (environment, request): StepInput<'_>,
    cookies: &RequestCookies<'_>,
    binding: Option<&BrowserBinding>,
) -> Option<FlowAnswer> {
    let last = binding?.last_sign_in?;
    let context = environment.context;
    if last.provider != context.provider {
        return None;
    }
    let age_s = environment.now_s.saturating_sub(last.at_s);
    let to = request.return_url(context);
    let spec = &context.spec.cookies;
    if spec.same_site == SameSite::Strict
        && cookies.session_values().is_empty()
        && request.header("sec-fetch-site") == Some("cross-site")
        && age_s < spec.expire.as_secs()
    {
        // A link elsewhere led here, so the session cookie stayed away. It comes with the next
        // request, which this page makes.
        return Some(FlowAnswer::page(FlowPage::Continue { to }, FlowEvent::Continued));
    }
    let reason = loss_reason((environment, request), cookies);
    let page = FlowPage::DidNotLast { reason, again: to };
    (age_s < LOOP_GUARD_S).then(|| FlowAnswer::page(page, FlowEvent::DidNotLast))
}

fn loss_reason(
    (environment, request): StepInput<'_>,
    cookies: &RequestCookies<'_>,
) -> SignInLossReason {
    let sessions = environment.context.cookies.sessions(request.host, cookies);
    let has_ended = |session: &Session| {
        let update = environment.shared.update(session.id);
        let user = environment.shared.user_end(&session.identity);
        environment.now_s >= session.ends_at_s
            || matches!(update, Some(SessionUpdate::Ended))
            || session.signed_in_at_s < user.ended_before_s
    };
    match sessions.as_slice() {
        [] if cookies.session_values().is_empty() => SignInLossReason::NoCookie,
        [] => SignInLossReason::Refused,
        opened if opened.iter().all(|opened| has_ended(&opened.session)) => SignInLossReason::Ended,
        _ => SignInLossReason::Unknown,
    }
}

/// The redirect to where a sign-in leads, or the page that goes there with the new cookie.
pub(super) fn arrive(environment: &FlowEnvironment<'_>, to: String) -> FlowBody {
    match environment.context.spec.cookies.same_site {
        // This request came from another site, and a redirect would count as coming from there.
        SameSite::Strict => FlowBody::Page(FlowPage::Continue { to }),
        SameSite::Unset | SameSite::Lax | SameSite::None => FlowBody::Redirect(to),
    }
}
