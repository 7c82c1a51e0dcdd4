//! What this room needs to be told.

use portcullis_abi::WorkerSet;

/// How new connections find their worker (`portcullis.steering`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteeringSpec {
    /// Takes effect at start only, as everything else does at once.
    pub mode: ModeChoice,
    /// The hosts of routes, as they match: exact, or with `*`.
    pub hosts: Vec<Box<str>>,
    /// Hosts that are kept to some of the workers.
    pub pins: Vec<Pin>,
    /// Close connections that ask for a name that no entry matches.
    pub refuse_unknown: bool,
    /// The load that a worker may have before names go elsewhere, in percent of the mean.
    pub max_load_percent: u32,
}

impl Default for SteeringSpec {
    /// What holds where the configuration says nothing, without any host.
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

/// The mode that the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeChoice {
    /// The kernel where it can be, else hand-off.
    #[default]
    Auto,
    /// The kernel, or no start.
    Kernel,
    /// Hand-off.
    Handoff,
    /// Connections stay where the kernel spreads them.
    None,
}

/// A host and the workers it is kept to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Exact, or `*` and an ending.
    pub host: Box<str>,
    /// By number; at least one.
    pub workers: Vec<u32>,
}

impl Pin {
    /// Its workers.
    pub fn set(&self) -> WorkerSet {
        self.workers.iter().fold(WorkerSet::EMPTY, |set, worker| set.with(*worker))
    }
}
