//! The steering state of the process.

use std::{
    fmt,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use portcullis_abi::{SteeringSettings, Verdict};

use super::{
    CookieSource, CookieSysctls, Kernel, KernelError, LoadTable, Mode, ModeChoice, ModeError,
    NoRoomForCatcher, SteeringRules, catcher::CookieState, kernel, mode::decide,
};

/// The running mode, the table of loads, and the rules in use.
pub(crate) struct Steering {
    mode: Mode,
    reason: String,
    load_table: LoadTable,
    /// Whether the kernel refuses connections; rules that are set later do not undo that.
    closed: AtomicBool,
    /// Whether SYN cookies come from catchers alone, or not at all.
    catching: AtomicBool,
    cookies: CookieState,
    /// Workers that an operator has drained.
    drained: Box<[AtomicBool]>,
    rules: ArcSwap<SteeringRules>,
    /// Used only by the threads that control, load, and keep the catchers.
    kernel: Mutex<Option<Kernel>>,
}

impl Steering {
    /// Chooses a mode and, if it is `kernel`, attaches the programs to the listening sockets:
    /// `groups` has one group for each address, with one socket for each worker in order; `room`
    /// says whether there may be catchers.
    pub(crate) fn start(
        choice: ModeChoice,
        groups: &[Vec<BorrowedFd<'_>>],
        workers: usize,
        rules: Arc<SteeringRules>,
        room: Result<(), NoRoomForCatcher>,
    ) -> Result<Steering, ModeError> {
        let attach = |cookies| {
            let catching = u32::from(cookies != CookieSource::Sysctl);
            let settings = SteeringSettings { catching, ..rules.settings() };
            Kernel::attach(groups, settings, &rules.names.keys())
        };
        let decided = decide(choice, workers, CookieSysctls::read().source(choice, room), attach)?;
        let load_table = match &decided.kernel {
            Some(kernel) => LoadTable::over(kernel.slots()),
            None => {
                kernel::detach(groups);
                LoadTable::new(workers)
            }
        };
        Ok(Steering {
            mode: decided.mode,
            reason: decided.reason,
            load_table,
            closed: AtomicBool::new(false),
            catching: AtomicBool::new(decided.cookies == CookieSource::Catcher),
            cookies: CookieState::new(decided.cookies),
            drained: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            rules: ArcSwap::new(rules),
            kernel: Mutex::new(decided.kernel),
        })
    }

    /// How connections find their worker at the moment.
    pub(crate) fn mode(&self) -> Mode {
        match self.mode {
            Mode::Kernel if self.cookies.source() == CookieSource::None => Mode::Handoff,
            mode => mode,
        }
    }

    /// The reason for the mode.
    pub(crate) fn reason(&self) -> String {
        match self.cookies.problem() {
            Some(problem) => format!("kernel steering is not available: {problem}"),
            None => self.reason.clone(),
        }
    }

    /// Whether the kernel programs are attached, whether or not they can steer at the moment.
    pub(crate) fn has_programs(&self) -> bool {
        self.mode == Mode::Kernel
    }

    /// Where SYN cookies come from.
    pub(crate) fn cookies(&self) -> &CookieState {
        &self.cookies
    }

    /// Changes the programs, if they are attached.
    pub(super) fn change_kernel(
        &self,
        change: impl FnOnce(&mut Kernel) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        self.lock().as_mut().map_or(Ok(()), change)
    }

    /// Tells the programs whether cookies come from catchers alone, or for every SYN.
    pub(super) fn set_catching(&self, catching: bool) {
        if self.catching.swap(catching, Relaxed) == catching {
            return;
        }
        if let Err(error) = self.apply_settings(&self.rules()) {
            self.catching.store(!catching, Relaxed);
            tracing::error!(%error, "the kernel programs do not follow net.ipv4.tcp_syncookies");
        }
    }

    /// The number of SYNs that were sent to catchers.
    pub(super) fn caught(&self) -> u64 {
        let kernel = self.lock();
        kernel.as_ref().and_then(|kernel| kernel.count(Verdict::Caught).ok()).unwrap_or(0)
    }

    fn apply_settings(&self, rules: &SteeringRules) -> Result<(), KernelError> {
        self.change_kernel(|kernel| kernel.set_settings(self.settings(rules)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kernel>> {
        self.kernel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of loads.
    pub(crate) fn load_table(&self) -> &LoadTable {
        &self.load_table
    }

    /// The rules in use.
    pub(crate) fn rules(&self) -> Arc<SteeringRules> {
        self.rules.load_full()
    }

    /// Replaces the rules. Open connections stay where they are.
    ///
    /// Fails if the kernel's tables cannot be changed. Workers then use the new rules all the same,
    /// and hand over connections that the kernel placed by the old ones.
    pub(crate) fn set_rules(&self, rules: Arc<SteeringRules>) -> Result<(), KernelError> {
        self.rules.store(Arc::clone(&rules));
        self.change_kernel(|kernel| {
            kernel.set_names(&rules.names.keys())?;
            kernel.set_settings(self.settings(&rules))
        })
    }

    /// Makes the kernel reset new connections. Connections whose hello has not arrived yet, which
    /// user space does not know, are still accepted.
    pub(crate) fn close(&self) -> Result<(), KernelError> {
        self.closed.store(true, Relaxed);
        self.apply_settings(&self.rules())
    }

    fn settings(&self, rules: &SteeringRules) -> SteeringSettings {
        SteeringSettings {
            closed: u32::from(self.closed.load(Relaxed)),
            catching: u32::from(self.catching.load(Relaxed)),
            ..rules.settings()
        }
    }

    /// Whether an operator has drained a worker.
    pub(crate) fn is_drained(&self, worker: u32) -> bool {
        self.drained_flag(worker).is_some_and(|drained| drained.load(Relaxed))
    }

    /// Drains a worker, or ends that. A drained worker gets no connections and hands over those that
    /// it accepts; its open connections stay.
    pub(crate) fn set_drained(&self, worker: u32, drained: bool) -> Result<(), DrainError> {
        let flag = self.drained_flag(worker).ok_or(DrainError::NoSuchWorker)?;
        if self.mode == Mode::None {
            return Err(DrainError::NoSteering);
        }
        flag.store(drained, Relaxed);
        // After the end of draining, the worker itself sets its line to available.
        if drained && let Some(slot) = self.load_table.slot(worker) {
            slot.set_available(false);
        }
        Ok(())
    }

    fn drained_flag(&self, worker: u32) -> Option<&AtomicBool> {
        self.drained.get(usize::try_from(worker).ok()?)
    }

    /// Number of workers.
    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.drained.len()).unwrap_or(u32::MAX)
    }

    /// The kernel's counters; `None` if no programs are attached.
    pub(super) fn verdicts(&self) -> Option<[u64; Verdict::ALL.len()]> {
        let kernel = self.lock();
        match kernel.as_ref()?.counters() {
            Ok(counters) => Some(counters),
            Err(error) => {
                tracing::warn!(%error, "cannot read the counters of kernel steering");
                None
            }
        }
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Steering { mode, reason, load_table, .. } = self;
        f.debug_struct("Steering")
            .field("mode", mode)
            .field("reason", reason)
            .field("load_table", load_table)
            .finish_non_exhaustive()
    }
}

/// Why a worker cannot be drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DrainError {
    /// There is no worker with this number.
    #[error("there is no such worker")]
    NoSuchWorker,
    /// Without steering no other worker would get its connections.
    #[error("the steering mode is none: connections stay on the worker that accepts them")]
    NoSteering,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::SteeringSpec;

    #[test]
    fn rules_set_after_close_do_not_reopen_the_kernel() {
        let rules = Arc::new(SteeringRules::new(&SteeringSpec::default(), 2).unwrap());
        let steering =
            Steering::start(ModeChoice::None, &[], 2, Arc::clone(&rules), Ok(())).unwrap();
        assert_eq!(steering.settings(&rules).closed, 0);
        steering.close().unwrap();
        steering.set_rules(Arc::clone(&rules)).unwrap();
        assert_eq!(steering.settings(&rules).closed, 1);
    }
}
