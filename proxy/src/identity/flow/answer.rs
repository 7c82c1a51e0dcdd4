//! What a step answers.

use http::HeaderValue;

use super::{
    context::{FlowEnvironment, FlowRequest},
    pending::FlowPending,
};
use crate::identity::calls::{IdentityCall, IdentityReply, ProviderFailure};

/// A step's result: an answer, or a question to the control thread first.
#[derive(Debug)]
pub(crate) enum FlowStep {
    /// The answer.
    Answer(FlowAnswer),
    /// Ask the control thread, then call [`FlowPending::resume`] with its reply.
    Ask(IdentityCall, Box<FlowPending>),
}

/// An answer of the flow. Every one has `Cache-Control: no-store` and a `Referrer-Policy`.
pub(crate) struct FlowAnswer {
    /// The redirect or page.
    pub(crate) body: FlowBody,
    /// Values of `Set-Cookie`.
    pub(crate) cookies: Vec<HeaderValue>,
    /// What happened, for the log and the metrics.
    pub(crate) event: FlowEvent,
    /// Why, for the log; it has no secret.
    pub(crate) detail: Option<Box<str>>,
}

/// The body of an answer. URLs in it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum FlowBody {
    /// 302 to an absolute URL.
    Redirect(String),
    /// A page of ours.
    Page(FlowPage),
}

/// A page. URLs are absolute; `again` begins the sign-in from its start.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum FlowPage {
    /// Signed in; the page goes on to the URL by itself (`cookie_same_site: strict`).
    Continue { to: String },
    /// Signed out here; the page goes on to the URL by itself.
    SigningOut { to: String },
    /// Asks whether to sign out. The form posts to `action`.
    ConfirmSignOut { known_as: Option<Box<str>>, action: String, stay: String },
    /// Signed out.
    SignedOut,
    /// Asks whether a program may have a token.
    ConfirmProgram(Box<ProgramQuestion>),
    /// Another site, or a script, tried to agree to that (403).
    ProgramRefused,
    /// Another site tried to sign somebody out (403).
    SignOutRefused { user_page: String },
    /// A link that is not ours, or that is late or used (400).
    LinkInvalid { again: Option<String> },
    /// The browser did not keep our cookie (400).
    CookieLost { again: String },
    /// Signed in a moment ago, yet not now (400).
    DidNotLast { reason: SignInLossReason, again: String },
    /// The provider says that the person, or we, may not (401). Its texts are not to be trusted.
    ProviderDenied { error: Box<str>, description: Box<str>, again: String },
    /// The provider reports another error (400). Its texts are not to be trusted.
    ProviderError { error: Box<str>, description: Box<str>, again: String },
    /// The provider refused the code (400).
    CodeRefused { again: String },
    /// The provider is away (503, `Retry-After`).
    ProviderAway { again: String },
    /// Too many sign-ins are under way (503, `Retry-After`).
    TooManySignIns { again: String },
    /// The provider's answer breaks a rule (502).
    ProviderInvalid { again: String },
    /// The provider's clock differs from ours (502).
    ClocksDiffer { provider_s: i64, our_s: i64, again: String },
    /// The session is too large for cookies (500).
    SessionTooLarge { claim: Box<str> },
    /// The method is not allowed (405).
    MethodNotAllowed,
    /// Something of ours failed (500).
    Internal,
}

/// Whether a program may have a token of somebody's session.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct ProgramQuestion {
    pub(crate) known_as: Box<str>,
    /// The host that the token is for.
    pub(crate) host: Box<str>,
    /// The origin of the URL that takes the token.
    pub(crate) program: Box<str>,
    /// The address that asked for it.
    pub(crate) asked_by: Box<str>,
    pub(crate) ends_at_s: u64,
    pub(crate) now_s: u64,
    /// The path that the form posts to; its answer leads to the program.
    pub(crate) action: Box<str>,
}

/// Why a sign-in did not last, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInLossReason {
    /// No session cookie came back.
    NoCookie,
    /// One came, and it did not open.
    Refused,
    /// The session has ended.
    Ended,
    /// Unknown.
    Unknown,
}

/// What happened. The names are values of a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FlowEvent {
    /// A sign-in began at a route's host.
    Begun,
    /// A sign-in began again by itself: late, of another process, or of another tab.
    BegunAgain,
    /// The browser was sent to the provider.
    SentToProvider,
    /// The authenticate host vouched for the browser.
    HandedOver,
    /// A sign-in was completed.
    SignedIn,
    /// A session was there already.
    AlreadySignedIn,
    /// The browser was led on to the URL it asked for.
    Continued,
    /// The loop guard stopped a sign-in.
    DidNotLast,
    /// A link was not ours, late or used.
    LinkInvalid,
    /// The browser did not keep our cookie.
    CookieLost,
    /// The person or the provider cancelled.
    Denied,
    /// The provider reported an error.
    ProviderError,
    /// The provider refused the code.
    CodeRefused,
    /// The provider is away.
    ProviderAway,
    /// Too many sign-ins are under way.
    TooMany,
    /// The provider's answer breaks a rule.
    ProviderInvalid,
    /// The session is too large.
    TooLarge,
    /// Asked whether to sign out.
    SignOutAsked,
    /// Signed out.
    SignedOut,
    /// Another site tried to sign somebody out.
    SignOutRefused,
    /// Asked whether a program may have a token.
    ProgramAsked,
    /// A program got a token.
    ProgramSignedIn,
    /// Another site, or a script, tried to agree to that.
    ProgramRefused,
    /// The method is not allowed.
    MethodNotAllowed,
    /// Something of ours failed.
    Internal,
}

