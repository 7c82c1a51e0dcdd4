//! The pages on the way in and out, when nothing failed.

use http::StatusCode;

use super::{
    super::{
        moment::{date_and_time, from_now},
        page::{PageAction, PageContent, PageMood},
        url::PageUrl,
    },
    AskedProgram, SignInPage, SignedInPerson,
};

/// What the page says; `None` for a failure.
pub(super) fn content<'a>(page: &'a SignInPage<'_>) -> Option<PageContent<'a>> {
    let content = match page {
        SignInPage::SignedIn { person, ends_at_s, now_s, sign_out } => {
            signed_in(*person, *ends_at_s, *now_s, sign_out)
        }
        SignInPage::NotSignedIn { sign_in } => not_signed_in(sign_in.as_ref()),
        SignInPage::ConfirmSignOut { person, sign_out, stay } => {
            confirm_sign_out(*person, sign_out, stay)
        }
        SignInPage::ConfirmProgram { asked, allow, stay } => confirm_program(*asked, allow, stay),
        SignInPage::SigningOut { to } => going_on(
            to,
            "Signing you out",
            "You are signed out here. Your browser is on its way to the identity provider to sign \
             out there too.",
        ),
        SignInPage::SignedOut { again } => ok(
            "You are signed out",
            "Your session has ended on all sites that you used with it.",
            "If other people use this computer, close all windows of the browser too.",
        )
        .link("Sign in again", again.as_ref()),
        SignInPage::GoingOn { to } => PageContent {
            mood: PageMood::Ask,
            ..going_on(
                to,
                "Taking you to sign in",
                "Your browser is on its way to the identity provider.",
            )
        },
        SignInPage::Continue { to } => going_on(
            to,
            "You are signed in",
            "Your browser is on its way to the page that you asked for.",
        ),
        _ => return None,
    };
    Some(content)
}

fn ok<'a>(heading: &'a str, happened: &'a str, next: &'a str) -> PageContent<'a> {
    PageContent::new(StatusCode::OK, PageMood::Open, heading, happened, next)
}

fn signed_in<'a>(
    person: SignedInPerson<'a>,
    ends_at_s: u64,
    now_s: u64,
    sign_out: &PageUrl,
) -> PageContent<'a> {
    let end = i64::try_from(ends_at_s).unwrap_or(i64::MAX);
    let happened = format!("Your session ends {}.", from_now(ends_at_s, now_s));
    let mut page = ok("You are signed in", "", "");
    page.happened = happened.into();
    page = named(page, person).fact("Session ends", date_and_time(end));
    page.action(PageAction::Post { label: "Sign out", url: sign_out.clone() })
}

/// Adds who is signed in.
fn named<'a>(page: PageContent<'a>, person: SignedInPerson<'a>) -> PageContent<'a> {
    let facts = [("Name", person.name), ("Email", person.email), ("User ID", person.user_id)];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    known.fold(page, |page, (name, value)| page.fact(name, value))
}

fn not_signed_in(sign_in: Option<&PageUrl>) -> PageContent<'static> {
    let happened = match sign_in {
        Some(_) => "Sign in to see who you are here and when your session ends.",
        None => "People cannot sign in at this site: it has no identity provider.",
    };
    let status = StatusCode::OK;
    PageContent::new(status, PageMood::Ask, "You are not signed in", happened, "")
        .link("Sign in", sign_in)
}

fn confirm_sign_out<'a>(
    person: Option<SignedInPerson<'a>>,
    sign_out: &PageUrl,
    stay: &PageUrl,
) -> PageContent<'a> {
    let happened = "You are about to end your session on all sites that you use with it.";
    let page =
        PageContent::new(StatusCode::OK, PageMood::Ask, "Do you want to sign out?", happened, "");
    named(page, person.unwrap_or_default())
        .action(PageAction::Post { label: "Sign out", url: sign_out.clone() })
        .link("Stay signed in", Some(stay))
}

fn confirm_program<'a>(
    asked: AskedProgram<'a>,
    allow: &PageUrl,
    stay: &PageUrl,
) -> PageContent<'a> {
    let AskedProgram { known_as, host, program, asked_by, ends_at_s, now_s } = asked;
    let happened = format!(
        "It will be able to use {host} as you until your session ends {}.",
        from_now(ends_at_s, now_s)
    );
    let next = "Continue only if you have just started a program that signs in here, such as \
                pomerium-cli. Otherwise somebody else wants to act in your name.";
    let heading = "Do you want to sign a program in?";
    let page = PageContent::new(StatusCode::OK, PageMood::Ask, heading, happened, next)
        .fact("Its token goes to", program)
        .fact("Asked for by", asked_by)
        .action(PageAction::Post { label: "Sign the program in", url: allow.clone() })
        .link("Cancel", Some(stay));
    PageContent { known_as: Some(known_as), form_leads_to: Some(program), ..page }
}

fn going_on(to: &PageUrl, heading: &'static str, happened: &'static str) -> PageContent<'static> {
    let mut page = ok(heading, happened, "").link("Continue", Some(to));
    page.next = "If nothing happens within a few seconds, use the button.".into();
    page.refresh = Some(to.clone());
    page
}
