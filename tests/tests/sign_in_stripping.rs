//! What an upstream gets of a user who is signed in, and what it can never be made to get, with the npm
//! package `oidc-provider` and curl as the browsers.

use std::sync::{Arc, Mutex, Weak};

use portcullis_tests::{
    Backend, Curl, CurlBrowser, SignInWorld,
    backend::Echoed,
    sign_in::{APP, AUTHENTICATE, EXAMPLE_COM, OTHER, host_of},
};
use serde_json::json;

static WORLD: Mutex<Weak<SignInWorld>> = Mutex::new(Weak::new());

const PUBLIC: &str = "https://public.localhost.pomerium.io";
const OPEN: &str = "https://open.localhost.pomerium.io";
const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// Cookies have another name than Pomerium's, and claims are in headers.
fn world() -> Arc<SignInWorld> {
    SignInWorld::shared(&WORLD, || {
        SignInWorld::with(AUTHENTICATE, |config, to| {
            let open = "policy:\n- allow:\n    or:\n    - http_path:\n        starts_with: /open/";
            config
                .global("cookie_name: portal\nheaders_with_underscores_action: allow")
                .global("jwt_claims_headers: {x-email: email, x-groups: groups, x-name: name}")
                .route_as_is(&format!(
                    "from: {APP}\nto: {to}\npass_identity_headers: true\n{EXAMPLE_COM}"
                ))
                .route_as_is(&format!("from: {OTHER}\nto: {to}\n{EXAMPLE_COM}"))
                .route_as_is(&format!("from: {OPEN}\nto: {to}\n{open}"))
                .forward("public", to, "pass_identity_headers: true")
        })
    })
}

/// What a client sends to be taken for somebody else.
const FORGED: [&str; 14] = [
    "X-Pomerium-Jwt-Assertion: forged",
    "x-pomerium-jwt-assertion: forged",
    "X_Pomerium_Jwt_Assertion: forged",
    "X-Pomerium_Jwt-Assertion: forged",
    "X-Pomerium-Jwt-Assertion-For: forged",
    "x-pomerium-claim-email: forged",
    "X_Pomerium_Claim_Email: forged",
    "X-Email: forged",
    "X-EMAIL: forged",
    "X_Email: forged",
    "X_Groups: forged",
    "x-name: forged",
    "Connection: x-email, x-name, x-pomerium-jwt-assertion, keep-alive",
    "TE: trailers",
];

fn forged(curl: Curl) -> Curl {
    FORGED.iter().fold(curl, |curl, line| curl.header(line))
}

/// A request in which somebody pretends to be somebody else, with trailers that do so too.
fn with_forged_trailers(world: &SignInWorld, origin: &str, cookie: &str) -> Echoed {
    let host = host_of(origin);
    let lines = FORGED.join("\r\n");
    let trailers = FORGED[..12].join("\r\n");
    let mut raw = world.proxy.raw(host.split('.').next().expect("a host"));
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\nCookie: {cookie}\r\nTrailer: X-Email, X-Kept\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\nX-Kept: kept\r\n\r\n"
    ));
    let response = raw.response();
    assert_eq!(response.status, 200, "{}", response.text());
    Echoed::parse(&response.text())
}

fn cookie(browser: &CurlBrowser, origin: &str) -> String {
    format!("portal={}", browser.cookies(host_of(origin))["portal"])
}

#[test]
fn an_upstream_gets_our_identity_headers_or_none() {
    let world = world();
    let mut alice = world.signed_in("alice");
    assert_eq!(alice.open(&format!("{OTHER}/")).status, 200);
    let forged_values = |seen: &Echoed| seen.0.to_string().contains("forged");
    for http in ["--http1.1", "--http2"] {
        let seen = forged(alice.request(&format!("{APP}/")).args([http])).ok().echoed();
        assert!(!forged_values(&seen), "{seen:?}");
        assert_eq!(seen.all("x-email"), ["alice@example.com"]);
        assert_eq!(
            (seen.all("x-groups"), seen.all("x-name")),
            (vec!["dev".into()], vec!["alice".into()])
        );
        let assertion = seen.all(ASSERTION);
        assert_eq!((assertion.len(), assertion[0].split('.').count()), (1, 3), "{assertion:?}");
        // No identity is passed here, a forged one neither.
        for url in [OTHER, PUBLIC] {
            let seen = forged(alice.request(&format!("{url}/")).args([http])).ok().echoed();
            assert!(!forged_values(&seen), "{url} {seen:?}");
            assert_eq!((seen.header(ASSERTION), seen.header("x-name")), (None, None), "{url}");
        }
    }
    for (origin, cookie) in [(APP, cookie(&alice, APP)), (PUBLIC, "a=1".to_owned())] {
        let seen = with_forged_trailers(&world, origin, &cookie);
        assert!(!forged_values(&seen), "{origin} {seen:?}");
        assert_eq!(seen.trailers(), [("x-kept".to_owned(), "kept".to_owned())]);
    }
}

