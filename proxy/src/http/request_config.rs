//! The compiled settings and routes, shared by all workers.

use std::{collections::HashSet, ops::Deref, sync::Arc};

use http::{HeaderName, HeaderValue};

use super::{
    headers::{
        OwnCookies, PassedForwarding, Reserved, identity_names, merged, rules::RequestRules,
    },
    local_service::{LocalService, SignInPath},
    request::RequestTarget,
    spec::{RequestSettings, RouteSpec, Underscores},
};
use crate::{
    identity::{
        bearer::spec::{BearerRules, TokenSpec},
        config::IdentityConfig,
        flow::{SignInClients, SignInContext},
        provider_tokens::WantedTokens,
        seal::Seals,
        session::ProviderId,
        spec::{DependentHost, SignInSpec},
    },
    observe::{ConfiguredRoutes, RouteFacts, RouteMetrics},
    route::{HostMap, HostMatch, Matcher, PathMatch, PortMatch, Table, TriedRoute},
    tls::ClientAuth,
    upstream::Cluster,
};

/// One route, ready to be compiled into a [`RequestConfig`].
#[derive(Debug)]
pub(crate) struct Route {
    /// What it does.
    pub spec: RouteSpec,
    /// Which requests it serves.
    pub matcher: Matcher,
    /// Its upstreams; `None` if it answers requests itself.
    pub cluster: Option<Arc<Cluster>>,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
}

/// The configuration of all requests. Immutable, shared by all workers, replaced as a whole.
#[derive(Debug)]
pub(crate) struct RequestConfig {
    pub(super) settings: RequestSettings,
    pub(super) routes: Box<[CompiledRoute]>,
    /// Claim headers of the settings, in the form that [`super::headers`] compares.
    pub(super) identity: HashSet<Box<str>>,
    /// Taken out of requests and of upstreams' responses.
    pub(super) own_cookies: OwnCookies,
    /// Counters of requests that match no route.
    pub(super) unrouted: Arc<RouteMetrics>,
    client_auth: Arc<ClientAuth>,
    /// Set on the answers to those.
    pub(super) response_headers: Arc<[(HeaderName, HeaderValue)]>,
    table: Table,
    /// The client of the first route of each host, if any route has one of its own.
    first_clients: Option<HostMap<Option<FirstClient>>>,
    /// Who requests are from; `None` only in tests.
    pub(super) people: Option<Arc<IdentityConfig>>,
}

/// The client of a route; `None` is that of all routes.
type FirstClient = Option<ProviderId>;

