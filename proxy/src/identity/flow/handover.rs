//! The callback of the authenticate host, at a route's host: the last step of a sign-in.

use http::{HeaderValue, Method};

use super::{
    answer::{FlowAnswer, FlowBody, FlowEvent, FlowPage, FlowStep, StepInput},
    begin::{arrive, begin_at},
    callback::{MAX_RESTARTS, no_cookie},
    context::FlowEnvironment,
    dependent::{self, Onward},
    parameters::single,
    pending::{FlowPending, WaitingStep},
    room,
    sealed::{HandedSession, Handover, is_fresh},
};
use crate::identity::{
    binding::{BrowserBinding, LastSignIn},
    calls::{IdentityCall, IdentityReply, OneTimeObject, UseOnce},
    cookies::{RequestCookies, SessionCookieError},
    session::Session,
};

/// How long a handover counts, in seconds.
const HANDOVER_LIFE_S: u64 = 60;

/// So many further hosts follow by redirects alone. Each takes three of them, and browsers follow 20 in
/// a row, those of the provider included.
const MOST_REDIRECTED: usize = 2;

/// `/.pomerium/callback/`: the handover, and whether it was used.
pub(super) fn start(input: StepInput<'_>) -> FlowStep {
    let (environment, http) = input;
    let FlowEnvironment { context, now_s, .. } = *environment;
    if *http.method != Method::GET {
        return FlowAnswer::method_not_allowed().into();
    }
    let text = single(http.query(), "pomerium_session_encrypted").ok().flatten();
    let opened = text.and_then(|text| Handover::open(context, http.host, &text));
    let Some(handover) = opened.filter(|handover| environment.is_own(&handover.place)) else {
        return FlowAnswer::link_invalid(None, "the handover is not ours").into();
    };
    let Some(environment) = environment.of_client(handover.provider) else {
        return of_another(&handover, "the handover is of another client or provider").into();
    };
    let input = (&environment, http);
    if !is_fresh(handover.issued_s, HANDOVER_LIFE_S, now_s) {
        return spent(input, &handover, "the handover is late").into();
    }
    if handover.process != environment.shared.process {
        return of_another(&handover, "the handover is of another process").into();
    }
    // Its first presentation uses it up, whatever comes next.
    let id = handover.id;
    let until_s = handover.issued_s.saturating_add(HANDOVER_LIFE_S).max(now_s).saturating_add(60);
    let call = match handover.session {
        HandedSession::Here(_) => {
            IdentityCall::UseOnce { object: OneTimeObject::Handover, id, until_s }
        }
        HandedSession::Kept => IdentityCall::TakeHandover { id },
        HandedSession::Missing if is_signed_in(input) => {
            return FlowAnswer::redirect(handover.place.url(), FlowEvent::AlreadySignedIn).into();
        }
        HandedSession::Missing => {
            let Handover { place, restarts, .. } = handover;
            return begin_at(input, place, restarts, FlowEvent::BegunAgain).into();
        }
    };
    FlowStep::ask(call, FlowPending(WaitingStep::HandoverUsed { handover }))
}

/// A handover of which nothing is known here: the sign-in begins again, mostly unseen.
fn of_another(handover: &Handover, detail: &'static str) -> FlowAnswer {
    FlowAnswer::redirect(handover.place.url(), FlowEvent::BegunAgain).because(detail)
}

/// A handover that does not count any more.
fn spent(input: StepInput<'_>, handover: &Handover, detail: &'static str) -> FlowAnswer {
    let again = handover.place.url();
    if is_signed_in(input) {
        return FlowAnswer::redirect(again, FlowEvent::AlreadySignedIn);
    }
    FlowAnswer::link_invalid(Some(again), detail)
}

fn is_signed_in((environment, http): StepInput<'_>) -> bool {
    let FlowEnvironment { context, shared, now_s, .. } = *environment;
    let cookies = context.cookies.read(http.headers);
    context.who(http.host, &cookies, shared, now_s).is_some()
}

