use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, StatusCode};

use super::{
    gallery::{error_pages, sign_in_pages},
    page::STYLE,
    *,
};
use crate::pages::testing::elements;

/// What an attacker would like to see on a page.
const MARKUP: [&str; 4] = ["<script>alert(1)</script>", "</pre><img src=x>", "\"><img>", "'><b>"];

/// What the pages of these tests share.
fn on(request_id: &str) -> PageContext<'_> {
    PageContext { request_id, now_s: Some(1_796_047_509), branding: Branding::none() }
}

fn error_page(status: StatusCode, message: &str, request_id: &str) -> Response<Bytes> {
    error(status, message).response(&on(request_id))
}

fn error(status: StatusCode, message: &str) -> ErrorPage<'_> {
    let visitor = Visitor::default();
    ErrorPage { status, message, problem: None, retry_after_s: None, visitor }
}

fn url(text: &str) -> PageUrl {
    PageUrl::parse(text).unwrap()
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {text}")).0
}

#[test]
fn every_page_is_whole_and_has_landmarks() {
    let pages = gallery();
    let names: BTreeSet<_> = pages.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), pages.len());
    for (name, html) in &pages {
        let elements = elements(html);
        for one in ["html", "title", "style", "main", "h1", "footer", "svg"] {
            assert_eq!(elements.iter().filter(|e| **e == one).count(), 1, "{one} in {name}");
        }
        assert!(html.contains("<html lang=\"en\">"), "{name}");
        assert!(html.contains("<main aria-labelledby=\"what\">"), "{name}");
        assert!(html.contains("<h1 id=\"what\">"), "{name}");
    }
}

#[test]
fn no_page_has_a_script_or_loads_anything() {
    for (name, html) in gallery() {
        let elements = elements(&html);
        for never in ["script", "link", "img", "iframe", "object", "embed", "base", "input"] {
            assert!(!elements.contains(&never), "{never} in {name}");
        }
        for never in [" style=", " src=", " on", "javascript:", "@import", "url("] {
            let tags = html.split('<').filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
            assert!(tags.chain([STYLE]).all(|tag| !tag.contains(never)), "{never} in {name}");
        }
    }
}

#[test]
fn the_policy_names_the_style_that_is_on_the_page() {
    let response = error_page(StatusCode::NOT_FOUND, "not found", "id-1");
    let style = between(body(&response), "<style>", "</style>");
    let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'none'",
        STANDARD.encode(digest)
    );
    assert_eq!(response.headers()["content-security-policy"], expected);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}

#[test]
fn only_a_page_with_a_form_may_send_one() {
    for (name, page) in sign_in_pages() {
        let response = page.response(&on("id-1"));
        let has_form = elements(body(&response)).contains(&"form");
        let (action, referrer) = match (has_form, name) {
            (true, "confirm-program") => {
                ("form-action 'self' http://127.0.0.1:43211", "same-origin")
            }
            (true, _) => ("form-action 'self'", "same-origin"),
            (false, _) => ("form-action 'none'", "no-referrer"),
        };
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.ends_with(action), "{name}: {policy}");
        let alone = policy.contains("; frame-ancestors 'none'; ");
        assert_eq!(alone, name != "needed-in-frame", "{name}: {policy}");
        assert_eq!(response.headers()["referrer-policy"], referrer, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        assert_eq!(response.status(), page.status(), "{name}");
    }
}

#[test]
fn a_form_leads_to_the_origin_of_its_program_and_no_other() {
    let action = |program: &str| {
        let asked = AskedProgram {
            known_as: "alice",
            host: "a.example",
            program,
            asked_by: "192.0.2.1",
            ends_at_s: 60,
            now_s: 0,
        };
        let (allow, stay) = (url("/.pomerium/program?request=x"), url("/.pomerium/"));
        let response = SignInPage::ConfirmProgram { asked, allow, stay }.response(&on("id-1"));
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        policy.split("form-action ").nth(1).unwrap().to_owned()
    };
    assert_eq!(action("http://localhost:1"), "'self' http://localhost:1");
    assert_eq!(action("https://tools.example.com"), "'self' https://tools.example.com");
    // There is no form for the address of an IPv6 host.
    assert_eq!(action("http://[::1]:1"), "'self' http:");
    for bad in ["http://a b", "http://a;script-src *", "http://a'", "http://a,b", "*"] {
        assert_eq!(action(bad), "'self'", "{bad}");
    }
}

#[test]
fn the_sign_out_button_is_a_post_to_its_address() {
    let person = SignedInPerson::default();
    let sign_out = url("/.pomerium/sign_out?pomerium_redirect_uri=https://a.example.com/&x=1");
    let page = SignInPage::SignedIn { person, ends_at_s: 60, now_s: 0, sign_out };
    let response = page.response(&on("id-1"));
    let form = between(body(&response), "<form", "</form>");
    let action =
        "action=\"/.pomerium/sign_out?pomerium_redirect_uri=https://a.example.com/&amp;x=1\"";
    assert_eq!(form, format!(" method=\"post\" {action}><button>Sign out</button>"));
}

