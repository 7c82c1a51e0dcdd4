//! Which endpoints of a cluster get requests. Pure.

/// A region's endpoints are enough for all requests if at least 100/140 of them are available
/// (Envoy's overprovisioning factor): then there is no panic, whatever the threshold.
const OVERPROVISIONING_PERCENT: u64 = 140;

/// An endpoint's share of the requests, in percent of what its weight gives it: 0 for an endpoint
/// that is not available, less than 100 during slow start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct EndpointShare(pub(in crate::upstream) u8);

impl EndpointShare {
    pub(in crate::upstream) const NONE: EndpointShare = EndpointShare(0);
    pub(in crate::upstream) const FULL: EndpointShare = EndpointShare(100);

    /// Whether the endpoint gets requests.
    pub(in crate::upstream) fn is_some(self) -> bool {
        self != EndpointShare::NONE
    }
}

/// Which endpoints of a cluster get requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) struct Availability {
    /// One for each endpoint of the cluster.
    pub(in crate::upstream) shares: Box<[EndpointShare]>,
    /// So few are available that all get requests.
    pub(in crate::upstream) is_panic: bool,
}

impl Availability {
    /// `shares` are those of the endpoints by their own states.
    pub(super) fn new(shares: Box<[EndpointShare]>, panic_threshold_percent: u8) -> Availability {
        let available = shares.iter().filter(|share| share.is_some()).count() as u64;
        let all = shares.len().max(1) as u64;
        let is_enough = available * OVERPROVISIONING_PERCENT >= all * 100;
        let is_panic = !is_enough && available * 100 < all * u64::from(panic_threshold_percent);
        match is_panic {
            true => {
                let shares = shares.iter().map(|_| EndpointShare::FULL).collect();
                Availability { shares, is_panic }
            }
            false => Availability { shares, is_panic },
        }
    }

    /// Whether each endpoint gets its full share.
    pub(in crate::upstream) fn is_full(&self) -> bool {
        self.shares.iter().all(|share| *share == EndpointShare::FULL)
    }

    /// Whether an endpoint gets requests.
    pub(in crate::upstream) fn includes(&self, index: usize) -> bool {
        self.shares.get(index).is_some_and(|share| share.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(available: usize, all: usize, threshold: u8) -> Availability {
        let share = |index| match index < available {
            true => EndpointShare::FULL,
            false => EndpointShare::NONE,
        };
        Availability::new((0..all).map(share).collect(), threshold)
    }

    #[test]
    fn all_are_used_below_the_panic_threshold() {
        assert!(!of(2, 4, 50).is_panic, "exactly the threshold");
        assert!(of(1, 4, 50).is_panic);
        assert!(of(1, 4, 50).is_full());
        assert!(of(0, 1, 50).is_panic, "a single endpoint never goes dark by default");
    }

    #[test]
    fn a_threshold_of_0_never_uses_what_is_down() {
        let none = of(0, 3, 0);
        assert!(!none.is_panic);
        assert!(none.shares.iter().all(|share| !share.is_some()));
    }

    #[test]
    fn enough_endpoints_are_no_panic_whatever_the_threshold() {
        assert!(!of(3, 4, 100).is_panic, "75 % times 1.4 is more than all");
        assert!(of(2, 4, 100).is_panic);
    }

    #[test]
    fn all_that_are_available_get_their_full_share() {
        assert!(of(4, 4, 50).is_full());
        assert!(!of(3, 4, 50).is_full());
        assert!(of(3, 4, 50).includes(2));
        assert!(!of(3, 4, 50).includes(3));
        assert!(!of(3, 4, 50).includes(4));
    }
}
