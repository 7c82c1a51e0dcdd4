//! The settings of this room.

use std::sync::Arc;

use portcullis_abi::WorkerSet;

/// How new connections are steered to a worker (`portcullis.steering`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SteeringSpec {
    /// Applies at start; all other settings apply at reload.
    pub mode: ModeChoice,
    /// The hosts of routes: exact, or with `*`.
    pub hosts: Vec<Arc<str>>,
    /// Hosts that only some of the workers serve.
    pub pins: Vec<Pin>,
    /// Refuse connections whose server name matches no entry.
    pub refuse_unknown: bool,
    /// Maximum load of a worker before names go to another one, in percent of the mean.
    pub max_load_percent: u32,
}

impl Default for SteeringSpec {
    /// The defaults, without any host.
    fn default() -> Self {
        SteeringSpec {
            mode: ModeChoice::Auto,
            hosts: Vec::new(),
            pins: Vec::new(),
            refuse_unknown: false,
            max_load_percent: 120,
        }
    }
}

/// The configured mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ModeChoice {
    /// `kernel` if it is available, else `handoff`.
    #[default]
    Auto,
    /// `kernel`; startup fails if it is not available.
    Kernel,
    /// Hand-off.
    Handoff,
    /// No steering: the kernel spreads connections by address.
    None,
}

/// A host and the workers that serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Exact, or `*` and an ending.
    pub host: Arc<str>,
    /// By number; at least one.
    pub workers: Vec<u32>,
}

impl Pin {
    /// The workers as a set.
    pub(crate) fn set(&self) -> WorkerSet {
        self.workers.iter().fold(WorkerSet::EMPTY, |set, worker| set.with(*worker))
    }
}
