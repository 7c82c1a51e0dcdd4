//! How far a request body has come.

use std::{
    cell::{Cell, RefCell},
    task::Waker,
    time::Instant,
};

/// The progress of a request body, shared by the body and the request's time limits.
#[derive(Debug, Default)]
pub(super) struct UploadProgress {
    received: Cell<u64>,
    /// When the last piece came.
    last: Cell<Option<Instant>>,
    /// The upstream has asked for more, and the client has not sent it.
    wanted: Cell<bool>,
    complete: Cell<bool>,
    ended: Cell<Option<Instant>>,
    waiter: RefCell<Option<Waker>>,
}

impl UploadProgress {
    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    /// When the last piece came; `None` before the first.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last.get()
    }

    /// Whether the upload waits for the client; otherwise the upstream reads no more of it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// When the body ended, or was dropped.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Wakes this task when the body ends. Does nothing after its end.
    pub(super) fn wake_at_end(&self, waker: &Waker) {
        if self.ended.get().is_none() {
            self.waiter.borrow_mut().get_or_insert_with(|| waker.clone()).clone_from(waker);
        }
    }

    /// Notes a piece that has come.
    pub(super) fn progress(&self, bytes: usize) {
        self.wanted.set(false);
        self.last.set(Some(Instant::now()));
        self.received.set(self.received.get() + bytes as u64);
    }

    /// Notes that the upstream asks for more than has come.
    pub(super) fn want(&self) {
        self.wanted.set(true);
    }

    /// Notes that all of it has come.
    pub(super) fn complete(&self) {
        self.complete.set(true);
        self.end();
    }

    /// Notes the end of the body. Only the first call counts.
    pub(super) fn end(&self) {
        if self.ended.get().is_none() {
            self.ended.set(Some(Instant::now()));
            if let Some(waker) = self.waiter.take() {
                waker.wake();
            }
        }
    }
}
