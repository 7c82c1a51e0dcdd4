//! Whether a request that finds every connection busy waits for one of them, or makes another.

use std::{cell::Cell, time::Duration};

/// What exchanges and connects have lately taken.
///
/// A new connection costs its time to connect, TLS with a certificate of ours included, and the
/// upstream the same work. Where an exchange usually takes less, a connection will sooner be free
/// than made.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Patience {
    exchange: Average,
    connect: Average,
}

impl Patience {
    /// An exchange has ended, in both directions.
    pub(in crate::upstream) fn exchanged(&self, took: Duration) {
        self.exchange.add(took);
    }

    /// A connection was made.
    pub(in crate::upstream) fn connected(&self, took: Duration) {
        self.connect.add(took);
    }

    /// How long to wait for one that is busy: never longer than making another takes, so that one
    /// exchange that lasts (a large body, a slow client) doubles the time of a request that waits
    /// for it at most. `None` where that promises nothing.
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

    fn patience(exchange: Duration, connect: Duration) -> Patience {
        let patience = Patience::default();
        patience.exchanged(exchange);
        patience.connected(connect);
        patience
    }

    #[test]
    fn nothing_is_waited_for_before_anything_is_known() {
        let patience = Patience::default();
        assert_eq!(patience.wait(), None);
        patience.connected(ms(5));
        assert_eq!(patience.wait(), None);
    }

    #[test]
    fn quick_exchanges_are_waited_for_and_never_longer_than_connecting_takes() {
        assert_eq!(patience(ms(1), ms(10)).wait(), Some(ms(2)));
        assert_eq!(patience(ms(8), ms(10)).wait(), Some(ms(10)));
        assert_eq!(patience(ms(10), ms(10)).wait(), None);
        assert_eq!(patience(ms(500), ms(10)).wait(), None);
    }

    #[test]
    fn a_single_slow_exchange_does_not_outweigh_many() {
        let patience = patience(ms(1), ms(10));
        patience.exchanged(ms(57));
        assert_eq!(patience.wait(), Some(ms(10)));
        patience.exchanged(ms(200));
        assert_eq!(patience.wait(), None);
    }
}
