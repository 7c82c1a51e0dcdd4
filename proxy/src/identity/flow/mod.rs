//! Signing in and out, step by step. Pure: clock and randomness are passed in, and what only the
//! control thread knows is asked for by value.
//!
//! ```text
//! R/path                  begin      302 A/.pomerium/sign_in?request=…
//! A/.pomerium/sign_in     sign_in    302 the provider, or at once R/.pomerium/callback/
//! A/oauth2/callback       callback   302 R/.pomerium/callback/?pomerium_session_encrypted=…
//! R/.pomerium/callback/   handover   302 R/path, with the session's cookie
//! ```
//!
//! R is the host of a route, A the authenticate host; they may be the same. Everything under way is in
//! sealed parameters, each bound to one browser by a cookie of the host that takes it. A state and a
//! handover are used up by their first presentation, before anything else is compared: whoever
//! copies the URL that a browser has sent has nothing of it.

mod answer;
mod begin;
mod callback;
mod challenge;
mod context;
mod dependent;
mod handover;
mod parameters;
mod pending;
mod probe;
pub(crate) mod program;
mod program_target;
mod return_path;
mod room;
mod sealed;
mod sign_in;
mod sign_out;
mod who;

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub(crate) use answer::{
    FlowAnswer, FlowBody, FlowEvent, FlowPage, FlowStep, ProgramQuestion, SignInLossReason,
};
pub(crate) use begin::begin;
pub(crate) use challenge::{Challenge, challenge};
pub(crate) use context::{FlowEnvironment, FlowRequest, SignInClients, SignInContext};
pub(crate) use parameters::logout_token;
#[cfg(feature = "bench")]
pub(crate) use probe::example_spec;
pub use probe::probe;
pub(crate) use who::{CheckedSession, RequestSession, SessionState};

/// A path of ours that signs people in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlowPath {
    /// `/.pomerium/sign_in` at the authenticate host.
    SignIn,
    /// `/oauth2/callback` at the authenticate host.
    ProviderCallback,
    /// `/.pomerium/callback/` at any host.
    HandoverCallback,
    /// `/.pomerium/sign_in_too` at any host.
    Dependent,
    /// `/.pomerium/sign_out` at any host.
    SignOut,
    /// `/.pomerium/signed_out` at the authenticate host.
    SignedOut,
}

impl FlowPath {
    /// The step that a path, in its normal form and without its query, stands for at a host.
    pub(crate) fn find(context: &SignInContext, host: &str, path: &str) -> Option<FlowPath> {
        let is_authenticate = host == context.authenticate_host();
        match path {
            "/.pomerium/callback" | "/.pomerium/callback/" => Some(FlowPath::HandoverCallback),
            "/.pomerium/sign_in_too" => Some(FlowPath::Dependent),
            "/.pomerium/sign_out" => Some(FlowPath::SignOut),
            "/.pomerium/sign_in" if is_authenticate => Some(FlowPath::SignIn),
            "/oauth2/callback" if is_authenticate => Some(FlowPath::ProviderCallback),
            "/.pomerium/signed_out" if is_authenticate => Some(FlowPath::SignedOut),
            _ => None,
        }
    }

    /// Takes the step.
    pub(crate) fn start(
        self,
        environment: &FlowEnvironment<'_>,
        request: &FlowRequest<'_>,
    ) -> FlowStep {
        let input = (environment, request);
        match self {
            FlowPath::SignIn => sign_in::start(input),
            FlowPath::ProviderCallback => callback::start(input),
            FlowPath::HandoverCallback => handover::start(input),
            FlowPath::Dependent => dependent::start(input),
            FlowPath::SignOut => sign_out::start(input),
            FlowPath::SignedOut => sign_out::signed_out(input).into(),
        }
    }
}
