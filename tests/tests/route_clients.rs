//! Routes with a client of their own at the identity provider (`idp_client_id`), with the npm package
//! `oidc-provider` and curl as the browser.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_tests::{
    CurlBrowser, Proxy, SignInRig,
    false_clock::minutes,
    proxy::Config,
    sign_in::{led_to, parameter},
    sign_in_rig::{APP, APP_HOST, OTHER, SECRET},
    tempdir::TempDir,
    wait::until,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A route below [`APP`] with a client of its own, and the page that it has.
const OWN: &str = "https://app.localhost.pomerium.io/own/";
const OWN_CLIENT: &str = "c-RS256";
const ANY: &str = "allow_any_authenticated_user: true\npass_identity_headers: true";

fn config(rig: &SignInRig) -> Config {
    let to = rig.backend.url();
    let own = format!("idp_client_id: {OWN_CLIENT}\nidp_client_secret: secret");
    rig.without_routes("c-ES256", SECRET)
        .route_as_is(&format!("from: {APP}\nprefix: /own/\nto: {to}\n{ANY}\n{own}"))
        .route_as_is(&format!("from: {APP}\nto: {to}\n{ANY}"))
        .route_as_is(&format!("from: {OTHER}\nto: {to}\n{ANY}\n{own}"))
}

/// The session that an upstream is told of.
fn session_at(browser: &mut CurlBrowser, url: &str) -> String {
    let fetched = browser.get(url);
    assert_eq!(fetched.status, 200, "{fetched:?}");
    let request = fetched.json();
    let headers = || request["headers"].as_array().into_iter().flatten();
    let is = |pair: &Value, name: &str| pair[0].as_str() == Some(name);
    let cookies = headers().filter(|pair| is(pair, "cookie")).count();
    assert_eq!(cookies, 0, "no cookie of any client reaches an upstream: {request}");
    let assertion = headers().find(|pair| is(pair, "x-pomerium-jwt-assertion"));
    let assertion = assertion.and_then(|pair| pair[1].as_str()).expect("an assertion");
    let claims = assertion.split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    claims["sid"].as_str().expect("a session").to_owned()
}

/// The session cookies of one client at [`APP`], in a header.
fn cookies(browser: &CurlBrowser, is_own: bool) -> String {
    let cookies = browser.cookies(APP_HOST);
    let is_session = |name: &str| name.starts_with("_pomerium");
    let of_client = |name: &str| name.starts_with("_pomerium_client_") == is_own;
    let pairs = cookies.iter().filter(|(name, _)| is_session(name) && of_client(name));
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    assert!(!pairs.is_empty(), "{cookies:?}");
    format!("Cookie: {}", pairs.join("; "))
}

fn fetch(proxy: &Proxy, path: &str, cookies: &str) -> u16 {
    proxy.curl("app", path).header(cookies).header("Sec-Fetch-Mode: cors").ok().status
}

/// Signs in at both routes of [`APP`], and gives the cookies of the global client and of the own one.
fn signed_in_at_both(rig: &SignInRig, proxy: &Proxy, login: &str) -> (CurlBrowser, [String; 2]) {
    let mut browser = rig.signed_in(proxy, login);
    let fetched = browser.open(OWN);
    assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", browser.visited());
    let cookies = [cookies(&browser, false), cookies(&browser, true)];
    (browser, cookies)
}

#[test]
fn users_of_a_route_sign_in_with_its_client_and_keep_both_sessions() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let mut alice = rig.browser(&proxy, "alice");
    for (url, client) in [(OWN, OWN_CLIENT), (APP, "c-ES256"), (OTHER, OWN_CLIENT)] {
        let mut other = rig.browser(&proxy, "bob");
        let to_provider = led_to(&mut other, &format!("{url}/"), "/auth?");
        assert_eq!(parameter(&to_provider, "client_id"), client, "{url}");
    }
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    assert_eq!(alice.open(OWN).status, 200, "{:#?}", alice.visited());
    assert_eq!(alice.url(), OWN);
    let (of_all, own) = (session_at(&mut alice, APP), session_at(&mut alice, OWN));
    assert_ne!(of_all, own);
    assert_eq!(session_at(&mut alice, APP), of_all, "neither takes the other's place");
    let before = alice.visited().len();
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    assert_eq!(rig.visits(&alice, before), [""; 0], "one sign-in for all hosts of a client");
    assert_eq!(session_at(&mut alice, OTHER), own);
}

