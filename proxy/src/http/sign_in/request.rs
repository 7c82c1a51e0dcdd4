//! A request that is about signing in, from its step to its answer.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};

use super::flow_page::{self, INTERCEPTED};
use crate::{
    control_call::ControlCallError,
    http::{
        active_request::ActiveRequest,
        error::RequestFailure,
        error_context::ErrorContext,
        error_page::{ErrorAnswer, grpc, page},
        negotiation::AnswerForm,
        request::RequestTarget,
        request_config::{CompiledRoute, LocalRequestConfig},
        respond::LocalReply,
    },
    identity::{
        calls::{IdentityReply, ProviderFailure},
        flow::{
            Challenge, FlowAnswer, FlowBody, FlowEnvironment, FlowEvent, FlowPath, FlowRequest,
            FlowStep, SignInClients, SignInContext, begin, challenge,
        },
    },
    observe::{Blame, RequestRefusal, SignInOutcome},
    pages::{PageUrl, SignInPage},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const UNAUTHENTICATED: &str = "Unauthenticated";

/// A request that is about signing in.
#[derive(Clone, Copy)]
pub(super) struct SignInRequest<'a> {
    pub(super) clients: &'a SignInClients,
    /// The client of the route, or of the route that has the path of ours.
    pub(super) context: &'a SignInContext,
    pub(super) config: &'a LocalRequestConfig,
    pub(super) parts: &'a Parts,
    pub(super) target: &'a RequestTarget,
    /// The route that asks for a user; `None` for a path of ours.
    pub(super) route: Option<&'a CompiledRoute>,
    pub(super) now_s: u64,
}

impl<'a> SignInRequest<'a> {
    /// A request that came now. Fails if nobody can sign in.
    pub(super) fn new(
        active: &ActiveRequest,
        config: &'a LocalRequestConfig,
        (parts, target): (&'a Parts, &'a RequestTarget),
        route: Option<&'a CompiledRoute>,
    ) -> Result<SignInRequest<'a>, RequestFailure> {
        let clients = config.sign_in_clients().ok_or(RequestFailure::NoRoute)?;
        let client = match route {
            Some(route) => route.spec.client,
            None => config.client_at(target),
        };
        let context = clients.of(client).ok_or(RequestFailure::NoRoute)?;
        let now = active.account.conn.handler.now();
        let now_s = now.ok_or(RequestFailure::Misconfigured("no_clock"))?.as_secs();
        Ok(SignInRequest { clients, context, config, parts, target, route, now_s })
    }

    /// Takes a step, and asks the control thread whatever it needs to know.
    pub(super) async fn take(self, path: FlowPath, active: &ActiveRequest) -> FlowAnswer {
        let handler = &active.account.conn.handler;
        let mut step = self.step(active, |environment, request| path.start(environment, request));
        loop {
            let (call, pending) = match step {
                FlowStep::Answer(answer) => return answer,
                FlowStep::Ask(call, pending) => (call, pending),
            };
            let reply = handler.identity.call(call).await.unwrap_or_else(unanswered);
            step = self
                .step(active, |environment, request| pending.resume(environment, request, reply));
        }
    }

    /// Takes a step that asks nobody.
    pub(super) fn step<T>(
        self,
        active: &ActiveRequest,
        step: impl FnOnce(&FlowEnvironment<'_>, &FlowRequest<'_>) -> T,
    ) -> T {
        let identity = &active.account.conn.handler.identity;
        let is_own_host = |host: &str| self.config.has_host(host);
        let depends_on =
            |host: &str, port: u16, path: &str| self.config.depends_on(host, port, path);
        let environment = FlowEnvironment {
            clients: self.clients,
            context: self.context,
            shared: identity.shared(),
            now_s: self.now_s,
            random: &identity.random,
            is_own_host: &is_own_host,
            depends_on: &depends_on,
        };
        let request = FlowRequest {
            method: &self.parts.method,
            headers: &self.parts.headers,
            host: &self.target.host,
            port: self.target.port,
            route_port: self.route.and_then(CompiledRoute::port),
            path_and_query: self.target.path_and_query.as_str(),
            client: active.account.client,
        };
        step(&environment, &request)
    }

    /// Who may be redirected is, everybody else gets 401.
    pub(super) fn challenge(self, active: &ActiveRequest) -> Result<LocalReply, RequestFailure> {
        let reply = match challenge(&self.parts.method, &self.parts.headers) {
            Challenge::Redirect => {
                let answer = self.step(active, begin);
                return Ok(self.reply(answer, active));
            }
            Challenge::PageNewTab => self.link(active, true),
            Challenge::PageLink => self.link(active, false),
            Challenge::Grpc => grpc(StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
            Challenge::Unauthenticated => match active.negotiation.form() {
                AnswerForm::Html => self.link(active, false),
                form => page(form, unauthenticated(), &ErrorContext::of(active)),
            },
        };
        let reply = self.local(reply, active).with_header(header::WWW_AUTHENTICATE, BEARER);
        let refusal = Some(RequestRefusal::Unauthenticated);
        Ok(LocalReply { details: "sign_in{unauthenticated}".into(), refusal, ..reply })
    }

    /// A page with a link that begins to sign in.
    fn link(self, active: &ActiveRequest, new_tab: bool) -> Response<Bytes> {
        let url = self.step(active, |environment, request| request.return_url(environment.context));
        let Some(sign_in) = PageUrl::parse(&url) else {
            return page(AnswerForm::Plain, unauthenticated(), &ErrorContext::of(active));
        };
        let context = ErrorContext::of(active);
        SignInPage::SignInNeeded { sign_in, new_tab }.response(&context.page())
    }

    /// The answer of a step.
    pub(super) fn reply(self, answer: FlowAnswer, active: &ActiveRequest) -> LocalReply {
        let FlowAnswer { body, cookies, event, detail } = answer;
        if let Some(outcome) = outcome(event) {
            active.account.conn.handler.observer.metrics.sign_ins.inc(outcome);
        }
        let response = match body {
            FlowBody::Redirect(to) => redirect(&to),
            FlowBody::Page(page) => flow_page::response(&page, active),
        };
        let mut reply = self.local(response, active);
        for field in cookies {
            reply = reply.with_header(header::SET_COOKIE, field);
        }
        let details = match detail {
            Some(detail) => format!("sign_in{{{}: {detail}}}", event.name()),
            None => format!("sign_in{{{}}}", event.name()),
        };
        LocalReply { details: details.into(), ..reply }
    }

    /// An answer that nothing may keep, and that is what its type says.
    pub(super) fn local(self, mut response: Response<Bytes>, active: &ActiveRequest) -> LocalReply {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.entry(header::REFERRER_POLICY).or_insert(NO_REFERRER);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        headers.insert(INTERCEPTED, HeaderValue::from_static("true"));
        let blame = blame(response.status());
        LocalReply { blame, ..LocalReply::new(response, &active.negotiation) }
    }
}

