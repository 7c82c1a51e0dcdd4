//! Idle connections of those that carry one request at a time (HTTP/1.1).

use std::time::Instant;

use super::{Limits, Pooled};

/// Idle connections, the one used last at the end.
///
/// Last in, first out: the fewest connections stay warm, and those not needed reach their idle
/// timeout.
#[derive(Debug)]
pub(in crate::upstream) struct IdleList<C> {
    limits: Limits,
    /// In the order they fell idle.
    idle: Vec<Idle<C>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    born: Instant,
    since: Instant,
}

impl<C: Pooled> IdleList<C> {
    pub(in crate::upstream) fn new(limits: Limits) -> IdleList<C> {
        IdleList { limits, idle: Vec::new() }
    }

    /// Takes a connection for a request, with its time of birth. Drops those that have expired or
    /// closed, and passes over those that are not ready yet.
    pub(in crate::upstream) fn take(&mut self, now: Instant) -> Option<(C, Instant)> {
        let mut at = self.idle.len();
        while let Some(before) = at.checked_sub(1) {
            at = before;
            let candidate = self.idle.get(at)?;
            if self.limits.idle_too_long(candidate.since, now) {
                // All further down have idled for longer still.
                self.idle.drain(..=at);
                return None;
            }
            if candidate.connection.is_closed() || self.limits.too_old(candidate.born, now) {
                self.idle.remove(at);
            } else if candidate.connection.is_ready() {
                let taken = self.idle.remove(at);
                return Some((taken.connection, taken.born));
            }
        }
        None
    }

    /// Keeps a connection whose request is over. If the list is full, the one that has idled longest
    /// makes room.
    pub(in crate::upstream) fn put(&mut self, connection: C, born: Instant, now: Instant) {
        if connection.is_closed() || self.limits.too_old(born, now) || self.limits.max_idle == 0 {
            return;
        }
        if self.idle.len() >= self.limits.max_idle {
            self.idle.remove(0);
        }
        self.idle.push(Idle { connection, born, since: now });
    }

    /// Drops those that have expired or closed.
    pub(in crate::upstream) fn reap(&mut self, now: Instant) {
        let limits = self.limits;
        self.idle.retain(|idle| {
            !idle.connection.is_closed()
                && !limits.idle_too_long(idle.since, now)
                && !limits.too_old(idle.born, now)
        });
    }

    pub(in crate::upstream) fn len(&self) -> usize {
        self.idle.len()
    }
}
