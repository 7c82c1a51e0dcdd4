//! Programs that sign their users in as `pomerium-cli` does, with the npm package `oidc-provider` and
//! curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    Curl, CurlBrowser, Program, Proxy, SignInRig, SignInWorld,
    curl::Fetched,
    false_clock::minutes,
    kubectl,
    program::{agree, part_of},
    sign_in::{APP, OTHER, cookies_set, host_of, parameter},
    sign_in_rig::{self, SECRET},
};
use serde_json::json;

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::start(""))
}

/// The three forms of a token in a request.
fn forms(token: &str) -> [String; 3] {
    [
        format!("Authorization: Pomerium {token}"),
        format!("Authorization: Bearer Pomerium-{token}"),
        format!("X-Pomerium-Authorization: {token}"),
    ]
}

fn with(proxy: &Proxy, host: &str, line: &str) -> Fetched {
    proxy.curl(host, "/").header("Accept: application/json").long_header(line).ok()
}

fn status(proxy: &Proxy, host: &str, token: &str) -> u16 {
    with(proxy, host, &format!("Authorization: Pomerium {token}")).status
}

#[test]
fn a_program_signs_its_user_in_as_pomerium_cli_does() {
    let world = world();
    let mut alice = world.browser("cli");
    let token = Program::start().sign_in(&world.proxy, APP, &mut alice);
    assert_eq!(part_of(&token, 0)["alg"], "HS256");
    assert!(part_of(&token, 1)["exp"].as_u64() > Some(1_700_000_000));
    for line in forms(&token) {
        let fetched = with(&world.proxy, "app", &line);
        assert_eq!(fetched.status, 200, "{fetched:?}");
        let seen = fetched.echoed();
        assert!(seen.header("x-pomerium-jwt-assertion").is_some(), "{}", seen.0);
        assert!(!seen.0.to_string().contains(&token), "{}", seen.0);
        for name in ["authorization", "x-pomerium-authorization", "cookie"] {
            assert_eq!(seen.header(name), None, "{}", seen.0);
        }
        assert_eq!(cookies_set(&fetched), []);
    }
    let query = format!("/?pomerium_jwt={token}");
    assert_eq!(world.proxy.curl("app", &query).ok().status, 302, "not in the query");
}

