//! Clients that make more work than their requests explain. Pure: the time is passed in.

use std::time::Instant;

use crate::{
    http2_frames::{ControlFrameLimit, Http2Traffic},
    token_bucket::TokenBucket,
};

/// How many requests a client may reset at once: enough for a page that is left early.
const RESETS: u64 = 200;
/// How many more in a second, as nghttp2. Each costs a request to an upstream, and its connection.
const RESETS_PER_SECOND: u64 = 33;
/// For so many requests of any kind a client may reset one more: a proxy in front of us sends those of
/// many users over one connection.
const REQUESTS_FOR_A_RESET: u64 = 20;

/// A GOAWAY frame with ENHANCE_YOUR_CALM (RFC 9113 section 7). Its stream is the last that there can
/// be: any request may have been handled.
pub(super) const GOAWAY: [u8; 17] =
    [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

/// What a client does too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Requests that are reset (CVE-2023-44487), by the client, or by us since it broke the protocol.
    Resets,
    /// Frames that carry no request.
    ControlFrames,
}

/// The limits of one HTTP/2 connection.
#[derive(Debug)]
pub(super) struct ExcessLimits {
    resets: ResetLimit,
    control_frames: ControlFrameLimit,
}

impl ExcessLimits {
    /// For a connection that begins now.
    pub(super) fn new(now: Instant) -> ExcessLimits {
        ExcessLimits { resets: ResetLimit::new(now), control_frames: ControlFrameLimit::new(now) }
    }

    /// What the client has done too much of, if anything. The clock is read only if it did something of
    /// the kind.
    pub(super) fn exceeded(
        &mut self,
        requests: u64,
        abandoned: u64,
        traffic: Option<&Http2Traffic>,
        now: impl Fn() -> Instant,
    ) -> Option<Excess> {
        if self.resets.is_exceeded(requests, abandoned, &now) {
            return Some(Excess::Resets);
        }
        let traffic = traffic?;
        let counts = traffic.counts();
        let messages = counts.fields + counts.data + traffic.sent_in_messages();
        let exceeded = self.control_frames.is_exceeded(counts.control, messages, now);
        exceeded.then_some(Excess::ControlFrames)
    }
}

/// A limit on requests that are given up.
#[derive(Debug)]
struct ResetLimit {
    /// In parts, of which a reset takes [`REQUESTS_FOR_A_RESET`].
    parts: TokenBucket,
    seen_requests: u64,
    seen_abandoned: u64,
}

impl ResetLimit {
    fn new(now: Instant) -> ResetLimit {
        let [capacity, rate] = [RESETS, RESETS_PER_SECOND].map(|n| n * REQUESTS_FOR_A_RESET);
        let parts = TokenBucket::full(capacity, rate, now);
        ResetLimit { parts, seen_requests: 0, seen_abandoned: 0 }
    }

    fn is_exceeded(
        &mut self,
        requests: u64,
        abandoned: u64,
        now: impl FnOnce() -> Instant,
    ) -> bool {
        let more = abandoned - self.seen_abandoned;
        if more == 0 {
            return false;
        }
        self.parts.add(requests - self.seen_requests);
        (self.seen_requests, self.seen_abandoned) = (requests, abandoned);
        !self.parts.take(more * REQUESTS_FOR_A_RESET, now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// After how many resets a client is cut off that sends so many other requests with each.
    fn resets(others: u64, pause: Duration) -> Option<u64> {
        let start = Instant::now();
        let mut limit = ResetLimit::new(start);
        (1..20_000).find(|&n| {
            let now = start + pause * u32::try_from(n).unwrap();
            limit.is_exceeded(n * (1 + others), n, || now)
        })
    }

    #[test]
    fn a_page_that_is_left_early_is_no_abuse() {
        assert!(resets(0, Duration::ZERO).unwrap() > RESETS);
    }

    #[test]
    fn rapid_resets_are_cut_off_whatever_is_sent_between() {
        for others in 0..=10 {
            let most = if others < 5 { 300 } else { 500 };
            let cut_off = resets(others, Duration::ZERO).unwrap();
            assert!(cut_off <= most, "{others} others with each: {cut_off}");
        }
    }

    #[test]
    fn resets_at_a_low_rate_are_no_abuse() {
        assert_eq!(resets(0, Duration::from_millis(31)), None);
        assert!(resets(0, Duration::from_millis(25)).is_some());
    }

    #[test]
    fn few_resets_among_many_requests_are_no_abuse() {
        assert_eq!(resets(REQUESTS_FOR_A_RESET, Duration::ZERO), None);
    }

    #[test]
    fn no_clock_is_read_for_a_plain_request() {
        let mut limits = ExcessLimits::new(Instant::now());
        let exceeded = limits.exceeded(1_000, 0, None, || unreachable!("the clock was read"));
        assert_eq!(exceeded, None);
    }
}