#[test]
fn no_cookie_of_ours_reaches_an_upstream() {
    let world = world();
    let groups: Vec<_> = (0..60).map(|at| format!("{at:03}-{}", "group ".repeat(10))).collect();
    world.provider.set_user("chunked", &json!({"groups": groups}));
    let mut alice = world.signed_in("chunked");
    let cookies = alice.cookies(host_of(APP));
    let mut names: Vec<_> = cookies.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["__Host-portal_csrf", "portal", "portal_1"]);
    alice.set_cookie(host_of(APP), "mine", "1");
    for http in ["--http1.1", "--http2"] {
        let fetched = alice.request(&format!("{APP}/")).args([http]).ok();
        assert_eq!(fetched.echoed().all("cookie"), ["mine=1"]);
        let text = fetched.text();
        for (name, value) in &cookies {
            assert!(!text.contains(value), "{name}");
        }
    }
    for ours in ["portal_authenticate=x", "portal_4=x", "_pomerium=x", "_pomerium_csrf=x"] {
        let curl = world.proxy.curl("public", "/").header(&format!("Cookie: {ours}; mine=1"));
        assert_eq!(curl.ok().echoed().all("cookie"), ["mine=1"], "{ours}");
    }
    for ours in ["Authorization: Pomerium x", "Authorization: Bearer Pomerium-x"] {
        let seen = world.proxy.curl("public", "/").header(ours).ok().echoed();
        assert_eq!(seen.header("authorization"), None, "{ours}");
    }
}

#[test]
fn an_upstream_sets_no_cookie_of_ours() {
    let backend = Backend::plain(|conn| {
        while conn.request().is_some() {
            // Browsers send a cookie without a name as its value alone.
            let cookies = [
                "portal=x; Path=/",
                "portal =x",
                " portal_1=x",
                "=portal=x; Path=/",
                " = portal=x",
                "==portal=x",
                "__Host-portal_csrf=x; Secure; Path=/",
                "=__Host-portal_csrf=x",
                "portal_authenticate=; Max-Age=0",
                "_pomerium=x",
                "mine=portal=x",
                "=nameless",
            ];
            let lines: String = cookies.iter().map(|it| format!("Set-Cookie: {it}\r\n")).collect();
            conn.send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"));
        }
    });
    let config = portcullis_tests::sign_in::sign_in_config(AUTHENTICATE, "http://127.0.0.1:9");
    let config = config.global("cookie_name: portal").forward("public", &backend.url(), "");
    let proxy = config.start();
    for http in ["--http1.1", "--http2"] {
        let fetched = proxy.curl("public", "/").args([http]).ok();
        let set =
            fetched.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let set: Vec<_> = set.map(|(_, value)| value.as_str()).collect();
        assert_eq!(set, ["mine=portal=x", "=nameless"]);
    }
}

#[test]
fn a_group_with_a_comma_becomes_no_other_group() {
    let world = world();
    world.provider.set_user(
        "groups",
        &json!({"groups": ["a,admins", "dev", "ops\r\nX-Admin: yes"], "name": "A\r\nX-Admin: yes"}),
    );
    let seen = world.signed_in("groups").open(&format!("{APP}/")).echoed();
    assert!(!seen.header("x-groups").unwrap_or_default().contains("admins"), "{seen:?}");
    assert_eq!((seen.header("x-admin"), seen.header("x-name")), (None, None), "{seen:?}");
    world
        .provider
        .set_user("groups-2", &json!({"groups": ["a,admins", "dev"], "name": "Zo\u{eb}"}));
    let seen = world.signed_in("groups-2").open(&format!("{APP}/")).echoed();
    assert_eq!(seen.header("x-groups").as_deref(), Some("dev"));
    assert_eq!(seen.all("x-email"), ["groups-2@example.com"]);
}

#[test]
fn a_policy_and_the_upstream_see_the_same_path() {
    let world = world();
    for (path, seen) in [
        ("/open/a", Some("/open/a")),
        ("/open/../secret", None),
        ("/open/%2e%2e/secret", None),
        ("/open/.%2E/secret", None),
        ("/open/x/../../secret", None),
        ("/open\\..\\secret", None),
        ("//open/../secret", None),
        ("/open/..//secret", None),
        ("/x/../open/a", Some("/open/a")),
        ("/%6fpen/a", Some("/open/a")),
        ("/open/a;b=c", Some("/open/a;b=c")),
        ("/secret#/open/", None),
        ("/secret?/open/", None),
        ("/secret;/open/", None),
        ("/OPEN/a", None),
        ("/open/..%2fsecret", None),
        ("/open/..%5csecret", None),
        ("/open%2fa", None),
        ("https://open.localhost.pomerium.io/open/../secret", None),
    ] {
        for http in ["--http1.1", "--http2"] {
            let curl = world.proxy.curl("open", "/").args([http, "--location", "--path-as-is"]);
            let fetched = curl.args(["--max-redirs", "1", "--request-target", path]).run();
            let reached =
                (fetched.status == 200).then(|| fetched.echoed().text("target").to_owned());
            assert_eq!(reached.as_deref(), seen, "{path} {:?}", fetched.headers);
        }
    }
}
