//! The budget of descriptors: how the open files that the kernel allows this process
//! (`RLIMIT_NOFILE`) are divided.
//!
//! A part is reserved for what must work in any flood: listeners, admin, reload, log, DNS and the
//! identity provider. The rest is halved: one half for clients, one for upstreams. The shares are
//! computed once, at start, so no request looks at a shared count.

use std::num::NonZeroUsize;

use crate::observe::DescriptorView;

/// Descriptors of the process itself: standard streams, event loops, signals, the watcher of files,
/// the control socket with its connections, the kernel programs and their maps.
const PROCESS: usize = 48;
/// Descriptors of one worker: its ring, its event loop, and some connections that are closing.
const WORKER: usize = 12;
/// For one address of one worker: its socket and the second handle that outlives its thread.
const WORKER_ADDRESS: usize = 3;
/// Files and directories that a load has open at a time.
const RELOAD: usize = 16;
/// A DNS look-up asks for both families at a time, and the identity provider gets as much as DNS.
const CALLS_PER_LOOKUP: usize = 4;
/// The fewest clients that are worth a start.
const FEWEST_CLIENTS: usize = 16;
/// Stands for a limit where there is none.
const UNLIMITED: usize = 1 << 30;

/// The shares of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// The limit in force.
    pub limit: usize,
    /// What clients and upstreams never get.
    pub reserved: usize,
    /// The most open client connections. Beside them, an eighth as many may be closing.
    pub clients: usize,
    /// The most connections to upstreams, of all workers together.
    pub upstreams: usize,
    /// The most connections of one administrative listener; part of the reserve.
    pub admin: usize,
    /// The most DNS look-ups at a time; part of the reserve.
    pub lookups: usize,
    users: DescriptorUsers,
}

/// What the process has, beside connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorUsers {
    /// Worker threads.
    pub workers: usize,
    /// Addresses that each worker listens on.
    pub addresses: usize,
    /// Administrative listeners.
    pub admin_listeners: usize,
    /// Descriptors of the SYN catchers of kernel steering.
    pub catchers: usize,
}

/// The limit leaves too little for clients and upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of {limit} open files is too low: this configuration needs at least {least}; set \
     LimitNOFILE={least} in the systemd unit, or run `ulimit -n {least}` before the start"
)]
pub(crate) struct TooFewDescriptors {
    limit: usize,
    least: usize,
}

/// A configured `max_connections` that the limit does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "portcullis.max_connections is {configured}, and the limit of {limit} open files allows \
     {allowed}, which is used instead; set LimitNOFILE={wanted} in the systemd unit, or run \
     `ulimit -n {wanted}` before the start, or lower portcullis.max_connections"
)]
pub(crate) struct MaxConnectionsLowered {
    configured: usize,
    allowed: usize,
    limit: usize,
    wanted: usize,
}

impl DescriptorBudget {
    /// Divides this limit; `None` stands for no limit. Fails if it is too low to serve anybody.
    pub(crate) fn new(
        limit: Option<NonZeroUsize>,
        users: DescriptorUsers,
    ) -> Result<DescriptorBudget, TooFewDescriptors> {
        let limit = limit.map_or(UNLIMITED, NonZeroUsize::get).min(UNLIMITED);
        let reserved = users.reserve(limit);
        let half = limit.saturating_sub(reserved) / 2;
        let clients = half - half.div_ceil(9);
        if clients < FEWEST_CLIENTS || half < users.workers {
            let least = users.limit_for(share_of(FEWEST_CLIENTS).max(users.workers));
            return Err(TooFewDescriptors { limit, least });
        }
        let (admin, lookups) = (admin_connections(limit), calls(limit) / CALLS_PER_LOOKUP);
        Ok(DescriptorBudget { limit, reserved, clients, upstreams: half, admin, lookups, users })
    }

    /// The most connections of one worker to upstreams.
    pub(crate) fn upstreams_of_worker(&self) -> usize {
        self.upstreams / self.users.workers.max(1)
    }

    /// For status and metrics.
    pub(crate) fn view(&self) -> DescriptorView {
        let DescriptorBudget { limit, reserved, clients, upstreams, .. } = *self;
        DescriptorView { limit, clients, upstreams, reserved }
    }

