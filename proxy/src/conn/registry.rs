//! A worker's open connections, and the order to drain them.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tokio::time::{Instant, sleep_until};

/// A worker's open connections. Cheap to clone; one thread only.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionRegistry(Rc<RegistryState>);

#[derive(Debug, Default)]
struct RegistryState {
    draining: Cell<bool>,
    connections: RefCell<Slab<DrainOrder>>,
    emptied: RefCell<Option<Waker>>,
}

/// The order to one connection.
#[derive(Debug, Default)]
struct DrainOrder {
    /// Whether this connection must finish, though perhaps others need not yet.
    given: bool,
    waker: Option<Waker>,
}

impl DrainOrder {
    fn give(&mut self) {
        self.given = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
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
        let key = self.0.connections.borrow_mut().insert(DrainOrder::default());
        Registration { registry: self.clone(), key }
    }

    /// Tells every connection, and every later one, to finish its work and close.
    pub(crate) fn drain(&self) {
        self.0.draining.set(true);
        for (_, order) in &mut *self.0.connections.borrow_mut() {
            order.give();
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
            if let Some(order) = self.0.connections.borrow_mut().get_mut(key) {
                order.give();
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
    /// Whether the connection must finish. If not yet, its task is woken when it must.
    pub(super) fn poll_draining(&self, cx: &mut Context<'_>) -> bool {
        if self.registry.0.draining.get() {
            return true;
        }
        let mut connections = self.registry.0.connections.borrow_mut();
        let Some(order) = connections.get_mut(self.key) else { return true };
        // The task of a connection does not change, so this clones once.
        if !order.given && order.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            order.waker = Some(cx.waker().clone());
        }
        order.given
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.0.connections.borrow_mut().try_remove(self.key);
        if self.registry.is_empty()
            && let Some(waker) = self.registry.0.emptied.take()
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