#[test]
fn markup_in_what_others_say_is_shown_as_text() {
    for text in MARKUP {
        let person = SignedInPerson { name: text, email: text, user_id: text };
        let address = url("/");
        let pages = [
            SignInPage::SignedIn { person, ends_at_s: 1, now_s: 0, sign_out: address.clone() },
            SignInPage::ConfirmSignOut {
                person: Some(person),
                sign_out: address.clone(),
                stay: address,
            },
            SignInPage::ProviderDenied { error: text, description: text, again: None },
            SignInPage::ProviderError { error: text, description: text, again: None },
            SignInPage::SessionTooLarge { claim: text },
            SignInPage::Denied { known_as: text, other: None },
        ];
        let answers = pages.iter().map(|page| page.response(&on(text)));
        for answer in answers.chain([error_page(StatusCode::NOT_FOUND, text, text)]) {
            let html = body(&answer);
            assert!(!html.contains(text), "{html}");
            assert!(!elements(html).iter().any(|e| ["script", "img", "b"].contains(e)), "{html}");
            let shown = text.replace('<', "&lt;").replace('>', "&gt;");
            let shown = shown.replace('"', "&quot;").replace('\'', "&#39;");
            assert!(html.contains(&shown), "{html}");
        }
    }
}

#[test]
fn an_address_cannot_leave_its_attribute() {
    let to = url("https://a.example.com/?x=\"><script>&y='");
    let pages = [SignInPage::GoingOn { to: to.clone() }, SignInPage::Continue { to }];
    for page in pages {
        let response = page.response(&on(""));
        let html = body(&response);
        assert!(!elements(html).contains(&"script"), "{html}");
        let shown = "https://a.example.com/?x=&quot;&gt;&lt;script&gt;&amp;y=&#39;";
        let refresh = format!("<meta http-equiv=\"refresh\" content=\"0;url={shown}\">");
        assert!(html.contains(&refresh), "{html}");
        assert!(html.contains(&format!("<a href=\"{shown}\">Continue</a>")), "{html}");
    }
}

#[test]
fn of_the_providers_text_200_characters_are_shown() {
    let long = "é".repeat(100 << 10);
    let page = SignInPage::ProviderError { error: "x", description: &long, again: None };
    let response = page.response(&on("id-1"));
    assert_eq!(body(&response).matches('é').count(), 200);
    assert!(body(&response).contains("é…</bdi>"));
    assert!(response.body().len() < 8 << 10);
}

#[test]
fn a_denied_person_reads_as_whom_the_site_knows_them() {
    let other = PageUrl::parse("https://auth.example.com/.pomerium/sign_out");
    let page = SignInPage::Denied { known_as: "alice@example.com", other };
    let response = page.response(&on("id-1"));
    assert_eq!(response.status(), 403);
    let details = between(body(&response), "<footer", "</footer>");
    assert!(details.contains("<dt>Signed in as</dt><dd><bdi>alice@example.com</bdi></dd>"));
    assert!(details.contains("<dt>Request ID</dt><dd><code>id-1</code></dd>"));
    let link =
        "<a href=\"https://auth.example.com/.pomerium/sign_out\">Sign in as somebody else</a>";
    assert!(body(&response).contains(link));
}

#[test]
fn both_clocks_are_on_the_page_about_clocks() {
    let (provider_s, our_s) = (1_796_047_509, 1_796_047_389);
    let page = SignInPage::ClocksDiffer { provider_s, our_s, again: None };
    let response = page.response(&on("id-1"));
    assert!(body(&response).contains("30 November 2026, 14:05:09 UTC"));
    assert!(body(&response).contains("30 November 2026, 14:03:09 UTC"));
}

#[test]
fn a_link_out_of_a_frame_opens_a_new_tab() {
    let page = SignInPage::SignInNeeded { sign_in: url("/x"), new_tab: true };
    let link = "<a target=\"_blank\" rel=\"noopener\" href=\"/x\">";
    let response = page.response(&on("id-1"));
    assert!(body(&response).contains(link));
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(!policy.contains("frame-ancestors"), "no frame would show it: {policy}");
    let page = SignInPage::SignInNeeded { sign_in: url("/x"), new_tab: false };
    assert!(!body(&page.response(&on("id-1"))).contains("_blank"));
}

#[test]
fn pages_of_an_absent_provider_say_when_to_try_again() {
    for (name, page) in sign_in_pages() {
        let response = page.response(&on("id-1"));
        let has = response.headers().contains_key("retry-after");
        assert_eq!(has, response.status() == 503, "{name}");
    }
}

