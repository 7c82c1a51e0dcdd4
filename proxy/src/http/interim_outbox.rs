//! Interim responses that wait for their client's connection.

use std::{
    cell::RefCell,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, StatusCode};

/// One interim response for the client.
#[derive(Debug)]
pub(crate) struct InterimHead {
    /// Its stream in HTTP/2.
    pub stream: Option<u32>,
    /// The status, 1xx but not 101.
    pub status: StatusCode,
    /// Its fields, without those of the upstream's connection.
    pub headers: HeaderMap,
}

/// Interim responses that wait for their client's connection, which alone knows when it may write them.
#[derive(Debug, Default)]
pub(crate) struct InterimOutbox(RefCell<WaitingHeads>);

#[derive(Debug, Default)]
struct WaitingHeads {
    heads: Vec<InterimHead>,
    connection: Option<Waker>,
    /// Requests whose final response waits for the interim ones before it.
    requests: Vec<Waker>,
}

impl InterimOutbox {
    /// Whether any wait. The connection's task, which calls this, is woken when the next one comes.
    pub(crate) fn has_waiting(&self, cx: &mut Context<'_>) -> bool {
        let mut waiting = self.0.borrow_mut();
        match &mut waiting.connection {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        !waiting.heads.is_empty()
    }

    /// Takes those that are wanted, to be written at once.
    pub(crate) fn take(&self, is_wanted: impl Fn(&InterimHead) -> bool) -> Vec<InterimHead> {
        let mut waiting = self.0.borrow_mut();
        let taken = waiting.heads.extract_if(.., |head| is_wanted(head)).collect();
        waiting.requests.drain(..).for_each(Waker::wake);
        taken
    }

    /// Ready when none of the stream's waits any more.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>, stream: Option<u32>) -> Poll<()> {
        let mut waiting = self.0.borrow_mut();
        if waiting.heads.iter().any(|head| head.stream == stream) {
            waiting.requests.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Adds one.
    pub(super) fn put(&self, head: InterimHead) {
        let mut waiting = self.0.borrow_mut();
        waiting.heads.push(head);
        if let Some(connection) = &waiting.connection {
            connection.wake_by_ref();
        }
    }

    /// Discards those of a stream, or of an HTTP/1 connection.
    pub(super) fn discard(&self, stream: Option<u32>) {
        self.0.borrow_mut().heads.retain(|head| head.stream != stream);
    }
}