/// A compiled [`Route`].
#[derive(Debug)]
pub(super) struct CompiledRoute {
    /// Its index in [`RequestConfig::routes`].
    pub(super) index: usize,
    pub(super) spec: RouteSpec,
    host: HostMatch,
    port: PortMatch,
    pub(super) path: PathMatch,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) metrics: Arc<RouteMetrics>,
    /// One for all routes that have none.
    pub(super) request_rules: Arc<RequestRules>,
    /// Whether a header that it sets depends on the Host that the upstream gets.
    pub(super) reads_host: bool,
    pub(super) looks_at_certificate: bool,
    pub(super) looks_at_identity: bool,
    pub(super) asserts_identity: bool,
    /// The tokens of the identity provider that its upstream gets.
    pub(super) wanted_tokens: WantedTokens,
    /// The bearer tokens that it takes; `None` if who a request is from does not matter.
    pub(super) bearer: Option<Arc<BearerRules>>,
    /// Those of all routes, if the route has no rules for them.
    pub(super) response_headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl RequestConfig {
    /// Compiles. The first route that matches wins; `unrouted` counts requests that match none, and
    /// `client_auth` says which hosts ask their clients for a certificate.
    pub(crate) fn new(
        settings: RequestSettings,
        routes: impl IntoIterator<Item = Route>,
        unrouted: Arc<RouteMetrics>,
        client_auth: Arc<ClientAuth>,
    ) -> RequestConfig {
        let shared = SharedRules {
            request: Arc::default(),
            response: merged(&settings.response_headers, &Default::default()).into(),
        };
        let mut table = Table::default();
        let mut compile = |(index, route): (usize, Route)| {
            table.add(&route.matcher);
            CompiledRoute::new(&settings, &shared, index, route)
        };
        let routes: Box<[_]> = routes.into_iter().enumerate().map(&mut compile).collect();
        RequestConfig {
            identity: identity_names(&settings.identity_headers),
            own_cookies: OwnCookies::default(),
            first_clients: first_clients(&routes),
            routes,
            response_headers: shared.response,
            table,
            settings,
            unrouted,
            client_auth,
            people: None,
        }
    }

    /// The same, with what it says of people.
    pub(crate) fn with_people(self, people: Arc<IdentityConfig>) -> RequestConfig {
        let names = people.sign_in.as_ref().map(|clients| clients.main().cookies.names.clone());
        let own_cookies = OwnCookies(names);
        RequestConfig { own_cookies, people: Some(people), ..self }
    }

    /// Whether a handshake for this SNI asked for a certificate in the way that `host` wants it.
    pub(super) fn asks_alike(&self, server_name: Option<&str>, host: &str) -> bool {
        self.client_auth.covers(server_name, host)
    }

    /// Whether the users of a route sign in by their client certificate.
    pub(super) fn signs_in_by_certificate(&self, route: &CompiledRoute) -> bool {
        self.settings.certificate_identity.is_some() && route.spec.client_trust.is_some()
    }

    /// Whether people can sign in.
    pub(super) fn signs_people_in(&self) -> bool {
        self.sign_in().is_some()
    }

    /// How people sign in, with each client, if they can.
    pub(super) fn sign_in_clients(&self) -> Option<&SignInClients> {
        self.people.as_ref()?.sign_in.as_ref()
    }

    /// How people sign in at routes that have no client of their own.
    pub(super) fn sign_in(&self) -> Option<&SignInContext> {
        self.sign_in_clients().map(SignInClients::main)
    }

    /// The client of a path of ours: that of the route that has the path, else of the first route of
    /// its host; `None` is that of all routes.
    pub(super) fn client_at(&self, target: &RequestTarget) -> Option<ProviderId> {
        let first_clients = self.first_clients.as_ref()?;
        match self.find(target) {
            Some(route) => route.spec.client,
            None => first_clients.find(&target.host).flatten().next().copied().flatten(),
        }
    }

    /// The settings of how people sign in, for the control thread.
    pub(crate) fn sign_in_spec(&self) -> Option<Arc<SignInSpec>> {
        self.sign_in().map(|sign_in| Arc::clone(&sign_in.spec))
    }

    /// What seals the cookies, for the control thread.
    pub(crate) fn seals(&self) -> Option<Arc<Seals>> {
        self.sign_in().map(|sign_in| Arc::clone(&sign_in.cookies.seals))
    }

    /// What holds for bearer tokens, for the control thread.
    pub(crate) fn token_spec(&self) -> Option<&TokenSpec> {
        self.people.as_deref().map(|people| &*people.tokens)
    }

    /// Whether a host is the one that the provider sends people back to.
    pub(super) fn is_authenticate_host(&self, host: &str) -> bool {
        self.sign_in().is_some_and(|sign_in| *sign_in.spec.authenticate.host == *host)
    }

    /// Whether a host is the one of sign-in, or a route's.
    pub(super) fn has_host(&self, host: &str) -> bool {
        self.is_authenticate_host(host) || self.table.has_host(host)
    }

    /// Whether a host has a path of sign-in.
    pub(super) fn serves_sign_in(&self, path: SignInPath, host: &str) -> bool {
        self.signs_people_in()
            && match path.is_of_authenticate_host() {
                true => self.is_authenticate_host(host),
                // Anybody can name any host in a request, and a sign-in leads back to the one it
                // began at.
                false => self.has_host(host),
            }
    }

    /// The hosts that the route of a page depends on.
    pub(super) fn depends_on(&self, host: &str, port: u16, path: &str) -> Vec<DependentHost> {
        let route = self.table.find(host, Some(port), path).and_then(|at| self.routes.get(at));
        route.map_or_else(Vec::new, |route| route.spec.depends_on.to_vec())
    }

    /// Where a route stands in the configuration: `routes[3]`.
    pub(super) fn place(&self, index: usize) -> String {
        match index.checked_sub(self.settings.policy_list_len) {
            Some(index) => format!("routes[{index}]"),
            None => format!("policy[{index}]"),
        }
    }

    /// The routes of the request's host, each with the reason why it is passed over, up to the one
    /// that [`RequestConfig::find`] gives.
    pub(super) fn tried(&self, target: &RequestTarget) -> Vec<TriedRoute> {
        self.table.tried(&target.host, target.port, target.path())
    }

    /// The service of ours that has the path of a request, whatever the routes say.
    pub(super) fn service(&self, target: &RequestTarget) -> Option<LocalService> {
        LocalService::of_path(target.path()).or_else(|| {
            let service = LocalService::of_authenticate_path(target.path());
            service.filter(|_| self.is_authenticate_host(&target.host))
        })
    }

    /// The service of ours that has the path of a request that no route serves.
    pub(super) fn service_without_route(&self, target: &RequestTarget) -> Option<LocalService> {
        let service = LocalService::of_unrouted_authenticate_path(target.path());
        service.filter(|_| self.is_authenticate_host(&target.host))
    }

    /// The route of a request.
    pub(super) fn find(&self, target: &RequestTarget) -> Option<&CompiledRoute> {
        self.routes.get(self.table.find(&target.host, target.port, target.path())?)
    }
}

