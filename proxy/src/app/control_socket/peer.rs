//! Who is at the other end of a socket.

use std::io;

use anyhow::bail;
use tokio::net::UnixStream;

/// The user ID of root.
pub(super) const ROOT: u32 = 0;

/// Whether a process of the user `peer_uid` may give orders to one of ours, or take them. The kernel
/// has the same rule for signals.
pub(super) fn is_trusted(peer_uid: u32, own_uid: u32) -> bool {
    peer_uid == ROOT || peer_uid == own_uid
}

/// The user ID of this process.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What the kernel says about the process at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerProcess {
    /// `None` if this process cannot see it.
    pub(super) id: Option<i32>,
    pub(super) uid: u32,
}

impl PeerProcess {
    /// The process that has connected, or that listens.
    pub(super) fn of(stream: &UnixStream) -> io::Result<PeerProcess> {
        let peer = stream.peer_cred()?;
        Ok(PeerProcess { id: peer.pid(), uid: peer.uid() })
    }

    /// Fails unless it is the process with this ID.
    pub(super) fn check_id(self, asked: i32) -> anyhow::Result<()> {
        match self.id {
            Some(id) if id == asked => Ok(()),
            Some(id) => bail!("process {id} has the socket of process {asked}"),
            None => bail!("the process at the socket of process {asked} is unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_same_user_are_trusted_and_nobody_else() {
        for (peer, own, trusted) in [
            (0, 0, true),
            (0, 1000, true),
            (1000, 1000, true),
            (1001, 1000, false),
            (1000, 0, false),
        ] {
            assert_eq!(is_trusted(peer, own), trusted, "{peer} to {own}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_id() {
        let peer = |id| PeerProcess { id, uid: 0 };
        assert!(peer(Some(7)).check_id(7).is_ok());
        for id in [Some(8), None] {
            assert!(peer(id).check_id(7).is_err(), "{id:?}");
        }
    }
}
