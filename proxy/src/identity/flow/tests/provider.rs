//! What the provider answers, and what it is asked.

use super::{R, follow, open, page, served, session_id, stop_before, with_query, world};
use crate::identity::{
    calls::{CheckOutcome, ProviderFailure},
    flow::{
        FlowPage,
        parameters::pairs,
        world::{A, Browser, IDP, Received, Seen, World, get, spec, split},
    },
    session::ProviderId,
    shared::ProviderView,
    spec::ProviderPreset,
};

/// The answer to a provider's callback with another query than the provider's.
fn answered(change: impl Fn(&str) -> String) -> Received {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
    let received = open(&mut world, &mut browser, &with_query(&callback, change));
    assert!(received.set_cookies.is_empty());
    received
}

#[test]
fn each_parameter_of_the_response_may_be_there_once() {
    for twice in ["code=x", "iss=https%3A%2F%2Fidp.test", "error=x&error=x", "c%6fde=y"] {
        let received = answered(|query| format!("{query}&{twice}"));
        assert_eq!(*page(&received), FlowPage::LinkInvalid { again: Some(R.into()) }, "{twice}");
    }
    let received = answered(|query| format!("{query}&error=access_denied"));
    assert!(matches!(page(&received), FlowPage::LinkInvalid { .. }), "a code and an error");
    let state = |query: &str| format!("state={}&iss=https%3A%2F%2Fidp.test", get(query, "state"));
    assert!(matches!(page(&answered(state)), FlowPage::LinkInvalid { .. }), "neither");
    let empty = |query: &str| format!("{}&code=", state(query));
    assert!(matches!(page(&answered(empty)), FlowPage::LinkInvalid { .. }));
    let long = |query: &str| format!("{}&code={}", state(query), "c".repeat(9000));
    assert!(matches!(page(&answered(long)), FlowPage::LinkInvalid { .. }));
}

#[test]
fn the_response_must_name_the_issuer_if_that_is_promised() {
    for iss in ["https%3A%2F%2Fevil.test", "https%3A%2F%2Fidp.test%2F", ""] {
        let received = answered(|query| query.replace("https%3A%2F%2Fidp.test", iss));
        assert!(matches!(page(&received), FlowPage::LinkInvalid { .. }), "{iss}");
    }
    for promised in [true, false] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        world.provider.without_iss = true;
        let view = world.shared.provider(world.context().provider).unwrap();
        let view = ProviderView { iss_in_response: promised, ..ProviderView::clone(&view) };
        world.shared.set_provider(view);
        let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
        let received = open(&mut world, &mut browser, &callback);
        assert_eq!(matches!(received.seen, Seen::Redirect(_)), !promised);
    }
}

#[test]
fn an_error_of_the_provider_is_a_page_and_its_texts_are_cut() {
    let error = |error: &str| {
        let description = "<b>".repeat(40_000);
        let received = answered(|query| {
            format!(
                "state={}&iss=https%3A%2F%2Fidp.test&error={error}&error_description={description}",
                get(query, "state")
            )
        });
        let page = page(&received).clone();
        let status = page.status();
        let (FlowPage::ProviderDenied { error, description, again }
        | FlowPage::ProviderError { error, description, again }) = page
        else {
            panic!("{page:?}")
        };
        assert_eq!((description.chars().count(), &*again), (200, R));
        (status, error)
    };
    assert_eq!(error("access_denied"), (401, "access_denied".into()));
    assert_eq!(error("unauthorized_client"), (401, "unauthorized_client".into()));
    assert_eq!(error("server_error"), (400, "server_error".into()));
    assert_eq!(error(&"x".repeat(300)).1.len(), 200);
}

#[test]
fn cancelling_three_times_hinders_nobody() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    for _ in 0..3 {
        let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
        let url = with_query(&callback, |query| {
            format!("error=access_denied&state={}&iss=https%3A%2F%2Fidp.test", get(query, "state"))
        });
        assert!(matches!(
            page(&open(&mut world, &mut browser, &url)),
            FlowPage::ProviderDenied { .. }
        ));
    }
    assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
}

#[test]
fn a_provider_that_fails_is_a_page_with_its_status() {
    for (failure, status) in [
        (ProviderFailure::Away("x".into()), 503),
        (ProviderFailure::Busy, 503),
        (ProviderFailure::Invalid("x".into()), 502),
        (ProviderFailure::Clock { provider_s: 1, our_s: 2 }, 502),
        (ProviderFailure::Refused { error: "invalid_grant".into() }, 400),
    ] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
        world.control.fails = Some(failure);
        let received = open(&mut world, &mut browser, &callback);
        assert_eq!(page(&received).status(), status);
        assert!(received.set_cookies.is_empty() && world.control.sessions.is_empty());
        world.control.fails = None;
        assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
    }
}

#[test]
fn metadata_that_is_not_there_yet_is_asked_for() {
    let other = |world: &World| {
        let view = world.shared.provider(world.context().provider).unwrap();
        world
            .shared
            .set_provider(ProviderView { id: ProviderId([9; 16]), ..ProviderView::clone(&view) });
    };
    for path in ["/.pomerium/sign_in", "/oauth2/callback"] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let url = stop_before(&mut world, &mut browser, R, path);
        other(&world);
        world.control.fails = Some(ProviderFailure::Away("down".into()));
        let received = open(&mut world, &mut browser, &url);
        assert_eq!(*page(&received), FlowPage::ProviderAway { again: R.into() });
        world.control.fails = None;
        assert_eq!(served(&follow(&mut world, &mut browser, R).0), Some("user0"));
        assert!(world.control.calls.contains(&"discover"));
    }
}