fn unauthenticated() -> ErrorAnswer<'static> {
    ErrorAnswer::new(StatusCode::UNAUTHORIZED, UNAUTHENTICATED)
}

/// 302; a location that is no header value is a fault of ours.
fn redirect(to: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    if let Ok(location) = HeaderValue::from_str(to) {
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// What a step is told if the control thread does not answer.
fn unanswered(error: ControlCallError) -> IdentityReply {
    IdentityReply::Failed(match error {
        ControlCallError::QueueFull => ProviderFailure::Busy,
        ControlCallError::ControlGone | ControlCallError::DeadlinePassed => {
            ProviderFailure::Away(error.to_string())
        }
    })
}

fn blame(status: StatusCode) -> Option<Blame> {
    match status.as_u16() {
        502 | 503 => Some(Blame::Upstream),
        500.. => Some(Blame::Proxy),
        400.. => Some(Blame::Client),
        _ => None,
    }
}

/// The outcome that a step is counted as; `None` for one that is followed by others.
fn outcome(event: FlowEvent) -> Option<SignInOutcome> {
    use SignInOutcome as O;
    match event {
        FlowEvent::Begun => Some(O::Begun),
        FlowEvent::SignedIn => Some(O::SignedIn),
        FlowEvent::SignedOut => Some(O::SignedOut),
        FlowEvent::ProgramSignedIn => Some(O::ProgramSignedIn),
        FlowEvent::LinkInvalid
        | FlowEvent::CookieLost
        | FlowEvent::SignOutRefused
        | FlowEvent::ProgramRefused => Some(O::Refused),
        FlowEvent::Denied => Some(O::Denied),
        FlowEvent::ProviderError | FlowEvent::CodeRefused | FlowEvent::ProviderInvalid => {
            Some(O::ProviderInvalid)
        }
        FlowEvent::ProviderAway | FlowEvent::TooMany => Some(O::ProviderAway),
        FlowEvent::DidNotLast | FlowEvent::TooLarge | FlowEvent::Internal => Some(O::Failed),
        FlowEvent::BegunAgain
        | FlowEvent::SentToProvider
        | FlowEvent::HandedOver
        | FlowEvent::AlreadySignedIn
        | FlowEvent::Continued
        | FlowEvent::SignOutAsked
        | FlowEvent::ProgramAsked
        | FlowEvent::MethodNotAllowed => None,
    }
}
