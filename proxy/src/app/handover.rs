//! One process takes the place of another at the same addresses (`run --replace PID`).
//!
//! The next process opens a pidfd for the ID it was given and connects to the control socket of the
//! process that serves. Both ask the kernel who the peer is; the executable proves nothing, since it
//! differs after an upgrade, and cannot be read, since the process is not dumpable. Once the next
//! process is ready, it gives the order to leave. The answer says whether the state file holds all that
//! the other process knows.
//!
//! A former version has no socket. It is told by SIGUSR2, through the pidfd.

use std::{
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::control_socket::{Acknowledgment, ControlConnection, Order};

/// Tells a former version, which has no socket, that another process serves in its place.
pub(super) const REPLACED: Signal = Signal::USR2;

/// How long a start waits for what the predecessor is asked for.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The sysctl that makes the kernel move connections whose handshake is under way from a closed
/// socket to another that listens at the same address; Linux 5.14.
const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// The process that serves at our addresses.
#[derive(Debug)]
pub(super) struct Predecessor {
    pid: Pid,
    /// Refers to this very process, even if its ID is used again.
    pidfd: OwnedFd,
    channel: Channel,
    health: Option<String>,
    /// Where it listens; none if it did not say.
    addresses: Vec<SocketAddr>,
}

/// Tells a process why this one cannot take its place.
pub(super) async fn tell_failure(id: u32, problem: &anyhow::Error) {
    let order = Order::CannotReplace(format!("{problem:#}"));
    let told = async {
        let connection = ControlConnection::to_process(None, id.try_into().ok()?).await.ok()??;
        connection.order(&order).await.ok()
    };
    // A former version does not know the order.
    let _ = tokio::time::timeout(ASK_TIMEOUT, told).await;
}

/// How the predecessor hears the order.
#[derive(Debug)]
enum Channel {
    Socket(ControlConnection),
    /// By a former version.
    Signal,
}

impl Predecessor {
    /// Finds the process and makes sure that it is one of ours. `None` if it has ended: there is nothing
    /// to replace then.
    ///
    /// Fails if it does not prove that it is ours.
    pub(super) async fn find(id: u32) -> anyhow::Result<Option<Predecessor>> {
        let Some(mut predecessor) = Predecessor::find_in(None, id).await? else { return Ok(None) };
        if let Some(Acknowledgment::Health(verdicts)) = predecessor.ask(Order::TellHealth).await {
            predecessor.health = Some(verdicts);
        }
        if let Some(Acknowledgment::Addresses(all)) = predecessor.ask(Order::TellAddresses).await {
            predecessor.addresses = all;
        }
        Ok(Some(predecessor))
    }

    async fn find_in(directory: Option<&Path>, id: u32) -> anyhow::Result<Option<Predecessor>> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{id} is not a process ID"))?;
        ensure!(id != std::process::id(), "process {id} is this process itself");
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened.with_context(|| format!("process {id} cannot be replaced"))?,
        };
        let channel = Channel::find(directory, pid).await;
        // If it still runs, nobody else has had its ID since the pidfd was opened.
        if !is_running(&pidfd)? {
            return Ok(None);
        }
        let (health, addresses) = (None, Vec::new());
        Ok(Some(Predecessor { pid, pidfd, channel: channel?, health, addresses }))
    }

    /// What it knew of the health of endpoints, in a line; `None` if it did not say.
    pub(super) fn health(&self) -> Option<&str> {
        self.health.as_deref()
    }

    /// Connects once more: the connection that is open is for the order to leave. `None` from a former
    /// version, or from a process that is too busy.
    async fn ask(&self, order: Order) -> Option<Acknowledgment> {
        let Channel::Socket(_) = &self.channel else { return None };
        let id = self.pid.as_raw_nonzero().get();
        let asked = async {
            let connection = ControlConnection::to_process(None, id).await.ok()??;
            connection.order(&order).await.ok()
        };
        tokio::time::timeout(ASK_TIMEOUT, asked).await.ok()?
    }

    /// Warns of addresses at which it listens and this process does not.
    pub(super) fn warn_of_lost_addresses(&self, ours: &[SocketAddr]) {
        for lost in not_served(&self.addresses, ours) {
            tracing::warn!(
                process = self.pid.as_raw_nonzero().get(),
                address = %lost,
                "the process that is replaced listens at an address that is not in `address` or \
                 `http_redirect_addr` of this configuration; nothing will listen there"
            );
        }
    }

    /// Warns of what is lost if the kernel moves no handshakes.
    pub(super) fn warn_of_losses() {
        if fs::read_to_string(MIGRATE).is_ok_and(|value| value.trim() != "0") {
            return;
        }
        tracing::warn!(
            "connections that arrive while the old process closes its listeners may be reset; set \
             the sysctl net.ipv4.tcp_migrate_req=1 to keep them"
        );
    }

    /// Tells it to drain and exit; whether it said that its state is written, which only the socket can
    /// tell. `None` if it could not be told, and both processes serve.
    pub(super) async fn finish(self) -> Option<bool> {
        let process = self.pid.as_raw_nonzero().get();
        match self.order().await {
            Ok(acknowledgment) => {
                tracing::info!(process, "the old process drains and exits");
                Some(acknowledgment == Some(Acknowledgment::Draining { is_state_written: true }))
            }
            Err(error) => {
                tracing::error!(
                    process,
                    error = format!("{error:#}"),
                    "cannot tell the old process to drain, and both processes serve; send SIGTERM to \
                     the old one"
                );
                None
            }
        }
    }

    /// `None` if the process cannot answer.
    async fn order(self) -> anyhow::Result<Option<Acknowledgment>> {
        match self.channel {
            Channel::Socket(connection) => connection.order(&Order::Leave).await.map(Some),
            Channel::Signal => {
                pidfd_send_signal(&self.pidfd, REPLACED)?;
                Ok(None)
            }
        }
    }
}

