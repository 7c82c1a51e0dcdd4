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
pub struct Registry(Rc<State>);

#[derive(Debug, Default)]
struct State {
    draining: Cell<bool>,
    connections: RefCell<Slab<Seat>>,
    emptied: RefCell<Option<Waker>>,
}

/// What is known of an open connection.
#[derive(Debug, Default)]
struct Seat {
    /// Whether this one is to finish, though perhaps not yet all.
    told: bool,
    waker: Option<Waker>,
}

impl Seat {
    fn tell(&mut self) {
        self.told = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Registry {
    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.0.connections.borrow().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a connection, for as long as its [`Entry`] lives.
    pub fn enter(&self) -> Entry {
        let key = self.0.connections.borrow_mut().insert(Seat::default());
        Entry { registry: self.clone(), key }
    }

    /// Tells every connection, those to come as well, to finish what it does and close.
    pub fn drain(&self) {
        self.0.draining.set(true);
        for (_, seat) in &mut *self.0.connections.borrow_mut() {
            seat.tell();
        }
    }

    /// Tells the connections one after another, evenly over that time, and at its end those that
    /// came meanwhile: told at once, their clients would all shake hands elsewhere in one moment.
    pub async fn drain_over(&self, period: Duration) {
        let keys: Vec<_> = self.0.connections.borrow().iter().map(|(key, _)| key).collect();
        let start = Instant::now();
        let step = period.div_f64(keys.len().max(1) as f64);
        for (n, key) in keys.into_iter().enumerate() {
            sleep_until(start + step.mul_f64(n as f64)).await;
            // Whoever has the place now of one that is gone may go as well.
            if let Some(seat) = self.0.connections.borrow_mut().get_mut(key) {
                seat.tell();
            }
        }
        sleep_until(start + period).await;
        self.drain();
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
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

/// One open connection.
#[derive(Debug)]
pub struct Entry {
    registry: Registry,
    key: usize,
}

impl Entry {
    /// Whether the connection is to finish; if not yet, its task is woken when it is.
    pub(super) fn poll_draining(&self, cx: &mut Context<'_>) -> bool {
        if self.registry.0.draining.get() {
            return true;
        }
        let mut connections = self.registry.0.connections.borrow_mut();
        let Some(seat) = connections.get_mut(self.key) else { return true };
        // The task of a connection does not change, so this clones once.
        if !seat.told && seat.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            seat.waker = Some(cx.waker().clone());
        }
        seat.told
    }
}

impl Drop for Entry {
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
        let registry = Registry::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (first, second) = (registry.enter(), registry.enter());
        assert!(!first.poll_draining(&mut cx));
        assert!(!second.poll_draining(&mut cx));
        registry.drain();
        assert_eq!(woken.0.load(Relaxed), 2);
        assert!(first.poll_draining(&mut cx));
        assert!(registry.enter().poll_draining(&mut cx));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_told_one_after_another_and_later_ones_at_the_end() {
        let registry = Registry::default();
        let waker = Waker::noop();
        let entries = [(); 4].map(|()| registry.enter());
        let told = |entries: &[Entry]| {
            let mut cx = Context::from_waker(waker);
            entries.iter().filter(|entry| entry.poll_draining(&mut cx)).count()
        };
        let drain = registry.drain_over(Duration::from_secs(4));
        let later = async {
            let mut seen = Vec::new();
            let late = registry.enter();
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
    fn the_last_connection_to_go_wakes_who_waits_for_that() {
        let registry = Registry::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (first, second) = (registry.enter(), registry.enter());
        let mut emptied = std::pin::pin!(registry.emptied());
        assert!(emptied.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Relaxed), 0);
        drop(second);
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(emptied.as_mut().poll(&mut cx).is_ready());
    }
}
