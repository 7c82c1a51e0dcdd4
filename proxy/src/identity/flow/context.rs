//! What every step is given.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method};
use ring::rand::SecureRandom;

use super::{
    return_path::{ReturnPath, return_port},
    sealed::ReturnPlace,
};
use crate::identity::{
    binding::BrowserBinding,
    cookies::{IdentityCookies, RequestCookies},
    seal::Seals,
    session::ProviderId,
    shared::IdentityShared,
    spec::{DependentHost, SealSecret, SignInSpec, origin},
};

/// How people sign in. One for each configuration.
#[derive(Debug)]
pub(crate) struct SignInContext {
    /// The settings.
    pub(crate) spec: Arc<SignInSpec>,
    /// Our cookies.
    pub(crate) cookies: IdentityCookies,
    /// The provider whose sessions count.
    pub(crate) provider: ProviderId,
    /// The list of claims that sessions must have been made with.
    pub(crate) claims_digest: [u8; 8],
}

/// What a step may use besides the request.
#[derive(Clone, Copy)]
pub(crate) struct FlowEnvironment<'a> {
    /// The configuration.
    pub(crate) context: &'a SignInContext,
    /// What the control thread published.
    pub(crate) shared: &'a IdentityShared,
    /// The time, in seconds since 1970.
    pub(crate) now_s: u64,
    /// Where ids and keys come from.
    pub(crate) random: &'a dyn SecureRandom,
    /// Whether a host, in the form of [`crate::hostname`], is the authenticate host or a route's.
    pub(crate) is_own_host: &'a dyn Fn(&str) -> bool,
    /// The hosts that the route of a host, a port and a path depends on.
    pub(crate) depends_on: &'a dyn Fn(&str, u16, &str) -> Vec<DependentHost>,
}

/// What a step reads of a request.
#[derive(Clone, Copy)]
pub(crate) struct FlowRequest<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// The host that is asked for, in the form of [`crate::hostname`].
    pub(crate) host: &'a str,
    /// The port in `Host`.
    pub(crate) port: Option<u16>,
    /// The port of the route's `from`; `None` where it has none, or for a path of ours.
    pub(crate) route_port: Option<u16>,
    /// The path with its query.
    pub(crate) path_and_query: &'a str,
    /// The client, for the provider's queue.
    pub(crate) client: IpAddr,
}

impl SignInContext {
    /// The context of a configuration. `shared_secret` is the configured one, or the process's own.
    pub(crate) fn new(spec: Arc<SignInSpec>, shared_secret: &SealSecret) -> SignInContext {
        let seals = Seals::new(shared_secret, spec.cookie_secret.as_ref(), &spec.previous_secrets);
        SignInContext {
            cookies: IdentityCookies::new(&spec.cookies, Arc::new(seals)),
            provider: spec.provider.id(),
            claims_digest: spec.claims_digest(),
            spec,
        }
    }

    /// A URL of the authenticate host.
    pub(super) fn authenticate_url(&self, path: &str) -> String {
        format!("{}{path}", self.spec.authenticate.origin())
    }

    /// The authenticate host.
    pub(super) fn authenticate_host(&self) -> &str {
        &self.spec.authenticate.host
    }

    pub(super) fn seals(&self) -> &Seals {
        &self.cookies.seals
    }
}

impl<'a> FlowEnvironment<'a> {
    /// Whether a place may be led to. It was sealed by us, but any host can be named in a request,
    /// and a host may have been a route's until a reload.
    pub(super) fn is_own(&self, place: &ReturnPlace) -> bool {
        (self.is_own_host)(&place.host) && (self.is_own_host)(place.sign_in_host())
    }

    /// The browser's binding to the host of a request.
    pub(super) fn binding(
        &self,
        request: &FlowRequest<'_>,
        cookies: &RequestCookies<'_>,
    ) -> Option<BrowserBinding> {
        self.context.cookies.binding(request.host, cookies, self.now_s)
    }
}

impl<'a> FlowRequest<'a> {
    pub(super) fn query(&self) -> &'a str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }

    pub(super) fn is_read(&self) -> bool {
        *self.method == Method::GET || *self.method == Method::HEAD
    }

    pub(super) fn return_port(&self, context: &SignInContext) -> u16 {
        return_port(self.port, self.route_port, &context.spec.listen_ports)
    }

    /// The URL that was asked for.
    pub(crate) fn return_url(&self, context: &SignInContext) -> String {
        ReturnPath::of_request(self.path_and_query).absolute(self.host, self.return_port(context))
    }

    /// Whether a page of this very host sent the request: no other site can make somebody do what is
    /// asked for. By Fetch metadata, else by `Origin`.
    pub(super) fn is_of_own_page(&self) -> bool {
        match self.header("sec-fetch-site") {
            Some(site) => site == "same-origin",
            None => {
                let own = origin(self.host, self.port.unwrap_or(443));
                self.header("origin").is_some_and(|origin| *origin == own)
            }
        }
    }

    /// Whether its answer becomes the page of a window, as far as the browser says: then no script
    /// can read it.
    pub(super) fn is_navigation(&self) -> bool {
        let is = |name, value| self.header(name).is_none_or(|sent| sent == value);
        is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
    }

    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }
}

impl std::fmt::Debug for FlowRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowRequest(..)")
    }
}
