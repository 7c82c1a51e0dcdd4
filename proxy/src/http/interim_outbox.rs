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
pub(crate) struct InterimOutbox(RefCell<Option<Box<WaitingHeads>>>);

/// Boxed: few connections ever have any.
#[derive(Debug, Default)]
struct WaitingHeads {
    heads: Vec<InterimHead>,
    connection: Option<Waker>,
    /// Requests whose final response waits for the interim ones before it.
    requests: Vec<Waker>,
}

impl InterimOutbox {
    /// Whether any wait.
    pub(crate) fn has_waiting(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|waiting| !waiting.heads.is_empty())
    }

    /// The task is woken when the next one comes. For a connection whose requests have other tasks.
    pub(crate) fn watch(&self, cx: &mut Context<'_>) {
        let mut waiting = self.0.borrow_mut();
        match &mut waiting.get_or_insert_default().connection {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
    }

    /// Takes those that are wanted, to be written at once.
    pub(crate) fn take(&self, is_wanted: impl Fn(&InterimHead) -> bool) -> Vec<InterimHead> {
        let mut waiting = self.0.borrow_mut();
        let Some(waiting) = waiting.as_mut() else { return Vec::new() };
        let taken = waiting.heads.extract_if(.., |head| is_wanted(head)).collect();
        waiting.requests.drain(..).for_each(Waker::wake);
        taken
    }

    /// Ready when none of the stream's waits any more.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>, stream: Option<u32>) -> Poll<()> {
        let mut waiting = self.0.borrow_mut();
        match waiting.as_mut() {
            Some(waiting) if waiting.heads.iter().any(|head| head.stream == stream) => {
                waiting.requests.push(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Adds one.
    pub(super) fn put(&self, head: InterimHead) {
        let mut waiting = self.0.borrow_mut();
        let waiting = waiting.get_or_insert_default();
        waiting.heads.push(head);
        if let Some(connection) = &waiting.connection {
            connection.wake_by_ref();
        }
    }

    /// Discards those of a stream, or of an HTTP/1 connection.
    pub(super) fn discard(&self, stream: Option<u32>) {
        if let Some(waiting) = self.0.borrow_mut().as_mut() {
            waiting.heads.retain(|head| head.stream != stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn head(stream: u32) -> InterimHead {
        let (stream, status) = (Some(stream), StatusCode::EARLY_HINTS);
        InterimHead { stream, status, headers: HeaderMap::new() }
    }

    #[test]
    fn a_final_response_waits_for_its_own_interim_ones_alone() {
        let outbox = InterimOutbox::default();
        let is_taken =
            |stream| outbox.poll_taken(&mut Context::from_waker(Waker::noop()), Some(stream));
        outbox.put(head(1));
        assert_eq!((is_taken(1), is_taken(3)), (Poll::Pending, Poll::Ready(())));
        assert_eq!(outbox.take(|_| true).len(), 1);
        assert_eq!(is_taken(1), Poll::Ready(()));
    }

    #[test]
    fn interim_responses_of_an_ended_request_are_discarded() {
        let outbox = InterimOutbox::default();
        outbox.put(head(1));
        outbox.put(head(3));
        outbox.discard(Some(1));
        let left: Vec<_> = outbox.take(|_| true).iter().map(|head| head.stream).collect();
        assert_eq!(left, [Some(3)]);
        assert!(!outbox.has_waiting());
    }
}