    /// Whether `max_connections`, as configured, is more than the limit allows.
    pub(crate) fn check(&self, configured: Option<usize>) -> Result<(), MaxConnectionsLowered> {
        match configured {
            Some(configured) if configured > self.clients => Err(MaxConnectionsLowered {
                configured,
                allowed: self.clients,
                limit: self.limit,
                wanted: self.users.limit_for(share_of(configured)),
            }),
            _ => Ok(()),
        }
    }
}

impl DescriptorUsers {
    /// What is reserved of this limit.
    fn reserve(&self, limit: usize) -> usize {
        let workers = self.workers * (WORKER + WORKER_ADDRESS * self.addresses);
        let admin = admin_connections(limit) * self.admin_listeners;
        PROCESS + workers + RELOAD + calls(limit) + admin + self.catchers
    }

    /// The lowest limit that leaves this much to clients and to upstreams. The reserve grows with the
    /// limit, and far more slowly.
    fn limit_for(&self, half: usize) -> usize {
        let mut limit = 0;
        loop {
            let next = 2 * half + self.reserve(limit);
            if next == limit {
                return limit;
            }
            limit = next;
        }
    }
}

/// The most connections of one administrative listener.
fn admin_connections(limit: usize) -> usize {
    (limit / 32).clamp(8, 64)
}

/// Calls of the control thread to DNS and to the identity provider.
fn calls(limit: usize) -> usize {
    (limit / 16).clamp(16, 1024)
}

/// The half that so many clients need.
fn share_of(clients: usize) -> usize {
    clients + closing(clients) + 1
}

/// How many connections may be closing beside this many open ones: those that were told to go and
/// made room for others.
pub(crate) fn closing(clients: usize) -> usize {
    clients.div_ceil(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USERS: DescriptorUsers =
        DescriptorUsers { workers: 2, addresses: 2, admin_listeners: 1, catchers: 0 };

    fn budget(limit: usize, users: DescriptorUsers) -> Result<DescriptorBudget, TooFewDescriptors> {
        DescriptorBudget::new(NonZeroUsize::new(limit), users)
    }

    proptest! {
        #[test]
        fn the_shares_never_add_up_to_more_than_the_limit(
            limit in 1..2_000_000_usize,
            workers in 1..1024_usize,
            addresses in 1..8_usize,
            admin_listeners in 0..3_usize,
            catchers in 0..2000_usize,
        ) {
            let users = DescriptorUsers { workers, addresses, admin_listeners, catchers };
            if let Ok(budget) = budget(limit, users) {
                let clients = budget.clients + closing(budget.clients);
                prop_assert!(budget.reserved + clients + budget.upstreams <= limit);
                prop_assert!(budget.upstreams_of_worker() >= 1);
                prop_assert!(budget.upstreams_of_worker() * workers <= budget.upstreams);
            }
        }

        #[test]
        fn the_limit_that_an_error_or_a_warning_names_is_enough(
            limit in 1..5_000_usize,
            workers in 1..64_usize,
            configured in 1..100_000_usize,
        ) {
            let users = DescriptorUsers { workers, ..USERS };
            match budget(limit, users) {
                Err(error) => prop_assert!(budget(error.least, users).is_ok()),
                Ok(found) => if let Err(lowered) = found.check(Some(configured)) {
                    let raised = budget(lowered.wanted, users).unwrap();
                    prop_assert_eq!(raised.check(Some(configured)), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_low_limit_leaves_both_sides_a_share() {
        let budget = budget(256, USERS).unwrap();
        assert!(budget.clients >= 40 && budget.upstreams >= 40, "{budget:?}");
    }

    #[test]
    fn a_limit_that_serves_nobody_is_an_error_with_the_command() {
        let error = budget(100, USERS).unwrap_err().to_string();
        assert!(error.contains("LimitNOFILE=") && error.contains("`ulimit -n "), "{error}");
    }

    #[test]
    fn only_a_configured_number_above_the_share_is_a_warning() {
        let budget = budget(1024, USERS).unwrap();
        assert_eq!(budget.check(None), Ok(()));
        assert_eq!(budget.check(Some(budget.clients)), Ok(()));
        let warning = budget.check(Some(budget.clients + 1)).unwrap_err().to_string();
        assert!(warning.contains("ulimit -n ") && warning.contains("1024"), "{warning}");
    }

    #[test]
    fn without_a_limit_the_shares_are_large() {
        let budget = DescriptorBudget::new(None, USERS).unwrap();
        assert!(budget.clients > 65_536 * 1000);
    }
}
