//! Sign-in over several hosts and ports, without cookies, and its end, with the npm package
//! `oidc-provider` and curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    Backend, CurlBrowser, OidcProvider, Proxy, SignInWorld,
    curl::Fetched,
    pki,
    proxy::Config,
    sign_in::{
        APP, AUTHENTICATE, BINDING, EXAMPLE_COM, HANDOVER, OTHER, assert_refused, cookies_deleted,
        host_of, led_to, parameter, sign_in_config, user,
    },
};
use serde_json::json;

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || SignInWorld::start(""))
}

/// Another proxy for the same provider, with these routes.
fn beside(world: &SignInWorld, routes: impl FnOnce(Config, &str) -> Config) -> Proxy {
    routes(sign_in_config(AUTHENTICATE, &world.provider.url()), &world.backend.url()).start()
}

/// A request with what a browser says of it: the site it comes from, its mode and its destination.
fn fetch(browser: &mut CurlBrowser, url: &str, [site, mode, dest]: [&str; 3]) -> Fetched {
    let curl = browser.request(url).header(&format!("Sec-Fetch-Site: {site}"));
    curl.header(&format!("Sec-Fetch-Mode: {mode}")).header(&format!("Sec-Fetch-Dest: {dest}")).ok()
}

const SIGN_OUT: &str = "https://app.localhost.pomerium.io/.pomerium/sign_out";
const OWN_WISH: [&str; 3] = ["none", "navigate", "document"];

#[test]
fn a_session_that_was_signed_out_counts_on_no_worker() {
    let world = world();
    let mut alice = world.signed_in("out");
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let kept = [APP, OTHER, AUTHENTICATE].map(|origin| {
        let mut cookies = alice.cookies(host_of(origin));
        cookies.remove(BINDING); // it says that a sign-in was a moment ago
        let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (origin, format!("Cookie: {}", pairs.join("; ")))
    });
    // Each connection comes to one of the workers, which remembers the session.
    let statuses = |path: &str| {
        let hosts = kept[..2].iter().flat_map(|kept| std::iter::repeat_n(kept, 8));
        let statuses = hosts.map(|(origin, cookie)| {
            let mut raw = world.proxy.raw(host_of(origin).split('.').next().unwrap());
            raw.send(format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\n{cookie}\r\n\r\n",
                host_of(origin)
            ));
            raw.response().status
        });
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(statuses("/"), [200; 16]);
    let out = fetch(&mut alice, SIGN_OUT, OWN_WISH);
    let to = out.header("location").expect("the way on").to_owned();
    assert_eq!(statuses("/"), [302; 16]);
    assert_eq!(cookies_deleted(&out), [BINDING, "_pomerium"]);
    assert_eq!(cookies_deleted(&alice.get(&to)), [BINDING, "_pomerium_authenticate"]);
    let at_sign_in = world.proxy.curl("authenticate", "/.pomerium/user").header(&kept[2].1).ok();
    assert_eq!(at_sign_in.status, 302);
}

#[test]
fn a_sign_out_follows_no_foreign_redirect() {
    let world = world();
    for foreign in [
        "https://evil.example/",
        "//evil.example/",
        "https:evil.example",
        "https://app.localhost.pomerium.io@evil.example/",
        "https://app.localhost.pomerium.io.evil.example/",
        "https://evil.example%23.localhost.pomerium.io/",
        "http://evil.example/",
        "javascript:alert(1)//evil.example",
    ] {
        let mut alice = world.signed_in("foreign");
        let encoded: String = foreign.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let names = ["pomerium_redirect_uri", "redirect_uri", "post_logout_redirect_uri"];
        let query = names.map(|name| format!("{name}={encoded}")).join("&");
        let url = format!("{SIGN_OUT}?{query}");
        let out = fetch(&mut alice, &url, OWN_WISH);
        let to = out.header("location").expect("the way on").to_owned();
        assert!(to.starts_with(&format!("{AUTHENTICATE}/.pomerium/sign_out?request=")), "{to}");
        let at_provider = alice.get(&to).header("location").unwrap_or_default().to_owned();
        assert!(at_provider.starts_with(&world.provider.url()), "{at_provider}");
        assert!(!at_provider.contains("evil"), "{at_provider}");
        let back = parameter(&at_provider, "post_logout_redirect_uri");
        assert!(back.ends_with("signed_out"), "{back}");
        let state = at_provider.split_once("&state=").map_or("", |(_, state)| state);
        let end = alice.get(&format!("{AUTHENTICATE}/.pomerium/signed_out?state={state}"));
        assert_eq!((end.status, end.header("location")), (200, None), "{foreign}");
    }
}

