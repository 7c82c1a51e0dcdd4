//! The clusters of a configuration that another is about to replace.

use std::{collections::HashMap, sync::Arc};

use super::{
    request_config::{CompiledRoute, RequestConfig},
    spec::{RequestSettings, RouteSpec},
};
use crate::{
    route::Matcher,
    upstream::{Cluster, FormerCluster},
};

/// The clusters of a configuration that another is about to replace, where there is something to
/// balance, which may stay, or where something is known of endpoints.
#[derive(Debug)]
pub(crate) struct FormerClusters<'a> {
    settings: &'a RequestSettings,
    by_route: HashMap<&'a str, (&'a CompiledRoute, &'a Arc<Cluster>)>,
}

impl<'a> FormerClusters<'a> {
    /// Those of a configuration.
    pub(crate) fn of(config: &'a RequestConfig) -> FormerClusters<'a> {
        let balanced = |route: &'a CompiledRoute| {
            let cluster = route.cluster.as_ref()?;
            let current = cluster.current();
            let is_needed = current.endpoints().len() > 1 || current.health().is_some();
            is_needed.then(|| (&*route.spec.name, (route, cluster)))
        };
        let by_route = config.routes.iter().filter_map(balanced).collect();
        FormerClusters { settings: &config.settings, by_route }
    }

    /// The cluster of the route of this name.
    pub(crate) fn get(
        &self,
        settings: &RequestSettings,
        spec: &RouteSpec,
        matcher: &Matcher,
    ) -> Option<FormerCluster<'a>> {
        let (route, cluster) = self.by_route.get(&*spec.name)?;
        let is_same_route = *self.settings == *settings
            && route.is_matched_by(matcher)
            && route.spec.is_equal_but_for_cluster(spec);
        Some(FormerCluster { cluster, is_same_route })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};
    use regex::Regex;

    use super::*;
    use crate::{
        http::{
            request_config::Route,
            spec::{ActionSpec, HostRewrite, PathRewrite, ProxySpec, RegexRewrite},
            testing::{Made, everybody, proxy, route, settings},
        },
        identity::spec::DependentHost,
        observe::{EndpointRegistry, RouteMetrics},
        policy::{Policy, PolicySpec},
        route::{HostMatch, PathMatch, PortMatch},
        tls::ClientAuth,
        upstream::{
            BalancePolicy, ClusterCompiler, ClusterSpec, DnsFamily, DnsNames, DnsSpec,
            EjectionSender, EndpointAddress, EndpointSpec, Protocol,
        },
    };

    fn to(ports: &[u16]) -> Arc<ClusterSpec> {
        let endpoint = |port: &u16| {
            Arc::new(EndpointSpec {
                authority: format!("127.0.0.1:{port}").into(),
                address: EndpointAddress::Ip(([127, 0, 0, 1], *port).into()),
                weight: 1,
                tls: None,
                protocol: Protocol::Auto,
            })
        };
        Arc::new(ClusterSpec {
            endpoints: ports.iter().map(endpoint).collect(),
            balance: BalancePolicy::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            resilience: None,
        })
    }

    /// A route to two endpoints, and its settings.
    type Configured = (RequestSettings, RouteSpec, Matcher);

    fn configured() -> Configured {
        let regex =
            |text| RegexRewrite { pattern: Regex::new(text).unwrap(), substitution: "/x".into() };
        let proxy = ProxySpec {
            cluster: to(&[1, 2]),
            path: PathRewrite::Regex(regex("/a")),
            host: HostRewrite::PathRegex(regex("/b")),
            ..proxy()
        };
        let path = PathMatch::Regex(Regex::new("/c").unwrap());
        let matcher = Matcher { host: HostMatch::Exact("a".into()), port: PortMatch::Any, path };
        (settings(), route(everybody(), ActionSpec::Proxy(proxy)), matcher)
    }

    /// What a configuration that follows finds of this route.
    fn is_same_route(next: &Configured) -> Option<bool> {
        let (settings, spec, matcher) = configured();
        let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Only });
        let registry = Arc::new(EndpointRegistry::new(1));
        let ejections = EjectionSender::detached();
        let mut compiler = ClusterCompiler::new(&names, &registry, &ejections);
        let cluster =
            spec.action.cluster().map(|cluster| compiler.compile(&spec.name, cluster, || None));
        let metrics = Arc::new(RouteMetrics::new(1));
        let route = Route { spec, matcher, cluster, metrics: Arc::clone(&metrics) };
        let client_auth = Arc::new(ClientAuth::default());
        let config = RequestConfig::new(settings, [route], metrics, client_auth);
        let (settings, spec, matcher) = next;
        let former = FormerClusters::of(&config).get(settings, spec, matcher)?;
        Some(former.is_same_route)
    }

    fn proxy_of(next: &mut Configured) -> &mut ProxySpec {
        match &mut next.1.action {
            ActionSpec::Proxy(proxy) => proxy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_route_is_the_same_whatever_its_endpoints() {
        let mut next = configured();
        assert_eq!(is_same_route(&next), Some(true));
        proxy_of(&mut next).cluster = to(&[3, 4, 5]);
        assert_eq!(is_same_route(&next), Some(true));
        next.1.name = "b".into();
        assert_eq!(is_same_route(&next), None);
    }

    #[test]
    fn whatever_else_changes_makes_another_route() {
        let changes: [fn(&mut Configured); 17] = [
            |(settings, ..)| settings.normalize_path = false,
            |(_, spec, _)| spec.policy = Policy::new(&PolicySpec::default()).into(),
            |(_, spec, _)| spec.client_trust = Some(Made::alice().trust.into()),
            |(_, spec, _)| spec.timeout = Some(Duration::from_secs(1)),
            |(_, spec, _)| spec.idle_timeout = Some(Duration::from_secs(1)),
            |(_, spec, _)| spec.upgrades = vec!["websocket".into()],
            |(_, spec, _)| spec.request_headers.remove = vec![HeaderName::from_static("x")],
            |(_, spec, _)| spec.response_headers.disable = true,
            |(_, spec, _)| {
                spec.depends_on = [DependentHost { host: "b".into(), port: 443 }].into();
            },
            |next| proxy_of(next).path = PathRewrite::Keep,
            |next| proxy_of(next).host = HostRewrite::Preserve,
            |next| proxy_of(next).host = HostRewrite::Literal(HeaderValue::from_static("h")),
            |next| proxy_of(next).client_certificate.xfcc.hash = true,
            |(_, _, matcher)| matcher.host = HostMatch::Exact("b".into()),
            |(_, _, matcher)| matcher.port = PortMatch::Is(1),
            |(_, _, matcher)| matcher.path = PathMatch::Regex(Regex::new("/d").unwrap()),
            |(_, _, matcher)| matcher.path = PathMatch::Any,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut next = configured();
            change(&mut next);
            assert_eq!(is_same_route(&next), Some(false), "change {number}");
        }
    }
}
