//! What every step is given.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use http::{HeaderMap, Method};
use ring::rand::SecureRandom;

use super::{
    return_path::{ReturnPath, return_port},
    sealed::ReturnPlace,
};
use crate::{
    identity::{
        binding::BrowserBinding,
        cookies::{IdentityCookies, RequestCookies},
        provider_tokens::WantedTokens,
        seal::Seals,
        session::ProviderId,
        shared::{IdentityShared, ProviderView},
        spec::{DependentHost, ProviderClient, SealSecret, SignInSpec, TokenHost, origin},
    },
    route::HostMap,
};

/// How people sign in, with each of our clients at the provider. One for each configuration.
#[derive(Debug)]
pub(crate) struct SignInClients {
    /// The client of all routes that have none of their own.
    main: SignInContext,
    /// The clients of single routes.
    of_routes: HashMap<ProviderId, SignInContext>,
}

/// How people sign in with one client.
#[derive(Debug)]
pub(crate) struct SignInContext {
    /// The settings.
    pub(crate) spec: Arc<SignInSpec>,
    /// Our cookies.
    pub(crate) cookies: IdentityCookies,
    /// The provider and client whose sessions count.
    pub(crate) provider: ProviderId,
    client_id: Box<str>,
    /// The tokens of the provider that the upstreams of each host get, by client.
    token_hosts: Arc<HostMap<HostTokens>>,
    /// Those of all hosts that share the cookie of `cookie_domain`.
    domain_tokens: WantedTokens,
    /// The list of claims that sessions must have been made with.
    pub(crate) claims_digest: [u8; 8],
}

type HostTokens = Vec<(ProviderId, WantedTokens)>;

/// What a step may use besides the request.
#[derive(Clone, Copy)]
pub(crate) struct FlowEnvironment<'a> {
    /// The configuration.
    pub(crate) clients: &'a SignInClients,
    /// The client of the request's route, or of what is under way.
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

impl SignInClients {
    /// The clients of a configuration. `shared_secret` is the configured one, or the process's own.
    pub(crate) fn new(spec: Arc<SignInSpec>, shared_secret: &SealSecret) -> SignInClients {
        let seals = Seals::new(shared_secret, spec.cookie_secret.as_ref(), &spec.previous_secrets);
        let cookies = IdentityCookies::new(&spec.cookies, Arc::new(seals));
        let token_hosts = Arc::new(by_host(&spec.token_hosts));
        let context = |cookies, client: ProviderClient<'_>| SignInContext {
            domain_tokens: domain_tokens(&spec, client.provider),
            cookies,
            provider: client.provider,
            client_id: client.client_id.into(),
            token_hosts: Arc::clone(&token_hosts),
            claims_digest: spec.claims_digest(),
            spec: Arc::clone(&spec),
        };
        let of_routes = spec.clients().skip(1);
        let of_routes = of_routes
            .map(|client| (client.provider, context(cookies.of_client(client.provider), client)));
        let of_routes = of_routes.collect();
        SignInClients { main: context(cookies, spec.main_client()), of_routes }
    }

    /// The client of all routes that have none of their own.
    pub(crate) fn main(&self) -> &SignInContext {
        &self.main
    }

    /// A client, if it is configured; `None` is the one of all routes.
    pub(crate) fn of(&self, client: Option<ProviderId>) -> Option<&SignInContext> {
        match client {
            Some(client) if client != self.main.provider => self.of_routes.get(&client),
            _ => Some(&self.main),
        }
    }

    /// The clients whose cookies a request has, and in any case that of all routes.
    pub(crate) fn presented(&self, headers: &HeaderMap) -> Vec<&SignInContext> {
        let of_routes = self.of_routes.values();
        let presented = of_routes.filter(|context| context.cookies.names.are_in(headers));
        let mut presented: Vec<_> = presented.collect();
        presented.sort_unstable_by_key(|context| context.provider.0);
        presented.insert(0, &self.main);
        presented
    }
}

impl SignInClients {
    /// Whether routes have clients of their own.
    pub(super) fn are_several(&self) -> bool {
        !self.of_routes.is_empty()
    }

    /// The names and lengths of cookies of clients that are not configured any more.
    pub(super) fn unknown_cookies<'h>(&self, headers: &'h HeaderMap) -> Vec<(&'h str, usize)> {
        let of_clients = self.main.cookies.names.of_clients(headers);
        let contexts = || self.of_routes.values();
        let unknown = of_clients
            .filter(|(name, _)| !contexts().any(|it| it.cookies.names.is_session(name.as_bytes())));
        unknown.collect()
    }
}

fn by_host(hosts: &[TokenHost]) -> HostMap<HostTokens> {
    let mut by_host = HostMap::<HostTokens>::default();
    for TokenHost { host, provider, tokens } in hosts {
        by_host.entry(host).push((*provider, *tokens));
    }
    by_host
}

/// A pattern that is broader than `cookie_domain` counts too: some of its hosts are below the domain.
fn domain_tokens(spec: &SignInSpec, provider: ProviderId) -> WantedTokens {
    let Some(domain) = &spec.cookies.domain else { return WantedTokens::default() };
    let of_client = spec.token_hosts.iter().filter(|it| it.provider == provider);
    let in_domain = of_client.filter(|it| it.host.may_be_below(domain));
    in_domain.fold(WantedTokens::default(), |all, it| all.or(it.tokens))
}

impl SignInContext {
    /// What the provider knows us by.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The tokens of the provider that sessions at a host carry for its upstreams. Hosts that share a
    /// cookie share its tokens.
    pub(crate) fn wanted_tokens(&self, host: &str) -> WantedTokens {
        if self.spec.token_hosts.is_empty() {
            return WantedTokens::default();
        }
        if self.cookies.domain(host).is_some() {
            return self.domain_tokens;
        }
        let of_host = self.token_hosts.find(host).flatten();
        let of_client = of_host.filter(|(provider, _)| *provider == self.provider);
        of_client.fold(WantedTokens::default(), |all, (_, tokens)| all.or(*tokens))
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
    /// The same for what a client has under way; `None` if the client is not configured any more.
    pub(super) fn of_client(&self, client: ProviderId) -> Option<FlowEnvironment<'a>> {
        let context = self.clients.of(Some(client))?;
        Some(FlowEnvironment { context, ..*self })
    }

    /// The metadata of the provider, which all clients have in common, if it was fetched.
    pub(super) fn provider_view(&self) -> Option<Arc<ProviderView>> {
        self.shared.provider(self.clients.main.provider)
    }

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
