//! A worker's open connections, and the orders to them: to drain, or to make room for another.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tokio::time::{Instant, sleep_until};

use super::activity::Activity;

/// How many connections a search for an idle one looks at. With more than these, it finds one that
/// has idled for long, and perhaps not the longest: a flood of new connections must not cost a walk
/// over all others for each.
const SEARCHED: usize = 64;
/// A connection that idles for less may be between two requests of one page.
const MIN_IDLE: Duration = Duration::from_millis(100);

/// A worker's open connections. Cheap to clone; one thread only.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionRegistry(Rc<RegistryState>);

#[derive(Debug, Default)]
struct RegistryState {
    draining: Cell<bool>,
    connections: RefCell<Slab<RegisteredConnection>>,
    /// Connections that were told to make room and have not ended yet.
    evicted: Cell<usize>,
    /// Where the next search begins.
    cursor: Cell<usize>,
    emptied: RefCell<Option<Waker>>,
}

/// One connection, and the orders to it.
#[derive(Debug)]
struct RegisteredConnection {
    /// It must finish, though perhaps others need not yet.
    draining: bool,
    /// It must make room for another connection.
    evicted: bool,
    stage: ConnectionStage,
    waker: Option<Waker>,
}

/// Whether a connection may have to make room.
#[derive(Debug)]
enum ConnectionStage {
    /// It was accepted then, and its hello is not complete.
    Silent(Instant),
    /// It is in its handshake, has left HTTP, or is being closed.
    Busy,
    /// It speaks HTTP; it is idle when its activity says so.
    Http(Rc<Activity>),
}

impl RegisteredConnection {
    fn new() -> RegisteredConnection {
        let stage = ConnectionStage::Silent(Instant::now());
        RegisteredConnection { draining: false, evicted: false, stage, waker: None }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// How soon it is to make room: those without a hello first, then those that idle, the longest
    /// first. `None` if it is not to.
    fn rank(&self, now: Instant) -> Option<(bool, Instant)> {
        match &self.stage {
            _ if self.evicted => None,
            ConnectionStage::Silent(since) => Some((false, *since)),
            ConnectionStage::Busy => None,
            ConnectionStage::Http(activity) => {
                let since = activity.quiet_since()?;
                (now.saturating_duration_since(since) >= MIN_IDLE).then_some((true, since))
            }
        }
    }
}

impl ConnectionRegistry {
    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.0.connections.borrow().len()
    }

    /// Whether no connection is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a connection, for as long as its [`Registration`] lives.
    pub(crate) fn register(&self) -> Registration {
        let key = self.0.connections.borrow_mut().insert(RegisteredConnection::new());
        Registration { registry: self.clone(), key }
    }

    /// How many connections were told to make room and have not ended yet.
    pub(crate) fn evicted(&self) -> usize {
        self.0.evicted.get()
    }

    /// Tells a connection to make room for another: one that has sent no hello, or else one that has
    /// idled for long. Returns whether there is one.
    pub(crate) fn evict(&self) -> bool {
        let mut connections = self.0.connections.borrow_mut();
        let Some(key) = self.find_idle(&connections) else { return false };
        let Some(connection) = connections.get_mut(key) else { return false };
        connection.evicted = true;
        self.0.evicted.set(self.0.evicted.get() + 1);
        connection.wake();
        true
    }

    /// Looks at some connections, beginning where the last search ended.
    fn find_idle(&self, connections: &Slab<RegisteredConnection>) -> Option<usize> {
        let (now, slots) = (Instant::now(), connections.capacity().max(1));
        let start = self.0.cursor.get() % slots;
        let mut best = None;
        let mut searched = 0;
        let mut at = start;
        // Few slots are empty at a limit; if most are, the search ends early.
        for slot in (start..slots).chain(0..start).take(4 * SEARCHED) {
            at = slot + 1;
            let Some(connection) = connections.get(slot) else { continue };
            if let Some(rank) = connection.rank(now)
                && best.is_none_or(|(lowest, _)| rank < lowest)
            {
                best = Some((rank, slot));
            }
            searched += 1;
            if searched == SEARCHED {
                break;
            }
        }
        self.0.cursor.set(at);
        best.map(|(_, slot)| slot)
    }

