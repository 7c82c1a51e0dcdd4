//! Compiles the clusters of a configuration.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    Cluster, ClusterSpec, DnsNames, EjectionSender, Endpoint, EndpointSet, EndpointSpec,
    StagedEndpoints, cluster::ConfiguredEndpoints, health::HealthInheritance,
};
use crate::observe::EndpointRegistry;

/// Compiles the clusters of one configuration. Endpoints of one specification are one, and so are
/// clusters of one specification that have nothing to balance.
#[derive(Debug)]
pub(crate) struct ClusterCompiler<'a> {
    names: &'a DnsNames,
    metrics: &'a Arc<EndpointRegistry>,
    health: HealthInheritance<'a>,
    /// By the address of their specification, which each of them holds.
    endpoints: HashMap<*const EndpointSpec, Arc<Endpoint>>,
    /// By the address of their specification, which each of them holds.
    sets: HashMap<*const ClusterSpec, SharedSet>,
    compiled: CompiledClusters,
}

/// What a configuration's clusters need besides their routes.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct CompiledClusters {
    /// The new sets of clusters that stay.
    pub staged: Vec<StagedEndpoints>,
    /// The clusters that are checked, or eject.
    pub watched: Vec<Weak<Cluster>>,
}

/// What routes of one specification share.
#[derive(Debug)]
struct SharedSet {
    /// Keeps the address from being used again.
    _spec: Arc<ClusterSpec>,
    endpoints: Arc<EndpointSet>,
    /// If there is one endpoint.
    cluster: Option<Arc<Cluster>>,
}

/// The cluster that a route has in the configuration in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormerCluster<'a> {
    /// The cluster.
    pub cluster: &'a Arc<Cluster>,
    /// Whether its route stays the same, but for the endpoints.
    pub is_same_route: bool,
}

