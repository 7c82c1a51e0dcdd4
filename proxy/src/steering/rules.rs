//! The steering part of a configuration, compiled.

use portcullis_abi::{Balance, SteeringSettings};

use super::{NameTable, SteeringSpec};

/// The home of each name and the load limit. Part of a snapshot.
#[derive(Debug)]
pub(crate) struct SteeringRules {
    /// The names of routes and pins.
    pub names: NameTable,
    /// The load limit.
    pub balance: Balance,
    /// Refuse connections whose server name matches no entry.
    pub refuse_unknown: bool,
}

/// A pin names a worker that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "portcullis.steering.pin.{host}: there is no worker {worker}; the {workers} workers are numbered from 0"
)]
pub(crate) struct NoSuchWorker {
    host: Box<str>,
    worker: u32,
    workers: u32,
}

impl SteeringRules {
    /// Compiles the settings for this number of workers.
    pub(crate) fn new(spec: &SteeringSpec, workers: u32) -> Result<SteeringRules, NoSuchWorker> {
        for pin in &spec.pins {
            if let Some(worker) = pin.workers.iter().find(|worker| **worker >= workers) {
                return Err(NoSuchWorker { host: pin.host.clone(), worker: *worker, workers });
            }
        }
        Ok(SteeringRules {
            names: NameTable::new(spec.hosts.iter().map(|host| &**host), &spec.pins),
            balance: Balance { workers, max_load_percent: spec.max_load_percent },
            refuse_unknown: spec.refuse_unknown,
        })
    }

    /// The settings of the kernel programs, without the names.
    pub(crate) fn settings(&self) -> SteeringSettings {
        let refuse_unknown = u32::from(self.refuse_unknown);
        SteeringSettings { balance: self.balance, refuse_unknown, closed: 0, catching: 0 }
    }
}
