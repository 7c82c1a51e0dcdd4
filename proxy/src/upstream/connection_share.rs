//! A worker's share of the connections to upstreams: each open socket holds one permit of it, from
//! the connect until it is closed, tunnels and closing connections included.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak as RcWeak},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::endpoint_pool::{EndpointPool, PooledConnection};
use crate::rt;

/// How long a request waits for room. Longer than a usual request, and short beside the time-out of
/// a client.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The right to open one connection.
pub(super) type ConnectionPermit = OwnedSemaphorePermit;

/// A worker's share. It belongs to the worker's thread.
#[derive(Debug)]
pub(super) struct ConnectionShare {
    most: usize,
    permits: Arc<Semaphore>,
    /// Requests that wait for room; never more than `most`.
    waiting: Cell<usize>,
    /// A connection has become idle while a request waited.
    idled: Notify,
    /// Where idle connections are.
    pools: RefCell<Vec<RcWeak<EndpointPool>>>,
}

/// What a request goes on with.
#[derive(Debug)]
pub(super) enum Room {
    /// It may connect.
    Permit(ConnectionPermit),
    /// A connection of its endpoint has become free meanwhile.
    Pooled(PooledConnection),
}

/// All connections of the share are in use, and there was none for the request in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareExhausted {
    /// The size of the share.
    pub(super) most: usize,
}

impl ConnectionShare {
    /// A share of this size.
    pub(super) fn new(most: usize) -> Rc<ConnectionShare> {
        let most = most.min(Semaphore::MAX_PERMITS);
        Rc::new(ConnectionShare {
            most,
            permits: Arc::new(Semaphore::new(most)),
            waiting: Cell::new(0),
            idled: Notify::new(),
            pools: RefCell::default(),
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

    /// A permit, at once if there is one. Otherwise closes the connection that has idled longest, and
    /// waits for its permit, or for a connection that `take` finds; but not for long.
    pub(super) async fn room(
        &self,
        take: impl Fn() -> Option<PooledConnection>,
    ) -> Result<Room, ShareExhausted> {
        let exhausted = ShareExhausted { most: self.most };
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Room::Permit(permit));
        }
        if self.waiting.get() >= self.most {
            return Err(exhausted);
        }
        if let Some(pooled) = take() {
            return Ok(Room::Pooled(pooled));
        }
        let _waiting = Waiting::new(&self.waiting);
        let waited = rt::timeout(MAX_WAIT, Box::pin(self.wait(take))).await;
        waited.ok().flatten().ok_or(exhausted)
    }

    async fn wait(&self, take: impl Fn() -> Option<PooledConnection>) -> Option<Room> {
        let mut permit = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
        loop {
            self.close_longest_idle();
            tokio::select! {
                // It is never closed.
                permit = &mut permit => return permit.ok().map(Room::Permit),
                () = self.idled.notified() => {
                    if let Some(pooled) = take() {
                        return Some(Room::Pooled(pooled));
                    }
                }
            }
        }
    }

    /// Notes that a connection has become idle: a request that waits takes it or closes it.
    pub(super) fn idled(&self) {
        if self.waiting.get() > 0 {
            self.idled.notify_one();
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
