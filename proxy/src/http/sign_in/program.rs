//! Signing programs in: `/.pomerium/api/v1/login` for the program, `/.pomerium/program` for the browser.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{flow_page, request::SignInRequest};
use crate::{
    http::{
        active_request::ActiveRequest,
        error::RequestFailure,
        error_context::ErrorContext,
        error_page::{ErrorAnswer, PLAIN, page as error_page, with_type},
        respond::LocalReply,
        session::{Credentials, SessionNeeds, session},
    },
    identity::flow::{
        FlowPage,
        program::{self, ProgramLogin},
    },
};

const NOT_ALLOWED: &str = "this redirect URI is not allowed";

/// The URL that a program is to open in a browser.
pub(super) fn login(
    request: SignInRequest<'_>,
    active: &ActiveRequest,
) -> Result<LocalReply, RequestFailure> {
    if request.parts.method != Method::GET {
        return Ok(not_allowed(request, active));
    }
    let (status, message) = match request.step(active, program::login_url) {
        ProgramLogin::Url(url) => {
            let response = with_type(StatusCode::OK, PLAIN, Bytes::from(url));
            let reply = request.local(response, active);
            return Ok(LocalReply { details: "sign_in{program_began}".into(), ..reply });
        }
        ProgramLogin::Missing => return Err(RequestFailure::NoRoute),
        ProgramLogin::NotAllowed => (StatusCode::BAD_REQUEST, NOT_ALLOWED),
        ProgramLogin::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    };
    let (form, context) = (active.negotiation.form(), ErrorContext::of(active));
    let response = error_page(form, ErrorAnswer::new(status, message), &context);
    let reply = request.local(response, active);
    Ok(LocalReply { details: "sign_in{program_not_allowed}".into(), ..reply })
}

/// Asks a person who is signed in, and brings the program its token. The session is that of the cookie:
/// no token makes another one.
pub(super) async fn consent(
    request: SignInRequest<'_>,
    active: &mut ActiveRequest,
) -> Result<LocalReply, RequestFailure> {
    let method = &request.parts.method;
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
        return Ok(not_allowed(request, active));
    }
    let wish = match request.step(active, program::wish) {
        Ok(wish) => wish,
        Err(answer) => return Ok(request.reply(answer, active)),
    };
    let cookies = Credentials::Cookies(&request.parts.headers);
    let needs = SessionNeeds { client: Some(request.context.provider), ..SessionNeeds::default() };
    let Some(known) = session(active, cookies, &request.target.host, needs).await else {
        return request.challenge(active);
    };
    let answer = request.step(active, |environment, flow_request| {
        let input = (environment, flow_request);
        match *method {
            Method::POST => program::grant(input, &wish, &known.session),
            _ => program::ask(input, &wish, &known.session),
        }
    });
    Ok(request.reply(answer, active))
}

fn not_allowed(request: SignInRequest<'_>, active: &ActiveRequest) -> LocalReply {
    request.local(flow_page::response(&FlowPage::MethodNotAllowed, active), active)
}
