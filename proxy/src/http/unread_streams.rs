//! HTTP/2 streams whose request body is not wanted.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use crate::upstream::ReceivedBody;

/// How long a stream stays open behind the answer to a request whose body is not wanted. Its reset with
/// NO_ERROR asks the client to stop (RFC 9113 section 8.1); clients to which it comes together with the
/// answer lose the answer (curl 7.88).
const RESET_DELAY: Duration = Duration::from_millis(250);

/// The bodies that are not wanted. Nothing reads them, so that their clients can send no more than a
/// window; when one is dropped, its stream is reset.
#[derive(Debug)]
pub(super) struct UnreadStreams<B = ReceivedBody>(RefCell<Vec<(Instant, B)>>);

impl<B> UnreadStreams<B> {
    /// Keeps a body for a while.
    pub(super) fn keep(&self, body: B, now: Instant) {
        self.0.borrow_mut().push((now + RESET_DELAY, body));
    }

    /// Drops the bodies whose time has come; when that of the next one comes.
    pub(super) fn release(&self, now: Instant) -> Option<Instant> {
        let mut kept = self.0.borrow_mut();
        // In the order of their times.
        let due = kept.iter().take_while(|(at, _)| *at <= now).count();
        let released: Vec<_> = kept.drain(..due).collect();
        let next = kept.first().map(|(at, _)| *at);
        drop(kept);
        drop(released);
        next
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl<B> Default for UnreadStreams<B> {
    fn default() -> Self {
        UnreadStreams(RefCell::default())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_body_is_dropped_some_time_after_its_answer() {
        let (streams, start) = (UnreadStreams::default(), Instant::now());
        let (first, second) = (Rc::new(()), Rc::new(()));
        let later = start + Duration::from_millis(50);
        streams.keep(Rc::clone(&first), start);
        streams.keep(Rc::clone(&second), later);
        assert_eq!(streams.release(later), Some(start + RESET_DELAY));
        assert_eq!(Rc::strong_count(&first), 2, "its client may not have read the answer yet");
        assert_eq!(streams.release(start + RESET_DELAY), Some(later + RESET_DELAY));
        assert_eq!((Rc::strong_count(&first), Rc::strong_count(&second)), (1, 2));
        assert_eq!(streams.release(later + RESET_DELAY), None);
        assert!(streams.is_empty());
        assert_eq!(Rc::strong_count(&second), 1);
    }
}
