//! Bounds what clients without a valid logout token cost: anybody may send one. Pure.

use std::net::IpAddr;

use super::expiring::ExpiringMap;
use crate::identity::spec::client_network;

/// How long failures count, in seconds.
const WINDOW_S: u64 = 60;
/// How many tokens of one network may fail in that time.
const MOST_FAILURES: u32 = 20;
/// Maximum number of networks whose failures are counted.
const MOST_NETWORKS: usize = 1024;
/// How long a network from which a valid token came is preferred, in seconds.
const TRUSTED_S: u64 = 7 * 86_400;
/// Maximum number of such networks.
const MOST_TRUSTED: usize = 64;

/// Counts tokens that were not acceptable. When too many networks send such tokens, only those from
/// which a valid one came lately are listened to, so that a flood does not keep the provider out.
#[derive(Debug, Default)]
pub(super) struct LogoutLimits {
    failures: ExpiringMap<IpAddr, u32>,
    trusted: ExpiringMap<IpAddr, ()>,
}

impl LogoutLimits {
    /// Whether a token of this client is to be verified.
    pub(super) fn admits(&mut self, client: IpAddr, now_s: u64) -> bool {
        self.remove_expired(now_s);
        let network = client_network(client);
        match self.failures.get(network) {
            Some(failures) => *failures < MOST_FAILURES,
            None => self.failures.len() < MOST_NETWORKS || self.trusted.get(network).is_some(),
        }
    }

    /// Notes that a token of this client was not acceptable.
    pub(super) fn failed(&mut self, client: IpAddr, now_s: u64) {
        let network = client_network(client);
        if let Some(failures) = self.failures.get_mut(network) {
            *failures = failures.saturating_add(1);
        } else if self.failures.len() < MOST_NETWORKS {
            self.failures.insert(network, now_s.saturating_add(WINDOW_S), 1);
        }
    }

    /// Notes that a token of this client was valid.
    pub(super) fn verified(&mut self, client: IpAddr, now_s: u64) {
        let network = client_network(client);
        if self.trusted.len() >= MOST_TRUSTED && self.trusted.get(network).is_none() {
            self.trusted.remove_first();
        }
        self.trusted.insert(network, now_s.saturating_add(TRUSTED_S), ());
    }

    /// Forgets what is long ago.
    pub(super) fn remove_expired(&mut self, now_s: u64) {
        self.failures.remove_expired(now_s);
        self.trusted.remove_expired(now_s);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0xc000_0200 + number).into()
    }

    #[test]
    fn a_network_has_twenty_failures_a_minute() {
        let mut limits = LogoutLimits::default();
        for _ in 0..MOST_FAILURES {
            assert!(limits.admits(client(1), 0));
            limits.failed(client(1), 0);
        }
        assert!(!limits.admits(client(1), WINDOW_S));
        assert!(limits.admits(client(2), 0));
        assert!(limits.admits(client(1), WINDOW_S + 1));
    }

    #[test]
    fn a_flood_of_many_networks_does_not_keep_the_provider_out() {
        let mut limits = LogoutLimits::default();
        limits.verified(client(0), 0);
        for number in 1..5000 {
            limits.failed(client(number), 0);
        }
        assert_eq!(limits.failures.len(), MOST_NETWORKS);
        assert!(limits.admits(client(0), 1));
        assert!(!limits.admits(client(4999), 1));
        assert!(limits.admits(client(4999), WINDOW_S + 1));
    }

    #[test]
    fn the_networks_that_are_preferred_are_bounded() {
        let mut limits = LogoutLimits::default();
        for number in 0..1000 {
            limits.verified(client(number), u64::from(number));
        }
        assert_eq!(limits.trusted.len(), MOST_TRUSTED);
        assert!(limits.trusted.get(client(999)).is_some());
        limits.remove_expired(1000 + TRUSTED_S);
        assert_eq!(limits.trusted.len(), 0);
    }
}
