//! One example of every page, for tests and for people who look at them.

use http::StatusCode;

use super::{
    AskedProgram, Branding, CertificateProblem, ErrorPage, PageContext, PageUrl, ShortLivedReason,
    SignInPage, SignedInPerson, Visitor, VisitorCertificate,
};

const NOW_S: i64 = 1_796_047_509;
const NEEDS_CERTIFICATE: &str = "a valid client certificate is required to access this page";

/// Name and document of every page, each name once.
pub fn gallery() -> Vec<(String, String)> {
    let context = PageContext {
        request_id: "8a1f4c1e-5d0b-4f0a-9a55-2f3c1f6f0b7d",
        now_s: Some(NOW_S),
        branding: Branding::none(),
    };
    let errors =
        error_pages().into_iter().map(|(name, page)| (name, page.content().html(&context)));
    let sign_in = sign_in_pages();
    let sign_in = sign_in
        .iter()
        .map(|(name, page)| (format!("sign-in-{name}"), page.content().html(&context)));
    errors.chain(sign_in).collect()
}

/// A page of each status, and of each problem with a certificate.
pub(super) fn error_pages() -> Vec<(String, ErrorPage<'static>)> {
    let errors = [
        (400, "malformed path"),
        (403, "forbidden"),
        (404, "not found"),
        (405, "CONNECT is not supported"),
        (408, "the request took too long"),
        (421, "misdirected request"),
        (426, "upgrade required"),
        (431, "too many header fields"),
        (495, NEEDS_CERTIFICATE),
        (500, "internal error"),
        (502, "the upstream gave an invalid response"),
        (503, "no connection to the upstream"),
        (504, "the upstream did not answer in time"),
    ];
    let errors = errors.map(|(status, message)| {
        (format!("error-{status}"), ErrorPage { message, ..error(status) })
    });
    let problems = certificate_problems().map(|(name, problem)| {
        let page = ErrorPage { problem: Some(problem), message: NEEDS_CERTIFICATE, ..error(495) };
        (format!("error-495-{name}"), page)
    });
    errors.into_iter().chain(problems).collect()
}

fn error(status: u16) -> ErrorPage<'static> {
    ErrorPage {
        status: StatusCode::from_u16(status).unwrap_or_default(),
        message: "",
        problem: None,
        retry_after_s: (status == 503).then_some(5),
        visitor: Visitor {
            user: None,
            certificate: (status == 403).then_some(CERTIFICATE),
            address: Some(std::net::Ipv4Addr::new(198, 51, 100, 7).into()),
            may_reload: true,
        },
    }
}

const CERTIFICATE: VisitorCertificate<'static> = VisitorCertificate {
    subject: "CN=Alice Example,OU=Engineering,O=Example Ltd",
    issuer: "CN=Example People CA,O=Example Ltd",
    names: &[],
};

fn certificate_problems() -> [(&'static str, CertificateProblem); 7] {
    [
        ("missing", CertificateProblem::Missing),
        ("expired", CertificateProblem::Expired { not_after_s: NOW_S - 86_400 }),
        ("not-yet-valid", CertificateProblem::NotYetValid { not_before_s: NOW_S + 86_400 }),
        ("untrusted", CertificateProblem::Untrusted),
        ("revoked", CertificateProblem::Revoked),
        ("revocation-unknown", CertificateProblem::RevocationUnknown),
        (
            "unusable",
            CertificateProblem::Unusable("it is X.509 version 1; version 3 is required".to_owned()),
        ),
    ]
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
