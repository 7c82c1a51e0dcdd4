//! The side of the process that takes the place of another.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::net::UnixStream;

use super::{ACKNOWLEDGED, ORDER, is_trusted, line, own_uid, runtime_dir};

/// Tells a former version, which has no socket, that another process serves in its place.
pub(in super::super) const REPLACED: Signal = Signal::USR2;

/// The sysctl that makes the kernel move connections whose handshake is under way from a closed
/// socket to another that listens at the same address; Linux 5.14.
const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// How long the predecessor may take to acknowledge the order.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The process that serves at our addresses.
#[derive(Debug)]
pub(in super::super) struct Predecessor {
    pid: Pid,
    /// Refers to this very process, even if its ID is used again.
    pidfd: OwnedFd,
    channel: Channel,
}

/// How the predecessor hears the order.
#[derive(Debug)]
enum Channel {
    Socket(UnixStream),
    /// By a former version.
    Signal,
}

impl Predecessor {
    /// Finds the process and makes sure that it is one of ours.
    ///
    /// Fails if there is no such process, or if it does not prove that it is ours.
    pub(in super::super) async fn find(id: u32) -> anyhow::Result<Predecessor> {
        Predecessor::find_in(runtime_dir::path().as_deref(), id).await
    }

    async fn find_in(directory: Option<&Path>, id: u32) -> anyhow::Result<Predecessor> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{id} is not a process ID"))?;
        ensure!(id != std::process::id(), "process {id} is this process itself");
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .with_context(|| format!("process {id} cannot be replaced"))?;
        let channel = Channel::find(directory, pid).await?;
        // Since it still runs, nobody else has had its ID since the pidfd was opened.
        ensure!(is_running(&pidfd)?, "process {id} has ended");
        Ok(Predecessor { pid, pidfd, channel })
    }

    /// Warns of what is lost if the kernel moves no handshakes.
    pub(in super::super) fn warn_of_losses() {
        if fs::read_to_string(MIGRATE).is_ok_and(|value| value.trim() != "0") {
            return;
        }
        tracing::warn!(
            "connections that arrive while the old process closes its listeners may be reset; set \
             the sysctl net.ipv4.tcp_migrate_req=1 to keep them"
        );
    }

    /// Tells it to drain and exit; whether it acknowledged that, which only the socket can tell.
    pub(in super::super) async fn finish(self) -> bool {
        let process = self.pid.as_raw_nonzero().get();
        let can_acknowledge = matches!(self.channel, Channel::Socket(_));
        let ordered = self.order().await;
        let is_acknowledged = can_acknowledge && ordered.is_ok();
        match ordered {
            Ok(()) => tracing::info!(process, "the old process drains and exits"),
            Err(error) => tracing::error!(
                process,
                error = format!("{error:#}"),
                "cannot tell the old process to drain, and both processes serve; send SIGTERM to \
                 the old one"
            ),
        }
        is_acknowledged
    }

    async fn order(self) -> anyhow::Result<()> {
        match self.channel {
            Channel::Socket(stream) => {
                let ordered = tokio::time::timeout(ANSWER_TIMEOUT, order(&stream)).await;
                ordered.context("no answer")?
            }
            Channel::Signal => Ok(pidfd_send_signal(&self.pidfd, REPLACED)?),
        }
    }
}

impl Channel {
    /// Connects to the process's socket. Without one it must be a former version.
    async fn find(directory: Option<&Path>, pid: Pid) -> anyhow::Result<Channel> {
        let id = pid.as_raw_nonzero().get();
        if let Some(directory) = directory {
            let path = runtime_dir::socket(directory, id.unsigned_abs());
            match UnixStream::connect(&path).await {
                Ok(stream) => {
                    let peer = stream.peer_cred()?;
                    check_identity(id, peer.pid(), peer.uid(), own_uid())?;
                    return Ok(Channel::Socket(stream));
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot connect to {}", path.display()));
                }
            }
        }
        let status = fs::read_to_string(format!("/proc/{id}/status"))
            .with_context(|| format!("there is no process {id} to replace"))?;
        ensure!(catches(&status, REPLACED), "process {id} is not a running portcullis");
        Ok(Channel::Signal)
    }
}

/// Nobody listens there, or nobody ever did.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
}

/// Checks what the kernel says about the process at the socket.
fn check_identity(asked: i32, pid: Option<i32>, uid: u32, own_uid: u32) -> anyhow::Result<()> {
    match pid {
        Some(pid) if pid == asked => {}
        Some(pid) => bail!("process {asked} cannot be replaced: process {pid} has its socket"),
        None => bail!("process {asked} cannot be replaced: the process at its socket is unknown"),
    }
    ensure!(
        is_trusted(uid, own_uid),
        "process {asked} cannot be replaced: it runs as user {uid}, and this one as user {own_uid}"
    );
    Ok(())
}

async fn order(stream: &UnixStream) -> anyhow::Result<()> {
    line::send(stream, ORDER).await?;
    let answer = line::receive(stream).await?;
    ensure!(answer == ACKNOWLEDGED, "it answered: {}", answer.escape_debug());
    Ok(())
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
    use crate::app::handover::testing::block_on;

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
    fn a_process_that_catches_a_signal_has_its_bit() {
        assert!(catches("Name:\tx\nSigCgt:\t0000000000000800\n", REPLACED));
        assert!(!catches("Name:\tx\nSigCgt:\tfffffffffffff7ff\n", REPLACED));
        assert!(!catches("", REPLACED));
    }

    #[test]
    fn a_process_that_does_not_exist_or_is_this_one_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for id in [0, std::process::id(), u32::MAX, i32::MAX.unsigned_abs()] {
            assert!(problem(directory.path(), id).contains(&id.to_string()));
        }
    }

    #[test]
    fn a_process_without_its_own_socket_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let stranger = Stranger::start();
        let path = runtime_dir::socket(directory.path(), stranger.0.id());
        // This process serves at the socket, and its ID is not the one that was asked for.
        let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let problem = problem(directory.path(), stranger.0.id());
        assert!(
            problem.contains(&format!("process {} has its socket", std::process::id())),
            "{problem}"
        );
    }

    #[test]
    fn a_process_without_a_socket_is_told_by_signal() {
        let directory = tempfile::tempdir().unwrap();
        let stranger = Stranger::start();
        // A stale socket is as good as none.
        drop(std::os::unix::net::UnixListener::bind(runtime_dir::socket(
            directory.path(),
            stranger.0.id(),
        )));
        let found =
            block_on(Predecessor::find_in(Some(directory.path()), stranger.0.id())).unwrap();
        assert!(matches!(found.channel, Channel::Signal));
        let parent = std::os::unix::process::parent_id();
        assert!(problem(directory.path(), parent).contains("is not a running portcullis"));
    }

    #[test]
    fn a_process_is_known_by_its_id_and_its_user() {
        assert!(check_identity(7, Some(7), 1000, 1000).is_ok());
        assert!(check_identity(7, Some(7), 0, 1000).is_ok());
        for (pid, uid) in [(Some(8), 1000), (None, 1000), (Some(7), 1001)] {
            assert!(check_identity(7, pid, uid, 1000).is_err(), "{pid:?} {uid}");
        }
    }

    #[test]
    fn an_order_that_is_refused_is_an_error_with_its_reason() {
        block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            let (ordered, ()) = tokio::join!(order(&near), async {
                assert_eq!(line::receive(&far).await.unwrap(), ORDER);
                line::send(&far, "portcullis/1 refused because").await.unwrap();
            });
            assert!(ordered.unwrap_err().to_string().contains("refused because"));
        });
    }
}
