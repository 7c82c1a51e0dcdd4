//! Decides whether a request that finds all connections busy waits for one of them or opens
//! another.

use std::{cell::Cell, time::Duration};

/// Moving averages of the durations of requests and connects.
///
/// A new connection costs its time to connect, TLS with a certificate of ours included, and the
/// upstream the same work. If requests are usually shorter, a busy connection becomes free sooner
/// than a new one is established.
#[derive(Debug, Default)]
pub(in crate::upstream) struct ReuseEstimator {
    exchange: Average,
    connect: Average,
}

impl ReuseEstimator {
    /// Notes the duration of a request that has ended in both directions.
    pub(in crate::upstream) fn exchanged(&self, took: Duration) {
        self.exchange.add(took);
    }

    /// Notes the duration of a connect.
    pub(in crate::upstream) fn connected(&self, took: Duration) {
        self.connect.add(took);
    }

    /// How long to wait for a busy connection: at most the time of a connect, so that a request
    /// behind a long one (a large body, a slow client) waits at most twice as long for a
    /// connection. `None` if waiting does not pay.
    pub(in crate::upstream) fn wait(&self) -> Option<Duration> {
        let (exchange, connect) = (self.exchange.get()?, self.connect.get()?);
        (exchange < connect).then(|| connect.min(exchange * 2))
    }
}

/// An average in which each sample has an eighth of the weight, as in RFC 6298 section 2.
#[derive(Debug, Default)]
struct Average(Cell<Option<Duration>>);

impl Average {
    fn add(&self, sample: Duration) {
        let average = self.0.get().map_or(sample, |before| (before * 7 + sample) / 8);
        self.0.set(Some(average));
    }

    fn get(&self) -> Option<Duration> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reuse(exchange: Duration, connect: Duration) -> ReuseEstimator {
        let reuse = ReuseEstimator::default();
        reuse.exchanged(exchange);
        reuse.connected(connect);
        reuse
    }

    #[test]
    fn nothing_is_waited_for_before_anything_is_known() {
        let reuse = ReuseEstimator::default();
        assert_eq!(reuse.wait(), None);
        reuse.connected(ms(5));
        assert_eq!(reuse.wait(), None);
    }

    #[test]
    fn quick_exchanges_are_awaited_at_most_the_connect_time() {
        assert_eq!(reuse(ms(1), ms(10)).wait(), Some(ms(2)));
        assert_eq!(reuse(ms(8), ms(10)).wait(), Some(ms(10)));
        assert_eq!(reuse(ms(10), ms(10)).wait(), None);
        assert_eq!(reuse(ms(500), ms(10)).wait(), None);
    }

    #[test]
    fn a_single_slow_exchange_does_not_outweigh_many() {
        let reuse = reuse(ms(1), ms(10));
        reuse.exchanged(ms(57));
        assert_eq!(reuse.wait(), Some(ms(10)));
        reuse.exchanged(ms(200));
        assert_eq!(reuse.wait(), None);
    }
}
