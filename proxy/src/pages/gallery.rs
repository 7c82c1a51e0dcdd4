//! One example of every page, for tests and for people who look at them.

use http::StatusCode;

use super::{
    AskedProgram, PageUrl, ShortLivedReason, SignInPage, SignedInPerson, error::error_content,
    page::PageContent,
};

const REQUEST_ID: &str = "8a1f4c1e-5d0b-4f0a-9a55-2f3c1f6f0b7d";

/// Name and document of every page, each name once.
pub fn gallery() -> Vec<(String, String)> {
    let sign_in = sign_in_pages();
    let pages = error_pages()
        .into_iter()
        .chain(sign_in.iter().map(|(name, page)| (format!("sign-in-{name}"), page.content())));
    pages.map(|(name, page)| (name, page.html(REQUEST_ID))).collect()
}

fn error_pages() -> Vec<(String, PageContent<'static>)> {
    let errors = [
        (400, "malformed path"),
        (403, "forbidden"),
        (404, "not found"),
        (405, "CONNECT is not supported"),
        (408, "the request took too long"),
        (421, "misdirected request"),
        (426, "upgrade required"),
        (431, "too many header fields"),
        (495, "a valid client certificate is required to access this page"),
        (500, "internal error"),
        (502, "the upstream gave an invalid response"),
        (503, "no connection to the upstream"),
        (504, "the upstream did not answer in time"),
    ];
    let page = |(status, message)| {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        (format!("error-{}", status.as_u16()), error_content(status, message))
    };
    errors.into_iter().map(page).collect()
}

/// Every kind of page of sign-in, with a name.
pub(super) fn sign_in_pages() -> Vec<(&'static str, SignInPage<'static>)> {
    let steps = step_pages();
    steps.into_iter().chain(failure_pages()).collect()
}

fn person() -> SignedInPerson<'static> {
    SignedInPerson {
        name: "Alice Example",
        email: "alice@example.com",
        user_id: "auth0|65a1c2d3e4f5a6b7c8d9e0f1",
    }
}

fn link(path: &str) -> Option<PageUrl> {
    PageUrl::parse(path)
}

fn step_pages() -> Vec<(&'static str, SignInPage<'static>)> {
    let now_s = 1_796_047_509;
    let (Some(user_page), Some(sign_out), Some(provider)) =
        (link("/.pomerium/"), link("/.pomerium/sign_out"), link("https://id.example.com/auth"))
    else {
        return Vec::new();
    };
    let url = user_page.clone();
    vec![
        (
            "signed-in",
            SignInPage::SignedIn {
                person: person(),
                ends_at_s: now_s + 47_100,
                now_s,
                sign_out: sign_out.clone(),
            },
        ),
        ("not-signed-in", SignInPage::NotSignedIn { sign_in: link("/.pomerium/sign_in") }),
        ("no-provider", SignInPage::NotSignedIn { sign_in: None }),
        (
            "confirm-sign-out",
            SignInPage::ConfirmSignOut { person: Some(person()), sign_out, stay: url.clone() },
        ),
        (
            "confirm-program",
            SignInPage::ConfirmProgram {
                asked: AskedProgram {
                    known_as: "alice@example.com",
                    host: "k8s.example.com",
                    program: "http://127.0.0.1:43211",
                    asked_by: "198.51.100.7",
                    ends_at_s: now_s + 47_100,
                    now_s,
                },
                allow: url.clone(),
                stay: url.clone(),
            },
        ),
        ("program-refused", SignInPage::ProgramRefused),
        ("signing-out", SignInPage::SigningOut { to: provider.clone() }),
        ("signed-out", SignInPage::SignedOut { again: Some(url.clone()) }),
        ("sign-out-refused", SignInPage::SignOutRefused { user_page }),
        ("going-on", SignInPage::GoingOn { to: provider }),
        ("continue", SignInPage::Continue { to: url.clone() }),
        ("needed", SignInPage::SignInNeeded { sign_in: url.clone(), new_tab: false }),
        ("needed-in-frame", SignInPage::SignInNeeded { sign_in: url, new_tab: true }),
    ]
}

fn failure_pages() -> Vec<(&'static str, SignInPage<'static>)> {
    let again = || link("/");
    let lost = |reason| SignInPage::DidNotLast { reason, again: again() };
    let claim = "groups (523 entries)";
    let clocks = (1_796_047_509, 1_796_047_389);
    vec![
        ("link-invalid", SignInPage::LinkInvalid { again: again() }),
        ("cookie-lost", SignInPage::CookieLost { again: again() }),
        ("did-not-last-no-cookie", lost(ShortLivedReason::NoCookie)),
        ("did-not-last-refused", lost(ShortLivedReason::Refused)),
        ("did-not-last-unknown", lost(ShortLivedReason::Unknown)),
        (
            "provider-denied",
            SignInPage::ProviderDenied {
                error: "access_denied",
                description: "The resource owner <alice> denied the request",
                again: again(),
            },
        ),
        (
            "provider-error",
            SignInPage::ProviderError {
                error: "server_error",
                description: "AADSTS90002: Tenant 'contoso' not found. Check to make sure you have \
                              the correct tenant ID and are signing into the correct cloud.",
                again: again(),
            },
        ),
        ("code-refused", SignInPage::CodeRefused { again: again() }),
        ("provider-away", SignInPage::ProviderAway { again: again() }),
        ("too-many", SignInPage::TooManySignIns { again: again() }),
        ("provider-invalid", SignInPage::ProviderInvalid { again: again() }),
        (
            "clocks-differ",
            SignInPage::ClocksDiffer { provider_s: clocks.0, our_s: clocks.1, again: again() },
        ),
        ("too-large", SignInPage::SessionTooLarge { claim }),
        ("denied", SignInPage::Denied { known_as: "alice@example.com", other: again() }),
    ]
}
