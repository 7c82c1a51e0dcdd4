//! A provider, an upstream and a configuration of the proxy, for tests of sessions. All go by one
//! clock that the test sets.

use serde_json::{Value, json};

use crate::{
    Backend, CurlBrowser, OidcProvider, Proxy, false_clock::FalseClock, http::Response,
    proxy::Config, raw::Raw,
};

/// `authenticate_service_url`.
pub const AUTHENTICATE: &str = "https://authenticate.localhost.pomerium.io";
/// A route that users who have signed in may use.
pub const APP: &str = "https://app.localhost.pomerium.io";
/// Another one.
pub const OTHER: &str = "https://other.localhost.pomerium.io";
/// `shared_secret`.
pub const SECRET: &str = "d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";
/// The host of [`APP`].
pub const APP_HOST: &str = "app.localhost.pomerium.io";

/// What stands around the proxy.
#[derive(Debug)]
pub struct SignInRig {
    /// For the proxy and the provider.
    pub clock: FalseClock,
    /// Where people sign in.
    pub provider: OidcProvider,
    /// Describes the requests that it gets.
    pub backend: Backend,
    asks_for_consent: bool,
}

impl SignInRig {
    /// Starts both.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start() -> Self {
        Self::with(json!({}))
    }

    /// The same with settings of `peers/oidc-provider/server.mjs`.
    ///
    /// # Panics
    /// When one does not start.
    pub fn with(settings: Value) -> Self {
        let clock = FalseClock::new();
        let asks_for_consent = settings["autoConsent"] != true;
        let provider = OidcProvider::by_clock(&clock, AUTHENTICATE, settings);
        Self { clock, provider, backend: Backend::echo(), asks_for_consent }
    }

    /// The keys of sign-in, with this client and secret, and no route.
    pub fn without_routes(&self, client: &str, secret: &str) -> Config {
        let config = Proxy::config()
            .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
            .global("idp_provider: oidc\nidp_client_secret: secret")
            .global(&format!("idp_client_id: {client}\nshared_secret: {secret}"))
            .global(&format!("idp_provider_url: {}", self.provider.url()));
        // Else there is no refresh token.
        let config = match self.asks_for_consent {
            true => config.global("idp_request_params: {prompt: consent}"),
            false => config,
        };
        self.clock.env().iter().fold(config, |config, (name, value)| config.env(name, value))
    }

    /// The same with both routes, which every user may use.
    pub fn config_with(&self, client: &str, secret: &str) -> Config {
        let to = self.backend.url();
        let config = self.without_routes(client, secret);
        [APP, OTHER].iter().fold(config, |config, from| {
            let any = "pass_identity_headers: true\nallow_any_authenticated_user: true";
            config.route_as_is(&format!("from: {from}\nto: {to}\n{any}"))
        })
    }

    /// The same with the usual client and secret.
    pub fn config(&self) -> Config {
        self.config_with("c-ES256", SECRET)
    }

    /// The browser of a user.
    pub fn browser(&self, proxy: &Proxy, login: &str) -> CurlBrowser {
        CurlBrowser::new(proxy.address(), &self.provider, login)
    }

    /// The browser of a user who has signed in at [`APP`].
    ///
    /// # Panics
    /// When that fails.
    pub fn signed_in(&self, proxy: &Proxy, login: &str) -> CurlBrowser {
        let mut browser = self.browser(proxy, login);
        let fetched = browser.open(&format!("{APP}/"));
        assert_eq!(fetched.status, 200, "{fetched:?}\n{:#?}", browser.visited());
        browser
    }

    /// The URLs at the provider that a browser has asked for since it had asked for so many.
    pub fn visits<'b>(&self, browser: &'b CurlBrowser, since: usize) -> Vec<&'b str> {
        let at_provider = |url: &&String| url.starts_with(&self.provider.url());
        browser.visited()[since..].iter().filter(at_provider).map(String::as_str).collect()
    }
}

/// The `Cookie` header of a session at [`APP`].
///
/// # Panics
/// When the browser has none.
pub fn session_cookie(browser: &CurlBrowser) -> String {
    let cookies = browser.cookies(APP_HOST);
    let is_session = |name: &str| name == "_pomerium" || name.starts_with("_pomerium_");
    let pairs: Vec<_> = cookies
        .iter()
        .filter(|(name, _)| is_session(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert!(!pairs.is_empty(), "{cookies:?}");
    format!("Cookie: {}", pairs.join("; "))
}

/// One request at [`APP`] with this header, on a connection that stays open.
///
/// # Panics
/// When no complete response comes.
pub fn ask(connection: &mut Raw, header: &str) -> Response {
    connection.send(format!("GET / HTTP/1.1\r\nHost: {APP_HOST}\r\n{header}\r\n\r\n"));
    connection.response()
}
