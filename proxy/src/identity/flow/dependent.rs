//! Sign-ins at further hosts (`depends_on`): one after the other, then the page that was asked for.
//!
//! ```text
//! R/.pomerium/callback/    302 B/.pomerium/sign_in_too?next=…
//! B/.pomerium/sign_in_too  302 A/.pomerium/sign_in?request=…, or on if B has the session already
//! B/.pomerium/callback/    302 C/.pomerium/sign_in_too?next=…, at last R/path
//! ```
//!
//! Each of them is a whole sign-in, bound to the browser at its host; only the session of the
//! authenticate host makes it short. A link to a step leads whoever opens it to a page of ours, signed
//! in as himself.

use http::Method;
use ring::error::Unspecified;

use super::{
    answer::{FlowAnswer, FlowEvent, FlowStep, StepInput},
    begin::begin_at,
    context::FlowEnvironment,
    parameters::{encode, single},
    sealed::{DependentSignIn, DependentVisit, ReturnPlace, is_fresh},
};
use crate::identity::{session::SessionId, spec::DependentHost};

/// How long the way from one host to the next may take, in seconds.
const NEXT_LIFE_S: u64 = 5 * 60;

/// Where a browser goes after a sign-in.
pub(super) struct Onward {
    pub(super) url: String,
    /// The further hosts before the page that was asked for.
    pub(super) hosts: usize,
}

/// `/.pomerium/sign_in_too`
pub(super) fn start(input: StepInput<'_>) -> FlowStep {
    let (environment, http) = input;
    let FlowEnvironment { context, shared, now_s, .. } = *environment;
    if *http.method != Method::GET {
        return FlowAnswer::method_not_allowed().into();
    }
    let text = single(http.query(), "next").ok().flatten();
    let opened = text.and_then(|text| DependentSignIn::open(context, http.host, &text));
    let Some(sign_in) = opened.filter(|sign_in| environment.is_own(&sign_in.place)) else {
        return FlowAnswer::link_invalid(None, "the sign-in at a further host is not ours").into();
    };
    let DependentSignIn { issued_s, session, place } = sign_in;
    if !is_fresh(issued_s, NEXT_LIFE_S, now_s) {
        return FlowAnswer::redirect(place.url(), FlowEvent::Continued)
            .because("the sign-in at a further host is late")
            .into();
    }
    let cookies = context.cookies.read(http.headers);
    let here = context.who(http.host, &cookies, shared, now_s);
    if here.is_none_or(|here| here.session.id != session) {
        return begin_at(input, place, 0, FlowEvent::Begun).into();
    }
    match after(environment, &place, session) {
        Ok(onward) => FlowAnswer::redirect(onward.url, FlowEvent::Continued).into(),
        Err(Unspecified) => FlowAnswer::internal().into(),
    }
}

/// Where a browser goes after this session began at the host of this sign-in. A host that was a
/// route's until a reload is left out.
pub(super) fn after(
    environment: &FlowEnvironment<'_>,
    place: &ReturnPlace,
    session: SessionId,
) -> Result<Onward, Unspecified> {
    let hosts = match &place.visit {
        Some(visit) => visit.rest.clone(),
        None => depends_on(environment, place),
    };
    let mut own = hosts.into_iter().filter(|it| (environment.is_own_host)(&it.host));
    let Some(at) = own.next() else {
        return Ok(Onward { url: place.url(), hosts: 0 });
    };
    let FlowEnvironment { context, now_s, random, .. } = *environment;
    let rest: Vec<DependentHost> = own.collect();
    let hosts = 1 + rest.len();
    let visit = Some(DependentVisit { at, rest });
    let next = ReturnPlace { visit, ..place.clone() };
    let origin = next.sign_in_origin();
    let sealed = DependentSignIn { issued_s: now_s, session, place: next }.seal(context, random)?;
    let query = encode([("next", &*sealed)]);
    Ok(Onward { url: format!("{origin}/.pomerium/sign_in_too?{query}"), hosts })
}

/// What the route of the page depends on.
fn depends_on(environment: &FlowEnvironment<'_>, place: &ReturnPlace) -> Vec<DependentHost> {
    let path = place.path.as_str().split('?').next().unwrap_or_default();
    (environment.depends_on)(&place.host, place.port, path)
}
