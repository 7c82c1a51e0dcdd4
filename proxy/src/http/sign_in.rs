//! Sign-in: the answers to requests that need it, and its own paths.

mod flow_page;
mod overview;
mod program;
mod request;

use std::rc::Rc;

use http::request::Parts;

use self::request::SignInRequest;
use super::{
    active_request::ActiveRequest,
    error::RequestFailure,
    local_service::SignInPath,
    request::RequestTarget,
    request_config::CompiledRoute,
    respond::{self, LocalReply},
};
use crate::identity::flow::FlowPath;

/// The answer to a request that needs a user who is signed in, on a route where people can sign in.
pub(super) fn needs_sign_in(
    active: &ActiveRequest,
    (parts, target): (&Parts, &RequestTarget),
    route: Option<&CompiledRoute>,
) -> Result<LocalReply, RequestFailure> {
    let config = Rc::clone(&active.config);
    SignInRequest::new(active, &config, (parts, target), route)?.challenge(active)
}

/// The page for a browser whose user is signed in and may not do this; `None` for everybody else.
pub(super) fn denied_user(active: &ActiveRequest) -> Option<LocalReply> {
    flow_page::denied(active)
}

/// The answer to a request for a path of sign-in. It may wait for the control thread.
pub(super) async fn serve(
    path: SignInPath,
    active: &mut ActiveRequest,
    parts: &Parts,
    target: &RequestTarget,
) -> Result<LocalReply, RequestFailure> {
    let config = Rc::clone(&active.config);
    let request = SignInRequest::new(active, &config, (parts, target), None)?;
    if !config.serves_sign_in(path, &target.host) {
        return Err(RequestFailure::NoRoute);
    }
    let step = match path {
        SignInPath::Overview => return overview::overview(request, active).await,
        SignInPath::User => return overview::user(request, active).await,
        SignInPath::ProgramLogin => return program::login(request, active),
        SignInPath::Program => return program::consent(request, active).await,
        SignInPath::Root => return Ok(overview::root(active)),
        SignInPath::Robots => return Ok(respond::robots(&active.negotiation)),
        SignInPath::Begin => FlowPath::SignIn,
        SignInPath::ProviderCallback => FlowPath::ProviderCallback,
        SignInPath::Callback => FlowPath::HandoverCallback,
        SignInPath::Dependent => FlowPath::Dependent,
        SignInPath::SignOut => FlowPath::SignOut,
        SignInPath::SignedOut => FlowPath::SignedOut,
    };
    let answer = request.take(step, active).await;
    Ok(request.reply(answer, active))
}
