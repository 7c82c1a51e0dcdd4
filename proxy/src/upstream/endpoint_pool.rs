//! One worker's connections to one endpoint key, and its other state for that key.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::IpAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{
    DnsName, Endpoint, Protocol,
    breaker::CircuitPermit,
    connection_share::{ConnectionShare, EndpointConnections},
    endpoint::leads_to,
    handshake::{self, Http1, Http2, Http2Parts},
    meter::{Connections, Meter},
    owner::Owner,
    pool::{IdleList, Limits, OwnerId, ReuseEstimator, SharedConnection, SharedList},
    setback::Setback,
};
use crate::{
    rt,
    tls::{UpstreamTls, UpstreamTlsError, UpstreamTlsSpec},
};

/// How long an unused endpoint keeps its TLS sessions.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// One worker's state for one endpoint key. It outlives snapshots.
#[derive(Debug)]
pub(super) struct EndpointPool {
    pub(super) meter: Meter,
    pub(super) share: Rc<ConnectionShare>,
    pub(super) connections: Rc<EndpointConnections>,
    setback: Cell<Option<Setback>>,
    /// When a connection was made last, until an answer over it has been noted.
    connected_at: Cell<Option<Instant>>,
    idle: RefCell<IdleList<Http1>>,
    shared: RefCell<SharedList<Http2>>,
    /// HTTP/1.1 connections that carry a request and may carry any client's next.
    busy: Cell<usize>,
    /// Connections that carry a request of the client that they serve alone.
    busy_owned: Cell<usize>,
    pub(super) reuse: ReuseEstimator,
    /// A request waits for one of them.
    awaited: Cell<bool>,
    freed: Notify,
    in_flight: Cell<usize>,
    /// TLS with its own session store: rustls looks sessions up by server name alone, and refuses
    /// those of another verifier or certificate.
    tls: OnceCell<UpstreamTls>,
    tls_http1: OnceCell<UpstreamTls>,
    /// Held while a connection that can be shared is established.
    gate: Mutex<()>,
    /// The upstream's last choice by ALPN.
    chose_http2: Cell<Option<bool>>,
    connects: Cell<usize>,
    counted: Cell<Connections>,
    used: Cell<Instant>,
    /// The most header fields that are read of a response over HTTP/1.1 connections made from now on.
    /// Kept here, since a request's future has no room for it.
    pub(super) max_response_headers: Cell<u16>,
    /// The name that connections are made for. Kept here, since the reference count of the name is
    /// shared by all workers.
    name: RefCell<Option<Arc<DnsName>>>,
}

/// The connection of one request.
#[derive(Debug)]
pub(super) enum PooledConnection {
    /// Carries only this request.
    Http1 { connection: Http1, born: Instant },
    /// Carries other requests beside it.
    Http2(Rc<SharedConnection<Http2>>),
}

impl EndpointPool {
    pub(super) fn new(meter: Meter, share: &Rc<ConnectionShare>, now: Instant) -> EndpointPool {
        EndpointPool {
            meter,
            share: Rc::clone(share),
            connections: Rc::default(),
            setback: Cell::new(None),
            connected_at: Cell::new(None),
            idle: RefCell::new(IdleList::new(Limits::DEFAULT)),
            shared: RefCell::new(SharedList::new(Limits::DEFAULT)),
            busy: Cell::new(0),
            busy_owned: Cell::new(0),
            reuse: ReuseEstimator::default(),
            awaited: Cell::new(false),
            freed: Notify::new(),
            in_flight: Cell::new(0),
            tls: OnceCell::new(),
            tls_http1: OnceCell::new(),
            gate: Mutex::new(()),
            chose_http2: Cell::new(None),
            connects: Cell::new(0),
            counted: Cell::default(),
            used: Cell::new(now),
            max_response_headers: Cell::new(handshake::HYPER_DEFAULT_HEADERS),
            name: RefCell::default(),
        }
    }