#[test]
fn pages_are_small() {
    assert!(STYLE.len() <= 3 << 10, "{}", STYLE.len());
    for (name, html) in gallery() {
        assert!(html.len() < 6 << 10, "{name} has {} bytes", html.len());
    }
}

#[test]
fn a_reason_is_shown_where_it_says_more_than_the_heading() {
    let reason = "<dt>Reason</dt>";
    assert!(!body(&error_page(StatusCode::NOT_FOUND, "not found", "id-1")).contains(reason));
    assert!(body(&error_page(StatusCode::BAD_REQUEST, "malformed path", "id-1")).contains(reason));
}

#[test]
fn every_status_of_an_error_has_a_page_that_says_more_than_it() {
    for status in (400..=599).filter_map(|status| StatusCode::from_u16(status).ok()) {
        let response = error_page(status, "why", "id-1");
        assert_eq!(response.status(), status);
        let html = body(&response);
        assert!(html.contains(&format!("<title>{} why</title>", status.as_u16())), "{html}");
        assert!(between(html, "</h1>\n<p>", "</p>").len() > 20, "{html}");
    }
}

fn certificate(problem: CertificateProblem) -> ErrorPage<'static> {
    let status = StatusCode::from_u16(495).unwrap();
    let message = "a valid client certificate is required to access this page";
    ErrorPage { problem: Some(problem), ..error(status, message) }
}

#[test]
fn each_problem_of_a_certificate_has_a_page_of_its_own() {
    let at_s = 1_796_047_509;
    let pages = [
        (CertificateProblem::Missing, "A client certificate is needed", "presented none"),
        (
            CertificateProblem::Expired { not_after_s: at_s },
            "Your certificate has expired",
            "was valid until 30 November 2026, 14:05 UTC",
        ),
        (
            CertificateProblem::NotYetValid { not_before_s: at_s },
            "Your certificate is not valid yet",
            "is valid from 30 November 2026, 14:05 UTC on",
        ),
        (CertificateProblem::Untrusted, "Your certificate is not for this site", "not issued by"),
        (CertificateProblem::Revoked, "Your certificate has been revoked", "declared it invalid"),
        (
            CertificateProblem::RevocationUnknown,
            "Your certificate cannot be checked",
            "could not find out",
        ),
        (
            CertificateProblem::Unusable("it has <no> name".into()),
            "Your certificate cannot be used here",
            "presented: it has &lt;no&gt; name.",
        ),
    ];
    for (problem, heading, happened) in pages {
        let response = certificate(problem).response(&on("id-1"));
        let html = body(&response);
        assert_eq!(between(html, "<h1 id=\"what\">", "</h1>"), heading);
        assert!(between(html, "</h1>\n<p>", "</p>").contains(happened), "{html}");
        assert!(html.contains("<h2>What you can do</h2>"), "{html}");
        assert!(!html.contains("<dt>Reason</dt>"), "the heading has said it: {html}");
    }
}

#[test]
fn a_visitor_who_is_not_let_in_reads_as_whom_the_site_knows_them() {
    let names = ["email:alice@example.com".to_owned(), "DNS:alice.example".to_owned()];
    let visitor = Visitor {
        certificate: Some(VisitorCertificate {
            subject: "CN=<b>Alice</b>",
            issuer: "CN=People CA",
            names: &names,
        }),
        address: Some("2001:db8::7".parse().unwrap()),
        ..Visitor::default()
    };
    let page = ErrorPage { visitor, ..error(StatusCode::FORBIDDEN, "forbidden") };
    let response = page.response(&on("id-1"));
    let facts = between(body(&response), "<dl>\n", "</dl>");
    for (name, value) in [
        ("Your certificate", "<bdi>CN=&lt;b&gt;Alice&lt;/b&gt;</bdi>"),
        ("Its names", "<bdi>email:alice@example.com, DNS:alice.example</bdi>"),
        ("Issued by", "<bdi>CN=People CA</bdi>"),
        ("Your address", "<bdi>2001:db8::7</bdi>"),
        ("Time", "30 November 2026, 14:05:09 UTC"),
        ("Request ID", "<code>id-1</code>"),
    ] {
        assert!(facts.contains(&format!("<dt>{name}</dt><dd>{value}</dd>")), "{name}: {facts}");
    }
    let page = ErrorPage { visitor, ..error(StatusCode::NOT_FOUND, "not found") };
    assert!(!body(&page.response(&on("id-1"))).contains("Alice"), "nobody asked who it is");
}

