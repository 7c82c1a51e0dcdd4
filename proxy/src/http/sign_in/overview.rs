//! What a host says of the person who asks: `/.pomerium/` and `/.pomerium/user`.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{
    flow_page::{self, OVERVIEW, SIGN_OUT},
    request::SignInRequest,
};
use crate::{
    http::{
        active_request::ActiveRequest,
        error::RequestFailure,
        error_context::ErrorContext,
        error_page::with_type,
        respond::{self, LocalReply},
        session::{Credentials, SessionNeeds, session},
    },
    identity::{config::AssertedUser, flow::FlowPage, memory::KnownSession},
    pages::{PageUrl, SignInPage, SignedInPerson},
};

/// Leads somebody who is not signed in back to the page after a sign-in.
const SIGN_IN: &str = "/.pomerium/?sign_in";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The claims of an assertion that say nothing of the person.
const NOT_OF_THE_PERSON: [&str; 5] = ["iss", "aud", "exp", "iat", "jti"];

/// Who is signed in, until when, and a button to sign out.
pub(super) async fn overview(
    request: SignInRequest<'_>,
    active: &mut ActiveRequest,
) -> Result<LocalReply, RequestFailure> {
    if !is_read(request) {
        return Ok(not_read(request, active));
    }
    let known = session_of_any_client(request, active).await;
    if known.is_none() && request.target.query() == Some("sign_in") {
        return request.challenge(active);
    }
    let page = match &known {
        Some(known) => signed_in(known, request.now_s)?,
        None => SignInPage::NotSignedIn { sign_in: PageUrl::parse(SIGN_IN) },
    };
    Ok(request.local(page.response(&ErrorContext::of(active).page()), active))
}

fn signed_in(known: &KnownSession, now_s: u64) -> Result<SignInPage<'_>, RequestFailure> {
    let session = &known.session;
    let person = SignedInPerson {
        name: &session.name,
        email: &session.identity.email,
        user_id: &session.identity.user_id,
    };
    let sign_out = PageUrl::parse(SIGN_OUT).ok_or(RequestFailure::Misconfigured("bad_location"))?;
    Ok(SignInPage::SignedIn { person, ends_at_s: session.ends_at_s, now_s, sign_out })
}

/// The claims that an upstream of this host would get, as JSON.
pub(super) async fn user(
    request: SignInRequest<'_>,
    active: &mut ActiveRequest,
) -> Result<LocalReply, RequestFailure> {
    if !is_read(request) {
        return Ok(not_read(request, active));
    }
    let host = &*request.target.host;
    let Some(known) = session_of_any_client(request, active).await else {
        return request.challenge(active);
    };
    let config = Rc::clone(&active.config);
    let people = config.people.as_ref().ok_or(RequestFailure::NoRoute)?;
    let session = &known.session;
    let user = AssertedUser {
        identity: &session.identity,
        name: &session.name,
        session: Some(session.id),
    };
    let mut claims = people.claims(host, user, request.now_s);
    claims.retain(|name, _| !NOT_OF_THE_PERSON.contains(&&**name));
    let body = Bytes::from(serde_json::Value::Object(claims).to_string());
    Ok(request.local(with_type(StatusCode::OK, JSON, body), active))
}

/// The session of the route's client, else of another one: a host may have routes of several.
async fn session_of_any_client(
    request: SignInRequest<'_>,
    active: &mut ActiveRequest,
) -> Option<Rc<KnownSession>> {
    let headers = &request.parts.headers;
    let own = request.context.provider;
    let presented = request.clients.presented(headers).into_iter().map(|context| context.provider);
    let clients = std::iter::once(own).chain(presented.filter(|client| *client != own));
    for client in clients {
        let needs = SessionNeeds { client: Some(client), ..SessionNeeds::default() };
        let cookies = Credentials::Cookies(headers);
        let known = session(active, cookies, &request.target.host, needs).await;
        if known.is_some() {
            return known;
        }
    }
    None
}

/// `/` of the host of sign-in, if no route has it.
pub(super) fn root(active: &ActiveRequest) -> LocalReply {
    let location = HeaderValue::from_static(OVERVIEW);
    respond::redirect(StatusCode::FOUND, location, &active.negotiation)
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn is_read(request: SignInRequest<'_>) -> bool {
    matches!(request.parts.method, http::Method::GET | http::Method::HEAD)
}

fn not_read(request: SignInRequest<'_>, active: &ActiveRequest) -> LocalReply {
    request.local(flow_page::response(&FlowPage::MethodNotAllowed, active), active)
}