impl<'a> ClusterCompiler<'a> {
    /// DNS names of endpoints are handed to the resolver, endpoints count into `metrics`, and workers
    /// propose what to eject to `ejections`.
    pub(crate) fn new(
        names: &'a DnsNames,
        metrics: &'a Arc<EndpointRegistry>,
        ejections: &'a EjectionSender,
    ) -> ClusterCompiler<'a> {
        ClusterCompiler {
            names,
            metrics,
            health: HealthInheritance::new(metrics.workers(), ejections),
            endpoints: HashMap::new(),
            sets: HashMap::new(),
            compiled: CompiledClusters::default(),
        }
    }

    /// Compiles the cluster of the route of this name, or stages the endpoints of its former one, if
    /// that may stay.
    ///
    /// It stays if the route does. The former configuration has the same cluster, and workers use it
    /// until they get the new one: a request that the former policy admits must not reach an endpoint
    /// that was added with a stricter policy. A cluster that does not stay leaves the next one what is
    /// known of its endpoints.
    pub(crate) fn compile<'f>(
        &mut self,
        name: &Arc<str>,
        spec: &Arc<ClusterSpec>,
        former: impl FnOnce() -> Option<FormerCluster<'f>>,
    ) -> Arc<Cluster> {
        let shared = self.shared(spec);
        if let Some(cluster) = &shared.cluster {
            return Arc::clone(cluster);
        }
        let all = Arc::clone(&shared.endpoints);
        let is_single = all.endpoints().len() == 1;
        let watched = spec.resilience.as_ref().filter(|resilience| resilience.watches_health());
        let former = if is_single && watched.is_none() { None } else { former() };
        let former_set = former.map(|former| former.cluster.current());
        let health = watched.map(|spec| {
            Arc::new(self.health.compile(
                name,
                spec,
                all.endpoints(),
                former_set.as_deref().map(|set| &**set),
            ))
        });
        let next = ConfiguredEndpoints { all, health };
        let may_stay = |former: &FormerCluster<'_>| {
            // One of a single endpoint is shared by routes that may be told apart by now.
            !is_single
                && former.cluster.connect_timeout() == spec.connect_timeout
                && former.cluster.resilience() == spec.resilience.as_ref()
                && (former.is_same_route || former.cluster.current().is_equivalent(&next.all))
        };
        let cluster = match former.filter(may_stay) {
            Some(FormerCluster { cluster, .. }) => {
                let cluster = Arc::clone(cluster);
                self.compiled.staged.push(StagedEndpoints { cluster: Arc::clone(&cluster), next });
                cluster
            }
            None => Arc::new(Cluster::new(spec, next, Instant::now())),
        };
        if watched.is_some() {
            self.compiled.watched.push(Arc::downgrade(&cluster));
        }
        // Limits are of one route.
        let is_limited = spec.resilience.as_ref().is_some_and(|it| !it.limits.is_unlimited());
        if is_single && !is_limited {
            self.shared(spec).cluster = Some(Arc::clone(&cluster));
        }
        cluster
    }

    /// What the clusters need besides their routes.
    pub(crate) fn finish(self) -> CompiledClusters {
        self.compiled
    }

    fn shared(&mut self, spec: &Arc<ClusterSpec>) -> &mut SharedSet {
        let ClusterCompiler { names, metrics, endpoints, sets, .. } = self;
        sets.entry(Arc::as_ptr(spec)).or_insert_with(|| {
            let endpoint = |spec: &Arc<EndpointSpec>| {
                let make = || Arc::new(Endpoint::new(spec, names, metrics));
                Arc::clone(endpoints.entry(Arc::as_ptr(spec)).or_insert_with(make))
            };
            let all = spec.endpoints.iter().map(endpoint).collect();
            let endpoints = Arc::new(EndpointSet::new(spec, all));
            SharedSet { _spec: Arc::clone(spec), endpoints, cluster: None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        DnsFamily, DnsSpec, OutlierSpec, ResilienceSpec,
        testing::{self, endpoint},
    };

    /// Routes to these endpoints, each with its former cluster.
    fn compile(
        routes: &[(&[&str], Option<FormerCluster<'_>>)],
    ) -> (Vec<Arc<Cluster>>, Vec<StagedEndpoints>) {
        let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
        let registry = Arc::new(EndpointRegistry::new(1));
        let ejections = EjectionSender::detached();
        let mut compiler = ClusterCompiler::new(&names, &registry, &ejections);
        let mut specs = HashMap::new();
        let clusters = routes.iter().map(|(addresses, former)| {
            let endpoints = || addresses.iter().map(|at| Arc::new(endpoint(at))).collect();
            let spec = specs.entry(*addresses);
            let spec = spec.or_insert_with(|| Arc::new(testing::spec(endpoints())));
            compiler.compile(&"a".into(), spec, || *former)
        });
        (clusters.collect(), compiler.finish().staged)
    }

    fn cluster(addresses: &[&str]) -> Arc<Cluster> {
        compile(&[(addresses, None)]).0.remove(0)
    }

    const TWO: &[&str] = &["127.0.0.1:1", "127.0.0.1:2"];
    const OTHERS: &[&str] = &["127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"];

    #[test]
    fn single_upstreams_are_shared_and_balanced_ones_are_not() {
        let single: &[&str] = &["127.0.0.1:1"];
        let (clusters, _) = compile(&[(single, None), (single, None), (TWO, None), (TWO, None)]);
        assert!(Arc::ptr_eq(&clusters[0], &clusters[1]));
        assert_ne!(clusters[2].id, clusters[3].id);
        assert!(Arc::ptr_eq(&clusters[2].current(), &clusters[3].current()), "tables are shared");
    }

    #[test]
    fn a_route_that_stays_keeps_its_cluster() {
        let former = cluster(TWO);
        let (clusters, staged) = compile(&[(OTHERS, Some(former_of(&former, true)))]);
        assert!(Arc::ptr_eq(&clusters[0], &former));
        assert_eq!(
            former.current().endpoints().len(),
            2,
            "nothing is in use before it is published"
        );
        staged.into_iter().for_each(|staged| drop(staged.publish()));
        assert_eq!(former.current().endpoints().len(), 3);
    }

    #[test]
    fn a_route_that_changes_keeps_its_cluster_if_its_endpoints_stay() {
        let former = cluster(TWO);
        let (clusters, staged) = compile(&[(TWO, Some(former_of(&former, false)))]);
        assert!(Arc::ptr_eq(&clusters[0], &former));
        assert_eq!(staged.len(), 1, "what belongs to the former configuration is let go");
    }

    #[test]
    fn the_former_policy_leads_to_no_new_endpoint() {
        let former = cluster(TWO);
        let (clusters, staged) = compile(&[(OTHERS, Some(former_of(&former, false)))]);
        assert_ne!(clusters[0].id, former.id);
        assert!(staged.is_empty());
        assert_eq!(former.current().endpoints().len(), 2);
    }

    #[test]
    fn a_route_without_checks_pays_a_few_bytes_for_its_cluster() {
        // There may be 100,000.
        assert!(size_of::<Cluster>() <= 32, "{}", size_of::<Cluster>());
        assert!(size_of::<ClusterSpec>() <= 48, "{}", size_of::<ClusterSpec>());
        assert!(size_of::<EndpointSet>() <= 64, "{}", size_of::<EndpointSet>());
    }

    /// The cluster of a route that ejects and is checked as `change` says, after its former one.
    fn watched(
        addresses: &[&str],
        former: Option<FormerCluster<'_>>,
        change: impl FnOnce(&mut ResilienceSpec),
    ) -> (Arc<Cluster>, Vec<StagedEndpoints>) {
        let outlier = Some(OutlierSpec::default());
        let mut resilience = ResilienceSpec { outlier, ..ResilienceSpec::default() };
        change(&mut resilience);
        let endpoints = addresses.iter().map(|at| Arc::new(endpoint(at))).collect();
        let resilience = Some(Arc::new(resilience));
        let spec = ClusterSpec { resilience, ..testing::spec(endpoints) };
        let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
        let registry = Arc::new(EndpointRegistry::new(1));
        let ejections = EjectionSender::detached();
        let mut compiler = ClusterCompiler::new(&names, &registry, &ejections);
        let cluster = compiler.compile(&"a".into(), &Arc::new(spec), || former);
        let CompiledClusters { staged, watched } = compiler.finish();
        assert_eq!(watched.len(), 1, "the health thread hears of it");
        (cluster, staged)
    }

    fn eject(cluster: &Cluster, index: usize) {
        cluster.current().endpoint_health(index).unwrap().set_ejected(true, Instant::now());
        assert!(cluster.refresh_available(Instant::now()));
    }

    #[test]
    fn what_is_known_of_endpoints_stays_with_the_cluster() {
        let (former, _) = watched(TWO, None, |_| ());
        eject(&former, 1);
        let (cluster, staged) = watched(OTHERS, Some(former_of(&former, true)), |_| ());
        assert!(Arc::ptr_eq(&cluster, &former));
        staged.into_iter().for_each(|staged| drop(staged.publish()));
        let selectable = [0, 1, 2].map(|index| cluster.current().is_selectable(index));
        assert_eq!(selectable, [false, true, true], "its index has changed");
    }

    #[test]
    fn what_is_known_of_an_only_endpoint_outlasts_its_cluster() {
        let single: &[&str] = &["127.0.0.1:1"];
        let zero = |spec: &mut ResilienceSpec| spec.panic_threshold_percent = 0;
        let (former, _) = watched(single, None, zero);
        eject(&former, 0);
        let (cluster, staged) = watched(single, Some(former_of(&former, true)), zero);
        assert!(!Arc::ptr_eq(&cluster, &former) && staged.is_empty());
        assert!(!cluster.current().is_selectable(0));
    }

    #[test]
    fn another_ejection_begins_from_nothing_and_the_same_checks_keep_their_verdict() {
        let (former, _) = watched(TWO, None, |_| ());
        eject(&former, 0);
        let health = Arc::clone(former.current().endpoint_health(1).unwrap());
        health.set_failed_check(true, Instant::now());
        let (cluster, _) = watched(TWO, Some(former_of(&former, true)), |spec| {
            spec.outlier = Some(OutlierSpec { consecutive_5xx: 9, ..OutlierSpec::default() });
        });
        assert!(!Arc::ptr_eq(&cluster, &former), "limits of a cluster change with it");
        let selectable = [0, 1].map(|index| cluster.current().is_selectable(index));
        assert_eq!(selectable, [true, false]);
    }

    #[test]
    fn one_state_is_of_one_cluster() {
        let single: &[&str] = &["127.0.0.1:1"];
        let (former, _) = watched(single, None, |_| ());
        let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
        let registry = Arc::new(EndpointRegistry::new(1));
        let ejections = EjectionSender::detached();
        let mut compiler = ClusterCompiler::new(&names, &registry, &ejections);
        let mut compile = || {
            let resilience = former.resilience().cloned();
            let endpoints = vec![Arc::new(endpoint("127.0.0.1:1"))];
            let spec = Arc::new(ClusterSpec { resilience, ..testing::spec(endpoints) });
            compiler.compile(&"a".into(), &spec, || Some(former_of(&former, true)))
        };
        let (one, other) = (compile(), compile());
        let state = |cluster: &Cluster| Arc::clone(cluster.current().endpoint_health(0).unwrap());
        assert!(Arc::ptr_eq(&state(&one), &state(&former)));
        assert!(!Arc::ptr_eq(&state(&other), &state(&former)));
    }

    fn former_of(cluster: &Arc<Cluster>, is_same_route: bool) -> FormerCluster<'_> {
        FormerCluster { cluster, is_same_route }
    }
}
