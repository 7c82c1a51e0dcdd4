//! The endpoints of a cluster at one time.

use std::{collections::HashMap, sync::Arc};

use portcullis_abi::SplitMix64;

use super::{
    BalancePolicy, ClusterHealth, ClusterSpec, Endpoint, EndpointHealth, EndpointSpec,
    balance::{Balance, Candidate},
    endpoint::identity,
    health::{Availability, EndpointShare},
};

/// The endpoints of a cluster at one time, with the tables that choose among those that are available.
/// Immutable; clusters of equal endpoints share it, unless their endpoints have a state.
#[derive(Debug)]
pub(crate) struct EndpointSet {
    /// Over the available endpoints.
    balance: Balance,
    policy: BalancePolicy,
    first: Arc<Endpoint>,
    /// All that are configured.
    endpoints: Box<[Arc<Endpoint>]>,
    /// `None` if all endpoints are always available.
    watched: Option<Box<WatchedEndpoints>>,
}

/// What a set has if its endpoints are checked, or may be ejected.
#[derive(Debug)]
struct WatchedEndpoints {
    health: Arc<ClusterHealth>,
    availability: Availability,
    /// The tables choose among these, by their indices in the set. `None` if they choose among all, or
    /// if those have turns, whose weights are of all endpoints.
    chosen_among: Option<Box<[u32]>>,
    /// The weights of turns now; 0 for an endpoint that is not available. `None` if they are the
    /// configured ones.
    turn_weights: Option<Box<[u32]>>,
    is_empty: bool,
}

/// The weights of endpoints whose turns a worker takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnWeights<'a> {
    /// As configured. Others make other turns.
    pub(super) configured: &'a [u32],
    /// Now: 0 for an endpoint that has no turn.
    pub(super) current: &'a [u32],
}

impl EndpointSet {
    /// Compiles the tables. `endpoints` are those of the specification, in its order.
    pub(super) fn new(spec: &ClusterSpec, endpoints: Box<[Arc<Endpoint>]>) -> EndpointSet {
        let first = endpoints.first().expect("a cluster has at least one endpoint").clone();
        let balance = Balance::new(spec.balance, &candidates(&spec.endpoints));
        EndpointSet { balance, policy: spec.balance, first, endpoints, watched: None }
    }

    /// The same endpoints, chosen by what is known of them. `self` is a set without that.
    pub(super) fn watched(
        &self,
        health: Arc<ClusterHealth>,
        availability: Availability,
    ) -> EndpointSet {
        let scale = match health.spec.slow_start {
            Some(_) => weight_scale(&self.endpoints),
            None => 1,
        };
        let (balance, chosen_among, turn_weights) = self.tables(&availability, scale);
        let is_empty = !availability.shares.iter().any(|share| share.is_some());
        let watched =
            WatchedEndpoints { health, availability, chosen_among, turn_weights, is_empty };
        EndpointSet {
            balance,
            policy: self.policy,
            first: Arc::clone(&self.first),
            endpoints: self.endpoints.clone(),
            watched: Some(Box::new(watched)),
        }
    }

