//! What routes, upstreams and pages make of the people who sign in, and of requests that cannot.

use portcullis_tests::{
    CurlBrowser, Proxy, SignInRig, pki,
    proxy::Config,
    sign_in_rig::{APP, APP_HOST, SECRET},
};
use serde_json::{Value, json};

/// A route for each of these policies, at `https://NAME.localhost.pomerium.io`.
fn routes(rig: &SignInRig, config: Config, policies: &[(&str, &str)]) -> Config {
    let to = rig.backend.url();
    policies.iter().fold(config, |config, (name, policy)| {
        let from = format!("https://{name}.localhost.pomerium.io");
        config.route_as_is(&format!("from: {from}\nto: {to}\n{policy}"))
    })
}

fn open(browser: &mut CurlBrowser, host: &str) -> u16 {
    browser.open(&format!("https://{host}.localhost.pomerium.io/")).status
}

#[test]
fn each_criterion_of_identity_tells_users_apart() {
    let allow = |criterion: &str| format!("policy:\n- allow:\n    and:\n    - {criterion}");
    let deny = |criterion: &str| {
        format!(
            "policy:\n- allow:\n    and:\n    - authenticated_user: true\n- deny:\n    or:\n    - {criterion}"
        )
    };
    let not = |criterion: &str| format!("policy:\n- allow:\n    not:\n    - {criterion}");
    let of_alice = [
        ("email", allow("email:\n        is: alice@example.com")),
        ("domain", allow("domain:\n        is: example.com")),
        ("user", allow("user:\n        is: alice")),
        ("claim", allow("claim/department: research")),
        ("groups", allow("claim/groups: admins")),
        ("any", allow("authenticated_user: true")),
        ("users", "allowed_users: [alice@example.com]".to_owned()),
        ("domains", "allowed_domains: [example.com]".to_owned()),
        ("claims", "allowed_idp_claims: {department: [research]}".to_owned()),
        ("not-email", not("email:\n        is: bob@example.org")),
        ("not-domain", not("domain:\n        is: example.org")),
        ("not-user", not("user:\n        is: bob")),
        ("not-claim", not("claim/department: sales")),
        ("deny-email", deny("email:\n        is: bob@example.org")),
        ("deny-domain", deny("domain:\n        is: example.org")),
        ("deny-user", deny("user:\n        is: bob")),
        ("deny-claim", deny("claim/department: sales")),
    ];
    let of_alice: Vec<_> = of_alice.iter().map(|(name, policy)| (*name, &**policy)).collect();
    let rig = SignInRig::start();
    let research = json!({"department": "research", "groups": ["dev", "admins"]});
    rig.provider.set_user("alice", &research);
    rig.provider.set_user("bob", &json!({"email": "bob@example.org", "department": "sales"}));
    let proxy = routes(&rig, rig.config(), &of_alice).start();
    let (mut alice, mut bob) = (rig.signed_in(&proxy, "alice"), rig.signed_in(&proxy, "bob"));
    for (name, _) in of_alice {
        assert_eq!(proxy.curl(name, "/").ok().status, 302, "{name}: nobody");
        assert_eq!(open(&mut alice, name), 200, "{name}: the right user");
        let anybody = name == "any";
        assert_eq!(open(&mut bob, name), if anybody { 200 } else { 403 }, "{name}: another user");
    }
}

#[test]
fn a_missing_certificate_is_told_before_anybody_is_led_to_sign_in() {
    let rig = SignInRig::start();
    let ca = pki().ca();
    let mtls = format!(
        "downstream_mtls:\n  ca_file: {}\n  enforcement: policy_with_default_deny",
        ca.display()
    );
    let proxy = rig.config().global(&mtls).start();
    assert_eq!(proxy.curl("app", "/").ok().status, 495);
    let with_certificate = proxy.curl("app", "/").client(&pki().client()).ok();
    assert_eq!(with_certificate.status, 302, "{with_certificate:?}");
}

#[test]
fn groups_of_any_number_work_or_end_in_a_page_that_names_them() {
    let rig = SignInRig::with(json!({"smallIdToken": true}));
    let proxy = rig.config().start();
    for (count, length) in [(1, 10), (50, 80), (500, 60)] {
        let login = format!("user-{count}");
        let groups: Vec<_> = (0..count).map(|group| format!("{group:0length$}")).collect();
        rig.provider.set_user(&login, &json!({"groups": groups}));
        let mut browser = rig.browser(&proxy, &login);
        let fetched = browser.open(&format!("{APP}/"));
        if count < 500 {
            assert_eq!(fetched.status, 200, "{count}: {fetched:?}\n{:#?}", browser.visited());
            assert_eq!(asserted(&fetched.echoed().header(ASSERTION))["groups"], json!(groups));
            continue;
        }
        assert_eq!(fetched.status, 500, "{fetched:?}\n{:#?}", browser.visited());
        assert!(fetched.text().contains("groups"), "{}", fetched.text());
        assert_eq!(browser.cookies(APP_HOST).get("_pomerium"), None);
        proxy.wait_for_log("the reason", |line| {
            let details = line["response-code-details"].as_str().unwrap_or_default();
            details.contains("too_large") && details.contains("groups")
        });
    }
}