#[test]
fn a_session_of_one_client_opens_no_route_of_another() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let (_, [of_all, own]) = signed_in_at_both(&rig, &proxy, "alice");
    for (path, cookies, status) in
        [("/", &of_all, 200), ("/own/", &own, 200), ("/own/", &of_all, 401), ("/", &own, 401)]
    {
        assert_eq!(fetch(&proxy, path, cookies), status, "{path}");
    }
    // The names are no part of what a cookie says.
    let name = own.trim_start_matches("Cookie: ").split('=').next().unwrap();
    let renamed = of_all.replacen("_pomerium=", &format!("{name}="), 1);
    assert_eq!(fetch(&proxy, "/own/", &renamed), 401);
    assert_eq!(fetch(&proxy, "/", &own.replacen(name, "_pomerium", 1)), 401);
    // Also for a worker that has seen them under their own names.
    let mut connection = proxy.raw("app");
    for (path, cookies, status) in
        [("/", &of_all, 200), ("/own/", &own, 200), ("/own/", &renamed, 401)]
    {
        connection.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {APP_HOST}\r\nSec-Fetch-Mode: cors\r\n{cookies}\r\n\r\n"
        ));
        assert_eq!(connection.response().status, status, "{path}");
    }
}

#[test]
fn sessions_are_checked_with_the_client_that_they_are_of() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let (_, [of_all, own]) = signed_in_at_both(&rig, &proxy, "alice");
    for round in 1..=2 {
        rig.clock.advance(minutes(12));
        assert_eq!(fetch(&proxy, "/", &of_all), 200);
        assert_eq!(fetch(&proxy, "/own/", &own), 200);
        until("both checks", || rig.provider.grants("refresh_token", "alice") == 2 * round);
    }
    rig.provider.set_user("alice", &json!({"disabled": true}));
    rig.clock.advance(minutes(12));
    assert_eq!(fetch(&proxy, "/own/", &own), 401);
    assert_eq!(fetch(&proxy, "/", &of_all), 401);
}

#[test]
fn a_sign_out_ends_and_revokes_the_sessions_of_every_client() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let (mut alice, [of_all, own]) = signed_in_at_both(&rig, &proxy, "alice");
    rig.clock.advance(minutes(1));
    // The host of this route knows of the own client alone.
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let left = alice.request(&format!("{OTHER}/.pomerium/sign_out"));
    let left = left.header("Sec-Fetch-Site: same-origin").post("").ok().text();
    let on = left.split(['"', ' ', ';']).find(|part| part.contains("/.pomerium/sign_out?"));
    let on = on.expect("a way on").trim_start_matches("url=").replace("&amp;", "&");
    let mut alice = alice.with_header("Sec-Fetch-Site: same-site");
    let before = alice.visited().len();
    alice.open(&on);
    let ended = rig.visits(&alice, before);
    assert!(ended.iter().any(|url| url.contains("/session/end?")), "{ended:?}");
    assert_eq!(fetch(&proxy, "/", &of_all), 401);
    assert_eq!(fetch(&proxy, "/own/", &own), 401);
    until("two revocations", || rig.provider.requests("POST /token/revocation") == 2);
}

#[test]
fn a_restart_keeps_the_tokens_of_every_client() {
    let rig = SignInRig::start();
    let dir = TempDir::new("state");
    let file = format!("{{state_file: {}}}", dir.path().join("state").display());
    let mut proxy = config(&rig).own("sign_in", &file).start();
    let (_, [of_all, own]) = signed_in_at_both(&rig, &proxy, "alice");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success(), "it writes the file at its end");
    let proxy = config(&rig).own("sign_in", &file).start();
    rig.clock.advance(minutes(12));
    assert_eq!(fetch(&proxy, "/own/", &own), 200);
    assert_eq!(fetch(&proxy, "/", &of_all), 200);
    until("both checks", || rig.provider.grants("refresh_token", "alice") == 2);
}

#[test]
fn a_logout_at_the_provider_ends_the_sessions_of_both_clients() {
    let rig = SignInRig::with(json!({"backchannel": "sid"}));
    let proxy = config(&rig).start();
    rig.provider.set_site(proxy.address());
    let (mut alice, [of_all, own]) = signed_in_at_both(&rig, &proxy, "alice");
    rig.clock.advance(minutes(1));
    let page = alice.get(&format!("{}/session/end", rig.provider.url())).text();
    let (_, rest) = page.split_once("name=\"xsrf\" value=\"").expect("a form to confirm");
    let form = format!("xsrf={}&logout=yes", rest.split('"').next().unwrap_or_default());
    let left = alice.post(&format!("{}/session/end/confirm", rig.provider.url()), &form);
    assert_eq!(left.status, 303, "{left:?}");
    for number in 1..=2 {
        assert_eq!(rig.provider.logout(number), "logout alice success");
    }
    assert_eq!(fetch(&proxy, "/", &of_all), 401);
    assert_eq!(fetch(&proxy, "/own/", &own), 401);
}

#[test]
fn the_pages_of_a_host_show_the_session_of_any_client() {
    let rig = SignInRig::start();
    let proxy = config(&rig).start();
    let mut alice = rig.browser(&proxy, "alice");
    assert_eq!(alice.open(OWN).status, 200);
    let page = alice.get(&format!("{APP}/.pomerium/"));
    assert!(page.text().contains("alice@example.com"), "{}", page.text());
    let user = alice.get(&format!("{APP}/.pomerium/user"));
    assert_eq!(user.status, 200, "{user:?}");
}