#[test]
fn the_authorization_request_has_our_parameters_once_whoever_names_them() {
    let mut spec = spec();
    spec.provider.request_params = [
        ("hd", "example.com"),
        ("state", "evil"),
        ("redirect_uri", "https://evil.test"),
        ("code_challenge_method", "plain"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
    let url = stop_before(&mut world, &mut browser, R, "/authorize");
    let query = url.split_once('?').unwrap().1;
    let mut names: Vec<_> = pairs(query).map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "hd",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
            "tenant"
        ]
    );
    assert_eq!(get(query, "scope"), "openid email");
    assert_eq!(get(query, "code_challenge_method"), "S256");
    assert_eq!(get(query, "redirect_uri"), format!("https://{A}/oauth2/callback"));
    assert_ne!(get(query, "nonce"), "theirs");
}

#[test]
fn a_check_that_needs_the_provider_lets_nobody_choose_an_account() {
    for (preset, prompt, without) in [
        (ProviderPreset::Google, "select_account consent", Some("consent")),
        (ProviderPreset::Azure, "select_account", None),
        (ProviderPreset::Oidc, "select_account", Some("select_account")),
    ] {
        let mut spec = spec();
        spec.provider.preset = preset;
        spec.provider.request_params = vec![("prompt".into(), prompt.into())];
        let (mut world, mut browser) = (World::new(spec), Browser::new(0, None));
        let prompt_of =
            |url: &str| pairs(url.split_once('?').unwrap().1).find(|(name, _)| name == "prompt");
        let url = stop_before(&mut world, &mut browser, R, "/authorize");
        assert_eq!(prompt_of(&url).unwrap().1, prompt);
        follow(&mut world, &mut browser, &url);
        world.restart(2);
        world.now_s += 2000;
        let url = stop_before(&mut world, &mut browser, R, "/authorize");
        assert_eq!(prompt_of(&url).map(|(_, value)| value).as_deref(), without, "{preset:?}");
    }
}

#[test]
fn the_authenticate_hosts_session_is_checked_before_it_vouches_once_that_is_due() {
    let start = || {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        follow(&mut world, &mut browser, R);
        world.now_s += 600;
        (world, browser)
    };
    let asked = |world: &mut World, browser: &mut Browser| {
        let received = follow(world, browser, "https://wiki.example/");
        assert!(world.control.calls.contains(&"check"));
        received
    };
    let to_provider = |urls: &[String]| urls.iter().any(|url| split(url).0 == IDP);
    let (mut world, mut browser) = start();
    let (received, urls) = asked(&mut world, &mut browser);
    assert!(served(&received).is_some() && !to_provider(&urls), "good");
    for (outcome, goes) in [
        (CheckOutcome::ProviderAway, false),
        (CheckOutcome::Unknown, true),
        (CheckOutcome::Ended, true),
    ] {
        let (mut world, mut browser) = start();
        world.control.check = Some(outcome.clone());
        let (received, urls) = asked(&mut world, &mut browser);
        assert_eq!((served(&received), to_provider(&urls)), (Some("user0"), goes), "{outcome:?}");
    }
}

#[test]
fn a_suspect_session_does_not_vouch_while_the_provider_is_away() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    world.shared.set_suspect_before(world.now_s + 1);
    world.now_s += 1;
    world.control.check = Some(CheckOutcome::ProviderAway);
    let (received, urls) = follow(&mut world, &mut browser, "https://wiki.example/");
    assert!(urls.iter().any(|url| split(url).0 == IDP));
    assert_eq!(served(&received), Some("user0"), "with a session that nobody suspects");
}

#[test]
fn a_session_ends_with_the_providers_grant_and_with_cookie_expire_at_the_latest() {
    for (life_s, ends_s) in [(None, 50_400), (Some(300), 300), (Some(100_000), 50_400)] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        world.control.life_s = life_s;
        let (received, _) = follow(&mut world, &mut browser, R);
        let Seen::Served(session) = &received.seen else { panic!() };
        assert_eq!(session.session.ends_at_s, world.now_s + ends_s);
        let cookie = browser.cookies.iter().find(|cookie| cookie.name == "_pomerium");
        assert_eq!(cookie.unwrap().expires_s, world.now_s + ends_s);
    }
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    world.control.life_s = Some(0);
    let callback = stop_before(&mut world, &mut browser, R, "/oauth2/callback");
    let received = open(&mut world, &mut browser, &callback);
    assert_eq!(*page(&received), FlowPage::ProviderInvalid { again: R.into() });
    assert!(received.set_cookies.is_empty());
}

#[test]
fn a_request_for_another_provider_begins_again_by_itself() {
    for path in ["/.pomerium/sign_in", "/oauth2/callback"] {
        let (mut world, mut browser) = (world(), Browser::new(0, None));
        let url = stop_before(&mut world, &mut browser, R, path);
        world.set_client("other");
        let received = open(&mut world, &mut browser, &url);
        assert!(matches!(&received.seen, Seen::Redirect(to) if to == R), "{path}");
        assert!(received.set_cookies.is_empty());
    }
}

#[test]
fn a_check_brings_new_claims_into_the_authenticate_hosts_cookie() {
    let (mut world, mut browser) = (world(), Browser::new(0, None));
    follow(&mut world, &mut browser, R);
    world.now_s += 600;
    world.control.check = Some(CheckOutcome::Good(world.renewed("renamed")));
    let (received, _) = follow(&mut world, &mut browser, "https://wiki.example/");
    assert_eq!(served(&received), Some("renamed"));
    let calls = world.control.calls.len();
    let (received, _) = follow(&mut world, &mut browser, "https://other.example/");
    assert_eq!(served(&received), Some("renamed"));
    assert_eq!(world.control.calls[calls..], ["use_once", "use_once"], "no further check");
    assert!(world.made_by(session_id(&received)).is_some());
}
