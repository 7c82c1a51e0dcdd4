//! `/.pomerium/backchannel_logout` at the host of sign-in: the identity provider posts a token that
//! names sessions to end (OpenID Connect Back-Channel Logout 1.0, section 2.5).
//!
//! The provider has no client certificate, so it needs none, as at the other paths that providers
//! lead to. Its token is the proof of who it is.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::{
    active_request::ActiveRequest,
    error::RequestFailure,
    error_page::with_type,
    request::RequestTarget,
    respond::{INTERCEPTED, LocalReply},
};
use crate::{
    identity::{
        calls::{IdentityCall, IdentityReply, ProviderFailure, ProviderLogout},
        flow::logout_token,
    },
    observe::Blame,
};

/// The longest form in bytes: a token of 16 KiB and its name.
const MAX_FORM_BYTES: usize = 17 * 1024;
/// How long the form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What the provider is told of a token that is not acceptable (section 2.8). The log has the reason.
const INVALID: Bytes = Bytes::from_static(b"{\"error\":\"invalid_request\"}");
/// Seconds after which a provider may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// Ends what the token in the form names, before it answers.
pub(super) async fn serve(
    active: &mut ActiveRequest,
    parts: &Parts,
    target: &RequestTarget,
) -> Result<LocalReply, RequestFailure> {
    let config = Rc::clone(&active.config);
    if !config.is_authenticate_host(&target.host) {
        return Err(RequestFailure::NoRoute);
    }
    if parts.method != Method::POST {
        let reply = LogoutAnswer::new(StatusCode::METHOD_NOT_ALLOWED, "method").reply(active);
        return Ok(reply.with_header(header::ALLOW, HeaderValue::from_static("POST")));
    }
    let Some(token) = token(&parts.headers, active).await else {
        let why = "the body is not a form with one logout_token";
        // Its rest may still come.
        let reply = LogoutAnswer::new(StatusCode::BAD_REQUEST, why).reply(active);
        return Ok(reply.closing(&active.negotiation));
    };
    let client = active.account.client;
    let call = IdentityCall::ProviderLogout { token, client };
    let answer = match active.account.conn.handler.identity.call(call).await {
        Ok(reply) => answer(&reply),
        Err(error) => LogoutAnswer::new(StatusCode::SERVICE_UNAVAILABLE, error),
    };
    Ok(answer.reply(active))
}

/// The only token of the form.
async fn token(headers: &HeaderMap, active: &mut ActiveRequest) -> Option<Box<str>> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(FORM) {
        return None;
    }
    let body = active.body.take()?;
    let form = body.read(&active.account.conn, MAX_FORM_BYTES, FORM_TIMEOUT).await?;
    logout_token(&form)
}

/// What is answered, and why, for the log.
struct LogoutAnswer {
    status: StatusCode,
    why: String,
}

fn answer(reply: &IdentityReply) -> LogoutAnswer {
    match reply {
        IdentityReply::LoggedOut(ProviderLogout::Ended) => {
            LogoutAnswer::new(StatusCode::OK, "ended")
        }
        IdentityReply::LoggedOut(ProviderLogout::Refused(why)) => {
            LogoutAnswer::new(StatusCode::BAD_REQUEST, why)
        }
        IdentityReply::LoggedOut(ProviderLogout::Limited) => {
            let why = "too many tokens of this network were not acceptable";
            LogoutAnswer::new(StatusCode::TOO_MANY_REQUESTS, why)
        }
        IdentityReply::Failed(failure @ (ProviderFailure::Away(_) | ProviderFailure::Busy)) => {
            LogoutAnswer::new(StatusCode::SERVICE_UNAVAILABLE, failure)
        }
        _ => LogoutAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected"),
    }
}

impl LogoutAnswer {
    fn new(status: StatusCode, why: impl ToString) -> LogoutAnswer {
        LogoutAnswer { status, why: why.to_string() }
    }

    fn reply(self, active: &ActiveRequest) -> LocalReply {
        let mut response = match self.status {
            StatusCode::BAD_REQUEST => with_type(self.status, JSON, INVALID),
            status => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(INTERCEPTED, HeaderValue::from_static("true"));
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        let blame = match self.status.as_u16() {
            503 => Some(Blame::Upstream),
            500.. => Some(Blame::Proxy),
            400.. => Some(Blame::Client),
            _ => None,
        };
        let details = format!("backchannel_logout{{{}}}", self.why).into();
        LocalReply { details, blame, ..LocalReply::new(response, &active.negotiation) }
    }
}
