//! The endpoints of a cluster at one time.

use std::{collections::HashMap, sync::Arc};

use super::{
    BalancePolicy, ClusterSpec, Endpoint, EndpointSpec,
    balance::{Balance, Candidate},
    endpoint::identity,
};

/// The endpoints of a cluster at one time, with the tables that choose among them. Immutable; clusters
/// of equal endpoints share it.
#[derive(Debug)]
pub(crate) struct EndpointSet {
    pub(super) balance: Balance,
    policy: BalancePolicy,
    first: Arc<Endpoint>,
    endpoints: Box<[Arc<Endpoint>]>,
}

impl EndpointSet {
    /// Compiles the tables. `endpoints` are those of the specification, in its order.
    pub(super) fn new(spec: &ClusterSpec, endpoints: Box<[Arc<Endpoint>]>) -> EndpointSet {
        let first = endpoints.first().expect("a cluster has at least one endpoint").clone();
        let balance = Balance::new(spec.balance, &candidates(&spec.endpoints));
        EndpointSet { balance, policy: spec.balance, first, endpoints }
    }

    /// In the order of the configuration; at least one.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint at an index; the first one if the index is out of range.
    pub(crate) fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        self.endpoints.get(index).unwrap_or(&self.first)
    }

    /// Whether requests go to the same places, over the same connections, in the same shares.
    pub(super) fn is_equivalent(&self, other: &EndpointSet) -> bool {
        let same = |(one, other): (&Arc<Endpoint>, &Arc<Endpoint>)| one.is_equivalent(other);
        self.policy == other.policy
            && self.endpoints.len() == other.endpoints.len()
            && self.endpoints.iter().zip(&other.endpoints).all(same)
    }
}

/// The endpoints for the balancer. An endpoint that is listed twice counts twice, with two
/// identities.
fn candidates(endpoints: &[Arc<EndpointSpec>]) -> Vec<Candidate> {
    let mut listed: HashMap<String, u32> = HashMap::new();
    let mut candidate = |endpoint: &Arc<EndpointSpec>| {
        let address = identity(&endpoint.address);
        let before = listed.entry(address.clone()).or_insert(0);
        let identity = if *before == 0 { address } else { format!("{address}|{before}") };
        *before += 1;
        Candidate { identity, weight: endpoint.weight }
    };
    endpoints.iter().map(&mut candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{cluster, endpoint};

    #[test]
    fn an_endpoint_listed_twice_has_two_identities() {
        let twice = ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:12"].map(|at| Arc::new(endpoint(at)));
        let identities: Vec<_> = candidates(&twice).into_iter().map(|c| c.identity).collect();
        assert_eq!(identities, ["127.0.0.1:1", "127.0.0.1:1|1", "127.0.0.1:12"]);
    }

    #[test]
    fn what_changes_for_requests_makes_another_set() {
        let listed = || vec![endpoint("127.0.0.1:1"), endpoint("127.0.0.1:2")];
        let set = |specs, policy| Arc::clone(&cluster(specs, policy).current());
        let one = set(listed(), BalancePolicy::RoundRobin);
        assert!(one.is_equivalent(&set(listed(), BalancePolicy::RoundRobin)));
        assert!(!one.is_equivalent(&set(listed(), BalancePolicy::Maglev)));
        let changes: [fn(&mut Vec<EndpointSpec>); 5] = [
            |specs| specs.swap(0, 1),
            |specs| specs.push(endpoint("127.0.0.1:3")),
            |specs| specs[1] = endpoint("127.0.0.1:3"),
            |specs| specs[1].weight = 2,
            |specs| specs[1].authority = "localhost:2".into(),
        ];
        for change in changes {
            let mut specs = listed();
            change(&mut specs);
            assert!(
                !one.is_equivalent(&set(specs.clone(), BalancePolicy::RoundRobin)),
                "{specs:?}"
            );
        }
    }
}