    /// Takes the endpoint's current name. After a reload it may be another object with the same
    /// text.
    pub(super) fn follow(&self, name: Option<&Arc<DnsName>>) {
        let mut followed = self.name.borrow_mut();
        let is_known = match (&*followed, name) {
            (Some(followed), Some(name)) => Arc::ptr_eq(followed, name),
            (followed, name) => followed.is_none() && name.is_none(),
        };
        if !is_known {
            *followed = name.cloned();
        }
    }

    /// Whether a connection to this address still leads to the upstream.
    pub(super) fn leads_to(&self, address: Option<IpAddr>) -> bool {
        self.name.borrow().as_ref().is_none_or(|name| leads_to(name, address))
    }

    /// A connection from the pool.
    pub(super) fn take(&self, endpoint: &Endpoint, now: Instant) -> Option<PooledConnection> {
        self.used.set(now);
        let connection = self.join(endpoint, now).or_else(|| {
            let (connection, born) = self.idle.borrow_mut().take(now)?;
            self.busy.set(self.busy.get() + 1);
            Some(PooledConnection::Http1 { connection, born })
        });
        self.count();
        connection
    }

    /// An idle connection that serves this owner alone.
    pub(super) fn take_owned(&self, owner: &Owner, now: Instant) -> Option<PooledConnection> {
        self.take_as_owned(Some(owner.id), now)
    }

    /// An idle connection without an owner, for a request from which on it has one.
    pub(super) fn take_to_own(&self, now: Instant) -> Option<PooledConnection> {
        self.take_as_owned(None, now)
    }

    fn take_as_owned(&self, owner: Option<OwnerId>, now: Instant) -> Option<PooledConnection> {
        self.used.set(now);
        let taken = self.idle.borrow_mut().take_of(owner, now);
        let (connection, born) = taken?;
        self.busy_owned.set(self.busy_owned.get() + 1);
        self.count();
        Some(PooledConnection::Http1 { connection, born })
    }

    /// A busy connection gets an owner.
    pub(super) fn own_busy(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        self.busy_owned.set(self.busy_owned.get() + 1);
    }

    /// Closes the idle connections of an owner.
    pub(super) fn close_owned(&self, owner: OwnerId) {
        self.idle.borrow_mut().drop_owned(owner);
        self.count();
    }

    /// How long a request should wait for a busy connection; `None` if it should make another. Only
    /// one request waits at a time: if more come, connections are made for them.
    pub(super) fn reuse_wait(&self) -> Option<Duration> {
        if self.busy.get() == 0 || self.awaited.get() { None } else { self.reuse.wait() }
    }

    /// The connection of the next request that ends, if it ends in time and leaves the connection
    /// open.
    pub(super) async fn take_freed(
        &self,
        endpoint: &Endpoint,
        wait: Duration,
    ) -> Option<PooledConnection> {
        let _awaited = Awaited::new(&self.awaited);
        rt::timeout(wait, self.freed.notified()).await.ok()?;
        self.take(endpoint, Instant::now())
    }

    /// A stream on a shared connection.
    pub(super) fn join(&self, endpoint: &Endpoint, now: Instant) -> Option<PooledConnection> {
        if self.shared.borrow().len() == 0 {
            return None;
        }
        let leads_there = |http2: &Http2| endpoint.leads_to(http2.address);
        let shared = self.shared.borrow_mut().join(now, leads_there)?;
        self.count();
        Some(PooledConnection::Http2(shared))
    }

    /// Adds a new connection, which carries the request it was made for.
    pub(super) fn add_http1(&self, connection: Http1, now: Instant) -> PooledConnection {
        self.busy.set(self.busy.get() + 1);
        self.count();
        PooledConnection::Http1 { connection, born: now }
    }

    /// The same for HTTP/2. The caller spawns the driver.
    pub(super) fn add_http2<D>(&self, parts: Http2Parts<D>, now: Instant) -> (PooledConnection, D) {
        let shared = self.shared.borrow_mut().add(parts.connection, parts.max_streams, now);
        self.count();
        (PooledConnection::Http2(shared), parts.driver)
    }

    /// Adds a new connection, which carries a request of the client that it will serve alone. The
    /// caller makes its lease an owned one.
    pub(super) fn add_owned_http1(&self, connection: Http1, now: Instant) -> PooledConnection {
        self.busy_owned.set(self.busy_owned.get() + 1);
        self.count();
        PooledConnection::Http1 { connection, born: now }
    }

