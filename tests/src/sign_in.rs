//! A provider, an upstream and the proxy between them, for tests of sign-in.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::json;

use crate::{Backend, Browser, CurlBrowser, OidcProvider, Proxy, curl::Fetched, proxy::Config};

/// The host of sign-in.
pub const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
/// A host for everybody at `example.com`.
pub const APP: &str = "https://app.localhost.pomerium.io";
/// Another one.
pub const OTHER: &str = "https://other.localhost.pomerium.io";

/// What a route for everybody at `example.com` has.
pub const EXAMPLE_COM: &str = "policy:\n- allow:\n    and:\n    - domain:\n        is: example.com";

/// What is in the URL of the first step at the host of sign-in.
pub const REQUEST: &str = "/.pomerium/sign_in?";
/// What is in the URL to which the provider leads back.
pub const CALLBACK: &str = "/oauth2/callback?";
/// What is in the URL of the last step, at a route's host.
pub const HANDOVER: &str = "/.pomerium/callback/?";
/// The cookie that binds a sign-in to a browser.
pub const BINDING: &str = "__Host-_pomerium_csrf";

const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";

/// Who takes part in a sign-in. The provider asks nobody for consent, so it gives no refresh tokens.
#[derive(Debug)]
pub struct SignInWorld {
    /// Signs people in.
    pub provider: OidcProvider,
    /// Describes requests.
    pub backend: Backend,
    /// Has the hosts above, and `public` without a policy.
    pub proxy: Proxy,
}

impl SignInWorld {
    /// A world with this text in the proxy's configuration.
    ///
    /// # Panics
    /// When something does not start.
    pub fn start(more: &str) -> Self {
        Self::with(AUTHENTICATE, |config, to| {
            let route = |from| format!("from: {from}\nto: {to}\n{EXAMPLE_COM}");
            let app = format!("{}\npass_identity_headers: true", route(APP));
            let config = config.global(more).route_as_is(&app).route_as_is(&route(OTHER));
            config.forward("public", to, "")
        })
    }

    /// A world with a host of sign-in and routes of the test's own, which lead to the URL that
    /// `routes` gets.
    ///
    /// # Panics
    /// When something does not start.
    pub fn with(authenticate: &str, routes: impl FnOnce(Config, &str) -> Config) -> Self {
        let provider = OidcProvider::with(authenticate, json!({"autoConsent": true}));
        let backend = Backend::echo();
        let config = sign_in_config(authenticate, &provider.url());
        let proxy = routes(config, &backend.url()).start();
        Self { provider, backend, proxy }
    }

    /// The world that other tests use at this moment, or a new one. The last test that uses it ends
    /// it.
    pub fn shared(slot: &Mutex<Weak<Self>>, start: impl FnOnce() -> Self) -> Arc<Self> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let world = Arc::new(start());
            *slot = Arc::downgrade(&world);
            world
        })
    }

    /// A browser whose user will sign in as `login`.
    pub fn browser(&self, login: &str) -> CurlBrowser {
        CurlBrowser::new(self.proxy.address(), &self.provider, login)
    }

    /// A browser whose user is signed in at [`APP`].
    ///
    /// # Panics
    /// When the sign-in fails.
    pub fn signed_in(&self, login: &str) -> CurlBrowser {
        let mut browser = self.browser(login);
        let fetched = browser.open(&format!("{APP}/"));
        assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", browser.visited());
        browser
    }
}

/// A configuration for the provider with this URL, without routes.
pub fn sign_in_config(authenticate: &str, provider: &str) -> Config {
    Proxy::config()
        .global(&format!("authenticate_service_url: {authenticate}"))
        .global("idp_provider: oidc\nidp_client_id: c-ES256\nidp_client_secret: secret")
        .global(&format!("idp_provider_url: {provider}\nshared_secret: {SECRET}"))
}

/// Logs in at the provider's page and consents, in Chromium.
///
/// # Panics
/// When these pages are not shown.
pub fn log_in(browser: &Browser, login: &str) {
    browser.type_into("input[name=login]", login);
    browser.type_into("input[name=password]", "any");
    browser.click("button[type=submit]");
    browser.click("form:has(input[value=consent]) button");
}

/// The host of a URL of ours, without its port.
///
/// # Panics
/// When it has none.
pub fn host_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").expect("a URL of ours");
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}

/// A parameter of a URL's query as it stands there.
///
/// # Panics
/// When it is missing.
pub fn parameter(url: &str, name: &str) -> String {
    let mut pairs = url.split(['?', '&']).skip(1).filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.to_owned()
}

/// A URL with another value of a parameter, which stands there as it is.
pub fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let old = format!("{name}={}", parameter(url, name));
    url.replace(&old, &format!("{name}={value}"))
}

/// The names of the cookies that a response deletes, in order. (curl 7.88 does not delete all of
/// several.)
pub fn cookies_deleted(fetched: &Fetched) -> Vec<&str> {
    let deleted = set_cookies(fetched).filter(|value| value.contains("; Max-Age=0;"));
    let mut names: Vec<_> = deleted.filter_map(|value| Some(value.split_once("=;")?.0)).collect();
    names.sort_unstable();
    names
}

fn set_cookies(fetched: &Fetched) -> impl Iterator<Item = &str> {
    let fields = fetched.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    fields.map(|(_, value)| value.as_str())
}

/// The cookies that a response sets, without those it deletes: names and values.
pub fn cookies_set(fetched: &Fetched) -> Vec<(String, String)> {
    let pairs = set_cookies(fetched).filter_map(|value| {
        let (name, value) = value.split(';').next()?.split_once('=')?;
        (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// Follows a sign-in up to a URL that has this part, which is not opened.
///
/// # Panics
/// When it ends before.
pub fn led_to(browser: &mut CurlBrowser, from: &str, part: &str) -> String {
    let fetched = browser.open_until(from, |url| url.contains(part));
    let location = fetched.header("location").unwrap_or_else(|| panic!("no way on: {fetched:?}"));
    assert!(location.contains(part), "{location}");
    location.to_owned()
}

/// The id of the user who is signed in at a host.
pub fn user(browser: &mut CurlBrowser, origin: &str) -> Option<String> {
    let fetched = browser.get(&format!("{origin}/.pomerium/user"));
    (fetched.status == 200).then(|| fetched.json()["sub"].as_str().unwrap_or_default().to_owned())
}

/// Whether a browser has a session cookie of a host.
pub fn has_session(browser: &CurlBrowser, origin: &str) -> bool {
    browser.cookies(host_of(origin)).keys().any(|name| name.starts_with("_pomerium"))
}

/// A step was refused: it has this status, and nothing is set.
///
/// # Panics
/// When it was not.
#[track_caller]
pub fn assert_refused(fetched: &Fetched, status: u16) {
    assert_eq!(fetched.status, status, "{:?}\n{}", fetched.headers, fetched.text());
    assert_eq!(cookies_set(fetched), [], "{:?}", fetched.headers);
    assert_eq!(fetched.header("cache-control"), Some("no-store"));
}