#[test]
fn another_site_can_sign_nobody_out() {
    let world = world();
    let mut alice = world.signed_in("csrf");
    let auth = format!("{AUTHENTICATE}/.pomerium/sign_out");
    for url in [SIGN_OUT, &auth] {
        for from in [
            ["cross-site", "no-cors", "image"],
            ["cross-site", "navigate", "document"],
            ["same-site", "navigate", "document"],
            ["cross-site", "navigate", "iframe"],
            ["same-origin", "no-cors", "image"],
            ["none", "no-cors", "document"],
        ] {
            let asked = fetch(&mut alice, url, from);
            assert_eq!(asked.status, 200, "{url} {from:?}");
            assert!(asked.text().contains("<form"), "{url} {from:?}");
        }
        assert_eq!(alice.get(url).status, 200, "without a word of where it comes from");
        for headers in [
            vec!["Origin: https://evil.example"],
            vec!["Origin: null"],
            vec!["Origin: http://app.localhost.pomerium.io"],
            vec!["Origin: https://app.localhost.pomerium.io.evil.example"],
            vec!["Sec-Fetch-Site: cross-site", "Origin: https://app.localhost.pomerium.io"],
            vec!["Sec-Fetch-Site: same-site", "Origin: https://app.localhost.pomerium.io"],
            vec!["Sec-Fetch-Site: none", "Origin: https://app.localhost.pomerium.io"],
            vec!["Referer: https://app.localhost.pomerium.io/.pomerium/"],
            vec![],
        ] {
            let curl = headers.iter().fold(alice.request(url), |curl, line| curl.header(line));
            assert_eq!(curl.post("a=b").ok().status, 403, "{url} {headers:?}");
        }
        for method in ["PUT", "DELETE", "OPTIONS"] {
            let fetched = alice.request(url).args(["--request", method]).ok();
            assert_eq!(fetched.status, 405, "{method}");
        }
    }
    assert_eq!(user(&mut alice, APP).as_deref(), Some("csrf"));
}

#[test]
fn without_cookies_a_page_says_so_after_one_round() {
    let world = world();
    let mut alice = world.browser("blocked");
    let mut url = format!("{APP}/");
    let mut requests = 0;
    let page = loop {
        for origin in [APP, AUTHENTICATE] {
            alice.forget(host_of(origin));
        }
        let fetched = alice.open_until(&url, |next| next.starts_with("https://"));
        match fetched.header("location") {
            Some(location) => location.clone_into(&mut url),
            None => break fetched,
        }
        requests += 1;
        assert!(requests < 5, "{:#?}", alice.visited());
    };
    assert_eq!(page.status, 400);
    assert!(page.text().contains("did not keep our cookie"), "{}", page.text());
    // At the last step too.
    let last = led_to(&mut alice, &format!("{APP}/"), HANDOVER);
    alice.forget(host_of(APP));
    assert!(alice.get(&last).text().contains("did not keep our cookie"));
}

#[test]
fn a_session_cookie_that_is_blocked_makes_no_loop() {
    let world = world();
    let mut alice = world.browser("half-blocked");
    let last = led_to(&mut alice, &format!("{APP}/"), HANDOVER);
    let back = alice.get(&last).header("location").expect("the way back").to_owned();
    let binding = alice.cookies(host_of(APP))[BINDING].clone();
    alice.forget(host_of(APP));
    alice.set_cookie(host_of(APP), BINDING, &binding);
    let page = alice.get(&back);
    assert_eq!((page.status, page.header("location")), (401, None));
    assert!(page.text().contains("did not last"), "{}", page.text());
}

#[test]
fn the_ports_of_both_hosts_are_kept() {
    let authenticate = format!("{AUTHENTICATE}:8443");
    let provider = OidcProvider::with(&authenticate, json!({"autoConsent": true}));
    let backend = Backend::echo();
    let route = format!("from: {APP}:9443\nto: {}\n{EXAMPLE_COM}", backend.url());
    let any_port = route.replace(&format!("{APP}:9443"), OTHER);
    let config = sign_in_config(&authenticate, &provider.url());
    let proxy = config.route_as_is(&route).route_as_is(&any_port).start();
    for (host, port) in [(APP, 9443), (OTHER, proxy.address().port())] {
        let mut alice = CurlBrowser::new(proxy.address(), &provider, "ports");
        let url = format!("{host}:{port}/a?b=c");
        assert_eq!(alice.open(&url).status, 200, "{:#?}", alice.visited());
        assert_eq!(alice.url(), url);
        let ours = alice.visited().iter().filter(|url| url.starts_with(AUTHENTICATE));
        assert!(ours.clone().count() > 1 && ours.clone().all(|url| url.contains("io:8443/")));
    }
}

