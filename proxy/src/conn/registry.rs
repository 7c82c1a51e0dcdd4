//! A worker's open connections, and the order to drain them.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// A worker's open connections. Cheap to clone; one thread only.
#[derive(Debug, Clone, Default)]
pub struct Registry(Rc<State>);

#[derive(Debug, Default)]
struct State {
    draining: Cell<bool>,
    connections: RefCell<Slab<Option<Waker>>>,
    emptied: RefCell<Option<Waker>>,
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
        let key = self.0.connections.borrow_mut().insert(None);
        Entry { registry: self.clone(), key }
    }

    /// Tells every connection, those to come as well, to finish what it does and close.
    pub fn drain(&self) {
        self.0.draining.set(true);
        for (_, waker) in self.0.connections.borrow().iter() {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        }
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
        let waker = connections.get_mut(self.key);
        // The task of a connection does not change, so this clones once.
        if let Some(waker) = waker
            && waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        false
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
