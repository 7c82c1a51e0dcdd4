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

use super::{Board, Kernel, KernelError, Mode, ModeChoice, ModeError, Rules, kernel, mode::decide};

/// The mode that runs, the table of loads, and the rules in use.
pub struct Steering {
    mode: Mode,
    reason: String,
    board: Board,
    /// Whether the kernel refuses connections; rules that are set later do not undo that.
    closed: AtomicBool,
    /// Workers that an operator has taken out.
    drained: Box<[AtomicBool]>,
    rules: ArcSwap<Rules>,
    /// For the threads that control and load.
    kernel: Mutex<Option<Kernel>>,
}

impl Steering {
    /// Decides for a mode and attaches the kernel programs where it is theirs: to the listening
    /// sockets, of each address one for each worker in their order.
    pub fn start(
        choice: ModeChoice,
        groups: &[Vec<BorrowedFd<'_>>],
        workers: usize,
        rules: Arc<Rules>,
    ) -> Result<Steering, ModeError> {
        let attach = || Kernel::attach(groups, rules.settings(), &rules.names.keys());
        let decided = decide(choice, workers, attach)?;
        let board = match &decided.kernel {
            Some(kernel) => Board::over(kernel.slots()),
            None => {
                kernel::detach(groups);
                Board::new(workers)
            }
        };
        Ok(Steering {
            mode: decided.mode,
            reason: decided.reason,
            board,
            closed: AtomicBool::new(false),
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
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The rules in use.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Goes on with other rules. Connections that are open stay where they are.
    ///
    /// Fails where the kernel's tables cannot be changed; workers then still go by the new rules,
    /// and hand on what the kernel sends by the old ones.
    pub fn set_rules(&self, rules: Arc<Rules>) -> Result<(), KernelError> {
        self.rules.store(Arc::clone(&rules));
        match &mut *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kernel) => {
                kernel.set_names(&rules.names.keys())?;
                kernel.set_settings(self.settings(&rules))
            }
            None => Ok(()),
        }
    }

    /// Has the kernel refuse whoever connects from now on. Connections under way, of which user
    /// space knows nothing before their hello, still come.
    pub fn close(&self) -> Result<(), KernelError> {
        self.closed.store(true, Relaxed);
        match &mut *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kernel) => kernel.set_settings(self.settings(&self.rules())),
            None => Ok(()),
        }
    }

    fn settings(&self, rules: &Rules) -> SteeringSettings {
        SteeringSettings { closed: u32::from(self.closed.load(Relaxed)), ..rules.settings() }
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
        if drained && let Some(slot) = self.board.slot(worker) {
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
        let Steering { mode, reason, board, .. } = self;
        f.debug_struct("Steering")
            .field("mode", mode)
            .field("reason", reason)
            .field("board", board)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::SteeringSpec;

    #[test]
    fn rules_that_are_set_after_closing_do_not_open_the_kernel_again() {
        let rules = Arc::new(Rules::new(&SteeringSpec::default(), 2).unwrap());
        let steering = Steering::start(ModeChoice::None, &[], 2, Arc::clone(&rules)).unwrap();
        assert_eq!(steering.settings(&rules).closed, 0);
        steering.close().unwrap();
        steering.set_rules(Arc::clone(&rules)).unwrap();
        assert_eq!(steering.settings(&rules).closed, 1);
    }
}
