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
    cookies: CookieState,
    /// Workers that an operator has drained.
    drained: Box<[AtomicBool]>,
    rules: ArcSwap<SteeringRules>,
    /// Used only by the threads that control, load, and keep the catchers.
    programs: Mutex<Programs>,
}

/// The programs, if they are attached, and their settings. All parts of the settings are under one
/// lock: several threads change one part each, and the program gets all of them at once.
struct Programs {
    kernel: Option<Kernel>,
    settings: SteeringSettings,
}

impl Programs {
    fn change(
        &mut self,
        change: impl FnOnce(&mut Kernel) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        self.kernel.as_mut().map_or(Ok(()), change)
    }

    fn apply(&mut self, settings: SteeringSettings) -> Result<(), KernelError> {
        self.settings = settings;
        self.change(|kernel| kernel.set_settings(settings))
    }
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
        let settings = |cookies| {
            let catching = u32::from(cookies != CookieSource::Sysctl);
            SteeringSettings { catching, ..rules.settings() }
        };
        let attach = |cookies| Kernel::attach(groups, settings(cookies), &rules.names.keys());
        let decided = decide(choice, workers, CookieSysctls::read().source(choice, room), attach)?;
        let load_table = match &decided.kernel {
            Some(kernel) => LoadTable::over(kernel.slots()),
            None => {
                kernel::detach(groups);
                LoadTable::new(workers)
            }
        };
        let settings = settings(decided.cookies);
        Ok(Steering {
            mode: decided.mode,
            reason: decided.reason,
            load_table,
            cookies: CookieState::new(decided.cookies),
            drained: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            rules: ArcSwap::new(rules),
            programs: Mutex::new(Programs { kernel: decided.kernel, settings }),
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
        self.lock().change(change)
    }

    /// Tells the programs whether cookies come from catchers alone, or for every SYN.
    pub(super) fn set_catching(&self, catching: bool) {
        let mut programs = self.lock();
        let before = programs.settings;
        let settings = SteeringSettings { catching: u32::from(catching), ..before };
        if settings == before {
            return;
        }
        if let Err(error) = programs.apply(settings) {
            programs.settings = before; // it is tried again
            tracing::error!(%error, "the kernel programs do not follow net.ipv4.tcp_syncookies");
        }
    }

    /// The number of SYNs that were sent to catchers.
    pub(super) fn caught(&self) -> u64 {
        let programs = self.lock();
        let kernel = programs.kernel.as_ref();
        kernel.and_then(|kernel| kernel.count(Verdict::Caught).ok()).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut programs = self.lock();
        self.rules.store(Arc::clone(&rules));
        programs.change(|kernel| kernel.set_names(&rules.names.keys()))?;
        let SteeringSettings { closed, catching, .. } = programs.settings;
        programs.apply(SteeringSettings { closed, catching, ..rules.settings() })
    }

    /// Makes the kernel reset new connections, for good: rules that are set later do not undo that.
    /// Connections whose hello has not arrived yet, which user space does not know, are still
    /// accepted.
    pub(crate) fn close(&self) -> Result<(), KernelError> {
        let mut programs = self.lock();
        let settings = SteeringSettings { closed: 1, ..programs.settings };
        programs.apply(settings)
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
        let programs = self.lock();
        match programs.kernel.as_ref()?.counters() {
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
        assert_eq!(steering.lock().settings.closed, 0);
        steering.close().unwrap();
        steering.set_rules(Arc::clone(&rules)).unwrap();
        assert_eq!(steering.lock().settings.closed, 1);
    }

    #[test]
    fn each_part_of_the_settings_survives_changes_of_the_others() {
        let rules = |refuse_unknown| {
            let spec = SteeringSpec { refuse_unknown, ..SteeringSpec::default() };
            Arc::new(SteeringRules::new(&spec, 2).unwrap())
        };
        let steering = Steering::start(ModeChoice::None, &[], 2, rules(false), Ok(())).unwrap();
        let settings = || {
            let SteeringSettings { refuse_unknown, closed, catching, .. } =
                steering.lock().settings;
            (refuse_unknown, closed, catching)
        };
        steering.set_catching(false);
        assert_eq!(settings(), (0, 0, 0));
        steering.set_rules(rules(true)).unwrap();
        assert_eq!(settings(), (1, 0, 0));
        steering.set_catching(true);
        assert_eq!(settings(), (1, 0, 1));
        steering.close().unwrap();
        assert_eq!(settings(), (1, 1, 1));
        steering.set_rules(rules(false)).unwrap();
        assert_eq!(settings(), (0, 1, 1));
    }
}
