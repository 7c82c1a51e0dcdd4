//! The service manager that started this process (systemd): what it is told, and the descriptors that
//! it keeps while no process runs.
//!
//! The protocols are those of sd_notify(3) and sd_listen_fds(3). Without the environment variables that
//! a service manager sets, nothing here does anything.

mod inherited;
mod notify_socket;
mod watchdog;

use std::{
    env, fmt,
    io::Read as _,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    process,
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use self::notify_socket::NotifySocket;
pub(crate) use self::{
    inherited::{InheritedDescriptor, inherited_descriptors},
    watchdog::ServiceWatchdog,
};

/// The variables that speak to one process alone. A program that this one starts must not see them.
pub(crate) const OF_ONE_PROCESS: [&str; 4] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The most descriptors in one message: the kernel's limit is 253.
const MAX_DESCRIPTORS: usize = 200;

/// How long the service manager may take to work off what it was told before.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// The service manager, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ServiceManager {
    socket: Option<Arc<NotifySocket>>,
    /// Whether it keeps descriptors (`FileDescriptorStoreMax=`).
    keeps_descriptors: bool,
}

impl ServiceManager {
    /// The service manager that the environment names. A variable that makes no sense is logged.
    pub(crate) fn of_environment() -> ServiceManager {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return ServiceManager::default() };
        let socket = NotifySocket::new(&name).inspect_err(|error| {
            tracing::warn!(?name, %error, "NOTIFY_SOCKET names no socket: no service manager is told \
                of the state of this process");
        });
        // systemd sets it since its version 254; for former ones, the unit does.
        let most = env::var("FDSTORE").ok().and_then(|most| most.parse::<u32>().ok());
        let keeps_descriptors = most.is_some_and(|most| most > 0);
        ServiceManager { socket: socket.ok().map(Arc::new), keeps_descriptors }
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether it keeps descriptors.
    pub(crate) fn keeps_descriptors(&self) -> bool {
        self.keeps_descriptors && self.is_there()
    }

    /// Says that the process serves, after its start or a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Says that a configuration is being loaded; [`ServiceManager::ready`] ends that.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// Says in one line what the process does.
    pub(crate) fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// Says that the process drains, and may take this long from now on.
    pub(crate) fn stopping(&self, status: &str, time: Duration) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
        self.extend_timeout(time);
    }

    /// Asks for this much time from now on, where the unit's own would end before.
    pub(crate) fn extend_timeout(&self, time: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// Says which process is the main one from now on.
    pub(crate) fn main_process(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
    }

    /// Says that the process works. To be repeated while it does.
    fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Gives it descriptors to keep for the next process. It does not watch them.
    pub(crate) fn keep(&self, name: &str, descriptors: &[BorrowedFd<'_>]) {
        if !self.keeps_descriptors() {
            return;
        }
        for part in descriptors.chunks(MAX_DESCRIPTORS) {
            self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), part);
        }
    }

    /// Makes it close all descriptors that it keeps by this name.
    pub(crate) fn release(&self, name: &str) {
        if self.keeps_descriptors() {
            self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
    }

    /// Waits until it has worked off all that it was told. Blocks.
    pub(crate) fn wait(&self) {
        if !self.is_there() {
            return;
        }
        let waited = UnixStream::pair().and_then(|(mut near, far)| {
            self.send("BARRIER=1", &[far.as_fd()]);
            drop(far);
            near.set_read_timeout(Some(BARRIER_TIMEOUT))?;
            // The end comes when the service manager has closed its copy.
            near.read(&mut [0])
        });
        if let Err(error) = waited {
            tracing::warn!(%error, "the service manager does not answer");
        }
    }

    fn tell(&self, state: &str) {
        self.send(state, &[]);
    }

    fn send(&self, state: &str, descriptors: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state, descriptors) {
            tracing::warn!(state, %error, "cannot tell the service manager");
        }
    }
}

impl fmt::Debug for ServiceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceManager").field("is_there", &self.is_there()).finish_non_exhaustive()
    }
}

/// The interval of the watchdog in the environment, if it is meant for this process.
fn watchdog_interval() -> Option<Duration> {
    let of_another = env::var("WATCHDOG_PID").is_ok_and(|id| id != process::id().to_string());
    let interval_us = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (!of_another && interval_us > 0).then(|| Duration::from_micros(interval_us))
}

/// A line of its own would be another variable.
fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}

#[cfg(test)]
mod tests;