    /// The same for HTTP/2, for one request.
    pub(super) fn add_owned_http2<D>(
        &self,
        parts: Http2Parts<D>,
        now: Instant,
    ) -> (PooledConnection, D) {
        self.busy_owned.set(self.busy_owned.get() + 1);
        self.count();
        let Http2Parts { connection, max_streams, driver } = parts;
        let alone = SharedConnection::new(connection, max_streams, Limits::DEFAULT, now);
        (PooledConnection::Http2(alone), driver)
    }

    /// Ends a request. With `keep` the connection may carry another: of its owner, if it has one.
    pub(super) fn give_back(
        &self,
        connection: PooledConnection,
        owner: Option<Weak<Owner>>,
        keep: bool,
        now: Instant,
    ) {
        let busy = if owner.is_some() { &self.busy_owned } else { &self.busy };
        match connection {
            PooledConnection::Http1 { connection, born } => {
                busy.set(busy.get().saturating_sub(1));
                let id = owner.as_ref().map(|owner| owner.upgrade().map(|owner| owner.id));
                // An owner that has gone has no further request.
                if keep && id != Some(None) {
                    self.idle.borrow_mut().put(connection, id.flatten(), born, now);
                }
                if owner.is_none() && self.awaited.get() {
                    self.freed.notify_waiters();
                }
            }
            PooledConnection::Http2(shared) => {
                if owner.is_some() {
                    busy.set(busy.get().saturating_sub(1));
                }
                shared.leave(now);
            }
        }
        self.count();
        self.share.idled(&self.connections);
    }

    /// Whether requests go to other endpoints first: no connection could be made lately.
    pub(super) fn is_last(&self, now: Instant) -> bool {
        self.setback.get().is_some_and(|setback| setback.is_last(now))
    }

    /// A request goes to the endpoint. If its setback is over, others wait for how that ends.
    pub(super) fn tried(&self, now: Instant) {
        self.set_setback(self.setback.get().map(|setback| setback.tried(now)));
    }

    /// No connection could be made.
    pub(super) fn connect_failed(&self, now: Instant) {
        self.set_setback(Some(Setback::after_failure(self.setback.get(), now)));
    }

    /// A connection was made.
    pub(super) fn connected(&self) {
        self.set_setback(None);
        self.connected_at.set(Some(Instant::now()));
    }

    /// When a connection was made last; once for each.
    pub(super) fn take_connected_at(&self) -> Option<Instant> {
        self.connected_at.take()
    }

    /// A request was answered, perhaps over a connection that was there before: if it was to try the
    /// endpoint, that is as good as a new one.
    pub(super) fn answered(&self) {
        self.set_setback(self.setback.get().filter(|setback| !setback.is_tried()));
    }

    fn set_setback(&self, setback: Option<Setback>) {
        let before = self.setback.replace(setback);
        let count = &self.share.setbacks;
        let others = count.get().saturating_sub(usize::from(before.is_some()));
        count.set(others + usize::from(setback.is_some()));
    }

