//! What an HTTP/2 upstream may send besides responses.

use std::{
    cell::{Cell, RefCell},
    io,
    time::Instant,
};

use super::answer_io::ReceiveLimit;
use crate::{
    http2_frames::{ControlFrameLimit, Frames, Http2Traffic},
    rt,
};

/// The field blocks that a request explains: a head, interim responses before it, and trailers.
const FIELDS_BYTES: u64 = 256 * 1024;

/// What passes on an upstream connection. It fails once its upstream floods it.
#[derive(Debug)]
pub(super) struct UpstreamTraffic {
    passed: Http2Traffic,
    requests: Cell<u64>,
    limit: RefCell<ControlFrameLimit>,
    is_flood: Cell<bool>,
}

impl UpstreamTraffic {
    /// Of a new connection.
    pub(super) fn new(now: Instant) -> UpstreamTraffic {
        UpstreamTraffic {
            passed: Http2Traffic::new(Frames::of_server()),
            requests: Cell::new(0),
            limit: RefCell::new(ControlFrameLimit::new(now)),
            is_flood: Cell::new(false),
        }
    }

    /// A request is sent.
    pub(super) fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// Whether the connection was closed since control frames, or interim responses, outweighed
    /// everything else.
    pub(super) fn is_flood(&self) -> bool {
        self.is_flood.get()
    }

    fn exceeds(&self, now: impl FnOnce() -> Instant) -> bool {
        let counts = self.passed.counts();
        let unexplained = counts.fields.saturating_sub(self.requests.get() * FIELDS_BYTES);
        let messages = counts.data + self.passed.sent_in_messages();
        self.limit.borrow_mut().is_exceeded(counts.control + unexplained, messages, now)
    }
}

impl ReceiveLimit for UpstreamTraffic {
    fn check(&self) -> io::Result<()> {
        if self.exceeds(Instant::now) {
            self.is_flood.set(true);
            return Err(io::Error::other("too many HTTP/2 control frames"));
        }
        Ok(())
    }

    fn received(&self, bytes: &[u8]) {
        rt::spend(self.passed.receive(bytes));
    }

    fn sent(&self, bytes: usize) {
        self.passed.send(bytes, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [u8; 9] = [0, 0, 11, 1, 4, 0, 0, 0, 1];

    fn head() -> Vec<u8> {
        [&HEADERS[..], &[0; 11]].concat()
    }

    /// How many bytes of heads pass, if this many requests are sent.
    fn heads_passed(requests: u64) -> u64 {
        let now = Instant::now();
        let traffic = UpstreamTraffic::new(now);
        (0..requests).for_each(|_| traffic.begin_request());
        let heads = head().repeat(50);
        while !traffic.exceeds(|| now) {
            traffic.passed.receive(&heads);
        }
        traffic.passed.counts().fields
    }

    #[test]
    fn interim_responses_of_one_request_are_limited() {
        let most = heads_passed(1);
        assert!((FIELDS_BYTES..FIELDS_BYTES * 6).contains(&most), "{most} bytes");
    }

    #[test]
    fn each_request_explains_a_response_of_any_size() {
        assert!(heads_passed(100) >= 100 * FIELDS_BYTES);
    }
}
