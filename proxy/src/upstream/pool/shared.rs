//! Connections that carry many requests at a time (HTTP/2).

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Limits, Pooled};

/// Connections with room for further streams, the oldest first.
///
/// The oldest one with room takes the next stream, so that connections opened for a peak become
/// idle after it.
#[derive(Debug)]
pub(in crate::upstream) struct SharedList<C> {
    limits: Limits,
    connections: Vec<Rc<SharedConnection<C>>>,
}

/// A connection and the streams open on it. It may stay in use after its removal from the list,
/// until its streams have ended.
#[derive(Debug)]
pub(in crate::upstream) struct SharedConnection<C> {
    pub(in crate::upstream) connection: C,
    /// What the peer allows (SETTINGS_MAX_CONCURRENT_STREAMS), kept up to date by the driver.
    max_streams: Rc<Cell<usize>>,
    streams: Cell<usize>,
    born: Instant,
    idle_since: Cell<Instant>,
    silence: Silence,
    limits: Limits,
    retired: Cell<bool>,
}

impl<C: Pooled> SharedList<C> {
    pub(in crate::upstream) fn new(limits: Limits) -> SharedList<C> {
        SharedList { limits, connections: Vec::new() }
    }

    /// Opens a stream on a connection that has room. The caller closes it with [`SharedConnection::leave`].
    pub(in crate::upstream) fn join(
        &mut self,
        now: Instant,
        keep: impl Fn(&C) -> bool,
    ) -> Option<Rc<SharedConnection<C>>> {
        self.reap(now, keep);
        let shared = self.connections.iter().find(|shared| shared.has_room())?;
        shared.streams.set(shared.streams.get() + 1);
        shared.silence.ask(now);
        Some(shared.clone())
    }

    /// Adds a new connection and opens the first stream on it.
    pub(in crate::upstream) fn add(
        &mut self,
        connection: C,
        max_streams: Rc<Cell<usize>>,
        now: Instant,
    ) -> Rc<SharedConnection<C>> {
        let shared = SharedConnection::new(connection, max_streams, self.limits, now);
        self.connections.push(shared.clone());
        shared
    }

    /// Removes expired, closed and retired connections; their open streams continue.
    pub(in crate::upstream) fn reap(&mut self, now: Instant, keep: impl Fn(&C) -> bool) {
        self.connections.retain(|shared| shared.stays(now) && keep(&shared.connection));
    }

    /// The number of connections without a stream.
    pub(in crate::upstream) fn idle(&self) -> usize {
        self.connections.iter().filter(|shared| shared.streams.get() == 0).count()
    }

    /// Since when the connection without a stream has idled that has done so longest.
    pub(in crate::upstream) fn idle_since(&self) -> Option<Instant> {
        self.longest_idle().map(|at| self.connections[at].idle_since.get())
    }

    /// Drops that connection.
    pub(in crate::upstream) fn drop_longest_idle(&mut self) {
        if let Some(at) = self.longest_idle() {
            self.connections.remove(at);
        }
    }

    /// Drops the connections without a stream.
    pub(in crate::upstream) fn drop_idle(&mut self) {
        self.connections.retain(|shared| shared.streams.get() > 0);
    }

    fn longest_idle(&self) -> Option<usize> {
        let idle = self.connections.iter().enumerate().filter(|(_, it)| it.streams.get() == 0);
        idle.min_by_key(|(_, shared)| shared.idle_since.get()).map(|(at, _)| at)
    }

    pub(in crate::upstream) fn len(&self) -> usize {
        self.connections.len()
    }
}

impl<C> SharedConnection<C> {
    /// A connection with its first stream, which no request joins while it is in no list.
    pub(in crate::upstream) fn new(
        connection: C,
        max_streams: Rc<Cell<usize>>,
        limits: Limits,
        now: Instant,
    ) -> Rc<SharedConnection<C>> {
        let shared = Rc::new(SharedConnection {
            connection,
            max_streams,
            streams: Cell::new(1),
            born: now,
            idle_since: Cell::new(now),
            silence: Silence::default(),
            limits,
            retired: Cell::new(false),
        });
        shared.silence.ask(now);
        shared
    }
}

impl<C: Pooled> SharedConnection<C> {
    /// Closes a stream.
    pub(in crate::upstream) fn leave(&self, now: Instant) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.idle_since.set(now);
    }

    /// A response has come.
    pub(in crate::upstream) fn hear(&self, now: Instant) {
        self.silence.hear(now);
    }

    /// Notes that a request was given up without a response. If the peer has been silent for too long,
    /// or allows no stream, the following requests get another connection.
    pub(in crate::upstream) fn give_up(&self, now: Instant) {
        let silent = self.silence.give_up(now);
        let most = match self.max_streams.get() {
            0 => self.limits.no_stream,
            _ => self.limits.silence,
        };
        if silent >= most {
            self.retire();
        }
    }

    /// Opens no further stream on this connection.
    pub(in crate::upstream) fn retire(&self) {
        self.retired.set(true);
    }

    /// If the peer allows no stream at the moment, one stream may wait: otherwise every request
    /// would open a connection.
    fn has_room(&self) -> bool {
        let allowed = self.max_streams.get().min(self.limits.max_streams).max(1);
        self.connection.is_ready() && self.streams.get() < allowed
    }

    fn stays(&self, now: Instant) -> bool {
        let limits = &self.limits;
        let over = self.retired.get() || self.connection.is_closed();
        let idles = self.streams.get() == 0 && limits.idle_too_long(self.idle_since.get(), now);
        !over && !idles && !limits.too_old(self.born, now)
    }
}

/// How long requests have waited since a response came last, all requests together: each may be given
/// up too early to tell. Time in which none waits does not count.
#[derive(Debug, Default)]
struct Silence {
    unanswered: Cell<usize>,
    /// Since when there has been an unanswered request; or since the last response, if that is later.
    since: Cell<Option<Instant>>,
    /// The time before that.
    before: Cell<Duration>,
}

impl Silence {
    /// A request is sent.
    fn ask(&self, now: Instant) {
        if self.unanswered.replace(self.unanswered.get() + 1) == 0 {
            self.since.set(Some(now));
        }
    }

    /// A request is answered.
    fn hear(&self, now: Instant) {
        self.before.set(Duration::ZERO);
        self.leave(now);
    }

    /// A request is given up. Returns how long the peer has been silent.
    fn give_up(&self, now: Instant) -> Duration {
        let waited = self.since.get().map(|since| now.saturating_duration_since(since));
        self.before.set(self.before.get() + waited.unwrap_or_default());
        self.leave(now);
        self.before.get()
    }

    fn leave(&self, now: Instant) {
        let left = self.unanswered.get().saturating_sub(1);
        self.unanswered.set(left);
        self.since.set((left > 0).then_some(now));
    }
}