    /// Since when a connection has idled that has done so longest; `None` if none idles.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let (idle, shared) = (self.idle.borrow().idle_since(), self.shared.borrow().idle_since());
        idle.into_iter().chain(shared).min()
    }

    /// Closes that connection.
    pub(super) fn close_longest_idle(&self) {
        let (mut idle, mut shared) = (self.idle.borrow_mut(), self.shared.borrow_mut());
        match (idle.idle_since(), shared.idle_since()) {
            (Some(of_one), Some(of_many)) if of_many < of_one => shared.drop_longest_idle(),
            (None, _) => shared.drop_longest_idle(),
            (Some(_), _) => idle.drop_longest_idle(),
        }
        drop((idle, shared));
        self.count();
    }

    /// Closes all idle connections.
    pub(super) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().drop_idle();
        self.count();
    }

    /// Drops expired connections. False once the pool itself can be dropped.
    pub(super) fn reap(&self, now: Instant) -> bool {
        self.set_setback(self.setback.get().filter(|setback| !setback.is_forgotten(now)));
        self.idle.borrow_mut().reap(now);
        self.shared.borrow_mut().reap(now, |_| true);
        self.count();
        self.in_flight.get() > 0
            || self.counted.get() != Connections::default()
            || now.saturating_duration_since(self.used.get()) < FORGET_AFTER
    }

    /// Requests under way, those that wait for a connection included.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// If a new connection may be shared, waits until no other request is connecting: otherwise a
    /// burst of requests would open as many HTTP/2 connections.
    pub(super) async fn wait_for_turn(&self, endpoint: &Endpoint) -> Option<MutexGuard<'_, ()>> {
        if !self.may_share(endpoint) {
            return None;
        }
        let turn = self.gate.lock().await;
        // The previous request may have found that the upstream speaks HTTP/1.1.
        self.may_share(endpoint).then_some(turn)
    }

    fn may_share(&self, endpoint: &Endpoint) -> bool {
        match endpoint.spec.protocol {
            Protocol::Http2PriorKnowledge => true,
            Protocol::Auto => {
                let offered = endpoint.spec.tls.as_ref().is_some_and(|tls| tls.offer_h2);
                offered && self.chose_http2.get() != Some(false)
            }
        }
    }

    /// Remembers the upstream's choice by ALPN.
    pub(super) fn learn(&self, http2: bool) {
        self.chose_http2.set(Some(http2));
    }

    /// The TLS settings, created on first use. With `http1_only` HTTP/2 is not offered.
    pub(super) fn tls(
        &self,
        spec: &UpstreamTlsSpec,
        http1_only: bool,
    ) -> Result<&UpstreamTls, UpstreamTlsError> {
        let narrowed = http1_only && spec.offer_h2;
        let cell = if narrowed { &self.tls_http1 } else { &self.tls };
        if let Some(tls) = cell.get() {
            return Ok(tls);
        }
        let made = if narrowed {
            UpstreamTls::new(&UpstreamTlsSpec { offer_h2: false, ..spec.clone() })?
        } else {
            UpstreamTls::new(spec)?
        };
        Ok(cell.get_or_init(|| made))
    }

    /// What a TLS error says of our client certificate.
    pub(super) fn certificate_refusal(&self, error: &rustls::Error) -> Option<&'static str> {
        let used = [&self.tls, &self.tls_http1].into_iter().filter_map(OnceCell::get);
        used.into_iter().find_map(|tls| tls.certificate_refusal(error))
    }

    /// A counter of connects, so that each starts with another address of a name.
    pub(super) fn next_connect(&self) -> usize {
        let n = self.connects.get();
        self.connects.set(n.wrapping_add(1));
        n
    }

    /// Updates the gauges.
    fn count(&self) {
        let shared = self.shared.borrow();
        let idle_shared = shared.idle();
        let now = Connections {
            idle: (self.idle.borrow().len() + idle_shared) as u64,
            active: (self.busy.get() + self.busy_owned.get() + shared.len() - idle_shared) as u64,
        };
        let before = self.counted.replace(now);
        if before != now {
            self.meter.connections(before, now);
        }
    }
}

impl Drop for EndpointPool {
    fn drop(&mut self) {
        self.meter.connections(self.counted.get(), Connections::default());
        self.set_setback(None);
    }
}

/// Marks that a request waits for a busy connection, until it is dropped.
#[derive(Debug)]
struct Awaited<'a>(&'a Cell<bool>);

impl<'a> Awaited<'a> {
    fn new(awaited: &'a Cell<bool>) -> Awaited<'a> {
        awaited.set(true);
        Awaited(awaited)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Counts a request as under way, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    pool: Rc<EndpointPool>,
    /// Counts it against the limit of its cluster, if there is one.
    pub(super) circuit: Option<CircuitPermit>,
}

impl InFlight {
    pub(super) fn new(pool: Rc<EndpointPool>, circuit: Option<CircuitPermit>) -> InFlight {
        pool.in_flight.set(pool.in_flight.get() + 1);
        InFlight { pool, circuit }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pool.in_flight.set(self.pool.in_flight.get().saturating_sub(1));
    }
}
