//! The compiled form of the settings and routes, shared by all workers.

use std::{cell::RefCell, collections::HashSet, ops::Deref, rc::Rc, sync::Arc};

use http::{HeaderName, HeaderValue};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::UnixTime;

use super::{
    facts::Facts,
    headers::{Reserved, identity_names, merged, rules::RequestRules},
    request::Normalised,
    request_id::RequestIds,
    spec::{RouteSpec, Settings},
};
use crate::{
    observe::{ConfiguredRoutes, RouteFacts, RouteMetrics, WorkerObserver},
    route::{HostMatch, Matcher, PathMatch, PortMatch, Table},
    tls::ClientAuth,
    upstream::{Cluster, Endpoint, Upstreams},
};

/// One route with what it needs at run time.
#[derive(Debug)]
pub struct Route {
    /// What it does.
    pub spec: RouteSpec,
    /// Which requests it serves.
    pub matcher: Matcher,
    /// Where it forwards to; `None` where it answers itself.
    pub cluster: Option<Arc<Cluster>>,
    /// What is counted for it.
    pub metrics: Arc<RouteMetrics>,
}

/// All that is configured of requests: immutable, one for all workers, replaced as a whole.
#[derive(Debug)]
pub struct Site {
    pub(super) settings: Settings,
    pub(super) routes: Vec<SiteRoute>,
    /// Claim headers of the settings, as [`super::headers`] wants them.
    pub(super) identity: HashSet<Box<str>>,
    /// Counts requests that no route serves.
    pub(super) unrouted: Arc<RouteMetrics>,
    client_auth: Arc<ClientAuth>,
    /// Set on our answers to those.
    pub(super) response_headers: Arc<[(HeaderName, HeaderValue)]>,
    table: Table,
}

/// A [`Route`] with what can be computed beforehand.
#[derive(Debug)]
pub(super) struct SiteRoute {
    /// Its place in [`Site::routes`].
    pub(super) index: usize,
    pub(super) spec: RouteSpec,
    host: HostMatch,
    port: PortMatch,
    pub(super) path: PathMatch,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) request_rules: RequestRules,
    pub(super) looks_at_certificate: bool,
    /// The site's, where the route has no rules for them.
    pub(super) response_headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Site {
    /// Compiles. The order of the routes is the order of precedence; `unrouted` counts requests
    /// that none of them serves, and `client_auth` is what each host asks its clients for.
    pub fn new(
        settings: Settings,
        routes: Vec<Route>,
        unrouted: Arc<RouteMetrics>,
        client_auth: Arc<ClientAuth>,
    ) -> Site {
        let response_headers = merged(&settings.response_headers, &Default::default()).into();
        Site {
            table: Table::new(routes.iter().map(|route| &route.matcher)),
            identity: identity_names(&settings.identity_headers),
            routes: routes
                .into_iter()
                .enumerate()
                .map(|(index, route)| SiteRoute::new(&settings, &response_headers, index, route))
                .collect(),
            response_headers,
            settings,
            unrouted,
            client_auth,
        }
    }

    /// How many routes it has.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// The upstreams of all routes; one may come several times.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let clusters = self.routes.iter().filter_map(|route| route.cluster.as_deref());
        clusters.flat_map(|cluster| cluster.endpoints())
    }

    /// Whether it has no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Whether a request for a host that asks its clients for a certificate came on a connection
    /// whose client was not asked for it. On another, its client can be.
    pub(super) fn is_misdirected(&self, conn: &Facts, host: &str) -> bool {
        conn.is_secure()
            && !(conn.certificate_asked && self.client_auth.covers(conn.sni.as_deref(), host))
    }

    /// Whether a certificate says who the user of a route is.
    pub(super) fn signs_in_by_certificate(&self, route: &SiteRoute) -> bool {
        self.settings.certificate_identity.is_some() && route.spec.client_trust.is_some()
    }

    /// The route of a request and its index.
    pub(super) fn find(&self, normal: &Normalised) -> Option<(usize, &SiteRoute)> {
        let index = self.table.find(&normal.host, normal.port, normal.path())?;
        self.routes.get(index).map(|route| (index, route))
    }
}

impl SiteRoute {
    fn new(
        settings: &Settings,
        site_headers: &Arc<[(HeaderName, HeaderValue)]>,
        index: usize,
        route: Route,
    ) -> SiteRoute {
        let rules = &route.spec.response_headers;
        let response_headers = match rules.disable || !rules.set.is_empty() {
            true => merged(&settings.response_headers, rules).into(),
            false => Arc::clone(site_headers),
        };
        SiteRoute {
            index,
            request_rules: RequestRules::new(&route.spec.request_headers),
            looks_at_certificate: route.spec.looks_at_certificate(settings.certificate_identity),
            response_headers,
            host: route.matcher.host,
            port: route.matcher.port,
            spec: route.spec,
            path: route.matcher.path,
            cluster: route.cluster,
            metrics: route.metrics,
        }
    }

    fn matcher(&self) -> Matcher {
        Matcher { host: self.host.clone(), port: self.port, path: self.path.clone() }
    }

    /// Names of headers that mean something to us in its requests.
    pub(super) fn reserved<'a>(&'a self, site: &'a Site) -> Reserved<'a> {
        Reserved { identity: &site.identity, rules: &self.request_rules }
    }
}

impl ConfiguredRoutes for Site {
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        let names = self.routes.iter().map(|route| route.metrics.name());
        Box::new(names.chain([self.unrouted.name()]))
    }

    fn shown(&self) -> Box<dyn Iterator<Item = RouteFacts> + '_> {
        Box::new(self.routes.iter().map(|route| RouteFacts {
            name: route.metrics.name().to_owned(),
            from: route.matcher().to_string(),
        }))
    }

    fn endpoints(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(Site::endpoints(self).map(|endpoint| &*endpoint.spec.authority))
    }
}

/// A worker's own hold on the shared [`Site`]: its requests count their references here, and never
/// touch the counter that all workers share.
#[derive(Debug)]
pub struct LocalSite(Arc<Site>);

impl Deref for LocalSite {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

/// What a worker serves requests with. It stays on its worker's thread.
#[derive(Debug)]
pub struct Context {
    /// The worker's connections to upstreams.
    pub upstreams: Upstreams,
    /// What the worker counts and logs into.
    pub observer: Rc<WorkerObserver>,
    pub(super) ids: RequestIds,
    clock: Arc<dyn TimeProvider>,
    site: RefCell<Rc<LocalSite>>,
}

impl Context {
    /// For one worker.
    pub fn new(upstreams: Upstreams, observer: Rc<WorkerObserver>, site: Arc<Site>) -> Context {
        let site = RefCell::new(Rc::new(LocalSite(site)));
        let clock = Arc::new(DefaultTimeProvider);
        Context { upstreams, observer, ids: RequestIds::new(), clock, site }
    }

    /// With another clock than the system's to judge certificates by.
    pub fn with_clock(self, clock: Arc<dyn TimeProvider>) -> Context {
        Context { clock, ..self }
    }

    /// The time to judge certificates by; `None` if the clock fails.
    pub(super) fn now(&self) -> Option<UnixTime> {
        self.clock.current_time()
    }

    /// The current site.
    pub fn site(&self) -> Rc<LocalSite> {
        self.site.borrow().clone()
    }

    /// Serves requests that come from now on with another site; those under way keep theirs.
    pub fn set_site(&self, site: Arc<Site>) {
        *self.site.borrow_mut() = Rc::new(LocalSite(site));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_can_be_shared_between_workers() {
        fn shared<T: Send + Sync>() {}
        shared::<Site>();
    }
}