impl CompiledRoute {
    fn new(
        settings: &RequestSettings,
        shared: &SharedRules,
        index: usize,
        route: Route,
    ) -> CompiledRoute {
        let (request, response) = (&route.spec.request_headers, &route.spec.response_headers);
        let request_rules = match request.remove.is_empty() && request.set.is_empty() {
            true => Arc::clone(&shared.request),
            false => Arc::new(RequestRules::new(request)),
        };
        let response_headers = match response.disable || !response.set.is_empty() {
            true => merged(&settings.response_headers, response).into(),
            false => Arc::clone(&shared.response),
        };
        CompiledRoute {
            index,
            reads_host: request_rules.read_host(),
            request_rules,
            looks_at_certificate: route.spec.looks_at_certificate(settings.certificate_identity),
            looks_at_identity: route.spec.looks_at_identity(),
            asserts_identity: route.spec.passes_identity(),
            wanted_tokens: route.spec.wanted_tokens(),
            bearer: route.spec.bearer.clone().filter(|_| route.spec.looks_at_identity()),
            response_headers,
            host: route.matcher.host,
            port: route.matcher.port,
            spec: route.spec,
            path: route.matcher.path,
            cluster: route.cluster,
            metrics: route.metrics,
        }
    }

    /// The port that its URLs have; `None` if it has any.
    pub(super) fn port(&self) -> Option<u16> {
        match self.port {
            PortMatch::Any => None,
            PortMatch::Is(port) => Some(port),
        }
    }

    /// Whether it serves the requests that `matcher` matches, and no others.
    pub(super) fn is_matched_by(&self, matcher: &Matcher) -> bool {
        let Matcher { host, port, path } = matcher;
        self.host == *host && self.port == *port && self.path == *path
    }

    pub(super) fn matcher(&self) -> Matcher {
        Matcher { host: self.host.clone(), port: self.port, path: self.path.clone() }
    }

    /// The header names in its requests that mean something to us.
    pub(super) fn reserved<'a>(&'a self, config: &'a RequestConfig) -> Reserved<'a> {
        Reserved {
            identity: &config.identity,
            cookies: &config.own_cookies,
            rules: &self.request_rules,
            bearer: self.bearer.is_some(),
            odd_names: config.settings.underscores == Underscores::Allow,
            forwarding: match config.settings.forwarded_for.trusted_hops {
                0 => PassedForwarding::Named(&config.settings.passed_forwarding),
                _ => PassedForwarding::All,
            },
        }
    }
}

fn first_clients(routes: &[CompiledRoute]) -> Option<HostMap<Option<FirstClient>>> {
    if routes.iter().all(|route| route.spec.client.is_none()) {
        return None;
    }
    let mut first_clients = HostMap::<Option<FirstClient>>::default();
    for route in routes {
        first_clients.entry(&route.host).get_or_insert(route.spec.client);
    }
    Some(first_clients)
}

/// The rules of routes that say nothing of their own.
struct SharedRules {
    request: Arc<RequestRules>,
    response: Arc<[(HeaderName, HeaderValue)]>,
}

impl ConfiguredRoutes for RequestConfig {
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        let names = self.routes.iter().map(|route| route.metrics.name());
        Box::new(names.chain([self.unrouted.name()]))
    }

    fn shown(&self) -> Box<dyn Iterator<Item = RouteFacts> + '_> {
        Box::new(self.routes.iter().map(|route| RouteFacts {
            name: route.metrics.name().to_owned(),
            from: route.matcher().to_string(),
            asks_certificate: route.looks_at_certificate,
        }))
    }

    fn each_endpoint(&self, take: &mut dyn FnMut(&str)) {
        for cluster in self.routes.iter().filter_map(|route| route.cluster.as_ref()) {
            for endpoint in cluster.current().endpoints() {
                take(&endpoint.spec.authority);
            }
        }
    }
}

/// A worker's handle on the shared [`RequestConfig`]. Its requests count their references on an
/// `Rc` of this, so that no request touches a count that all workers share.
#[derive(Debug)]
pub(crate) struct LocalRequestConfig(pub(super) Arc<RequestConfig>);

impl LocalRequestConfig {
    /// A handle for one worker.
    pub(super) fn new(config: Arc<RequestConfig>) -> LocalRequestConfig {
        LocalRequestConfig(config)
    }
}

impl Deref for LocalRequestConfig {
    type Target = RequestConfig;

    fn deref(&self) -> &RequestConfig {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_can_be_shared_between_workers() {
        fn shared<T: Send + Sync>() {}
        shared::<RequestConfig>();
    }
}
