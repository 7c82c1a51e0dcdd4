//! The compiled settings and routes, shared by all workers.

use std::{collections::HashSet, ops::Deref, sync::Arc};

use http::{HeaderName, HeaderValue};

use super::{
    headers::{Reserved, identity_names, merged, rules::RequestRules},
    request::RequestTarget,
    spec::{RequestSettings, RouteSpec},
};
use crate::{
    observe::RouteMetrics,
    route::{Matcher, PathMatch, Table},
    tls::ClientAuth,
    upstream::Cluster,
};

/// One route, ready to be compiled into a [`RequestConfig`].
#[derive(Debug)]
pub struct Route {
    /// What it does.
    pub spec: RouteSpec,
    /// Which requests it serves.
    pub matcher: Matcher,
    /// Its upstreams; `None` if it answers requests itself.
    pub cluster: Option<Arc<Cluster>>,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
}

/// Everything that is configured of requests. Immutable, one for all workers, replaced as a whole.
#[derive(Debug)]
pub struct RequestConfig {
    pub(super) settings: RequestSettings,
    pub(super) routes: Vec<CompiledRoute>,
    /// Claim headers of the settings, in the form that [`super::headers`] compares.
    pub(super) identity: HashSet<Box<str>>,
    /// Counters of requests that match no route.
    pub(super) unrouted: Arc<RouteMetrics>,
    client_auth: Arc<ClientAuth>,
    /// Set on the answers to those.
    pub(super) response_headers: Vec<(HeaderName, HeaderValue)>,
    table: Table,
}

/// A compiled [`Route`].
#[derive(Debug)]
pub(super) struct CompiledRoute {
    /// Its index in [`RequestConfig::routes`].
    pub(super) index: usize,
    pub(super) spec: RouteSpec,
    pub(super) path: PathMatch,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) request_rules: RequestRules,
    pub(super) looks_at_certificate: bool,
    pub(super) response_headers: Vec<(HeaderName, HeaderValue)>,
}

impl RequestConfig {
    /// Compiles. The first route that matches wins; `unrouted` counts requests that match none, and
    /// `client_auth` says which hosts ask their clients for a certificate.
    pub fn new(
        settings: RequestSettings,
        routes: Vec<Route>,
        unrouted: Arc<RouteMetrics>,
        client_auth: Arc<ClientAuth>,
    ) -> RequestConfig {
        let matchers: Vec<Matcher> = routes.iter().map(|route| route.matcher.clone()).collect();
        RequestConfig {
            table: Table::new(&matchers),
            identity: identity_names(&settings.identity_headers),
            response_headers: merged(&settings.response_headers, &Default::default()),
            routes: routes
                .into_iter()
                .enumerate()
                .map(|(index, route)| CompiledRoute::new(&settings, index, route))
                .collect(),
            settings,
            unrouted,
            client_auth,
        }
    }

    /// Whether a handshake for this SNI asked for a certificate in the way that `host` wants it.
    pub(super) fn asks_alike(&self, server_name: Option<&str>, host: &str) -> bool {
        self.client_auth.covers(server_name, host)
    }

    /// Whether the users of a route sign in by their client certificate.
    pub(super) fn signs_in_by_certificate(&self, route: &CompiledRoute) -> bool {
        self.settings.certificate_identity.is_some() && route.spec.client_trust.is_some()
    }

    /// The route of a request.
    pub(super) fn find(&self, target: &RequestTarget) -> Option<&CompiledRoute> {
        self.routes.get(self.table.find(&target.host, target.port, target.path())?)
    }
}

impl CompiledRoute {
    fn new(settings: &RequestSettings, index: usize, route: Route) -> CompiledRoute {
        CompiledRoute {
            index,
            request_rules: RequestRules::new(&route.spec.request_headers),
            looks_at_certificate: route.spec.looks_at_certificate(settings.certificate_identity),
            response_headers: merged(&settings.response_headers, &route.spec.response_headers),
            spec: route.spec,
            path: route.matcher.path,
            cluster: route.cluster,
            metrics: route.metrics,
        }
    }

    /// The header names in its requests that mean something to us.
    pub(super) fn reserved<'a>(&'a self, config: &'a RequestConfig) -> Reserved<'a> {
        Reserved { identity: &config.identity, rules: &self.request_rules }
    }
}

/// A worker's handle on the shared [`RequestConfig`]. Its requests count their references on an
/// `Rc` of this, so that no request touches a count that all workers share.
#[derive(Debug)]
pub struct LocalRequestConfig(Arc<RequestConfig>);

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