#[test]
fn one_host_may_have_the_route_and_the_sign_in() {
    let world = world();
    let proxy = beside(&world, |config, to| {
        config.route_as_is(&format!("from: {AUTHENTICATE}\nto: {to}\n{EXAMPLE_COM}"))
    });
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "single");
    let url = format!("{AUTHENTICATE}/a?b=c");
    let seen = alice.open(&url).echoed();
    assert_eq!((alice.url(), seen.header("cookie")), (&*url, None));
    assert_eq!(user(&mut alice, AUTHENTICATE).as_deref(), Some("single"));
    let out = fetch(&mut alice, &format!("{AUTHENTICATE}/.pomerium/sign_out"), OWN_WISH);
    assert!(out.header("location").is_some_and(|to| to.starts_with(&world.provider.url())));
    assert_eq!(cookies_deleted(&out), [BINDING, "_pomerium", "_pomerium_authenticate"]);
    // No step of a sign-in is the route's.
    for path in ["/oauth2/callback", "/.pomerium/sign_in", "/.pomerium/x"] {
        let fetched = alice.get(&format!("{AUTHENTICATE}{path}"));
        assert!([400, 404].contains(&fetched.status), "{path}");
    }
}

#[test]
fn a_cookie_domain_makes_one_session_for_the_hosts_below_it() {
    let world = world();
    let proxy = beside(&world, |config, to| {
        let route = |from: &str| format!("from: {from}\nto: {to}\n{EXAMPLE_COM}");
        let config = config.global("cookie_domain: app.localhost.pomerium.io");
        config.route_as_is(&route(APP)).route_as_is(&route(OTHER))
    });
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "domain");
    assert_eq!(alice.open(&format!("{APP}/")).status, 200);
    let (host, below) = (host_of(APP), "x.app.localhost.pomerium.io");
    let jar = std::fs::read_to_string(alice.jar()).unwrap();
    let session = jar.lines().find(|line| line.contains("\t_pomerium\t")).expect("a session");
    assert!(session.starts_with(&format!("#HttpOnly_.{host}\tTRUE\t")), "for hosts below it");
    // A host outside has a session of its own, which counts there alone.
    let value = alice.cookies(host)["_pomerium"].clone();
    alice.set_cookie(host_of(OTHER), "_pomerium", &value);
    assert_eq!(alice.get(&format!("{OTHER}/")).status, 302);
    alice.forget(host_of(OTHER));
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    assert_ne!(alice.cookies(host_of(OTHER))["_pomerium"], value);
    assert!(alice.cookies(below).is_empty());
}

#[test]
fn two_hosts_of_a_cookie_domain_have_one_session() {
    const FIRST: &str = "https://first.apps.localhost.pomerium.io";
    const SECOND: &str = "https://second.apps.localhost.pomerium.io";
    let world = world();
    let proxy = beside(&world, |config, to| {
        let route = |from: &str| format!("from: {from}\nto: {to}\n{EXAMPLE_COM}");
        let config = config.certificates(&[pki().server(), pki().pair("apps")]);
        let config = config.global("cookie_domain: apps.localhost.pomerium.io");
        [FIRST, SECOND, OTHER].iter().fold(config, |config, from| config.route_as_is(&route(from)))
    });
    let mut alice = CurlBrowser::new(proxy.address(), &world.provider, "domain-2");
    assert_eq!(alice.open(&format!("{FIRST}/")).status, 200, "{:#?}", alice.visited());
    assert_eq!(alice.get(&format!("{SECOND}/")).status, 200, "without a redirect");
    assert_eq!(user(&mut alice, FIRST), user(&mut alice, SECOND));
    assert_eq!(alice.get(&format!("{OTHER}/")).status, 302, "it is outside");
    let out = fetch(&mut alice, &format!("{SECOND}/.pomerium/sign_out"), OWN_WISH);
    assert_eq!(out.status, 302, "{out:?}");
    // She signed in there a moment ago, so a page says so.
    assert_eq!(alice.get(&format!("{FIRST}/")).status, 401, "the sign-out is for both");
}

#[test]
fn a_request_for_another_host_of_sign_in_is_refused() {
    let world = world();
    let elsewhere = "https://elsewhere.localhost.pomerium.io";
    let config = sign_in_config(elsewhere, &world.provider.url());
    let route = format!("from: {APP}\nto: {}\n{EXAMPLE_COM}", world.backend.url());
    let other = config.route_as_is(&route).start();
    let mut alice = world.browser("elsewhere");
    let request = led_to(&mut alice, &format!("{APP}/"), "/.pomerium/sign_in?");
    let mut of_other = CurlBrowser::new(other.address(), &world.provider, "elsewhere");
    let path = request.strip_prefix(AUTHENTICATE).expect("the host of sign-in");
    assert_refused(&of_other.get(&format!("{elsewhere}{path}")), 400);
    // The same secrets: one of its own counts.
    let own = led_to(&mut of_other, &format!("{APP}/"), "/.pomerium/sign_in?");
    assert_eq!(of_other.get(&own).status, 302);
}