impl FlowEvent {
    /// The value of the metric's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FlowEvent::Begun => "begun",
            FlowEvent::BegunAgain => "begun_again",
            FlowEvent::SentToProvider => "sent_to_provider",
            FlowEvent::HandedOver => "handed_over",
            FlowEvent::SignedIn => "signed_in",
            FlowEvent::AlreadySignedIn => "already_signed_in",
            FlowEvent::Continued => "continued",
            FlowEvent::DidNotLast => "did_not_last",
            FlowEvent::LinkInvalid => "link_invalid",
            FlowEvent::CookieLost => "cookie_lost",
            FlowEvent::Denied => "denied",
            FlowEvent::ProviderError => "provider_error",
            FlowEvent::CodeRefused => "code_refused",
            FlowEvent::ProviderAway => "provider_away",
            FlowEvent::TooMany => "too_many",
            FlowEvent::ProviderInvalid => "provider_invalid",
            FlowEvent::TooLarge => "too_large",
            FlowEvent::SignOutAsked => "sign_out_asked",
            FlowEvent::SignedOut => "signed_out",
            FlowEvent::SignOutRefused => "sign_out_refused",
            FlowEvent::ProgramAsked => "program_asked",
            FlowEvent::ProgramSignedIn => "program_signed_in",
            FlowEvent::ProgramRefused => "program_refused",
            FlowEvent::MethodNotAllowed => "method_not_allowed",
            FlowEvent::Internal => "internal",
        }
    }
}

impl FlowAnswer {
    pub(super) fn redirect(to: String, event: FlowEvent) -> FlowAnswer {
        FlowAnswer { body: FlowBody::Redirect(to), cookies: Vec::new(), event, detail: None }
    }

    pub(super) fn page(page: FlowPage, event: FlowEvent) -> FlowAnswer {
        FlowAnswer { body: FlowBody::Page(page), cookies: Vec::new(), event, detail: None }
    }

    pub(super) fn with_cookies(mut self, cookies: Vec<HeaderValue>) -> FlowAnswer {
        self.cookies.extend(cookies);
        self
    }

    pub(super) fn because(mut self, detail: impl Into<Box<str>>) -> FlowAnswer {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn internal() -> FlowAnswer {
        FlowAnswer::page(FlowPage::Internal, FlowEvent::Internal)
    }

    pub(super) fn method_not_allowed() -> FlowAnswer {
        FlowAnswer::page(FlowPage::MethodNotAllowed, FlowEvent::MethodNotAllowed)
    }

    pub(super) fn link_invalid(again: Option<String>, detail: &'static str) -> FlowAnswer {
        FlowAnswer::page(FlowPage::LinkInvalid { again }, FlowEvent::LinkInvalid).because(detail)
    }

    pub(super) fn cookie_lost(again: String, detail: &'static str) -> FlowAnswer {
        FlowAnswer::page(FlowPage::CookieLost { again }, FlowEvent::CookieLost).because(detail)
    }

    pub(super) fn too_many(again: String) -> FlowAnswer {
        FlowAnswer::page(FlowPage::TooManySignIns { again }, FlowEvent::TooMany)
    }

    /// The provider, or the way to it, failed.
    pub(super) fn failed(failure: &ProviderFailure, again: String) -> FlowAnswer {
        let (page, event) = match failure {
            ProviderFailure::Away(_) => (FlowPage::ProviderAway { again }, FlowEvent::ProviderAway),
            ProviderFailure::Busy => (FlowPage::TooManySignIns { again }, FlowEvent::TooMany),
            ProviderFailure::Refused { .. } => {
                (FlowPage::CodeRefused { again }, FlowEvent::CodeRefused)
            }
            ProviderFailure::Invalid(_) => {
                (FlowPage::ProviderInvalid { again }, FlowEvent::ProviderInvalid)
            }
            ProviderFailure::Clock { provider_s, our_s } => {
                let (provider_s, our_s) = (*provider_s, *our_s);
                let page = FlowPage::ClocksDiffer { provider_s, our_s, again };
                (page, FlowEvent::ProviderInvalid)
            }
        };
        FlowAnswer::page(page, event).because(failure.to_string())
    }

    /// A reply that does not belong to its question: a bug, or an unknown control thread.
    pub(super) fn unexpected(reply: &IdentityReply, again: String) -> FlowAnswer {
        match reply {
            IdentityReply::Failed(failure) => FlowAnswer::failed(failure, again),
            _ => FlowAnswer::internal(),
        }
    }
}

impl FlowStep {
    pub(super) fn ask(call: IdentityCall, pending: FlowPending) -> FlowStep {
        FlowStep::Ask(call, Box::new(pending))
    }
}

/// The URL may hold a state or a handover, and the cookies a session.
impl std::fmt::Debug for FlowAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FlowAnswer({:?}, {:?}, ..)", self.event, self.detail)
    }
}

impl From<FlowAnswer> for FlowStep {
    fn from(answer: FlowAnswer) -> FlowStep {
        FlowStep::Answer(answer)
    }
}

/// What all steps are given.
pub(crate) type StepInput<'a> = (&'a FlowEnvironment<'a>, &'a FlowRequest<'a>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_of_an_answer_has_no_url_and_no_cookie() {
        let cookies = vec![HeaderValue::from_static("s=secret")];
        let answer = FlowAnswer::redirect("https://a/?state=secret".into(), FlowEvent::Begun);
        let shown = format!("{:?}", FlowStep::from(answer.with_cookies(cookies)));
        assert!(shown.contains("Begun") && !shown.contains("secret"), "{shown}");
    }
}
