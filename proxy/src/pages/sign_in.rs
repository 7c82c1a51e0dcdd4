//! The pages of sign-in and sign-out, as plain data.

mod failures;
mod steps;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    page::{PageContent, PageContext},
    url::PageUrl,
};

/// When people, and programs that load pages, may try again after a 503.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// A page of sign-in or sign-out. Where a field `again` is `None`, the page has no link.
#[derive(Debug, Clone)]
pub(crate) enum SignInPage<'a> {
    /// `/.pomerium/` for a person who is signed in. `sign_out` takes the POST of the button.
    SignedIn { person: SignedInPerson<'a>, ends_at_s: u64, now_s: u64, sign_out: PageUrl },
    /// `/.pomerium/` for anybody else. `sign_in` is `None` where nobody can sign in.
    NotSignedIn { sign_in: Option<PageUrl> },
    /// Asks before it signs somebody out.
    ConfirmSignOut { person: Option<SignedInPerson<'a>>, sign_out: PageUrl, stay: PageUrl },
    /// The session has ended here; the browser goes on to end it at the provider.
    SigningOut { to: PageUrl },
    /// Asks whether a program may have a token. `allow` takes the POST of the button, whose answer
    /// leads to the program.
    ConfirmProgram { asked: AskedProgram<'a>, allow: PageUrl, stay: PageUrl },
    /// A POST that another site or a script sent in the place of that page (403).
    ProgramRefused,
    /// The end of a sign-out.
    SignedOut { again: Option<PageUrl> },
    /// A POST that another site sent (403).
    SignOutRefused { user_page: PageUrl },
    /// The browser goes on to the provider, or to the next step.
    GoingOn { to: PageUrl },
    /// Signed in; the browser goes on to the page asked for.
    Continue { to: PageUrl },
    /// The request needs somebody signed in, and cannot be redirected (401). In a frame of another
    /// site the link opens a new tab.
    SignInNeeded { sign_in: PageUrl, new_tab: bool },
    /// The state of a sign-in is missing, foreign, changed or too old (400).
    LinkInvalid { again: Option<PageUrl> },
    /// The browser did not send our cookie back (400).
    CookieLost { again: Option<PageUrl> },
    /// Signed in a moment ago, and already not any more (401).
    DidNotLast { reason: ShortLivedReason, again: Option<PageUrl> },
    /// The provider, or the person there, said no (401). Both texts are the provider's.
    ProviderDenied { error: &'a str, description: &'a str, again: Option<PageUrl> },
    /// The provider reported another error (400). Both texts are the provider's.
    ProviderError { error: &'a str, description: &'a str, again: Option<PageUrl> },
    /// The provider refused the code (400).
    CodeRefused { again: Option<PageUrl> },
    /// The provider is not reached, or too slow (503).
    ProviderAway { again: Option<PageUrl> },
    /// Too many sign-ins wait for the provider (503).
    TooManySignIns { again: Option<PageUrl> },
    /// The provider's answer breaks a rule (502).
    ProviderInvalid { again: Option<PageUrl> },
    /// The provider's clock and ours differ too much (502).
    ClocksDiffer { provider_s: i64, our_s: i64, again: Option<PageUrl> },
    /// The session does not fit into cookies (500); `claim` is its largest one.
    SessionTooLarge { claim: &'a str },
    /// The policy denies a person who is known (403). `other` signs in as somebody else.
    Denied { known_as: &'a str, other: Option<PageUrl> },
}

/// Who is signed in. A text that is empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SignedInPerson<'a> {
    pub name: &'a str,
    pub email: &'a str,
    pub user_id: &'a str,
}

/// What a program asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedProgram<'a> {
    pub known_as: &'a str,
    /// The host that the token is for.
    pub host: &'a str,
    /// The origin of the program's URL.
    pub program: &'a str,
    /// The address that asked.
    pub asked_by: &'a str,
    pub ends_at_s: u64,
    pub now_s: u64,
}

/// Why a session did not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShortLivedReason {
    /// The request has no session cookie.
    NoCookie,
    /// The session cookie does not count: it does not open, or its session has ended.
    Refused,
    /// Not known.
    Unknown,
}

impl SignInPage<'_> {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        use StatusCode as S;
        match self {
            SignInPage::SignedIn { .. }
            | SignInPage::NotSignedIn { .. }
            | SignInPage::ConfirmSignOut { .. }
            | SignInPage::ConfirmProgram { .. }
            | SignInPage::SigningOut { .. }
            | SignInPage::SignedOut { .. }
            | SignInPage::GoingOn { .. }
            | SignInPage::Continue { .. } => S::OK,
            SignInPage::LinkInvalid { .. }
            | SignInPage::CookieLost { .. }
            | SignInPage::ProviderError { .. }
            | SignInPage::CodeRefused { .. } => S::BAD_REQUEST,
            SignInPage::SignInNeeded { .. }
            | SignInPage::DidNotLast { .. }
            | SignInPage::ProviderDenied { .. } => S::UNAUTHORIZED,
            SignInPage::SignOutRefused { .. }
            | SignInPage::ProgramRefused
            | SignInPage::Denied { .. } => S::FORBIDDEN,
            SignInPage::SessionTooLarge { .. } => S::INTERNAL_SERVER_ERROR,
            SignInPage::ProviderInvalid { .. } | SignInPage::ClocksDiffer { .. } => S::BAD_GATEWAY,
            SignInPage::ProviderAway { .. } | SignInPage::TooManySignIns { .. } => {
                S::SERVICE_UNAVAILABLE
            }
        }
    }

    /// One line for programs and for the title of an error.
    pub(crate) fn message(&self) -> &'static str {
        match self {
            SignInPage::SignedIn { .. } => "signed in",
            SignInPage::NotSignedIn { .. } => "not signed in",
            SignInPage::ConfirmSignOut { .. } => "confirm the sign-out",
            SignInPage::ConfirmProgram { .. } => "confirm the sign-in of a program",
            SignInPage::ProgramRefused => "this page did not ask for this sign-in",
            SignInPage::SigningOut { .. } | SignInPage::SignedOut { .. } => "signed out",
            SignInPage::SignOutRefused { .. } => "another site asked for this sign-out",
            SignInPage::GoingOn { .. } => "the sign-in goes on",
            SignInPage::Continue { .. } => "signed in; go on to the page",
            SignInPage::SignInNeeded { .. } => "Unauthenticated",
            SignInPage::LinkInvalid { .. } => "this sign-in is no longer valid",
            SignInPage::CookieLost { .. } => "the browser did not keep our cookie",
            SignInPage::DidNotLast { .. } => "the sign-in did not last",
            SignInPage::ProviderDenied { .. } => "the identity provider denied the sign-in",
            SignInPage::ProviderError { .. } => "the identity provider reported an error",
            SignInPage::CodeRefused { .. } => "the identity provider refused the code",
            SignInPage::ProviderAway { .. } => "the identity provider is unavailable",
            SignInPage::TooManySignIns { .. } => "too many sign-ins are waiting",
            SignInPage::ProviderInvalid { .. } => "the identity provider gave an invalid answer",
            SignInPage::ClocksDiffer { .. } => "the identity provider's clock differs from ours",
            SignInPage::SessionTooLarge { .. } => "the session is too large for cookies",
            SignInPage::Denied { .. } => "forbidden",
        }
    }

    /// The page. Nothing may keep it.
    pub(crate) fn response(&self, context: &PageContext<'_>) -> Response<Bytes> {
        let mut response = self.content().response(context);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }

    /// What the page says.
    pub(super) fn content(&self) -> PageContent<'_> {
        let mut page = steps::content(self).unwrap_or_else(|| failures::content(self));
        if self.status().as_u16() >= 400 {
            page.title = format!("{} {}", self.status().as_u16(), self.message()).into();
        }
        page
    }
}
