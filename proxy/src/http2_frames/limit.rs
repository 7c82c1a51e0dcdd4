//! A limit on the frames that carry no part of a message.

use std::time::Instant;

use crate::token_bucket::TokenBucket;

/// By how many bytes the control frames of a connection may outweigh everything else.
const ALLOWANCE_BYTES: u64 = 1024 * 1024;
/// How much of that comes back in a second. Handling so many frames takes a worker less than a
/// thousandth of its time.
const REFILL_BYTES_PER_SECOND: u64 = 64 * 1024;
/// How many bytes of control frames are let pass before they are weighed.
const WEIGHED_BYTES: u64 = 16 * 1024;

/// Detects a peer whose control frames (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, unknown and
/// empty frames) outweigh the messages of its connection in both directions.
///
/// nginx closes a connection on which all frames together outweigh messages eight times, and 8 MiB
/// more. Here the excess counts. It decreases with time, so that the pings of a connection that stays
/// open do not add up; and messages that we send count, since their receiver answers them with
/// WINDOW_UPDATE and often with a PING, which measures its bandwidth.
#[derive(Debug)]
pub(crate) struct ControlFrameLimit {
    allowance: TokenBucket,
    /// The control frames, and the messages, that were weighed.
    weighed: (u64, u64),
}

impl ControlFrameLimit {
    /// For a connection that begins now.
    pub(crate) fn new(now: Instant) -> ControlFrameLimit {
        let allowance = TokenBucket::full(ALLOWANCE_BYTES, REFILL_BYTES_PER_SECOND, now);
        ControlFrameLimit { allowance, weighed: (0, 0) }
    }

    /// Whether the peer is to be cut off. `control` and `messages` are the bytes so far; the clock is
    /// read only if control frames have come.
    pub(crate) fn is_exceeded(
        &mut self,
        control: u64,
        messages: u64,
        now: impl FnOnce() -> Instant,
    ) -> bool {
        let more = control.saturating_sub(self.weighed.0);
        if more < WEIGHED_BYTES {
            return false;
        }
        let earned = messages.saturating_sub(self.weighed.1);
        self.weighed = (control, messages);
        match more.checked_sub(earned) {
            Some(excess) => !self.allowance.take(excess, now()),
            None => {
                self.allowance.add(earned - more);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// How many bytes of control frames pass before the limit, if this many bytes of messages go with
    /// each 1,000.
    fn passed(messages: u64, step: Duration) -> u64 {
        let start = Instant::now();
        let mut limit = ControlFrameLimit::new(start);
        for n in 1..20_000 {
            let now = start + step * u32::try_from(n).unwrap();
            if limit.is_exceeded(n * 1000, n * messages, || now) {
                return n * 1000;
            }
        }
        u64::MAX
    }

    #[test]
    fn a_flood_ends_a_megabyte_above_its_messages() {
        let near = |bytes: u64, expected: u64| bytes.abs_diff(expected) <= WEIGHED_BYTES + 1000;
        assert!(near(passed(0, Duration::ZERO), ALLOWANCE_BYTES));
        assert!(near(passed(500, Duration::ZERO), 2 * ALLOWANCE_BYTES));
    }

    #[test]
    fn control_frames_that_messages_outweigh_are_no_flood() {
        assert_eq!(passed(1000, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn control_frames_at_a_low_rate_are_no_flood() {
        // 1,000 bytes each 16 ms.
        assert_eq!(passed(0, Duration::from_millis(16)), u64::MAX);
        assert!(passed(0, Duration::from_millis(8)) < u64::MAX);
    }

    #[test]
    fn messages_of_the_past_pay_for_no_more_than_the_allowance() {
        let start = Instant::now();
        let mut limit = ControlFrameLimit::new(start);
        let gigabyte = 1 << 30;
        assert!(!limit.is_exceeded(WEIGHED_BYTES, gigabyte, || start));
        let flood = WEIGHED_BYTES + ALLOWANCE_BYTES;
        assert!(!limit.is_exceeded(flood, gigabyte, || start));
        assert!(limit.is_exceeded(flood + WEIGHED_BYTES, gigabyte, || start));
    }

    #[test]
    fn no_clock_is_read_for_few_control_frames() {
        let mut limit = ControlFrameLimit::new(Instant::now());
        assert!(!limit.is_exceeded(WEIGHED_BYTES - 1, 0, || unreachable!("the clock was read")));
    }

    proptest! {
        /// A download: WINDOW_UPDATE for stream and connection, and a PING, for each DATA frame.
        #[test]
        fn no_download_is_a_flood(frames in prop::collection::vec(43..16_384u64, 1..5_000)) {
            let start = Instant::now();
            let mut limit = ControlFrameLimit::new(start);
            let (mut control, mut sent) = (0, 0);
            for frame in frames {
                sent += frame;
                control += 2 * 13 + 17;
                prop_assert!(!limit.is_exceeded(control, sent, || start));
            }
        }
    }
}