const ASSERTION: &str = "x-pomerium-jwt-assertion";

/// The claims of an assertion, whoever signed it.
fn asserted(header: &Option<String>) -> Value {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let token = header.as_deref().expect("an assertion");
    let payload = token.split('.').nth(1).expect("a token has a payload");
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn claims_with_markup_are_text_on_every_page() {
    let rig = SignInRig::start();
    let evil = json!({
        "name": "<script>alert(1)</script></pre>",
        "email": "\"><img/src=x>@example.com",
        "groups": ["</pre><script>alert(2)</script>"],
    });
    rig.provider.set_user("mallory", &evil);
    let nobody = [("closed", "allowed_users: [nobody@example.com]")];
    let proxy = routes(&rig, rig.config(), &nobody).start();
    let mut mallory = rig.signed_in(&proxy, "mallory").with_header("Accept: text/html");
    assert_eq!(open(&mut mallory, "closed"), 403);
    for url in [
        &format!("{APP}/.pomerium/"),
        &format!("{APP}/.pomerium/sign_out"),
        "https://closed.localhost.pomerium.io/",
    ] {
        let mallory = mallory.get(url);
        let page = mallory.text();
        for markup in ["<script", "</pre>", "<img/"] {
            assert!(!page.contains(markup), "{url}: {page}");
        }
        assert!(page.contains("&lt;"), "the claims are on the page: {url}: {page}");
        let policy = mallory.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("script"), "{policy}");
        assert_eq!(mallory.header("content-type"), Some("text/html; charset=utf-8"));
    }
    let user = mallory.get(&format!("{APP}/.pomerium/user"));
    assert_eq!(user.header("content-type"), Some("application/json"));
    assert_eq!(user.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(user.json()["name"], evil["name"]);
}

/// The headers of a request, and the status that it gets while nobody is signed in.
const CLIENTS: &[(&str, &[&str], u16)] = &[
    ("curl", &[], 302),
    ("curl without Accept", &["Accept:"], 302),
    ("curl for JSON", &["Accept: application/json"], 401),
    ("navigation", &["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"], 302),
    ("fetch", &["Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*"], 401),
    ("XMLHttpRequest", &["X-Requested-With: XMLHttpRequest", "Accept: text/html"], 401),
    ("EventSource", &["Accept: text/event-stream", "Sec-Fetch-Mode: cors"], 401),
    ("EventSource without Fetch metadata", &["Accept: text/event-stream"], 401),
    ("prefetch", &["Sec-Purpose: prefetch", "Sec-Fetch-Mode: navigate"], 401),
    (
        "websocket",
        &[
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ],
        401,
    ),
    (
        "frame of another site",
        &["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site"],
        401,
    ),
];

#[test]
fn only_navigations_are_led_to_sign_in() {
    let rig = SignInRig::start();
    let proxy = rig.config().start();
    let curl = |path: &str, headers: &[&str]| {
        headers.iter().fold(proxy.curl("app", path).http1(), |curl, line| curl.header(line))
    };
    for (client, headers, status) in CLIENTS {
        let fetched = curl("/", headers).ok();
        assert_eq!(fetched.status, *status, "{client}: {fetched:?}");
        assert_eq!(fetched.header("cache-control"), Some("no-store"), "{client}");
        let authenticate = fetched.header("www-authenticate");
        assert_eq!(authenticate, (*status == 401).then_some("Bearer"), "{client}");
        if *status == 401 {
            assert_eq!(fetched.header("x-pomerium-intercepted-response"), Some("true"), "{client}");
            assert_eq!(fetched.header("set-cookie"), None, "{client}");
        }
    }
    let post = curl("/", &["Accept: text/html"]).post("a=b").ok();
    assert_eq!((post.status, post.header("location")), (401, None), "{post:?}");
    let form = curl("/", &["Accept: text/html", "Sec-Fetch-Mode: navigate"]).post("a=b").ok();
    assert!(form.status == 401 && form.text().contains("href="), "{form:?}");
    let grpc = curl("/a.B/C", &["Content-Type: application/grpc"]).http2().post("").ok();
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("16")), "{grpc:?}");
}

#[test]
fn a_preflight_gets_401_unless_the_route_lets_it_in() {
    let rig = SignInRig::start();
    let open = [("open", "allow_any_authenticated_user: true\ncors_allow_preflight: true")];
    let proxy = routes(&rig, rig.without_routes("c-ES256", SECRET), &open);
    let closed = [("app", "allow_any_authenticated_user: true")];
    let proxy = routes(&rig, proxy, &closed).start();
    let preflight = |proxy: &Proxy, host: &str| {
        let curl = proxy.curl(host, "/").args(["--request", "OPTIONS"]);
        let curl = curl.header("Origin: https://b.example").header("Sec-Fetch-Mode: cors");
        curl.header("Access-Control-Request-Method: PUT").ok().status
    };
    assert_eq!((preflight(&proxy, "app"), preflight(&proxy, "open")), (401, 200));
    let put = proxy.curl("open", "/").args(["--request", "PUT"]).ok();
    assert_eq!(put.status, 401, "the request itself needs a user: {put:?}");
}
