//! The pages of a sign-in that failed. The reason that an attacker could use is in the log alone.

use super::{
    super::{
        html::shortened,
        moment::to_the_second,
        page::{PageAction, PageContent, PageMood},
        url::PageUrl,
    },
    ShortLivedReason, SignInPage,
};

/// The most that is shown of a text of the provider's.
const PROVIDER_CHARACTERS: usize = 200;
const TRY_AGAIN: &str = "Try again";

/// What the page says.
pub(super) fn content<'a>(page: &'a SignInPage<'_>) -> PageContent<'a> {
    let (mood, heading, happened, next) = text(page);
    let content = PageContent::new(page.status(), mood, heading, happened, next);
    let content = match page {
        SignInPage::ProviderDenied { error, description, .. }
        | SignInPage::ProviderError { error, description, .. } => {
            said_by_provider(content, error, description)
        }
        SignInPage::ClocksDiffer { provider_s, our_s, .. } => content
            .fact("Provider’s clock", to_the_second(*provider_s))
            .fact("Our clock", to_the_second(*our_s)),
        SignInPage::SessionTooLarge { claim } => content.fact("Largest claim", *claim),
        SignInPage::Denied { known_as, .. } => PageContent {
            known_as: Some(known_as).copied().filter(|name| !name.is_empty()),
            ..content
        },
        _ => content,
    };
    match action(page) {
        Some(action) => content.action(action),
        None => content,
    }
}

fn said_by_provider<'a>(
    page: PageContent<'a>,
    error: &'a str,
    description: &'a str,
) -> PageContent<'a> {
    let said = [("Provider’s error", error), ("It says", description)];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    said.fold(page, |page, (name, text)| page.fact(name, shortened(text, PROVIDER_CHARACTERS)))
}

fn action(page: &SignInPage<'_>) -> Option<PageAction> {
    let link = |label, url: &PageUrl| PageAction::Link { label, url: url.clone() };
    match page {
        SignInPage::SignInNeeded { sign_in, new_tab: true } => {
            Some(PageAction::NewTab { label: "Sign in in a new tab", url: sign_in.clone() })
        }
        SignInPage::SignInNeeded { sign_in, .. } => Some(link("Sign in", sign_in)),
        SignInPage::SignOutRefused { user_page } => Some(link("Go to your session", user_page)),
        SignInPage::Denied { other, .. } => {
            other.as_ref().map(|url| link("Sign in as somebody else", url))
        }
        SignInPage::LinkInvalid { again }
        | SignInPage::CookieLost { again }
        | SignInPage::DidNotLast { again, .. }
        | SignInPage::ProviderDenied { again, .. }
        | SignInPage::ProviderError { again, .. }
        | SignInPage::CodeRefused { again }
        | SignInPage::ProviderAway { again }
        | SignInPage::TooManySignIns { again }
        | SignInPage::ProviderInvalid { again }
        | SignInPage::ClocksDiffer { again, .. } => again.as_ref().map(|url| link(TRY_AGAIN, url)),
        _ => None,
    }
}