    /// In the order of the configuration, whether available or not; at least one.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The endpoint at an index; the first one if the index is out of range.
    pub(crate) fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        self.endpoints.get(index).unwrap_or(&self.first)
    }

    /// Whether it was compiled from this.
    pub(super) fn is_of(&self, health: &Arc<ClusterHealth>, availability: &Availability) -> bool {
        let is_same = |watched: &WatchedEndpoints| {
            Arc::ptr_eq(&watched.health, health) && watched.availability == *availability
        };
        self.watched.as_deref().is_some_and(is_same)
    }

    /// What is known of the endpoints; `None` if nothing is kept of them.
    pub(crate) fn health(&self) -> Option<&Arc<ClusterHealth>> {
        self.watched.as_ref().map(|watched| &watched.health)
    }

    /// What is known of an endpoint.
    pub(crate) fn endpoint_health(&self, index: usize) -> Option<&Arc<EndpointHealth>> {
        self.health()?.endpoints().get(index)
    }

    /// Whether so few endpoints are available that all are used.
    pub(crate) fn is_panic(&self) -> bool {
        self.watched.as_ref().is_some_and(|watched| watched.availability.is_panic)
    }

    /// Whether requests may go to an endpoint now.
    pub(crate) fn is_selectable(&self, index: usize) -> bool {
        match &self.watched {
            Some(watched) => watched.availability.includes(index),
            None => index < self.endpoints.len(),
        }
    }

    /// How many endpoints requests may go to now.
    pub(super) fn selectable(&self) -> usize {
        match &self.watched {
            Some(_) => (0..self.endpoints.len()).filter(|index| self.is_selectable(*index)).count(),
            None => self.endpoints.len(),
        }
    }

    /// Chooses an endpoint for a client with this hash; `None` if none is available.
    ///
    /// `turn` returns the worker's own state for round robin, `in_flight` the number of this
    /// worker's open requests to an endpoint.
    pub(super) fn pick(
        &self,
        client_hash: u64,
        random: &mut SplitMix64,
        in_flight: impl Fn(usize) -> usize,
        turn: impl FnOnce(TurnWeights<'_>) -> usize,
    ) -> Option<usize> {
        let Some(watched) = &self.watched else {
            let turn =
                |weights: &[u32]| turn(TurnWeights { configured: weights, current: weights });
            return Some(match self.endpoints.len() {
                1 => 0,
                _ => self.balance.pick(client_hash, random, in_flight, turn),
            });
        };
        if watched.is_empty {
            return None;
        }
        let turn = |configured: &[u32]| {
            turn(TurnWeights { configured, current: watched.turn_weights(configured) })
        };
        let in_flight = |picked| in_flight(watched.index(picked));
        Some(watched.index(self.balance.pick(client_hash, random, in_flight, turn)))
    }

    /// Whether requests go to the same places, over the same connections, in the same shares, if all
    /// endpoints are available.
    pub(super) fn is_equivalent(&self, other: &EndpointSet) -> bool {
        let same = |(one, other): (&Arc<Endpoint>, &Arc<Endpoint>)| one.is_equivalent(other);
        self.policy == other.policy
            && self.endpoints.len() == other.endpoints.len()
            && self.endpoints.iter().zip(&other.endpoints).all(same)
    }

    /// The tables over the endpoints that get requests, the indices of those, and the weights of turns.
    fn tables(&self, availability: &Availability, scale: u32) -> Tables {
        let weight = |index: usize, endpoint: &Arc<Endpoint>| {
            let share = availability.shares.get(index).copied().unwrap_or(EndpointShare::FULL);
            scaled(endpoint.spec.weight, scale, share)
        };
        let all = || self.endpoints.iter().enumerate();
        if self.policy == BalancePolicy::RoundRobin {
            let configured = all().map(|(_, endpoint)| full_weight(endpoint, scale)).collect();
            let current = all().map(|(index, endpoint)| weight(index, endpoint)).collect();
            let turn_weights = (!availability.is_full()).then_some(current);
            return (Balance::RoundRobin(configured), None, turn_weights);
        }
        if availability.is_full() {
            return (self.balance.clone(), None, None);
        }
        if let Some(ring) = self.balance.only(|index| availability.includes(index)) {
            return (ring, None, None);
        }
        let specs: Vec<_> = all().map(|(_, endpoint)| Arc::clone(&endpoint.spec)).collect();
        let chosen = all().zip(candidates(&specs)).filter_map(|((index, endpoint), candidate)| {
            // A table of hashes that followed each step of a slow start would move clients with each.
            let is_hashed = self.policy == BalancePolicy::Maglev;
            let weight = if is_hashed { candidate.weight } else { weight(index, endpoint) };
            let position = u32::try_from(index).ok().filter(|_| availability.includes(index))?;
            Some((position, Candidate { weight, ..candidate }))
        });
        let (indices, chosen): (Vec<_>, Vec<_>) = chosen.unzip();
        (Balance::new(self.policy, &chosen), Some(indices.into()), None)
    }
}

type Tables = (Balance, Option<Box<[u32]>>, Option<Box<[u32]>>);

impl WatchedEndpoints {
    /// The index in the set of what the tables have picked.
    fn index(&self, picked: usize) -> usize {
        match &self.chosen_among {
            Some(indices) => indices.get(picked).map_or(picked, |index| *index as usize),
            None => picked,
        }
    }

    fn turn_weights<'a>(&'a self, configured: &'a [u32]) -> &'a [u32] {
        self.turn_weights.as_deref().unwrap_or(configured)
    }
}

/// What weights are multiplied by, so that a share of them in percent is a number of its own.
fn weight_scale(endpoints: &[Arc<Endpoint>]) -> u32 {
    let heaviest = endpoints.iter().map(|endpoint| endpoint.spec.weight).max().unwrap_or(1);
    (u32::MAX / heaviest.max(1)).clamp(1, 100)
}

fn full_weight(endpoint: &Arc<Endpoint>, scale: u32) -> u32 {
    scaled(endpoint.spec.weight, scale, EndpointShare::FULL)
}

/// At least 1 for an endpoint that is available.
fn scaled(weight: u32, scale: u32, EndpointShare(percent): EndpointShare) -> u32 {
    if percent == 0 {
        return 0;
    }
    let full = u64::from(weight.max(1)) * u64::from(scale);
    u32::try_from((full * u64::from(percent) / 100).max(1)).unwrap_or(u32::MAX)
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
mod tests;
