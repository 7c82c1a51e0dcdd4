//! Which endpoints a request has tried, and which it tries next.

use super::{Endpoint, EndpointKey, EndpointSet};

/// The endpoints that a request has tried. They are known by their keys: an endpoint that is listed
/// twice, or in another set of the cluster, is the same.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<EndpointKey>);

impl Tried {
    /// Adds an endpoint.
    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        self.0.push(endpoint.key);
    }

    fn has(&self, endpoint: &Endpoint) -> bool {
        self.0.contains(&endpoint.key)
    }

    /// The first of `draws` that was not tried and is not to come last. If there is none, the endpoints
    /// are gone through; those that come last are chosen if no other is left. `None` if the request has
    /// tried all that are available.
    pub(super) fn choose(
        &self,
        endpoints: &EndpointSet,
        draws: &mut impl Iterator<Item = usize>,
        is_last: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let first = draws.next()?;
        let is_untried = |index: &usize| !self.has(endpoints.endpoint(*index));
        let is_good = |index: &usize| is_untried(index) && !is_last(*index);
        if is_good(&first) {
            return Some(first);
        }
        let drawn = draws.find(is_good);
        let others = || {
            let all = endpoints.endpoints().len();
            let next = (1..all).map(move |step| (first + step) % all);
            next.filter(|index| endpoints.is_selectable(*index)).filter(is_untried)
        };
        drawn
            .or_else(|| others().find(|index| !is_last(*index)))
            .or_else(|| Some(first).filter(is_untried))
            .or_else(|| others().next())
    }
}

impl EndpointSet {
    /// The endpoints that requests may go to now, without those that were tried.
    pub(super) fn selectable_but(&self, tried: &Tried) -> impl Iterator<Item = usize> {
        (0..self.endpoints().len())
            .filter(|index| self.is_selectable(*index) && !tried.has(self.endpoint(*index)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::upstream::{
        BalancePolicy,
        testing::{cluster, endpoint},
    };

    fn set(addresses: &[&str]) -> Arc<EndpointSet> {
        let specs = addresses.iter().map(|at| endpoint(at)).collect();
        Arc::clone(&cluster(specs, BalancePolicy::RoundRobin).current())
    }

    fn tried(endpoints: &EndpointSet, indices: &[usize]) -> Tried {
        let mut tried = Tried::default();
        indices.iter().for_each(|index| tried.add(endpoints.endpoint(*index)));
        tried
    }

    #[test]
    fn an_endpoint_that_is_listed_twice_is_tried_once() {
        let endpoints = set(&["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2"]);
        let tried = tried(&endpoints, &[0]);
        assert_eq!(endpoints.selectable_but(&tried).collect::<Vec<_>>(), [2]);
    }

    proptest! {
        #[test]
        fn the_best_endpoint_that_is_left_is_chosen(
            tried_ones in prop::collection::vec(0..4usize, 0..5),
            last in prop::collection::vec(any::<bool>(), 4),
            draws in prop::collection::vec(0..4usize, 1..9),
        ) {
            let endpoints = set(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]);
            let tried = tried(&endpoints, &tried_ones);
            let left: Vec<_> = (0..4).filter(|index| !tried_ones.contains(index)).collect();
            let good: Vec<_> = left.iter().copied().filter(|index| !last[*index]).collect();
            let chosen = tried.choose(&endpoints, &mut draws.iter().copied(), |index| last[index]);
            match chosen {
                None => prop_assert!(left.is_empty()),
                Some(index) if good.is_empty() => prop_assert!(left.contains(&index)),
                Some(index) => prop_assert!(good.contains(&index)),
            }
            if let (Some(drawn), true) = (draws.iter().find(|at| good.contains(at)), chosen.is_some()) {
                prop_assert_eq!(chosen, Some(*drawn), "shares are the balancer's");
            }
        }
    }
}
