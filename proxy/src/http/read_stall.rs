//! Whether a client reads the responses that it asked for.

use std::{cell::Cell, time::Instant};

/// Detects a client that does not read. The connection of a client that reads asks for the next
/// piece of a response soon after the last one; a client that does not (a full socket, or a window
/// that it never opens in HTTP/2) leaves responses unasked.
#[derive(Debug, Default)]
pub(super) struct ReadStall {
    /// Responses that gave a piece and were not asked for the next.
    waiting: Cell<usize>,
    /// When any response was asked last; or when the first of those waiting gave its piece.
    last: Cell<Option<Instant>>,
}

impl ReadStall {
    /// Notes that a response gave a piece, or its head, and waits to be asked for the next.
    pub(super) fn wait(&self, now: Instant) {
        // Only the first sets the time: a client that only sends new requests does not read.
        if self.waiting.replace(self.waiting.get() + 1) == 0 {
            self.last.set(Some(now));
        }
    }

    /// Notes that a waiting response was asked for its next piece, or is over.
    pub(super) fn end_wait(&self) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
    }

    /// Notes that a piece is asked for.
    pub(super) fn ask(&self, now: Instant) {
        self.last.set(Some(now));
    }

    /// Since when some response waits and none was asked.
    pub(super) fn since(&self) -> Option<Instant> {
        self.last.get().filter(|_| self.waiting.get() > 0)
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
        let (stall, start) = (ReadStall::default(), Instant::now());
        assert_eq!(stall.since(), None);
        stall.wait(start);
        assert_eq!(stall.since(), Some(start));
        stall.end_wait();
        stall.ask(start + seconds(1));
        assert_eq!(stall.since(), None);
        stall.wait(start + seconds(2));
        assert_eq!(stall.since(), Some(start + seconds(2)));
        stall.end_wait();
        assert_eq!(stall.since(), None);
    }

    #[test]
    fn one_response_that_is_read_keeps_the_connection_from_stalling() {
        let (stall, start) = (ReadStall::default(), Instant::now());
        stall.wait(start);
        stall.ask(start + seconds(9));
        assert_eq!(stall.since(), Some(start + seconds(9)));
    }

    #[test]
    fn further_requests_alone_do_not() {
        let (stall, start) = (ReadStall::default(), Instant::now());
        stall.wait(start);
        stall.wait(start + seconds(9));
        assert_eq!(stall.since(), Some(start));
    }
}
