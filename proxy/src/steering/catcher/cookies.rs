//! Where SYN cookies come from: the sysctls, and what follows from them.

use std::{fs, io, net::SocketAddr};

use super::NoRoomForCatcher;
use crate::steering::ModeChoice;

/// Why the kernel sends SYN cookies, without which it steers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieSource {
    /// `net.ipv4.tcp_syncookies` is 2: for every SYN to any listener of the namespace.
    Sysctl,
    /// The catchers: for SYNs that the program sends there.
    Catcher,
    /// It sends none: workers hand connections over.
    None,
}

impl CookieSource {
    pub(crate) const ALL: [CookieSource; 3] =
        [CookieSource::Sysctl, CookieSource::Catcher, CookieSource::None];

    /// The name in metrics and in status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CookieSource::Sysctl => "sysctl",
            CookieSource::Catcher => "catcher",
            CookieSource::None => "none",
        }
    }
}

/// Why there are no cookies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCookies {
    /// They are switched off, or the sysctl has an unknown value.
    #[error("net.ipv4.tcp_syncookies is {0} in this network namespace; set it to 1, the default")]
    Syncookies(String),
    /// They would keep no client's options.
    #[error("net.ipv4.tcp_timestamps is 0 in this network namespace; set it to 1, the default")]
    NoTimestamps,
    /// There is no room for a catcher.
    #[error(transparent)]
    NoRoomForCatcher(#[from] NoRoomForCatcher),
    /// There is no catcher.
    #[error("there is no SYN catcher")]
    NoCatcher,
    /// The process has just started.
    #[error("the queues of the SYN catchers are being filled")]
    NotYet,
    /// No catcher is in use.
    #[error("the SYN catcher of {address} is not in use: {problem}")]
    Catcher {
        /// Its address.
        address: SocketAddr,
        /// What is wrong.
        problem: String,
    },
}

impl NoCookies {
    /// What is wrong while no catcher is in use, by what was wrong before and what a round has found.
    /// The problem of one address stays until it is over: between two attempts nothing is found, and
    /// the problems of several addresses would take turns in the log.
    pub(super) fn of_catchers(before: Option<&NoCookies>, found: Option<NoCookies>) -> NoCookies {
        match (before, found) {
            (Some(NoCookies::Catcher { address: before, .. }), Some(found)) if matches!(&found, NoCookies::Catcher { address, .. } if address == before) => {
                found
            }
            (Some(before @ NoCookies::Catcher { .. }), _) => before.clone(),
            (_, found) => found.unwrap_or(NoCookies::NoCatcher),
        }
    }
}

/// The sysctls of this network namespace; IPv6 goes by them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieSysctls {
    /// `net.ipv4.tcp_syncookies`, or why it is not known.
    pub(crate) syncookies: Result<u8, String>,
    /// `net.ipv4.tcp_timestamps`; 1 if it is not known.
    pub(crate) timestamps: u8,
}

impl CookieSysctls {
    /// Reads them.
    pub(crate) fn read() -> CookieSysctls {
        CookieSysctls {
            syncookies: read("tcp_syncookies").map_err(|error| format!("unreadable ({error})")),
            timestamps: read("tcp_timestamps").unwrap_or(1),
        }
    }

    /// Where cookies would come from, if they are possible and there is room for catchers.
    pub(crate) fn source(
        &self,
        choice: ModeChoice,
        room: Result<(), NoRoomForCatcher>,
    ) -> Result<CookieSource, NoCookies> {
        match &self.syncookies {
            // Without timestamps every client loses its options: only if the operator says so.
            Ok(2) if self.timestamps != 0 || choice == ModeChoice::Kernel => {
                Ok(CookieSource::Sysctl)
            }
            Ok(1 | 2) if self.timestamps == 0 => Err(NoCookies::NoTimestamps),
            Ok(1) => Ok(room.map(|()| CookieSource::Catcher)?),
            Ok(other) => Err(NoCookies::Syncookies(other.to_string())),
            Err(problem) => Err(NoCookies::Syncookies(problem.clone())),
        }
    }
}

fn read(name: &str) -> io::Result<u8> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"))?;
    text.trim().parse().map_err(io::Error::other)
}

/// `net.core.somaxconn`, the limit of every backlog.
pub(crate) fn somaxconn() -> i32 {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim().parse().unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(
        syncookies: u8,
        timestamps: u8,
        choice: ModeChoice,
    ) -> Result<CookieSource, NoCookies> {
        CookieSysctls { syncookies: Ok(syncookies), timestamps }.source(choice, Ok(()))
    }

    #[test]
    fn cookies_come_from_the_catcher_unless_the_sysctl_is_two() {
        for choice in [ModeChoice::Auto, ModeChoice::Kernel] {
            assert_eq!(source(1, 1, choice), Ok(CookieSource::Catcher));
            assert_eq!(source(2, 1, choice), Ok(CookieSource::Sysctl));
            assert_eq!(source(0, 1, choice), Err(NoCookies::Syncookies("0".into())));
            assert_eq!(source(1, 0, choice), Err(NoCookies::NoTimestamps));
        }
    }

    #[test]
    fn cookies_that_keep_no_options_must_be_asked_for() {
        assert_eq!(source(2, 0, ModeChoice::Auto), Err(NoCookies::NoTimestamps));
        assert_eq!(source(2, 0, ModeChoice::Kernel), Ok(CookieSource::Sysctl));
    }

    #[test]
    fn the_problem_of_one_address_stays_until_it_is_over() {
        let of = |port: u16, problem: &str| NoCookies::Catcher {
            address: ([127, 0, 0, 1], port).into(),
            problem: problem.to_owned(),
        };
        let (switched_off, first) = (NoCookies::Syncookies("0".to_owned()), of(1, "blocked"));
        for (before, found, expected) in [
            (None, None, NoCookies::NoCatcher),
            (None, Some(first.clone()), first.clone()),
            (Some(&switched_off), Some(first.clone()), first.clone()),
            (Some(&first), None, first.clone()),
            (Some(&first), Some(of(2, "blocked")), first.clone()),
            (Some(&first), Some(of(1, "no descriptors")), of(1, "no descriptors")),
        ] {
            assert_eq!(NoCookies::of_catchers(before, found), expected);
        }
    }

    #[test]
    fn only_a_catcher_needs_room() {
        let no_room = Err(NoRoomForCatcher::Descriptors(1024));
        let with = |syncookies| CookieSysctls { syncookies: Ok(syncookies), timestamps: 1 };
        assert!(with(1).source(ModeChoice::Auto, no_room).is_err());
        assert_eq!(with(2).source(ModeChoice::Auto, no_room), Ok(CookieSource::Sysctl));
    }
}
