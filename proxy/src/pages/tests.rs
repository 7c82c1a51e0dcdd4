use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, StatusCode};

use super::{gallery::sign_in_pages, page::STYLE, *};

/// What an attacker would like to see on a page.
const MARKUP: [&str; 4] = ["<script>alert(1)</script>", "</pre><img src=x>", "\"><img>", "'><b>"];

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

/// The names of the elements of a document, and a panic if they are not closed in order.
fn elements(html: &str) -> Vec<&str> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for tag in html.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None => {
                all.push(name);
                if !tag.ends_with('/') && !["meta", "!DOCTYPE"].contains(&name) {
                    open.push(name);
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open: {html}");
    all
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
        let response = page.response("id-1");
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
        let response = SignInPage::ConfirmProgram { asked, allow, stay }.response("id-1");
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
    let response = page.response("id-1");
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
        let answers = pages.iter().map(|page| page.response(text));
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
        let response = page.response("");
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
    let response = page.response("id-1");
    assert_eq!(body(&response).matches('é').count(), 200);
    assert!(body(&response).contains("é…</bdi>"));
    assert!(response.body().len() < 8 << 10);
}

#[test]
fn a_denied_person_reads_as_whom_the_site_knows_them() {
    let other = PageUrl::parse("https://auth.example.com/.pomerium/sign_out");
    let page = SignInPage::Denied { known_as: "alice@example.com", other };
    let response = page.response("id-1");
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
    let response = page.response("id-1");
    assert!(body(&response).contains("30 November 2026, 14:05:09 UTC"));
    assert!(body(&response).contains("30 November 2026, 14:03:09 UTC"));
}

#[test]
fn a_link_out_of_a_frame_opens_a_new_tab() {
    let page = SignInPage::SignInNeeded { sign_in: url("/x"), new_tab: true };
    let link = "<a target=\"_blank\" rel=\"noopener\" href=\"/x\">";
    let response = page.response("id-1");
    assert!(body(&response).contains(link));
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(!policy.contains("frame-ancestors"), "no frame would show it: {policy}");
    let page = SignInPage::SignInNeeded { sign_in: url("/x"), new_tab: false };
    assert!(!body(&page.response("id-1")).contains("_blank"));
}

#[test]
fn pages_of_an_absent_provider_say_when_to_try_again() {
    for (name, page) in sign_in_pages() {
        let response = page.response("id-1");
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
