//! What a configuration asks of steering, ready to be asked for each connection.

use portcullis_abi::{Balance, SteeringSettings};

use super::{NameTable, SteeringSpec};

/// Where names belong and how unevenly workers may be loaded. Part of a snapshot.
#[derive(Debug)]
pub struct SteeringRules {
    /// The names there are.
    pub names: NameTable,
    /// The bound.
    pub balance: Balance,
    /// Close connections that ask for a name that there is not.
    pub refuse_unknown: bool,
}

/// A pin names a worker that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "portcullis.steering.pin.{host}: there is no worker {worker}: {workers} run, numbered from 0"
)]
pub struct NoSuchWorker {
    host: Box<str>,
    worker: u32,
    workers: u32,
}

impl SteeringRules {
    /// For so many workers as run.
    pub fn new(spec: &SteeringSpec, workers: u32) -> Result<SteeringRules, NoSuchWorker> {
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

    /// What the kernel programs are to know of it, beside the names.
    pub fn settings(&self) -> SteeringSettings {
        let refuse_unknown = u32::from(self.refuse_unknown);
        SteeringSettings { balance: self.balance, refuse_unknown, closed: 0 }
    }
}
