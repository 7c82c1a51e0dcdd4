//! A worker's share of the connections to upstreams: each open socket holds one permit of it, from
//! the connect until it is closed, tunnels and closing connections included.
//!
//! No endpoint gets all of it: an upstream that accepts and never answers would take the connections
//! of all other upstreams. An endpoint may have some times as many as are free (dynamic thresholds:
//! Choudhury and Hahne, 1998): one endpoint alone gets most of the share, several that want all of it
//! leave something free, and only an endpoint with few connections gets the last one. The same holds
//! for requests that wait.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak as RcWeak},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    breaker::{CircuitBreaker, CircuitOpen, CircuitPermit},
    endpoint_pool::{EndpointPool, PooledConnection},
};
use crate::{observe::CircuitLimit, rt};

/// How long a request waits for room in the share. Longer than a usual request, and short beside the
/// time-out of a client.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How many times as many connections an endpoint may have as are free.
const ENDPOINT_TIMES_FREE: usize = 4;

/// A worker's share. It belongs to the worker's thread.
#[derive(Debug)]
pub(super) struct ConnectionShare {
    most: usize,
    free: Cell<usize>,
    /// Requests that wait for room; never more than `most`.
    waiting: Cell<usize>,
    /// A permit has become free while a request waited, or a connection has become idle.
    room: Notify,
    /// Where idle connections are.
    pools: RefCell<Vec<RcWeak<EndpointPool>>>,
    /// How many endpoints have had a setback.
    pub(super) setbacks: Cell<usize>,
}

/// The connections to one endpoint, and the requests that wait for one.
#[derive(Debug, Default)]
pub(super) struct EndpointConnections {
    open: Cell<usize>,
    waiting: Cell<usize>,
    /// As [`ConnectionShare::room`], of this endpoint's connections alone.
    room: Notify,
}

/// The right to open one connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    share: Rc<ConnectionShare>,
    endpoint: Rc<EndpointConnections>,
    _circuit: Option<CircuitPermit>,
}

/// What a request goes on with.
#[derive(Debug)]
pub(super) enum Room {
    /// It may connect.
    Permit(ConnectionPermit),
    /// A connection of its endpoint has become free meanwhile.
    Pooled(PooledConnection),
}

/// There is no room for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    /// All connections of the share are in use.
    #[error(
        "all {most} connections to upstreams that this worker may have are in use; a higher limit on \
         open files allows more"
    )]
    Share { most: usize },
    /// The endpoint has so many of them that the rest is for others.
    #[error(
        "it has {open} of the {most} connections to upstreams that this worker may have, and the rest \
         is for other upstreams; a higher limit on open files allows more"
    )]
    Endpoint { open: usize, most: usize },
    /// The cluster has as many as its limit allows.
    #[error("{0}")]
    Circuit(CircuitOpen),
}

impl NoRoom {
    /// The limit.
    pub(super) fn limit(&self) -> CircuitLimit {
        match self {
            NoRoom::Share { .. } | NoRoom::Endpoint { .. } => CircuitLimit::OpenFiles,
            NoRoom::Circuit(open) => open.limit,
        }
    }
}

/// Where a request wants to connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedConnection<'a> {
    pub(super) endpoint: &'a Rc<EndpointConnections>,
    pub(super) breaker: Option<&'a Arc<CircuitBreaker>>,
    /// How long it waits at most.
    pub(super) limit: Duration,
}

impl ConnectionShare {
    /// A share of this size.
    pub(super) fn new(most: usize) -> Rc<ConnectionShare> {
        Rc::new(ConnectionShare {
            most,
            free: Cell::new(most),
            waiting: Cell::new(0),
            room: Notify::new(),
            pools: RefCell::default(),
            setbacks: Cell::new(0),
        })
    }

    /// Adds a pool whose idle connections may be closed to make room.
    pub(super) fn track(&self, pool: &Rc<EndpointPool>) {
        let mut pools = self.pools.borrow_mut();
        // Seldom: a pool must not cost a walk over all others.
        if pools.len().is_power_of_two() {
            pools.retain(|pool| pool.strong_count() > 0);
        }
        pools.push(Rc::downgrade(pool));
    }

    /// A permit, if there is one now.
    pub(super) fn permit(
        self: &Rc<Self>,
        wanted: WantedConnection<'_>,
    ) -> Result<ConnectionPermit, NoRoom> {
        let WantedConnection { endpoint, breaker, .. } = wanted;
        let (free, open) = (self.free.get(), endpoint.open.get());
        if free == 0 {
            return Err(NoRoom::Share { most: self.most });
        }
        if !is_fair(open, free) {
            return Err(NoRoom::Endpoint { open, most: self.most });
        }
        let circuit = match breaker {
            // A worker whose connections all belong to other workers could not serve anybody.
            Some(breaker) if open == 0 => breaker.admit_anyway(CircuitLimit::MaxConnections),
            Some(breaker) => {
                breaker.admit(CircuitLimit::MaxConnections).map_err(NoRoom::Circuit)?
            }
            None => None,
        };
        self.free.set(free - 1);
        endpoint.open.set(open + 1);
        let (share, endpoint) = (Rc::clone(self), Rc::clone(endpoint));
        Ok(ConnectionPermit { share, endpoint, _circuit: circuit })
    }