/// The binding, then the session.
pub(super) fn used(input: StepInput<'_>, handover: Handover, reply: IdentityReply) -> FlowAnswer {
    let (environment, http) = input;
    let context = environment.context;
    let again = handover.place.url();
    let session = match (reply, &handover.session) {
        (IdentityReply::Used(UseOnce::First), HandedSession::Here(session)) => session.clone(),
        (IdentityReply::Handover(Some(sealed)), HandedSession::Kept) => {
            match handover.open_kept(context, &sealed) {
                Some(session) => session,
                None => return FlowAnswer::internal(),
            }
        }
        (IdentityReply::Used(UseOnce::Again), HandedSession::Here(_))
        | (IdentityReply::Handover(None), HandedSession::Kept) => {
            return spent(input, &handover, "the handover was used before");
        }
        (IdentityReply::Used(UseOnce::Full), _) => return FlowAnswer::too_many(again),
        (reply, _) => return FlowAnswer::unexpected(&reply, again),
    };
    let cookies = context.cookies.read(http.headers);
    match environment.binding(http, &cookies) {
        Some(binding) if binding.digest() == handover.binding => {
            keep(input, &handover, &session, binding, &cookies)
        }
        _ if is_signed_in(input) => FlowAnswer::redirect(again, FlowEvent::AlreadySignedIn),
        // Several tabs began before the first answer came; the browser kept the last one's cookie.
        Some(_) if handover.restarts < MAX_RESTARTS => {
            begin_at(input, handover.place, handover.restarts + 1, FlowEvent::BegunAgain)
        }
        _ => {
            let detail = "the cookie that binds the handover to a browser is missing or another's";
            FlowAnswer::cookie_lost(again, detail)
        }
    }
}

/// Keeps the session at this host, and leads to what was asked for.
fn keep(
    (environment, http): StepInput<'_>,
    handover: &Handover,
    session: &Session,
    binding: BrowserBinding,
    cookies: &RequestCookies<'_>,
) -> FlowAnswer {
    let FlowEnvironment { context, shared, now_s, .. } = *environment;
    let to = handover.place.url();
    let wanted = context.wanted_tokens(http.host);
    let Some(judged) = context.judge(session, shared, now_s, wanted) else {
        return FlowAnswer::redirect(to, FlowEvent::BegunAgain)
            .because("the session ended, or the provider changed, during the sign-in");
    };
    let session = judged.changed.as_ref().unwrap_or(session);
    let Ok(onward) = dependent::after(environment, &handover.place, session.id) else {
        return FlowAnswer::internal();
    };
    match set_cookies((environment, http), session, binding, cookies) {
        Ok(set) => FlowAnswer {
            body: go_on(environment, handover, onward),
            cookies: set,
            event: FlowEvent::SignedIn,
            detail: None,
        },
        Err(error) => no_cookie(error),
    }
}

fn go_on(environment: &FlowEnvironment<'_>, handover: &Handover, onward: Onward) -> FlowBody {
    let is_first = handover.place.visit.is_none();
    match is_first && onward.hosts > MOST_REDIRECTED {
        true => FlowBody::Page(FlowPage::Continue { to: onward.url }),
        false => arrive(environment, onward.url),
    }
}

fn set_cookies(
    input: StepInput<'_>,
    session: &Session,
    binding: BrowserBinding,
    cookies: &RequestCookies<'_>,
) -> Result<Vec<HeaderValue>, SessionCookieError> {
    let (environment, http) = input;
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let host = http.host;
    let mut set = context.cookies.set_session(host, session, cookies, now_s, random)?;
    set.extend(room::make_room(input, &set));
    let last_sign_in = Some(LastSignIn { at_s: now_s, provider: session.provider });
    let binding = BrowserBinding { last_sign_in, ..binding };
    set.extend(context.cookies.set_binding(host, &binding, now_s, random));
    Ok(set)
}