#[test]
fn only_a_page_that_may_be_asked_for_again_has_a_link_to_itself() {
    for status in (400..=599).filter_map(|status| StatusCode::from_u16(status).ok()) {
        for may_reload in [false, true] {
            let visitor = Visitor { may_reload, ..Visitor::default() };
            let response = ErrorPage { visitor, ..error(status, "why") }.response(&on("id-1"));
            let helps = matches!(status.as_u16(), 408 | 421 | 429 | 500..);
            let has_link = body(&response).contains("<a href=\"\">");
            assert_eq!(has_link, may_reload && helps, "{status}");
        }
    }
}

#[test]
fn the_time_of_the_next_try_is_told_where_it_is_known() {
    let page = error(StatusCode::SERVICE_UNAVAILABLE, "no upstream is available");
    assert!(body(&page.response(&on("id-1"))).contains("Try again in a moment."));
    for (retry_after_s, told) in [(1, "Try again in a second."), (30, "Try again in 30 seconds.")] {
        let page = ErrorPage { retry_after_s: Some(retry_after_s), ..error(page.status, "") };
        assert!(body(&page.response(&on("id-1"))).contains(told), "{told}");
    }
}

fn brand() -> BrandingSpec {
    BrandingSpec {
        primary: [PageColor::parse("#6f43e7"), None],
        secondary: [PageColor::parse("#49aaa1"), PageColor::parse("#fc0")],
        logo: ImageUrl::parse("https://cdn.example.com/logo.svg?a=1&b=\"'<x>"),
        favicon: ImageUrl::parse("https://www.example.com/favicon.ico"),
        first_paragraph: "Call <b>the</b> help desk:\n\n  +44 1632 960001.".into(),
    }
}

#[test]
fn a_brand_is_on_pages_of_errors_and_its_colors_on_all() {
    let branding = Branding::new(brand());
    let context = PageContext { branding: &branding, ..on("id-1") };
    for (name, page) in error_pages() {
        let response = page.response(&context);
        let (html, policy) = (body(&response), policy(&response));
        elements(html);
        let logo = "<img class=\"logo\" alt=\"\" src=\"https://cdn.example.com/logo.svg?a=1&amp;b=\
                    &quot;&#39;&lt;x&gt;\">";
        assert!(html.contains(logo), "{name}: {html}");
        let icon = "<link rel=\"icon\" href=\"https://www.example.com/favicon.ico\">";
        assert!(html.contains(icon), "{name}");
        let said = "<p class=\"said\">Call &lt;b&gt;the&lt;/b&gt; help desk: +44 1632 960001.</p>";
        assert!(html.contains(&format!("</h1>\n{said}")), "{name}: {html}");
        let images = "img-src https://cdn.example.com https://www.example.com; ";
        assert!(policy.contains(images), "{name}: {policy}");
    }
    for (name, page) in sign_in_pages().into_iter().filter(|(_, page)| page.status() == 200) {
        let response = page.response(&context);
        assert!(!body(&response).contains("<img"), "{name}");
        assert!(!policy(&response).contains("img-src"), "{name}");
        assert!(body(&response).contains("--fill:#6f43e7;--on:#ffffff;"), "{name}");
    }
}

fn policy(response: &Response<Bytes>) -> &str {
    response.headers()["content-security-policy"].to_str().unwrap()
}

#[test]
fn the_policy_names_each_style_of_a_branded_page() {
    let branding = Branding::new(brand());
    let context = PageContext { branding: &branding, ..on("id-1") };
    let response = error(StatusCode::NOT_FOUND, "not found").response(&context);
    let styles: Vec<_> = body(&response).split("<style>").skip(1).collect();
    assert_eq!(styles.len(), 2);
    for style in styles {
        let source = style_source(style.split_once("</style>").unwrap().0);
        assert!(policy(&response).contains(&source), "{}", policy(&response));
    }
    let plain = error_page(StatusCode::NOT_FOUND, "not found", "id-1");
    assert!(!policy(&plain).contains("img-src"));
}

#[test]
fn texts_keep_their_color_where_nobody_could_read_the_brands() {
    let style = |primary: &str| {
        let primary = [PageColor::parse(primary), None];
        let branding = Branding::new(BrandingSpec { primary, ..BrandingSpec::default() });
        let context = PageContext { branding: &branding, ..on("") };
        let response = error(StatusCode::NOT_FOUND, "").response(&context);
        let html = body(&response).to_owned();
        let style = between(&html, "</style>\n<style>", "</style>").to_owned();
        let (light, dark) = style.split_once("@media").unwrap();
        (light.to_owned(), dark.to_owned())
    };
    let (light, dark) = style("#ffe066");
    assert!(light.contains("--fill:#ffe066;--on:#000000;") && !light.contains("--link"), "{light}");
    assert!(dark.contains("--link:#ffe066;"), "{dark}");
    let (light, dark) = style("#123456");
    assert!(light.contains("--link:#123456;") && !dark.contains("--link"), "{light} {dark}");
}
