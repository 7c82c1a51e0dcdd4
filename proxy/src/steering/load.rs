//! A worker's load: its open and its recently accepted connections. Pure: time is passed in.

use std::time::Instant;

/// The time in which a connection's weight decays to 1/e. Long enough that random fluctuation (the
/// square root of the count) does not move names away from a worker with a normal load.
const FADE_S: f64 = 5.0;

/// Recently accepted connections, with decaying weights: the handshake is most of a connection's
/// cost, and a connection that has already closed cost as much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    count: f64,
    at: Instant,
}

impl Recent {
    pub(super) fn new(now: Instant) -> Recent {
        Recent { count: 0.0, at: now }
    }

    /// Adds one. Times never run backwards.
    pub(super) fn add(&mut self, now: Instant) {
        *self = Recent { count: self.count(now) + 1.0, at: now };
    }

    /// The sum of the weights.
    pub(super) fn count(&self, now: Instant) -> f64 {
        let age_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.count * (-age_s / FADE_S).exp()
    }
}

/// The load in connections: the open ones plus the weights of the recently accepted ones.
pub(super) fn load(open: usize, recent: &Recent, now: Instant) -> u32 {
    let open = u32::try_from(open).unwrap_or(u32::MAX);
    // The cast saturates.
    open.saturating_add(recent.count(now).round() as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_fades_within_seconds() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        for _ in 0..100 {
            recent.add(start);
        }
        let after = |s| load(0, &recent, start + Duration::from_secs(s));
        assert_eq!([0, 5, 10, 60].map(after), [100, 37, 14, 0]);
    }

    #[test]
    fn a_steady_rate_shows_as_the_connections_of_five_seconds() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let mut now = start;
        for _ in 0..50_000 {
            now += Duration::from_millis(2);
            recent.add(now);
        }
        assert_eq!(load(0, &recent, now), 2501);
    }

    #[test]
    fn open_connections_count_for_as_long_as_they_are_open() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        recent.add(start);
        assert_eq!(load(5, &recent, start), 6);
        assert_eq!(load(5, &recent, start + Duration::from_secs(60)), 5);
    }
}
