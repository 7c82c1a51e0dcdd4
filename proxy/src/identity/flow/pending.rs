//! Steps that wait for the control thread.

use http::HeaderValue;

use super::{
    answer::{FlowAnswer, FlowStep},
    callback,
    context::{FlowEnvironment, FlowRequest},
    handover,
    sealed::{Handover, SealedSignInRequest, SignInState},
    sign_in, sign_out,
    sign_out::LeavingSession,
    who::SessionState,
};
use crate::identity::{
    calls::IdentityReply,
    cookies::MasterSession,
    session::{ProviderId, Session, SessionId},
};

/// A step that waits for a reply. It is of one request, which [`FlowPending::resume`] takes again.
pub(crate) struct FlowPending(pub(super) WaitingStep);

pub(super) enum WaitingStep {
    /// Sign-in: whether the request was used.
    RequestUsed { request: SealedSignInRequest },
    /// Sign-in: a check of the session at the authenticate host.
    MasterChecked { request: SealedSignInRequest, master: MasterSession, state: SessionState },
    /// Sign-in: the provider's metadata.
    ProviderFound { request: SealedSignInRequest, known: bool },
    /// Callback of the provider: whether the state was used.
    StateUsed { state: SignInState },
    /// Callback of the provider: its metadata.
    CallbackProviderFound { state: SignInState },
    /// Callback of the provider: the exchange of the code.
    Exchanged { state: SignInState, session: SessionId, older: Option<Session> },
    /// Callback of the provider: the end of the browser's older session.
    OlderEnded { request: SealedSignInRequest, master: MasterSession },
    /// The control thread keeps a long handover.
    HandoverKept { url: String, cookies: Vec<HeaderValue>, again: String },
    /// Callback of the authenticate host: whether the handover was used, or what was kept for it.
    HandoverUsed { handover: Handover },
    /// Sign-out: the end of sessions.
    SignedOut { leaving: LeavingSession },
    /// Sign-out: the provider's metadata.
    SignOutProviderFound { leaving: LeavingSession },
}

impl FlowPending {
    /// Goes on with the reply to the question that [`FlowStep::Ask`] had.
    pub(crate) fn resume(
        self,
        environment: &FlowEnvironment<'_>,
        request: &FlowRequest<'_>,
        reply: IdentityReply,
    ) -> FlowStep {
        let environment = match self.0.client() {
            // It was configured at the first step, and a request keeps its configuration.
            Some(client) => environment.of_client(client).unwrap_or(*environment),
            None => *environment,
        };
        let input = (&environment, request);
        match self.0 {
            WaitingStep::RequestUsed { request } => sign_in::used(input, request, &reply),
            WaitingStep::MasterChecked { request, master, state } => {
                sign_in::checked(input, request, (master, state), reply)
            }
            WaitingStep::ProviderFound { request, known } => match reply {
                IdentityReply::Ready => sign_in::to_provider(input, request, known, true),
                reply => FlowAnswer::unexpected(&reply, request.place.url()).into(),
            },
            WaitingStep::StateUsed { state } => callback::used(input, state, reply),
            WaitingStep::CallbackProviderFound { state } => match reply {
                IdentityReply::Ready => callback::judge(input, state, true),
                reply => FlowAnswer::unexpected(&reply, state.request.place.url()).into(),
            },
            WaitingStep::Exchanged { state, session, older } => {
                callback::exchanged(input, state, session, older, reply)
            }
            WaitingStep::OlderEnded { request, master } => match reply {
                IdentityReply::SignedOut => callback::signed_in(input, &request, &master),
                reply => FlowAnswer::unexpected(&reply, request.place.url()).into(),
            },
            WaitingStep::HandoverKept { url, cookies, again } => {
                sign_in::kept(url, cookies, again, &reply).into()
            }
            WaitingStep::HandoverUsed { handover } => handover::used(input, handover, reply).into(),
            WaitingStep::SignedOut { leaving } => sign_out::ended(input, leaving, &reply),
            WaitingStep::SignOutProviderFound { leaving } => sign_out::leave(input, leaving, true),
        }
    }
}

impl WaitingStep {
    /// The client of what is under way.
    fn client(&self) -> Option<ProviderId> {
        match self {
            WaitingStep::RequestUsed { request }
            | WaitingStep::MasterChecked { request, .. }
            | WaitingStep::ProviderFound { request, .. }
            | WaitingStep::OlderEnded { request, .. } => Some(request.provider),
            WaitingStep::StateUsed { state }
            | WaitingStep::CallbackProviderFound { state }
            | WaitingStep::Exchanged { state, .. } => Some(state.request.provider),
            WaitingStep::HandoverUsed { handover } => Some(handover.provider),
            WaitingStep::HandoverKept { .. }
            | WaitingStep::SignedOut { .. }
            | WaitingStep::SignOutProviderFound { .. } => None,
        }
    }
}

impl std::fmt::Debug for FlowPending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowPending(..)")
    }
}
