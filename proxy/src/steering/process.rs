//! Steering as the whole process has it.

use std::{
    fmt,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use portcullis_abi::{SteeringSettings, Verdict};

use super::{
    Kernel, KernelError, LoadTable, Mode, ModeChoice, ModeError, SteeringRules, kernel,
    mode::decide,
};

/// The mode that runs, the table of loads, and the rules in use.
pub struct Steering {
    mode: Mode,
    reason: String,
    load_table: LoadTable,
    /// Workers that an operator has taken out.
    drained: Box<[AtomicBool]>,
    rules: ArcSwap<SteeringRules>,
    /// For the control thread alone.
    kernel: Mutex<Option<Kernel>>,
}

impl Steering {
    /// Decides for a mode and attaches the kernel programs where it is theirs: to the listening
    /// sockets, of each address one for each worker in their order.
    pub fn start(
        choice: ModeChoice,
        groups: &[Vec<BorrowedFd<'_>>],
        workers: usize,
        rules: Arc<SteeringRules>,
    ) -> Result<Steering, ModeError> {
        let attach = || Kernel::attach(groups, rules.settings(), &rules.names.keys());
        let decided = decide(choice, workers, attach)?;
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
            drained: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            rules: ArcSwap::new(rules),
            kernel: Mutex::new(decided.kernel),
        })
    }

    /// How connections find their worker.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Why in this mode.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The table of loads.
    pub fn load_table(&self) -> &LoadTable {
        &self.load_table
    }

    /// The rules in use.
    pub fn rules(&self) -> Arc<SteeringRules> {
        self.rules.load_full()
    }

    /// Goes on with other rules. Connections that are open stay where they are.
    ///
    /// Fails where the kernel's tables cannot be changed; workers then still go by the new rules,
    /// and hand on what the kernel sends by the old ones.
    pub fn set_rules(&self, rules: Arc<SteeringRules>) -> Result<(), KernelError> {
        self.rules.store(Arc::clone(&rules));
        match &mut *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kernel) => {
                kernel.set_names(&rules.names.keys())?;
                kernel.set_settings(rules.settings())
            }
            None => Ok(()),
        }
    }

    /// Has the kernel refuse whoever connects from now on. Connections under way, of which user
    /// space knows nothing before their hello, still come.
    pub fn close(&self) -> Result<(), KernelError> {
        let settings = SteeringSettings { closed: 1, ..self.rules().settings() };
        match &mut *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kernel) => kernel.set_settings(settings),
            None => Ok(()),
        }
    }

    /// Whether an operator has taken a worker out.
    pub fn is_drained(&self, worker: u32) -> bool {
        self.drained_flag(worker).is_some_and(|drained| drained.load(Relaxed))
    }

    /// Takes a worker out, or in again: it is chosen no more, and hands on what it accepts. What it
    /// has stays with it.
    pub fn set_drained(&self, worker: u32, drained: bool) -> Result<(), DrainError> {
        let flag = self.drained_flag(worker).ok_or(DrainError::NoSuchWorker)?;
        if self.mode == Mode::None {
            return Err(DrainError::NoSteering);
        }
        flag.store(drained, Relaxed);
        // Taken in again, the worker says itself that it takes connections.
        if drained && let Some(slot) = self.load_table.slot(worker) {
            slot.set_available(false);
        }
        Ok(())
    }

    fn drained_flag(&self, worker: u32) -> Option<&AtomicBool> {
        self.drained.get(usize::try_from(worker).ok()?)
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.drained.len()).unwrap_or(u32::MAX)
    }

    /// What the kernel has counted; `None` where no programs are attached.
    pub(super) fn verdicts(&self) -> Option<[u64; Verdict::ALL.len()]> {
        let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A worker that cannot be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// It does not exist.
    #[error("there is no such worker")]
    NoSuchWorker,
    /// Nothing would take its connections elsewhere.
    #[error("the steering mode is none: connections stay where they are accepted")]
    NoSteering,
}
