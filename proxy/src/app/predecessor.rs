//! The process that this one takes the place of.

use std::fs;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Tells a process that another serves in its place: it drains as at SIGTERM, and leaves the
/// administrative address at once.
pub(super) const REPLACED: Signal = Signal::USR2;

/// Has the kernel move connections whose handshake is under way from a socket that is closed to
/// another that listens at the same address; Linux 5.14.
const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// A process that serves at our addresses.
pub(super) struct Predecessor(Pid);

impl Predecessor {
    /// Fails where there is no such process, or one that would not know what it is told.
    pub(super) fn find(id: u32) -> anyhow::Result<Predecessor> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{id} is not a process ID"))?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))
            .with_context(|| format!("there is no process {id} to replace"))?;
        ensure!(
            id != std::process::id() && catches(&status, REPLACED),
            "process {id} is no portcullis that serves"
        );
        Ok(Predecessor(pid))
    }

    /// Says what it loses where the kernel moves nothing.
    pub(super) fn warn_of_losses() {
        if fs::read_to_string(MIGRATE).is_ok_and(|value| value.trim() != "0") {
            return;
        }
        tracing::warn!(
            "connections that begin just when the process before this stops listening may be lost; \
             with the sysctl net.ipv4.tcp_migrate_req=1 they are not"
        );
    }

    /// Has it finish.
    pub(super) fn finish(&self) {
        let process = self.0.as_raw_nonzero().get();
        match kill_process(self.0, REPLACED) {
            Ok(()) => tracing::info!(process, "the process before this is told to finish"),
            Err(error) => {
                tracing::error!(process, %error, "the process before this cannot be told to finish");
            }
        }
    }
}

/// Whether a process of this `/proc/PID/status` has a handler for the signal.
fn catches(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_catches_a_signal_has_its_bit() {
        assert!(catches("Name:\tx\nSigCgt:\t0000000000000800\n", REPLACED));
        assert!(!catches("SigCgt:\tfffffffffffff7ff\n", REPLACED));
        assert!(!catches("", REPLACED));
    }

    #[test]
    fn a_process_that_would_not_understand_is_not_replaced() {
        for id in [0, std::process::id(), u32::MAX, i32::MAX.unsigned_abs()] {
            assert!(Predecessor::find(id).is_err(), "{id}");
        }
    }
}
