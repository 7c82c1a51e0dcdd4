//! Idle connections that carry one request at a time (HTTP/1.1).

use std::time::Instant;

use super::{Limits, OwnerId, Pooled};

/// Idle connections, the one used last at the end.
///
/// Last in, first out: few connections stay in use, and the others reach their idle timeout.
#[derive(Debug)]
pub(in crate::upstream) struct IdleList<C> {
    limits: Limits,
    /// In the order in which they became idle.
    idle: Vec<Idle<C>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    /// `None` if it may carry any client's requests.
    owner: Option<OwnerId>,
    born: Instant,
    since: Instant,
}

impl<C: Pooled> IdleList<C> {
    pub(in crate::upstream) fn new(limits: Limits) -> IdleList<C> {
        IdleList { limits, idle: Vec::new() }
    }

    /// Takes a connection for a request, with its time of birth. Drops expired and closed
    /// connections, and skips those that are not ready yet.
    pub(in crate::upstream) fn take(&mut self, now: Instant) -> Option<(C, Instant)> {
        self.take_of(None, now)
    }

    /// The same, for a connection that carries the requests of its owner alone; `None` takes one that
    /// has no owner.
    pub(in crate::upstream) fn take_of(
        &mut self,
        owner: Option<OwnerId>,
        now: Instant,
    ) -> Option<(C, Instant)> {
        let mut at = self.idle.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            let candidate = self.idle.get(at)?;
            if self.limits.idle_too_long(candidate.since, now) {
                // All connections below it have been idle for longer.
                self.idle.drain(..=at);
                return None;
            }
            if candidate.connection.is_closed() || self.limits.too_old(candidate.born, now) {
                self.idle.remove(at);
            } else if candidate.owner == owner && candidate.connection.is_ready() {
                let taken = self.idle.remove(at);
                return Some((taken.connection, taken.born));
            }
        }
        None
    }

    /// Keeps a connection whose request has ended. If the list is full, the one that has been idle
    /// longest is dropped, whoever owns it.
    pub(in crate::upstream) fn put(
        &mut self,
        connection: C,
        owner: Option<OwnerId>,
        born: Instant,
        now: Instant,
    ) {
        if connection.is_closed() || self.limits.too_old(born, now) || self.limits.max_idle == 0 {
            return;
        }
        if self.idle.len() >= self.limits.max_idle {
            self.idle.remove(0);
        }
        self.idle.push(Idle { connection, owner, born, since: now });
    }

    /// Drops the connections of an owner.
    pub(in crate::upstream) fn drop_owned(&mut self, owner: OwnerId) {
        self.idle.retain(|idle| idle.owner != Some(owner));
    }

    /// Drops all connections.
    pub(in crate::upstream) fn clear(&mut self) {
        self.idle.clear();
    }

    /// Drops expired and closed connections.
    pub(in crate::upstream) fn reap(&mut self, now: Instant) {
        let limits = self.limits;
        self.idle.retain(|idle| {
            !idle.connection.is_closed()
                && !limits.idle_too_long(idle.since, now)
                && !limits.too_old(idle.born, now)
        });
    }

    /// Since when the connection has idled that has done so longest.
    pub(in crate::upstream) fn idle_since(&self) -> Option<Instant> {
        self.idle.first().map(|idle| idle.since)
    }

    /// Drops that connection.
    pub(in crate::upstream) fn drop_longest_idle(&mut self) {
        if !self.idle.is_empty() {
            self.idle.remove(0);
        }
    }

    pub(in crate::upstream) fn len(&self) -> usize {
        self.idle.len()
    }
}