    /// Tells every connection, and every later one, to finish its work and close.
    pub(crate) fn drain(&self) {
        self.0.draining.set(true);
        for (_, connection) in &mut *self.0.connections.borrow_mut() {
            connection.drain();
        }
    }

    /// Tells the connections one after another, evenly over this period, and at its end those that came
    /// meanwhile. If all were told at once, their clients would all reconnect at the same moment.
    pub(crate) async fn drain_over(&self, period: Duration) {
        let keys: Vec<_> = self.0.connections.borrow().iter().map(|(key, _)| key).collect();
        let start = Instant::now();
        let step = period.div_f64(keys.len().max(1) as f64);
        for (n, key) in keys.into_iter().enumerate() {
            sleep_until(start + step.mul_f64(n as f64)).await;
            // The key may belong to a later connection by now, which may be told as well.
            if let Some(connection) = self.0.connections.borrow_mut().get_mut(key) {
                connection.drain();
            }
        }
        sleep_until(start + period).await;
        self.drain();
    }

    /// Waits until no connection is open.
    pub(crate) async fn emptied(&self) {
        poll_fn(|cx| {
            if self.is_empty() {
                return Poll::Ready(());
            }
            *self.0.emptied.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// An open connection's place in the registry.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: ConnectionRegistry,
    key: usize,
}

impl Registration {
    /// Whether the connection must finish, to drain or to make room. If not yet, its task is woken
    /// when it must.
    pub(super) fn poll_draining(&self, cx: &mut Context<'_>) -> bool {
        if self.registry.0.draining.get() {
            return true;
        }
        self.poll_order(cx, |connection| connection.draining || connection.evicted)
    }

    /// Whether the connection must make room for another. If not yet, its task is woken when it
    /// must.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> bool {
        self.poll_order(cx, |connection| connection.evicted)
    }

    fn poll_order(
        &self,
        cx: &mut Context<'_>,
        is_given: impl FnOnce(&RegisteredConnection) -> bool,
    ) -> bool {
        let mut connections = self.registry.0.connections.borrow_mut();
        let Some(connection) = connections.get_mut(self.key) else { return true };
        let given = is_given(connection);
        let waker = &mut connection.waker;
        // The task of a connection does not change, so this clones once.
        if !given && waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        given
    }

    /// Whether the connection was told to make room.
    pub(super) fn is_evicted(&self) -> bool {
        let connections = self.registry.0.connections.borrow();
        connections.get(self.key).is_some_and(|connection| connection.evicted)
    }

    /// Notes that the client has sent a whole hello: it need not make room, even if it was just told
    /// to.
    pub(super) fn hello_received(&self) {
        self.enter(ConnectionStage::Busy);
    }

    /// Notes that the connection speaks HTTP: from now on it has to make room only while it is idle.
    pub(super) fn serves_http(&self, activity: &Rc<Activity>) {
        self.enter(ConnectionStage::Http(Rc::clone(activity)));
    }

    /// Notes that the connection has left HTTP: it is a tunnel, or is being closed.
    pub(super) fn left_http(&self) {
        if let Some(connection) = self.registry.0.connections.borrow_mut().get_mut(self.key) {
            connection.stage = ConnectionStage::Busy;
        }
    }

    /// Ends the time in which the connection was silent, and with it the order to make room.
    fn enter(&self, stage: ConnectionStage) {
        let state = &self.registry.0;
        if let Some(connection) = state.connections.borrow_mut().get_mut(self.key) {
            connection.stage = stage;
            if std::mem::take(&mut connection.evicted) {
                state.evicted.set(state.evicted.get().saturating_sub(1));
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let state = &self.registry.0;
        let ended = state.connections.borrow_mut().try_remove(self.key);
        if ended.is_some_and(|connection| connection.evicted) {
            state.evicted.set(state.evicted.get().saturating_sub(1));
        }
        if self.registry.is_empty()
            && let Some(waker) = state.emptied.take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn draining_wakes_every_connection_and_reaches_later_ones() {
        let registry = ConnectionRegistry::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (first, second) = (registry.register(), registry.register());
        assert!(!first.poll_draining(&mut cx));
        assert!(!second.poll_draining(&mut cx));
        registry.drain();
        assert_eq!(woken.0.load(Relaxed), 2);
        assert!(first.poll_draining(&mut cx));
        assert!(registry.register().poll_draining(&mut cx));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_told_in_turn_and_later_ones_last() {
        let registry = ConnectionRegistry::default();
        let waker = Waker::noop();
        let entries = [(); 4].map(|()| registry.register());
        let told = |entries: &[Registration]| {
            let mut cx = Context::from_waker(waker);
            entries.iter().filter(|entry| entry.poll_draining(&mut cx)).count()
        };
        let drain = registry.drain_over(Duration::from_secs(4));
        let later = async {
            let mut seen = Vec::new();
            let late = registry.register();
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(990)).await;
                seen.push((told(&entries), told(std::slice::from_ref(&late))));
            }
            seen
        };
        let ((), seen) = tokio::join!(drain, later);
        assert_eq!(seen, [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1)]);
    }

    /// The places of the connections that were told to make room.
    fn told_to_go(entries: &[Registration]) -> Vec<usize> {
        (0..entries.len()).filter(|at| entries[*at].is_evicted()).collect()
    }

    fn idle() -> Rc<Activity> {
        Activity::new()
    }

    #[tokio::test(start_paused = true)]
    async fn who_sent_no_hello_goes_first_and_then_the_longest_idle() {
        let registry = ConnectionRegistry::default();
        let entries = [(); 5].map(|()| registry.register());
        entries[0].serves_http(&idle());
        tokio::time::advance(MIN_IDLE).await;
        entries[1].hello_received();
        let busy = idle();
        busy.enter(crate::conn::activity::ConnectionPhase::Serving);
        entries[2].serves_http(&busy);
        entries[3].serves_http(&idle());
        tokio::time::advance(MIN_IDLE).await;
        assert!(registry.evict());
        assert_eq!(told_to_go(&entries), [4], "no hello");
        assert!(registry.evict());
        assert_eq!(told_to_go(&entries), [0, 4], "the longest idle");
        assert!(registry.evict());
        assert_eq!(told_to_go(&entries), [0, 3, 4]);
        assert!(!registry.evict(), "a handshake and a request stay");
        assert_eq!(registry.evicted(), 3);
        drop(entries);
        assert_eq!(registry.evicted(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_between_two_requests_stays() {
        let registry = ConnectionRegistry::default();
        let entry = registry.register();
        entry.serves_http(&idle());
        assert!(!registry.evict());
        tokio::time::advance(MIN_IDLE).await;
        assert!(registry.evict());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hello_that_came_with_the_order_is_served() {
        let registry = ConnectionRegistry::default();
        let entry = registry.register();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!entry.poll_evicted(&mut cx));
        assert!(registry.evict() && entry.poll_evicted(&mut cx));
        entry.hello_received();
        assert!(!entry.poll_draining(&mut cx));
        assert_eq!(registry.evicted(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_idles_is_found_among_many_that_do_not() {
        let registry = ConnectionRegistry::default();
        let entries: Vec<_> = (0..10 * SEARCHED).map(|_| registry.register()).collect();
        entries.iter().for_each(Registration::hello_received);
        entries[7 * SEARCHED].serves_http(&idle());
        tokio::time::advance(MIN_IDLE).await;
        let searches = (1..=entries.len()).find(|_| registry.evict());
        assert!(searches.is_some_and(|searches| searches <= 20), "{searches:?}");
    }

    #[test]
    fn the_last_connection_to_close_wakes_the_drain() {
        let registry = ConnectionRegistry::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (first, second) = (registry.register(), registry.register());
        let mut emptied = std::pin::pin!(registry.emptied());
        assert!(emptied.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Relaxed), 0);
        drop(second);
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(emptied.as_mut().poll(&mut cx).is_ready());
    }
}
