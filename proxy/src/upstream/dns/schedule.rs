//! When a name is resolved again, and in which order its addresses are tried. Pure.

use std::{net::IpAddr, time::Duration};

/// Minimum time between look-ups of a name, so that a TTL of 0 does not cause a flood.
const SHORTEST: Duration = Duration::from_secs(1);
/// Maximum time between look-ups of a name. It applies to `/etc/hosts` too, so that an edit takes
/// effect without a restart.
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The delay after an answer with this TTL.
pub(super) fn after_answer(ttl: Duration) -> Duration {
    ttl.clamp(SHORTEST, LONGEST)
}

/// The delay after this many failures in a row: 1 s, doubling up to 30 s.
pub(super) fn after_failures(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(5);
    (SHORTEST * 2u32.pow(doublings)).min(LONGEST_BACKOFF)
}

/// Alternates between the address families, beginning with that of the first (RFC 8305 section 4),
/// so that a family without connectivity costs only every other attempt.
pub(super) fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (leading, trailing): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut trailing = trailing.into_iter();
    let mut order = Vec::new();
    for address in leading {
        order.push(address);
        order.extend(trailing.next());
    }
    order.extend(trailing);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_to_live_are_respected_within_bounds() {
        assert_eq!(after_answer(Duration::ZERO), SHORTEST);
        assert_eq!(after_answer(Duration::from_secs(42)), Duration::from_secs(42));
        assert_eq!(after_answer(Duration::from_secs(86_400)), LONGEST);
    }

    #[test]
    fn failures_back_off_to_a_bound() {
        let waits: Vec<_> = (1..9).map(|failures| after_failures(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(after_failures(u32::MAX), LONGEST_BACKOFF);
    }

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let order = interleave(parse(&["::1", "::2", "::3", "1.1.1.1"]));
        assert_eq!(order, parse(&["::1", "1.1.1.1", "::2", "::3"]));
        let order = interleave(parse(&["1.1.1.1", "::1", "::2"]));
        assert_eq!(order, parse(&["1.1.1.1", "::1", "::2"]));
    }

    proptest! {
        #[test]
        fn no_address_is_lost_or_doubled(addresses: Vec<IpAddr>) {
            let mut order = interleave(addresses.clone());
            let mut expected = addresses;
            order.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(order, expected);
        }
    }
}
