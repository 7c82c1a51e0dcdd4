//! The pages of sign-in as answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{
    http::{
        active_request::ActiveRequest,
        error::{FailureReport, RequestFailure},
        error_context::{ErrorContext, signed_in_as},
        error_page::{ErrorAnswer, page},
        negotiation::AnswerForm,
        respond::LocalReply,
    },
    identity::flow::{FlowPage, ProgramQuestion, SignInLossReason},
    pages::{AskedProgram, PageUrl, ShortLivedReason, SignInPage, SignedInPerson},
};

/// Says who is signed in.
pub(super) const OVERVIEW: &str = "/.pomerium/";
/// Ends a session.
pub(super) const SIGN_OUT: &str = "/.pomerium/sign_out";
/// Pomerium's mark of an answer that is not the upstream's.
pub(super) const INTERCEPTED: HeaderName =
    HeaderName::from_static("x-pomerium-intercepted-response");

/// The answer that shows a page. A client that prefers another form gets the message in that.
pub(super) fn response(flow_page: &FlowPage, active: &ActiveRequest) -> Response<Bytes> {
    let Some(shown) = sign_in_page(flow_page) else {
        return failed(flow_page, active);
    };
    match active.negotiation.form() {
        form @ (AnswerForm::Json | AnswerForm::Plain | AnswerForm::Kubernetes)
            if !shown.status().is_success() =>
        {
            let answer = ErrorAnswer::new(shown.status(), shown.message());
            page(form, answer, &ErrorContext::of(active))
        }
        _ => shown.response(&ErrorContext::of(active).page()),
    }
}

/// The page for somebody whom a policy denies; `None` for other clients than browsers, and if nobody
/// is signed in.
pub(super) fn denied(active: &ActiveRequest) -> Option<LocalReply> {
    active.account.session()?;
    let (known_as, other) = (signed_in_as(active).unwrap_or_default(), PageUrl::parse(SIGN_OUT));
    let page = SignInPage::Denied { known_as, other };
    (active.negotiation.form() == AnswerForm::Html).then(|| {
        let response = page.response(&ErrorContext::of(active).page());
        let reply = LocalReply::new(response, &active.negotiation);
        let FailureReport { details, flags, blame, refusal, .. } = RequestFailure::Denied.report();
        let reply = LocalReply { details, flags, blame: Some(blame), refusal, ..reply };
        reply.with_header(INTERCEPTED, HeaderValue::from_static("true"))
    })
}

/// A page that has nothing to do with sign-in.
fn failed(flow_page: &FlowPage, active: &ActiveRequest) -> Response<Bytes> {
    let (form, context) = (active.negotiation.form(), ErrorContext::of(active));
    if *flow_page != FlowPage::MethodNotAllowed {
        let answer = ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
        return page(form, answer, &context);
    }
    let answer = ErrorAnswer::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    let mut response = page(form, answer, &context);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// `None` for a fault of ours, which has no page of its own. URLs that would be no links are left
/// out.
fn sign_in_page(page: &FlowPage) -> Option<SignInPage<'_>> {
    let url = |url: &String| PageUrl::parse(url);
    Some(match page {
        FlowPage::Continue { to } => SignInPage::Continue { to: url(to)? },
        FlowPage::SigningOut { to } => SignInPage::SigningOut { to: url(to)? },
        FlowPage::ConfirmSignOut { known_as, action, stay } => {
            let person =
                known_as.as_deref().map(|name| SignedInPerson { name, ..Default::default() });
            SignInPage::ConfirmSignOut { person, sign_out: url(action)?, stay: url(stay)? }
        }
        FlowPage::SignedOut => SignInPage::SignedOut { again: None },
        FlowPage::ConfirmProgram(question) => confirm_program(question)?,
        FlowPage::ProgramRefused => SignInPage::ProgramRefused,
        FlowPage::SignOutRefused { user_page } => {
            SignInPage::SignOutRefused { user_page: url(user_page)? }
        }
        FlowPage::LinkInvalid { again } => {
            SignInPage::LinkInvalid { again: again.as_ref().and_then(url) }
        }
        FlowPage::CookieLost { again } => SignInPage::CookieLost { again: url(again) },
        FlowPage::DidNotLast { reason, again } => {
            SignInPage::DidNotLast { reason: loss_reason(*reason), again: url(again) }
        }
        FlowPage::SessionTooLarge { claim } => SignInPage::SessionTooLarge { claim },
        FlowPage::MethodNotAllowed | FlowPage::Internal => return None,
        _ => return of_provider(page),
    })
}

fn confirm_program(question: &ProgramQuestion) -> Option<SignInPage<'_>> {
    let ProgramQuestion { known_as, host, program, asked_by, ends_at_s, now_s, action } = question;
    let (ends_at_s, now_s) = (*ends_at_s, *now_s);
    let asked = AskedProgram { known_as, host, program, asked_by, ends_at_s, now_s };
    let (allow, stay) = (PageUrl::parse(action)?, PageUrl::parse(OVERVIEW)?);
    Some(SignInPage::ConfirmProgram { asked, allow, stay })
}

fn of_provider(page: &FlowPage) -> Option<SignInPage<'_>> {
    let url = |url: &String| PageUrl::parse(url);
    Some(match page {
        FlowPage::ProviderDenied { error, description, again } => {
            SignInPage::ProviderDenied { error, description, again: url(again) }
        }
        FlowPage::ProviderError { error, description, again } => {
            SignInPage::ProviderError { error, description, again: url(again) }
        }
        FlowPage::CodeRefused { again } => SignInPage::CodeRefused { again: url(again) },
        FlowPage::ProviderAway { again } => SignInPage::ProviderAway { again: url(again) },
        FlowPage::TooManySignIns { again } => SignInPage::TooManySignIns { again: url(again) },
        FlowPage::ProviderInvalid { again } => SignInPage::ProviderInvalid { again: url(again) },
        FlowPage::ClocksDiffer { provider_s, our_s, again } => {
            let (provider_s, our_s) = (*provider_s, *our_s);
            SignInPage::ClocksDiffer { provider_s, our_s, again: url(again) }
        }
        _ => return None,
    })
}

fn loss_reason(reason: SignInLossReason) -> ShortLivedReason {
    match reason {
        SignInLossReason::NoCookie => ShortLivedReason::NoCookie,
        SignInLossReason::Refused | SignInLossReason::Ended => ShortLivedReason::Refused,
        SignInLossReason::Unknown => ShortLivedReason::Unknown,
    }
}
