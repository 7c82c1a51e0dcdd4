//! The order to upgrade: this process starts the program that its own command line names, which may be
//! another version by now, and that process takes its place as with `run --replace`.
//!
//! The new process gives the order to leave once it is ready. Until then this one serves as before, and
//! whatever becomes of the new one is answered to the process that gave the order.

use std::{
    env,
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{sync::oneshot, time::Instant};

use super::{
    App,
    control_socket::{Acknowledgment, ReceivedOrder},
};
use crate::{config::ConfigLocation, service_manager};

/// How long the new process may take until it is ready.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);

/// A new process that is not ready yet.
#[derive(Debug)]
pub(super) struct PendingUpgrade {
    order: ReceivedOrder,
    process: u32,
    pidfd: OwnedFd,
    deadline: Instant,
    ended: SuccessorEnd,
    /// What the new process itself said.
    problem: Option<String>,
}

impl App {
    /// Starts the new process, unless another one is starting.
    pub(super) fn follow_upgrade(&mut self, received: ReceivedOrder) {
        if let Some(pending) = &self.upgrade {
            let process = pending.process;
            return received
                .answer(Err(format!("process {process} is taking the place of this one")));
        }
        // Where it is the first process, as in a container, the kernel kills all others at its end.
        if std::process::id() == 1 {
            let hint = "the process is the first of its container, which ends with it: start another \
                        container";
            return received.answer(Err(hint.to_owned()));
        }
        match start(&self.location) {
            Ok((process, pidfd, ended)) => {
                tracing::info!(
                    process,
                    "upgrade: a new process starts, to take the place of this one"
                );
                let deadline = Instant::now() + READY_WITHIN;
                let problem = None;
                let pending =
                    PendingUpgrade { order: received, process, pidfd, deadline, ended, problem };
                self.upgrade = Some(pending);
            }
            Err(error) => {
                tracing::error!(%error, "upgrade: the new process cannot be started");
                received.answer(Err(error.to_string()));
            }
        }
    }

    /// The new process has failed: this one goes on.
    pub(super) fn upgrade_failed(&mut self, reason: &str) {
        let Some(mut pending) = self.upgrade.take() else { return };
        let process = pending.process;
        let reason = match pending.problem.take() {
            Some(problem) => format!("{reason}: {problem}"),
            None => format!("{reason}; its own messages are in the log"),
        };
        tracing::error!(process, reason, "upgrade: the new process failed, and this one goes on");
        pending.end(Err(format!("process {process} {reason}; the old process goes on")));
    }

    /// Kills a new process that is not ready: this one is told to stop.
    pub(super) fn abandon_upgrade(&mut self) {
        if let Some(pending) = self.upgrade.take() {
            pending.end(Err("the process is told to stop".to_owned()));
        }
    }

    /// A process that was to take the place of this one says why it cannot.
    pub(super) fn note_failed_successor(&mut self, process: i32, problem: &str) {
        let process = u32::try_from(process).unwrap_or(0);
        match self.upgrade.as_mut().filter(|pending| pending.process == process) {
            Some(pending) => pending.problem = Some(problem.to_owned()),
            None => tracing::warn!(process, problem, "a process cannot take the place of this one"),
        }
    }

    /// A process takes the place of this one: an order to upgrade is followed by that, or has failed.
    pub(super) fn conclude_upgrade(&mut self, successor: Option<u32>) {
        let Some(pending) = self.upgrade.take() else { return };
        let process = pending.process;
        if successor != Some(process) {
            return pending.end(Err("another process has taken the place of this one".to_owned()));
        }
        let PendingUpgrade { order, ended, .. } = pending;
        order.answer(Ok(Acknowledgment::Upgraded { process }));
        self.successor = Some(ended);
    }

    /// Awaits the crash of the process that this one has started and that has taken its place; forever
    /// if there is none, or if that has left its place to another in turn. Cancel-safe.
    pub(super) async fn crash_of_successor(successor: &mut Option<SuccessorEnd>) -> ExitStatus {
        if let Some(ended) = successor {
            let status = ended.await;
            *successor = None;
            if let Ok(Ok(status)) = status
                && !status.success()
            {
                return status;
            }
        }
        std::future::pending().await
    }
}

impl PendingUpgrade {
    /// Awaits the failure of the new process, if there is one, in words that follow its name.
    /// Cancel-safe.
    pub(super) async fn failure(pending: &mut Option<PendingUpgrade>) -> String {
        let Some(pending) = pending else { return std::future::pending().await };
        let limit = READY_WITHIN.as_secs();
        match tokio::time::timeout_at(pending.deadline, &mut pending.ended).await {
            Ok(Ok(Ok(status))) => format!("ended before it was ready ({status})"),
            Ok(Ok(Err(error))) => format!("cannot be waited for ({error})"),
            Ok(Err(_)) => "cannot be waited for".to_owned(),
            Err(_) => format!("was not ready within {limit} seconds and is killed"),
        }
    }

    /// Kills the process, unless it has ended, and answers the order.
    fn end(self, answer: Result<Acknowledgment, String>) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.order.answer(answer);
    }
}

/// The exit status of a new process, once it has ended.
pub(super) type SuccessorEnd = oneshot::Receiver<io::Result<ExitStatus>>;

type Started = (u32, OwnedFd, SuccessorEnd);

/// Starts the program by the name that this process was started with: its own file may have been
/// replaced, and then `/proc/self/exe` is the old one.
fn start(config: &ConfigLocation) -> io::Result<Started> {
    let program = env::args_os().next().unwrap_or_else(|| OsString::from("portcullis"));
    let mut command = Command::new(&program);
    command.args(["run", "--replace", &std::process::id().to_string()]);
    // Without a file, the environment alone is the configuration.
    if !config.may_be_missing {
        command.arg("--config").arg(&config.path);
    }
    for variable in service_manager::OF_ONE_PROCESS {
        command.env_remove(variable);
    }
    let spawned = command.stdin(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display()))
    })?;
    let process = child.id();
    // It is not waited for yet, so its ID is its own.
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let watched = pidfd.map_err(io::Error::from).and_then(|pidfd| {
        let (ending, ended) = oneshot::channel();
        let (handing, handed) = std::sync::mpsc::channel::<Child>();
        thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            if let Ok(mut child) = handed.recv() {
                let _ = ending.send(child.wait());
            }
        })?;
        Ok((pidfd, ended, handing))
    });
    match watched {
        Ok((pidfd, ended, handing)) => {
            // The thread waits for it.
            let _ = handing.send(child);
            Ok((process, pidfd, ended))
        }
        Err(error) => {
            // Nobody would know when it ends.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}
