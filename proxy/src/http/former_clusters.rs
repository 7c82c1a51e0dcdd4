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
/// balance: those may stay.
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
            let is_balanced = cluster.current().endpoints().len() > 1;
            is_balanced.then(|| (&*route.spec.name, (route, cluster)))
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