impl Channel {
    /// Connects to the process's socket. Without one it must be a former version.
    async fn find(directory: Option<&Path>, pid: Pid) -> anyhow::Result<Channel> {
        let id = pid.as_raw_nonzero().get();
        let cannot_replace = || format!("process {id} cannot be replaced");
        let connection = ControlConnection::to_process(directory, id).await;
        if let Some(connection) = connection.with_context(cannot_replace)? {
            connection.check_user().with_context(cannot_replace)?;
            return Ok(Channel::Socket(connection));
        }
        let status = fs::read_to_string(format!("/proc/{id}/status"))
            .with_context(|| format!("there is no process {id} to replace"))?;
        ensure!(catches(&status, REPLACED), "process {id} is not a running portcullis");
        Ok(Channel::Signal)
    }
}

/// The addresses of the former process to which nobody can connect at the new ones.
fn not_served<'a>(
    former: &'a [SocketAddr],
    new: &'a [SocketAddr],
) -> impl Iterator<Item = &'a SocketAddr> {
    let serves = |new: &SocketAddr, former: &SocketAddr| {
        // `[::]` takes IPv4 too.
        let is_every = new.ip().is_unspecified() && (new.is_ipv6() || former.is_ipv4());
        new.port() == former.port() && (new.ip() == former.ip() || is_every)
    };
    former.iter().filter(move |former| !new.iter().any(|new| serves(new, former)))
}

/// A pidfd is readable once its process has ended.
fn is_running(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut descriptors = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    Ok(poll(&mut descriptors, Some(&Timespec::default()))? == 0)
}

/// Whether the process of this `/proc/PID/status` has a handler for the signal.
fn catches(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::app::control_socket::testing::{block_on, socket};

    /// A process that is none of ours, and catches SIGUSR2.
    struct Stranger(Child);

    impl Stranger {
        fn start() -> Stranger {
            let script = "trap : USR2; echo ready; read _";
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut ready = [0; 6];
            io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
            Stranger(child)
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn problem(directory: &Path, id: u32) -> String {
        let found = block_on(Predecessor::find_in(Some(directory), id));
        format!("{:#}", found.unwrap_err())
    }

    #[test]
    fn an_address_is_lost_unless_one_serves_its_clients() {
        for (former, new, is_lost) in [
            ("127.0.0.1:1", "127.0.0.1:1", false),
            ("127.0.0.1:1", "127.0.0.1:2", true),
            ("127.0.0.1:1", "0.0.0.0:1", false),
            ("127.0.0.1:1", "[::]:1", false),
            ("[::1]:1", "0.0.0.0:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("0.0.0.0:1", "127.0.0.1:1", true),
        ] {
            let (former, new) = ([former.parse().unwrap()], [new.parse().unwrap()]);
            assert_eq!(not_served(&former, &new).count() == 1, is_lost, "{former:?} {new:?}");
        }
    }

    #[test]
    fn a_process_that_has_ended_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let find = |id| block_on(Predecessor::find_in(Some(directory.path()), id)).unwrap();
        // No process has an ID this high.
        assert!(find(i32::MAX.unsigned_abs()).is_none());
        let mut child = Command::new("true").spawn().unwrap();
        let id = child.id();
        // Until it is waited for, its ID is its own.
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let mut descriptors = [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        poll(&mut descriptors, None).unwrap();
        assert!(find(id).is_none());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_catches_a_signal_has_its_bit() {
        assert!(catches("Name:\tx\nSigCgt:\t0000000000000800\n", REPLACED));
        assert!(!catches("Name:\tx\nSigCgt:\tfffffffffffff7ff\n", REPLACED));
        assert!(!catches("", REPLACED));
    }

    #[test]
    fn this_process_and_what_is_no_process_id_are_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for id in [0, std::process::id(), u32::MAX] {
            assert!(problem(directory.path(), id).contains(&id.to_string()));
        }
    }

    #[test]
    fn a_process_without_its_own_socket_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let stranger = Stranger::start();
        let path = socket(directory.path(), stranger.0.id());
        // This process serves at the socket, and its ID is not the one that was asked for.
        let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let problem = problem(directory.path(), stranger.0.id());
        assert!(
            problem.contains(&format!("process {} has the socket", std::process::id())),
            "{problem}"
        );
    }

    #[test]
    fn a_process_without_a_socket_is_told_by_signal() {
        let directory = tempfile::tempdir().unwrap();
        let stranger = Stranger::start();
        // A stale socket is as good as none.
        drop(std::os::unix::net::UnixListener::bind(socket(directory.path(), stranger.0.id())));
        let found =
            block_on(Predecessor::find_in(Some(directory.path()), stranger.0.id())).unwrap();
        assert!(matches!(found.unwrap().channel, Channel::Signal));
        let parent = std::os::unix::process::parent_id();
        assert!(problem(directory.path(), parent).contains("is not a running portcullis"));
    }
}
