//! What a peer may use up at once, and how fast it comes back. Pure: the time is passed in.

use std::time::{Duration, Instant};

const SECOND_NS: u128 = 1_000_000_000;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    capacity: u64,
    per_second: u64,
    tokens: u64,
    /// Up to when the tokens of passing time were added.
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket, which gets so many tokens in a second.
    pub(crate) fn full(capacity: u64, per_second: u64, now: Instant) -> TokenBucket {
        TokenBucket { capacity, per_second, tokens: capacity, filled: now }
    }

    /// Takes tokens. If there are fewer, takes those and returns false.
    pub(crate) fn take(&mut self, tokens: u64, now: Instant) -> bool {
        self.refill(now);
        let is_enough = tokens <= self.tokens;
        self.tokens = self.tokens.saturating_sub(tokens);
        is_enough
    }

    /// Adds tokens. What does not fit is lost.
    pub(crate) fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.capacity);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let rate = u128::from(self.per_second);
        let tokens = passed.as_nanos().saturating_mul(rate) / SECOND_NS;
        // The rest of the time counts for the next token.
        let took_ns = tokens.saturating_mul(SECOND_NS).checked_div(rate).unwrap_or(0);
        let took = Duration::from_nanos(u64::try_from(took_ns).unwrap_or(u64::MAX));
        self.filled += took.min(passed);
        self.add(u64::try_from(tokens).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_gives_its_capacity_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(5, 2, start);
        assert!(bucket.take(5, start));
        assert!(!bucket.take(1, start + ms(499)));
        assert!(bucket.take(1, start + ms(500)));
        assert!(!bucket.take(1, start + ms(999)));
        assert!(bucket.take(1, start + ms(1000)));
        bucket.add(9);
        assert!(!bucket.take(6, start + ms(1000)), "no more than it holds");
    }

    #[test]
    fn a_bucket_that_nobody_used_for_years_is_full() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(5, u64::MAX, start);
        let later = start + Duration::from_secs(1 << 34);
        assert!(!bucket.take(6, later));
        let mut none = TokenBucket::full(5, 0, start);
        assert!(none.take(5, later) && !none.take(1, later));
    }

    proptest! {
        /// However the takes are spread over the time.
        #[test]
        fn no_more_is_taken_than_the_capacity_and_the_rate_allow(
            steps in prop::collection::vec((0..2_000u64, 0..30u64, 0..5u64), 1..100),
        ) {
            const CAPACITY: u64 = 50;
            const RATE: u64 = 33;
            let start = Instant::now();
            let mut bucket = TokenBucket::full(CAPACITY, RATE, start);
            let (mut now, mut taken, mut added) = (start, 0, 0);
            for (passed_ms, tokens, more) in steps {
                now += ms(passed_ms);
                bucket.add(more);
                added += more;
                if bucket.take(tokens, now) {
                    taken += tokens;
                }
                let passed_ms = u64::try_from((now - start).as_millis()).unwrap();
                prop_assert!(taken <= CAPACITY + added + RATE * passed_ms / 1000);
            }
        }
    }
}
