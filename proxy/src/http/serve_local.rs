//! How local services answer.

use http::{StatusCode, request::Parts};

use super::{
    access::demand_certificate,
    active_request::ActiveRequest,
    backchannel_logout,
    error::RequestFailure,
    local_service::LocalService,
    program_token::PresentedProgramToken,
    redirect,
    request::RequestTarget,
    respond::{self, LocalReply},
    session::{Credentials, SessionNeeds, session},
    sign_in, well_known,
};

/// A request for a local service. Its route was not looked for, and no policy applies to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalRequest<'a> {
    pub(super) parts: &'a Parts,
    pub(super) target: &'a RequestTarget,
}

/// The answer of a service. It may wait for another thread, and may read the request's body, which is
/// in [`ActiveRequest::body`]; the future is dropped when the client goes away, and what waits long
/// must set a limit of its own ([`super::timeouts::Timeouts::within`]).
pub(super) async fn serve_local(
    service: LocalService,
    active: &mut ActiveRequest,
    LocalRequest { parts, target }: LocalRequest<'_>,
) -> Result<LocalReply, RequestFailure> {
    match service {
        LocalService::HealthCheck => {
            // `pomerium-cli` asks here whether the token that it has kept still counts.
            if let PresentedProgramToken::One(token) = PresentedProgramToken::of(&parts.headers)
                && active.config.signs_people_in()
                && !counts(active, token, target).await
            {
                return Err(RequestFailure::TokenRequired);
            }
            active.account.omit_record();
            Ok(respond::health(&parts.method, &active.negotiation))
        }
        LocalService::HttpsRedirect => {
            let location =
                redirect::to_https(target).ok_or(RequestFailure::Misconfigured("bad_location"))?;
            let status = StatusCode::MOVED_PERMANENTLY;
            let reply = respond::redirect(status, location, &active.negotiation);
            Ok(reply.closing(&active.negotiation))
        }
        LocalService::Jwks => {
            let people = active.config.people.as_ref().ok_or(RequestFailure::NoRoute)?;
            let request = (&parts.method, &parts.headers);
            Ok(well_known::jwks(people, request, &active.negotiation))
        }
        LocalService::Discovery => {
            let people = active.config.people.as_ref().ok_or(RequestFailure::NoRoute)?;
            Ok(well_known::discovery(people, &parts.method, target, &active.negotiation))
        }
        LocalService::SignIn(path) => {
            if !path.needs_no_certificate() {
                let account = &active.account;
                let now = account.conn.handler.now();
                let asked = (account.client, now);
                demand_certificate(&active.config, &account.conn.peer, asked, (parts, target))?;
            }
            // Boxed: other requests would have to keep room for it.
            Box::pin(sign_in::serve(path, active, parts, target)).await
        }
        // Boxed for the same reason.
        LocalService::BackchannelLogout => {
            Box::pin(backchannel_logout::serve(active, parts, target)).await
        }
        LocalService::Reserved => Err(RequestFailure::NoRoute),
    }
}

/// Whether the token of a program counts at a host.
async fn counts(active: &mut ActiveRequest, token: &[u8], target: &RequestTarget) -> bool {
    let needs = SessionNeeds { client: active.config.client_at(target), ..Default::default() };
    let session = session(active, Credentials::Token(token), &target.host, needs);
    Box::pin(session).await.is_some()
}
