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

impl InterimHead {
    fn delays_final(&self, stream: Option<u32>) -> bool {
        self.stream == stream && self.status != StatusCode::CONTINUE
    }
}

/// Interim responses that wait for their client's connection, which alone knows when it may write them.
#[derive(Debug, Default)]
pub(crate) struct InterimOutbox(RefCell<Option<Box<WaitingHeads>>>);

/// Boxed: an HTTP/1 connection hardly ever has any.
#[derive(Debug, Default)]
struct WaitingHeads {
    heads: Vec<InterimHead>,
    connection: Option<Waker>,
    /// Requests whose final response waits for the interim ones before it.
    requests: Vec<(Option<u32>, Waker)>,
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
        waiting.requests.drain(..).for_each(|(_, request)| request.wake());
        taken
    }

    /// Discards those that keep a final response waiting, since they cannot be written now.
    pub(crate) fn release_final(&self) {
        let mut waiting = self.0.borrow_mut();
        let Some(WaitingHeads { heads, requests, .. }) = waiting.as_deref_mut() else { return };
        for (stream, request) in requests.drain(..) {
            heads.retain(|head| head.stream != stream);
            request.wake();
        }
    }

    /// Wakes the connection that watches.
    pub(super) fn wake_connection(&self) {
        if let Some(connection) = self.0.borrow().as_ref().and_then(|all| all.connection.as_ref()) {
            connection.wake_by_ref();
        }
    }

    /// Ready when none of the stream's waits any more. Beside a final response, a 100 is of no use.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>, stream: Option<u32>) -> Poll<()> {
        let mut waiting = self.0.borrow_mut();
        match waiting.as_mut() {
            Some(waiting) if waiting.heads.iter().any(|head| head.delays_final(stream)) => {
                waiting.requests.push((stream, cx.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Adds one.
    pub(super) fn put(&self, head: InterimHead) {
        self.0.borrow_mut().get_or_insert_default().heads.push(head);
        self.wake_connection();
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
    fn a_final_response_does_not_wait_for_its_100() {
        let outbox = InterimOutbox::default();
        outbox.put(InterimHead { status: StatusCode::CONTINUE, ..head(1) });
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(outbox.poll_taken(&mut cx, Some(1)), Poll::Ready(()));
    }

    #[test]
    fn interim_responses_that_cannot_be_written_do_not_keep_the_final_one() {
        let outbox = InterimOutbox::default();
        let mut cx = Context::from_waker(Waker::noop());
        outbox.put(head(1));
        outbox.put(head(3));
        assert_eq!(outbox.poll_taken(&mut cx, Some(1)), Poll::Pending);
        outbox.release_final();
        assert_eq!(outbox.poll_taken(&mut cx, Some(1)), Poll::Ready(()));
        assert!(
            outbox.has_waiting(),
            "that of the other stream, whose final response has not come"
        );
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
