//! How many connections a catcher holds. Pure.

/// The lengths of a catcher's queues.
///
/// The kernel answers a SYN with a cookie while more requests wait than the backlog, in some versions
/// as many. So twice as many are held: half of them may be lost before a client gets through. The
/// backlog is also the length of the accept queue, in which connections from ports in TIME_WAIT
/// land: with 512 places, a thousand of them at once are served within 0.3 s; with 128 places, two
/// hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CatcherSize {
    /// Half of the connections that are held: those that are made and replaced together.
    pub(super) half: usize,
    /// The backlog while clients are caught.
    pub(super) backlog: i32,
    /// The backlog while connections are made: well above two halves, since a full queue would answer
    /// our own SYNs with cookies too.
    pub(super) raised: i32,
}

const LARGE: CatcherSize = CatcherSize { half: 512, backlog: 511, raised: 2047 };
const SMALL: CatcherSize = CatcherSize { half: 128, backlog: 127, raised: 511 };

/// The part of the limit on open files that large catchers may take, and that small ones may.
const LARGE_PART: usize = 8;
const SMALL_PART: usize = 4;

/// Descriptors of a catcher beside its connections: its socket's handles, and questions to the
/// kernel.
const OTHERS: usize = 4;

/// The most connections that are held for all addresses together: each has a port of this host, and an
/// entry in the table of connections of its firewall.
const MOST_HELD: usize = 8192;

/// There is no room for a catcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoomForCatcher {
    /// Too few descriptors.
    #[error("the limit of {0} open files leaves no room for the SYN catcher")]
    Descriptors(usize),
    /// Too many addresses.
    #[error("{0} addresses are too many for SYN catchers")]
    Addresses(usize),
    /// Backlogs are too short.
    #[error("net.core.somaxconn is {0}, and the SYN catcher needs {needs}", needs = SMALL.raised)]
    Backlog(i32),
}

impl CatcherSize {
    /// For each of so many addresses, with this limit on open files and on backlogs.
    pub(crate) fn choose(
        limit: usize,
        addresses: usize,
        somaxconn: i32,
    ) -> Result<CatcherSize, NoRoomForCatcher> {
        if somaxconn < SMALL.raised {
            return Err(NoRoomForCatcher::Backlog(somaxconn));
        }
        let holds = |size: CatcherSize| addresses.saturating_mul(2 * size.half) <= MOST_HELD;
        if !holds(SMALL) {
            return Err(NoRoomForCatcher::Addresses(addresses));
        }
        let fits = |size: CatcherSize, part| {
            let are_there = addresses.saturating_mul(size.descriptors()) <= limit / part;
            are_there && holds(size) && somaxconn >= size.raised
        };
        match () {
            () if fits(LARGE, LARGE_PART) => Ok(LARGE),
            () if fits(SMALL, SMALL_PART) => Ok(SMALL),
            () => Err(NoRoomForCatcher::Descriptors(limit)),
        }
    }

    /// The most descriptors of one catcher.
    pub(crate) fn descriptors(self) -> usize {
        2 * self.half + OTHERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_follows_the_limits() {
        let choose = CatcherSize::choose;
        assert_eq!(choose(1 << 20, 1, 4096), Ok(LARGE));
        assert_eq!(choose(1 << 20, 8, 4096), Ok(LARGE));
        assert_eq!(choose(1 << 20, 32, 4096), Ok(SMALL));
        assert_eq!(choose(1 << 20, 33, 4096), Err(NoRoomForCatcher::Addresses(33)));
        assert_eq!(choose(8224, 1, 4096), Ok(LARGE));
        assert_eq!(choose(1040, 1, 4096), Ok(SMALL));
        assert_eq!(choose(4096, 1, 4096), Ok(SMALL));
        assert_eq!(choose(1 << 20, 1, 512), Ok(SMALL));
        assert_eq!(choose(1024, 1, 4096), Err(NoRoomForCatcher::Descriptors(1024)));
        assert_eq!(choose(1 << 20, 1, 128), Err(NoRoomForCatcher::Backlog(128)));
    }

    #[test]
    fn half_of_the_held_connections_fill_the_queue_in_every_kernel() {
        for CatcherSize { half, backlog, raised } in [LARGE, SMALL] {
            let (half, backlog, raised) = (half as i32, backlog, raised);
            assert!(half > backlog && 3 * half < raised, "with room for clients' SYNs meanwhile");
        }
    }
}
