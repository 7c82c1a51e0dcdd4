//! Whether a client takes the responses it asked for.

use std::{cell::Cell, time::Instant};

/// How the responses of one connection flow. A client that reads asks for the next piece of a
/// response soon after it was given one; one that does not (a blocked socket, or in HTTP/2 a window
/// it never opens) leaves pieces held for good.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Responses that were given a piece and not asked for the next.
    held: Cell<usize>,
    /// When a piece was asked for last, of any response; or when the first of those held was given.
    last: Cell<Option<Instant>>,
}

impl Demand {
    /// A response was given a piece, or its head.
    pub(super) fn hold(&self, now: Instant) {
        // Only the first: new requests alone must not pass for a client that reads.
        if self.held.replace(self.held.get() + 1) == 0 {
            self.last.set(Some(now));
        }
    }

    /// A held response is asked for its next piece, or is over.
    pub(super) fn release(&self) {
        self.held.set(self.held.get().saturating_sub(1));
    }

    /// A piece is asked for.
    pub(super) fn ask(&self, now: Instant) {
        self.last.set(Some(now));
    }

    /// Since when a response has been held with no piece of any asked for.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.last.get().filter(|_| self.held.get() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_response_that_is_not_asked_for_stalls_from_its_last_piece() {
        let (demand, start) = (Demand::default(), Instant::now());
        assert_eq!(demand.stalled_since(), None);
        demand.hold(start);
        assert_eq!(demand.stalled_since(), Some(start));
        demand.release();
        demand.ask(start + seconds(1));
        assert_eq!(demand.stalled_since(), None);
        demand.hold(start + seconds(2));
        assert_eq!(demand.stalled_since(), Some(start + seconds(2)));
        demand.release();
        assert_eq!(demand.stalled_since(), None);
    }

    #[test]
    fn one_response_that_is_read_keeps_the_connection_from_stalling() {
        let (demand, start) = (Demand::default(), Instant::now());
        demand.hold(start);
        demand.ask(start + seconds(9));
        assert_eq!(demand.stalled_since(), Some(start + seconds(9)));
    }

    #[test]
    fn further_requests_alone_do_not() {
        let (demand, start) = (Demand::default(), Instant::now());
        demand.hold(start);
        demand.hold(start + seconds(9));
        assert_eq!(demand.stalled_since(), Some(start));
    }
}
