//! One process takes the place of another at the same addresses (`run --replace PID`).
//!
//! The process that serves listens at `PID.sock` in its runtime directory. The next process opens a
//! pidfd for the ID it was given and connects. Both ask the kernel who the peer is (`SO_PEERCRED`):
//! it must be root or the same user, and the process that serves must have the given ID. The
//! executable proves nothing, since it differs after an upgrade. Once the next process is ready, it
//! sends one line, which the other acknowledges with one line before it drains:
//!
//! ```text
//! next: portcullis/1 drain        serving: portcullis/1 draining   or   portcullis/1 refused REASON
//! ```
//!
//! A former version has no socket. It is told by SIGUSR2, through the pidfd.

mod line;
mod predecessor;
mod runtime_dir;
mod successor;

pub(super) use predecessor::{Predecessor, REPLACED};
pub(super) use successor::{SuccessorOrder, SuccessorSocket, listen};

/// The order to drain.
const ORDER: &str = "portcullis/1 drain";
/// The answer to an order that is followed.
const ACKNOWLEDGED: &str = "portcullis/1 draining";
/// Begins the answer to one that is not.
const REFUSED: &str = "portcullis/1 refused ";

/// The user ID of root.
const ROOT: u32 = 0;

/// Whether a process of the user `peer_uid` may give orders to one of ours, or take them. The kernel
/// has the same rule for signals.
fn is_trusted(peer_uid: u32, own_uid: u32) -> bool {
    peer_uid == ROOT || peer_uid == own_uid
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
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
}

#[cfg(test)]
mod testing {
    pub(super) fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }
}