#[test]
fn a_token_and_the_way_to_it_are_in_no_log() {
    let log = "log_level: trace\naccess_log_fields: [method, path, query, response-code-details, \
               headers.Authorization, headers.X-Pomerium-Authorization, headers.Referer]";
    let world = SignInWorld::start(log);
    let mut alice = world.browser("logged");
    let token = Program::start().sign_in(&world.proxy, APP, &mut alice);
    for line in forms(&token) {
        assert_eq!(with(&world.proxy, "app", &line).status, 200);
    }
    // The program's address may be a route of ours.
    world.proxy.curl("app", &format!("/received?pomerium_jwt={token}")).ok();
    world.proxy.wait_for_access("/received");
    let outcome = [("outcome", "program_signed_in")];
    assert_eq!(world.proxy.metrics().sum("portcullis_sign_ins_total", &outcome), 1.0);
    let begun = |url: &&String| url.contains("/.pomerium/program?");
    let request = parameter(alice.visited().iter().find(begun).unwrap(), "request");
    let text = world.proxy.output().join("\n");
    assert!(text.contains("program_signed_in"));
    for secret in [token.rsplit('.').next().unwrap(), &request] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn a_user_who_is_signed_in_only_agrees() {
    let world = world();
    let mut alice = world.signed_in("agrees");
    let program = Program::start();
    let url = program.url(&world.proxy, APP);
    let page = alice.get(&url);
    let text = page.text();
    assert_eq!(page.status, 200);
    for shown in [&*format!("http://{}", program.address()), host_of(APP), "agrees@example.com"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let policy = page.header("content-security-policy").unwrap();
    let leads_to = format!("form-action 'self' http://{}", program.address());
    assert!(policy.ends_with(&leads_to) && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(agree(&mut alice, &url).status, 302);
}

#[test]
fn a_token_counts_at_its_host_alone_and_only_as_it_is() {
    let world = world();
    let mut alice = world.browser("host");
    let token = Program::start().sign_in(&world.proxy, APP, &mut alice);
    assert_eq!(status(&world.proxy, "app", &token), 200);
    assert_eq!(status(&world.proxy, "other", &token), 401);
    for at in (0..token.len()).step_by(token.len() / 20) {
        let mut changed = token.clone();
        changed.replace_range(at..=at, if token.as_bytes()[at] == b'A' { "B" } else { "A" });
        assert_eq!(status(&world.proxy, "app", &changed), 401, "{at}");
    }
    let (_, sealed) = token.rsplit_once('.').unwrap();
    for value in [&*token, sealed] {
        let cookie = format!("Cookie: _pomerium={value}");
        assert_eq!(with(&world.proxy, "app", &cookie).status, 401, "it is no cookie");
    }
    let twice = with(&world.proxy, "app", &format!("X-Pomerium-Authorization: {token}, {token}"));
    assert_eq!(twice.status, 401);
}

#[test]
fn a_cookie_does_not_stand_in_for_a_token_that_is_not_good() {
    let world = world();
    let alice = world.signed_in("besides");
    let cookies = alice.cookies(host_of(APP));
    let cookie = format!("Cookie: _pomerium={}", cookies["_pomerium"]);
    assert_eq!(with(&world.proxy, "app", &cookie).status, 200);
    for line in forms("junk") {
        let curl = world.proxy.curl("app", "/").long_header(&cookie).header(&line);
        let fetched = curl.header("Accept: application/json").ok();
        assert_eq!(fetched.status, 401, "{line}");
        assert_eq!(fetched.json()["error"], "Unauthenticated");
    }
    let own = world.proxy.curl("app", "/").long_header(&cookie).header("Authorization: Bearer x");
    assert_eq!(own.ok().echoed().header("authorization").as_deref(), Some("Bearer x"));
}

#[test]
fn a_sign_out_ends_the_tokens_of_the_session() {
    let world = world();
    let mut alice = world.browser("out");
    let token = Program::start().sign_in(&world.proxy, APP, &mut alice);
    // `pomerium-cli` asks there whether the token that it has kept still counts.
    let health = |token: &str| {
        let curl = world.proxy.curl("app", "/healthz");
        curl.long_header(&format!("Authorization: Bearer Pomerium-{token}")).ok().status
    };
    assert_eq!((status(&world.proxy, "app", &token), health(&token)), (200, 200));
    let url = format!("{APP}/.pomerium/sign_out");
    let out = alice.request(&url).post("").header(&format!("Origin: {APP}")).ok();
    assert_eq!(out.status, 200, "{out:?}");
    for _ in 0..8 {
        assert_eq!((status(&world.proxy, "app", &token), health(&token)), (401, 401));
    }
    assert_eq!(health("junk"), 401);
    assert_eq!(world.proxy.curl("app", "/healthz").ok().status, 200);
}

#[test]
fn no_url_off_the_list_may_receive_a_token() {
    let world = world();
    for bad in [
        "https%3A%2F%2Fevil.example%2F",
        "https%3A%2F%2Flocalhost.evil%2F",
        "https%3A%2F%2Flocalhost%40evil%2F",
        "https%3A%2F%2Flocalhost%5C%40evil%2F",
        "javascript%3Aalert(1)",
        "http%3A%2F%2Flocalhost%2F&pomerium_redirect_uri=http%3A%2F%2Flocalhost%2F",
        "",
    ] {
        let path = format!("/.pomerium/api/v1/login?pomerium_redirect_uri={bad}");
        let fetched = world.proxy.curl("app", &path).ok();
        assert_eq!((fetched.status, fetched.header("location")), (400, None), "{bad}");
    }
    let url = |path: &str| world.proxy.curl("app", path);
    assert_eq!(url("/.pomerium/api/v1/login").ok().status, 404);
    let posted = url("/.pomerium/api/v1/login?pomerium_redirect_uri=http%3A%2F%2Flocalhost");
    assert_eq!(posted.post("").ok().status, 405);
    let program = Program::start();
    assert_eq!(program.ask(&world.proxy, "https://nobody.localhost.pomerium.io").status, 404);
}

#[test]
fn another_host_may_receive_a_token_if_the_list_names_it() {
    let list = "programmatic_redirect_domain_whitelist: [tools.example.com]";
    let world = SignInWorld::start(list);
    let ask = |target: &str| {
        let path = format!("/.pomerium/api/v1/login?pomerium_redirect_uri={target}");
        world.proxy.curl("app", &path).ok()
    };
    assert_eq!(ask("http%3A%2F%2F127.0.0.1%3A1").status, 400, "the list leaves it out");
    assert_eq!(ask("http%3A%2F%2Ftools.example.com%2Fcb").status, 400, "in plain text");
    let mut alice = world.signed_in("tools");
    let url = ask("https%3A%2F%2Ftools.example.com%2Fcb%3Fa%3Db").text();
    assert_eq!(alice.open(&url).status, 200);
    let allowed = agree(&mut alice, &url);
    let to = allowed.header("location").unwrap();
    assert!(to.starts_with("https://tools.example.com/cb?a=b&pomerium_jwt=ey"), "{to}");
}

#[test]
fn no_other_site_and_no_script_can_agree() {
    let world = world();
    let mut alice = world.signed_in("agree");
    let program = Program::start();
    let url = program.url(&world.proxy, APP);
    let own = "Sec-Fetch-Site: same-origin";
    for lines in [
        &[][..],
        &["Origin: https://evil.example"],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        &["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
        &[own, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"],
        &[own, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"],
    ] {
        let curl = lines.iter().fold(alice.request(&url).post(""), |curl, line| curl.header(line));
        let fetched = curl.ok();
        assert_eq!((fetched.status, fetched.header("location")), (403, None), "{lines:?}");
    }
    // Somebody who is not signed in, whoever asked for the URL, and the URL at another host.
    let mut nobody = world.browser("nobody");
    assert_eq!(agree(&mut nobody, &url).status, 401);
    let elsewhere = url.replace(host_of(APP), host_of(OTHER));
    assert_eq!(alice.open(&elsewhere).status, 400);
    assert_eq!(agree(&mut alice, &elsewhere).status, 400);
}

#[test]
fn no_token_brings_another_token() {
    let world = world();
    let mut alice = world.browser("token");
    let program = Program::start();
    let token = program.sign_in(&world.proxy, APP, &mut alice);
    let url = program.url(&world.proxy, APP);
    for line in forms(&token) {
        let origin = format!("Origin: {APP}");
        let curl = Curl::new(world.proxy.address(), &url).post("").header(&origin);
        assert_eq!(curl.long_header(&line).ok().status, 401, "{line}");
        let user = world.proxy.curl("app", "/.pomerium/user").long_header(&line).ok();
        assert_eq!(user.status, 401, "it is for the routes");
    }
}

fn browser_at(rig: &SignInRig, proxy: &Proxy, login: &str) -> (CurlBrowser, String) {
    let mut browser = rig.browser(proxy, login);
    let token = Program::start().sign_in(proxy, sign_in_rig::APP, &mut browser);
    (browser, token)
}

#[test]
fn a_token_ends_with_its_session() {
    let rig = SignInRig::start();
    let proxy = rig.config().global("cookie_expire: 1h").start();
    let (_, token) = browser_at(&rig, &proxy, "alice");
    assert_eq!(status(&proxy, "app", &token), 200);
    rig.clock.advance(minutes(58));
    assert_eq!(status(&proxy, "app", &token), 200);
    rig.clock.advance(minutes(3));
    assert_eq!(status(&proxy, "app", &token), 401);
}

#[test]
fn a_token_of_a_user_who_is_disabled_ends_with_the_next_check() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let (_, bob) = browser_at(&rig, &proxy, "bob");
    let (_, alice) = browser_at(&rig, &proxy, "alice");
    rig.provider.set_user("bob", &json!({"disabled": true}));
    rig.clock.advance(minutes(9));
    assert_eq!(status(&proxy, "app", &bob), 200, "no check is due yet");
    // Both have a check that is overdue, which their next requests wait for.
    rig.clock.advance(minutes(3));
    assert_eq!(status(&proxy, "app", &bob), 401);
    assert_eq!(status(&proxy, "app", &alice), 200);
    // The token says what it said at first; the control thread knows of the check.
    rig.clock.advance(minutes(9));
    for _ in 0..8 {
        assert_eq!(status(&proxy, "app", &alice), 200);
    }
}

#[test]
fn after_a_restart_a_token_counts_until_its_check_and_ten_minutes() {
    let rig = SignInRig::start();
    let first = rig.config_with("c-ES256", SECRET).start();
    let (_, token) = browser_at(&rig, &first, "alice");
    drop(first);
    let second = rig.config_with("c-ES256", SECRET).start();
    assert_eq!(status(&second, "app", &token), 200);
    rig.clock.advance(minutes(19));
    assert_eq!(status(&second, "app", &token), 200);
    rig.clock.advance(minutes(2));
    assert_eq!(status(&second, "app", &token), 401);
    let other = rig.config_with("c-ES256", "YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMsIG9rISE=").start();
    assert_eq!(status(&other, "app", &token), 401);
}

#[test]
fn a_token_and_a_bearer_token_at_once_are_ambiguous() {
    let world = SignInWorld::with(portcullis_tests::sign_in::AUTHENTICATE, |config, to| {
        let format = "bearer_token_format: idp_identity_token";
        let any = "allow_any_authenticated_user: true";
        config.route_as_is(&format!("from: {APP}\nto: {to}\n{any}\n{format}"))
    });
    let mut alice = world.browser("both");
    let token = Program::start().sign_in(&world.proxy, APP, &mut alice);
    for line in forms(&token) {
        assert_eq!(with(&world.proxy, "app", &line).status, 200, "{line}");
    }
    let own = format!("X-Pomerium-Authorization: {token}");
    let both = world.proxy.curl("app", "/").long_header(&own).header("Authorization: Bearer x");
    assert_eq!(both.ok().status, 400);
    assert_eq!(with(&world.proxy, "app", "Authorization: Bearer x").status, 401);
}

#[test]
fn kubectl_uses_a_token_of_the_form_that_pomerium_cli_gives_it() {
    let world = SignInWorld::with(portcullis_tests::sign_in::AUTHENTICATE, |config, to| {
        let any = "allow_any_authenticated_user: true";
        config.route_as_is(&format!("from: https://localhost\nto: {to}\n{any}"))
    });
    let mut alice = world.browser("kube");
    let token = Program::start().sign_in(&world.proxy, "https://localhost", &mut alice);
    let get = |token: &str| {
        kubectl::get_raw_with_token(world.proxy.address(), &format!("Pomerium-{token}"), "/api")
    };
    let done = get(&token);
    assert!(done.code == Some(0) && done.stdout.contains("connection"), "{done:?}");
    let done = get("junk");
    assert!(done.code != Some(0), "{done:?}");
}