/// Mood, heading, what happened, what to do next.
type FailureText = (PageMood, &'static str, &'static str, &'static str);

fn text(page: &SignInPage<'_>) -> FailureText {
    use PageMood::{Ask, Closed};
    match page {
        SignInPage::SignInNeeded { new_tab, .. } => needed(*new_tab),
        SignInPage::DidNotLast { reason, .. } => did_not_last(*reason),
        SignInPage::LinkInvalid { .. } => (
            Ask,
            "This sign-in is no longer valid",
            "The link that brought you here is incomplete, too old, or was made for another sign-in.",
            "Begin again from the page that you want to open. Bookmark that page, not the sign-in.",
        ),
        SignInPage::CookieLost { .. } => (
            Ask,
            "Your browser did not keep our cookie",
            "A sign-in has to end in the browser in which it began, and a cookie shows that. It \
             did not come back, or the sign-in began in another browser.",
            "Allow cookies for this site, then try again. A private window or an extension may \
             block them.",
        ),
        SignInPage::Denied { .. } => (
            Closed,
            "You do not have access",
            "You are signed in, but the rules of this site do not let this account open this page.",
            "If you have another account, sign in with it. If you need access with this one, ask \
             the site’s administrator and give the request ID below.",
        ),
        SignInPage::ProgramRefused => (
            Closed,
            "No program was signed in",
            "Another site or a script tried to sign a program in as you, which only you can do.",
            "If you want to sign a program in, start it again.",
        ),
        SignInPage::SignOutRefused { .. } => (
            Closed,
            "You are still signed in",
            "Another site tried to sign you out, which only you can do.",
            "If you want to sign out, do so on the page of your session.",
        ),
        _ => provider_text(page),
    }
}

fn needed(new_tab: bool) -> FailureText {
    let heading = "Please sign in";
    if new_tab {
        let happened = "This page is shown inside another site, where signing in does not work.";
        let next = "Sign in in a new tab, then reload this page.";
        return (PageMood::Ask, heading, happened, next);
    }
    let happened = "This page is for people who are signed in, and you are not, or not any more. \
                    What your browser sent was not carried out.";
    (PageMood::Ask, heading, happened, "Sign in, then send it again.")
}

fn did_not_last(reason: ShortLivedReason) -> FailureText {
    let heading = "You were signed in, but it did not last";
    let (happened, next) = match reason {
        ShortLivedReason::NoCookie => (
            "The sign-in itself worked. Your browser then came back without the cookie of the \
             session.",
            "Allow cookies for this site, then try again. A private window or an extension may \
             block them.",
        ),
        ShortLivedReason::Refused => (
            "The sign-in itself worked. The session was then not accepted: it has ended already, \
             or its cookie was changed.",
            "Try again. If it does not help, tell the site’s administrator the request ID below.",
        ),
        ShortLivedReason::Unknown => (
            "The sign-in itself worked, but the session that it gave you does not count any more.",
            "Try again. If it does not help, delete this site’s cookies, or tell the site’s \
             administrator the request ID below.",
        ),
    };
    (PageMood::Ask, heading, happened, next)
}

fn provider_text(page: &SignInPage<'_>) -> FailureText {
    use PageMood::{Ask, Closed, Fault};
    const TELL: &str = "Try again. If it does not help, tell the site’s administrator the request \
                        ID below.";
    match page {
        SignInPage::ProviderDenied { .. } => (
            Closed,
            "You were not signed in",
            "The identity provider did not approve the sign-in, or you cancelled it there.",
            "Try again, perhaps with another account. If your account should have access, ask \
             your administrator.",
        ),
        SignInPage::ProviderError { .. } => (
            Fault,
            "The identity provider reported an error",
            "The sign-in ended there with the error below.",
            TELL,
        ),
        SignInPage::CodeRefused { .. } => (
            Ask,
            "This sign-in could not be completed",
            "The identity provider did not accept the code that it had given to your browser. It \
             may be too old, or was used before.",
            TELL,
        ),
        SignInPage::ProviderAway { .. } => (
            Fault,
            "Sign-in is unavailable at the moment",
            "The identity provider cannot be reached. People who are signed in stay signed in.",
            "Try again in a minute. Nothing is wrong with your account.",
        ),
        SignInPage::TooManySignIns { .. } => (
            Fault,
            "Too many people are signing in",
            "Many sign-ins are waiting for the identity provider at the moment.",
            "Try again in a few seconds.",
        ),
        SignInPage::ClocksDiffer { .. } => (
            Fault,
            "Two clocks disagree",
            "The clock of the identity provider and ours differ by more than a minute, so its \
             answer was not accepted. Your computer’s clock has nothing to do with it.",
            "Tell the site’s administrator. Once both clocks are right, sign-in works again.",
        ),
        SignInPage::SessionTooLarge { .. } => (
            Fault,
            "Your session is too large",
            "The identity provider said more about you than fits into cookies, so you were not \
             signed in.",
            "Tell the site’s administrator the largest claim and the request ID below. The \
             provider can be told to send less, such as fewer groups.",
        ),
        _ => (
            Fault,
            "The identity provider gave an invalid answer",
            "Its answer did not pass our checks, so you were not signed in.",
            TELL,
        ),
    }
}
