//! Frees large values on a thread of their own.
//!
//! A worker that gave up the last reference to a configuration of 100,000 routes would free all of
//! it between two requests. So each worker keeps a reference to a configuration that was replaced
//! until nothing on the worker uses it, and then gives that reference away.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{LazyLock, mpsc},
    thread,
};

/// A worker's references to values that were replaced and may still be in use.
#[derive(Debug)]
pub(crate) struct FormerValues<T>(RefCell<Vec<Rc<T>>>);

impl<T> Default for FormerValues<T> {
    fn default() -> FormerValues<T> {
        FormerValues(RefCell::default())
    }
}

impl<T: Send + 'static> FormerValues<T> {
    /// Keeps a value that was replaced.
    pub(crate) fn keep(&self, value: Rc<T>) {
        self.0.borrow_mut().push(value);
    }

    /// Gives the values away that nothing else on this worker uses. To be called now and then.
    pub(crate) fn release(&self) {
        let former = self.0.take();
        for value in former {
            match Rc::try_unwrap(value) {
                Ok(value) => free_elsewhere(value),
                Err(in_use) => self.keep(in_use),
            }
        }
    }
}

/// Frees a value on the thread for that.
fn free_elsewhere(value: impl Send + 'static) {
    static VALUES: LazyLock<Option<mpsc::Sender<Box<dyn Send>>>> = LazyLock::new(|| {
        let (sender, values) = mpsc::channel::<Box<dyn Send>>();
        let thread = thread::Builder::new().name("reclaim".into());
        thread.spawn(move || values.into_iter().for_each(drop)).ok().map(|_| sender)
    });
    // Without the thread it is freed here.
    if let Some(values) = &*VALUES {
        let _ = values.send(Box::new(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells on which thread it was freed.
    struct Freed(mpsc::Sender<thread::ThreadId>);

    impl Drop for Freed {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[test]
    fn an_unused_former_value_is_freed_by_another_thread() {
        let (sender, freed) = mpsc::channel();
        let former = FormerValues::default();
        let in_use = Rc::new(Freed(sender));
        former.keep(Rc::clone(&in_use));
        former.release();
        assert!(freed.try_recv().is_err(), "it is in use");
        drop(in_use);
        assert!(freed.try_recv().is_err(), "the worker holds it");
        former.release();
        assert_ne!(freed.recv().unwrap(), thread::current().id());
        assert_eq!(former.0.borrow().len(), 0);
    }
}
