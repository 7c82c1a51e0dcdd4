//! Which stream a request has: hyper does not tell.

use std::collections::VecDeque;

/// More streams than a client may have open at once.
const MOST_UNCLAIMED: usize = 1024;

/// The streams that a client has opened, in the order of their IDs, which is also the order in which h2
/// hands their requests over.
///
/// h2 may refuse one and say nothing, so that each later request would be taken for another one. Then
/// one stream stays unclaimed for good. If none is unclaimed, h2 has handed over all of them, and each
/// claim was right.
#[derive(Debug, Default)]
pub(super) struct OpenedStreams {
    last: u32,
    unclaimed: VecDeque<u32>,
    is_lost: bool,
}

impl OpenedStreams {
    /// Notes a HEADERS frame. One of a known stream has trailers (RFC 9113 section 5.1.1).
    pub(super) fn open(&mut self, stream: u32) {
        if stream <= self.last {
            return;
        }
        self.last = stream;
        self.is_lost |= self.unclaimed.len() >= MOST_UNCLAIMED;
        if self.is_lost {
            self.unclaimed.clear();
        } else {
            self.unclaimed.push_back(stream);
        }
    }

    /// The stream of the next request.
    pub(super) fn claim(&mut self) -> Option<u32> {
        self.unclaimed.pop_front()
    }

    /// Whether all claims so far were right.
    pub(super) fn is_certain(&self) -> bool {
        !self.is_lost && self.unclaimed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_streams_in_order() {
        let mut streams = OpenedStreams::default();
        streams.open(1);
        assert_eq!(streams.claim(), Some(1));
        assert!(streams.is_certain());
        streams.open(5);
        streams.open(7);
        assert_eq!(streams.claim(), Some(5));
        assert!(!streams.is_certain());
        assert_eq!(streams.claim(), Some(7));
        assert!(streams.is_certain());
    }

    #[test]
    fn trailers_open_no_stream() {
        let mut streams = OpenedStreams::default();
        for stream in [1, 1, 3, 1] {
            streams.open(stream);
        }
        assert_eq!((streams.claim(), streams.claim()), (Some(1), Some(3)));
        assert!(streams.is_certain());
    }

    #[test]
    fn after_a_refused_stream_none_is_certain() {
        let mut streams = OpenedStreams::default();
        // 1 is refused, and the request of 3 is the first to be handed over.
        for stream in [1, 3] {
            streams.open(stream);
        }
        streams.claim();
        for stream in [5, 7, 9] {
            streams.open(stream);
            streams.claim();
            assert!(!streams.is_certain());
        }
    }

    #[test]
    fn refused_streams_take_bounded_memory() {
        let mut streams = OpenedStreams::default();
        for stream in 1..10_000 {
            streams.open(stream);
            assert!(streams.unclaimed.len() <= MOST_UNCLAIMED);
        }
        while streams.claim().is_some() {}
        assert!(!streams.is_certain());
    }
}
