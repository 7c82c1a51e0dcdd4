//! One worker's connections to one endpoint key, and what else it remembers of it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{
    Endpoint, Protocol,
    handshake::{Http1, Http2, Http2Parts},
    meter::{Connections, Meter},
    pool::{IdleList, Limits, Member, Patience, SharedList},
};
use crate::{
    rt,
    tls::{UpstreamTls, UpstreamTlsError, UpstreamTlsSpec},
};

/// How long an endpoint that nobody uses keeps its TLS sessions.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// The state that outlives snapshots, since it is kept by endpoint key.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) meter: Meter,
    idle: RefCell<IdleList<Http1>>,
    shared: RefCell<SharedList<Http2>>,
    /// HTTP/1.1 connections that carry a request.
    busy: Cell<usize>,
    pub(super) patience: Patience,
    /// Somebody waits for one of them.
    awaited: Cell<bool>,
    freed: Notify,
    in_flight: Cell<usize>,
    /// TLS with a session store of its own: rustls keeps sessions by server name alone, and refuses
    /// those of another verifier or certificate.
    tls: OnceCell<UpstreamTls>,
    tls_http1: OnceCell<UpstreamTls>,
    /// Held while a connection is made that others may share.
    gate: Mutex<()>,
    /// What the upstream chose by ALPN the last time.
    chose_http2: Cell<Option<bool>>,
    connects: Cell<usize>,
    counted: Cell<Connections>,
    used: Cell<Instant>,
}

/// The connection of one exchange.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Carries this exchange alone.
    Http1 { connection: Http1, born: Instant },
    /// Carries others beside it.
    Http2(Rc<Member<Http2>>),
}

impl Host {
    pub(super) fn new(meter: Meter, now: Instant) -> Host {
        Host {
            meter,
            idle: RefCell::new(IdleList::new(Limits::DEFAULT)),
            shared: RefCell::new(SharedList::new(Limits::DEFAULT)),
            busy: Cell::new(0),
            patience: Patience::default(),
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
        }
    }

    /// A connection from the pool.
    pub(super) fn take(&self, endpoint: &Endpoint, now: Instant) -> Option<Carrier> {
        self.used.set(now);
        let carrier = self.join(endpoint, now).or_else(|| {
            let (connection, born) = self.idle.borrow_mut().take(now)?;
            self.busy.set(self.busy.get() + 1);
            Some(Carrier::Http1 { connection, born })
        });
        self.count();
        carrier
    }

    /// How long to wait for one of the busy connections, where that is better than to make another.
    /// One request waits at a time: where more come than there are connections, these are made.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.busy.get() == 0 || self.awaited.get() { None } else { self.patience.wait() }
    }

    /// The connection of the next exchange to end, where one ends in time and leaves it open.
    pub(super) async fn take_freed(&self, endpoint: &Endpoint, wait: Duration) -> Option<Carrier> {
        let _awaited = Awaited::new(&self.awaited);
        rt::timeout(wait, self.freed.notified()).await.ok()?;
        self.take(endpoint, Instant::now())
    }

    /// A stream on a connection that others use as well.
    pub(super) fn join(&self, endpoint: &Endpoint, now: Instant) -> Option<Carrier> {
        let mut shared = self.shared.borrow_mut();
        if shared.len() == 0 {
            return None;
        }
        let member = shared.join(now, |http2| endpoint.leads_to(http2.address))?;
        drop(shared);
        self.count();
        Some(Carrier::Http2(member))
    }

    /// Takes a new connection in, which carries the exchange that it was made for.
    pub(super) fn add_http1(&self, connection: Http1, now: Instant) -> Carrier {
        self.busy.set(self.busy.get() + 1);
        self.count();
        Carrier::Http1 { connection, born: now }
    }

    /// The same for HTTP/2. The driver is the caller's to spawn.
    pub(super) fn add_http2<D>(&self, parts: Http2Parts<D>, now: Instant) -> (Carrier, D) {
        let member = self.shared.borrow_mut().add(parts.connection, parts.max_streams, now);
        self.count();
        (Carrier::Http2(member), parts.driver)
    }

    /// Ends an exchange. `keep` says that the connection may carry another.
    pub(super) fn give_back(&self, carrier: Carrier, keep: bool, now: Instant) {
        match carrier {
            Carrier::Http1 { connection, born } => {
                self.busy.set(self.busy.get().saturating_sub(1));
                if keep {
                    self.idle.borrow_mut().put(connection, born, now);
                }
                if self.awaited.get() {
                    self.freed.notify_waiters();
                }
            }
            Carrier::Http2(member) => member.leave(now),
        }
        self.count();
    }

    /// Drops expired connections. False once there is nothing worth remembering.
    pub(super) fn reap(&self, now: Instant) -> bool {
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

    /// Where connecting could give a connection that others may share, waits for whoever connects
    /// at the moment: otherwise a burst of requests would open as many HTTP/2 connections.
    pub(super) async fn wait_for_turn(&self, endpoint: &Endpoint) -> Option<MutexGuard<'_, ()>> {
        if !self.may_share(endpoint) {
            return None;
        }
        let turn = self.gate.lock().await;
        // The one before may have found that there is nothing to share.
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

    /// Remembers what the upstream chose by ALPN.
    pub(super) fn learn(&self, http2: bool) {
        self.chose_http2.set(Some(http2));
    }

    /// The TLS settings, made when first needed. With `http1_only` HTTP/2 is not offered.
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

    /// A number that grows with each connect, to begin with another address of a name each time.
    pub(super) fn next_connect(&self) -> usize {
        let n = self.connects.get();
        self.connects.set(n.wrapping_add(1));
        n
    }

    /// Brings the gauges up to date.
    fn count(&self) {
        let shared = self.shared.borrow();
        let idle_shared = shared.idle();
        let now = Connections {
            idle: (self.idle.borrow().len() + idle_shared) as u64,
            active: (self.busy.get() + shared.len() - idle_shared) as u64,
        };
        let before = self.counted.replace(now);
        if before != now {
            self.meter.connections(before, now);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.meter.connections(self.counted.get(), Connections::default());
    }
}

/// A wait for a busy connection, for as long as this lives.
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

/// A request under way, for as long as this lives.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Host>);

impl InFlight {
    pub(super) fn new(host: Rc<Host>) -> InFlight {
        host.in_flight.set(host.in_flight.get() + 1);
        InFlight(host)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}