    /// Waits for a permit, or for a connection that `take` finds; but not for long. If the share is in
    /// use, the connection that has idled longest is closed.
    pub(super) async fn wait_for_room(
        self: &Rc<Self>,
        wanted: WantedConnection<'_>,
        reason: NoRoom,
        take: impl Fn() -> Option<PooledConnection>,
    ) -> Result<Room, NoRoom> {
        let endpoint = wanted.endpoint;
        if !is_fair(endpoint.waiting.get(), self.most.saturating_sub(self.waiting.get())) {
            return Err(reason);
        }
        if let Some(pooled) = take() {
            return Ok(Room::Pooled(pooled));
        }
        let limit = match reason {
            NoRoom::Circuit(_) => wanted.limit,
            NoRoom::Share { .. } | NoRoom::Endpoint { .. } => MAX_WAIT.min(wanted.limit),
        };
        let _waiting = (Waiting::new(&self.waiting), Waiting::new(&endpoint.waiting));
        let waited = rt::timeout(limit, Box::pin(self.wait(wanted, take))).await;
        waited.map_err(|_| reason)
    }

    async fn wait(
        self: &Rc<Self>,
        wanted: WantedConnection<'_>,
        take: impl Fn() -> Option<PooledConnection>,
    ) -> Room {
        loop {
            let room = match self.permit(wanted) {
                Ok(permit) => return Room::Permit(permit),
                Err(NoRoom::Share { .. }) => {
                    self.close_longest_idle();
                    &self.room
                }
                Err(NoRoom::Endpoint { .. } | NoRoom::Circuit(_)) => &wanted.endpoint.room,
            };
            room.notified().await;
            if let Some(pooled) = take() {
                return Room::Pooled(pooled);
            }
        }
    }

    /// Notes that a connection to an endpoint has become idle, or free: a request that waits takes it
    /// or closes it.
    pub(super) fn idled(&self, endpoint: &EndpointConnections) {
        if endpoint.waiting.get() > 0 {
            endpoint.room.notify_one();
        }
        if self.waiting.get() > 0 {
            self.room.notify_one();
        }
    }

    fn close_longest_idle(&self) {
        let pools: Vec<_> = self.pools.borrow().iter().filter_map(RcWeak::upgrade).collect();
        let longest = pools
            .iter()
            .filter_map(|pool| Some((pool.idle_since()?, pool)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, pool)) = longest {
            pool.close_longest_idle();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let ConnectionPermit { share, endpoint, .. } = self;
        share.free.set(share.free.get() + 1);
        endpoint.open.set(endpoint.open.get().saturating_sub(1));
        share.idled(endpoint);
    }
}

/// Whether one more is fair to others, of `own` beside so many that are free.
fn is_fair(own: usize, free: usize) -> bool {
    own < free.saturating_mul(ENDPOINT_TIMES_FREE)
}

/// Counts a request as waiting, until it is dropped.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a Cell<usize>) -> Waiting<'a> {
        waiting.set(waiting.get() + 1);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever endpoints want, and whatever they give back.
        #[test]
        fn an_endpoint_with_connections_never_takes_the_last_one(
            most in 1..400usize,
            steps in prop::collection::vec((0..4usize, 0..200usize, any::<bool>()), 1..60),
        ) {
            let share = ConnectionShare::new(most);
            let endpoints: Vec<Rc<EndpointConnections>> = (0..4).map(|_| Rc::default()).collect();
            let want = |endpoint| {
                share.permit(WantedConnection { endpoint, breaker: None, limit: MAX_WAIT })
            };
            let mut held: Vec<Vec<ConnectionPermit>> = (0..4).map(|_| Vec::new()).collect();
            for (index, count, gives_back) in steps {
                if gives_back {
                    held[index].truncate(count);
                    continue;
                }
                for _ in 0..count {
                    let (before, free) = (held[index].len(), share.free.get());
                    match want(&endpoints[index]) {
                        Ok(permit) => held[index].push(permit),
                        Err(_) => prop_assert!(free == 0 || before >= ENDPOINT_TIMES_FREE),
                    }
                    let has_taken_last = free == 1 && held[index].len() > before;
                    prop_assert!(!has_taken_last || before < ENDPOINT_TIMES_FREE);
                }
                let open: usize = held.iter().map(Vec::len).sum();
                prop_assert_eq!(share.free.get() + open, most);
            }
            drop(held);
            prop_assert_eq!(share.free.get(), most);
        }
    }

    #[test]
    fn one_endpoint_alone_gets_most_of_the_share() {
        let share = ConnectionShare::new(100);
        let endpoint = Rc::default();
        let wanted = WantedConnection { endpoint: &endpoint, breaker: None, limit: MAX_WAIT };
        let held: Vec<_> = std::iter::from_fn(|| share.permit(wanted).ok()).collect();
        assert_eq!(held.len(), 80);
        assert_eq!(share.permit(wanted).unwrap_err(), NoRoom::Endpoint { open: 80, most: 100 });
    }
}
