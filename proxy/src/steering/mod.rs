//! Which worker a connection goes to: by the name it asks for, to the worker that holds the name,
//! as long as that one does not carry too much.
//!
//! Steering is an optimisation and decides nothing else: certificates and policy are chosen from
//! the whole hello by whichever worker serves it.

mod choose;
mod handoff;
mod kernel;
mod load;
mod load_table;
mod mode;
mod name_table;
mod process;
mod rules;
mod spec;
mod view;
mod worker_steering;

pub use choose::Choice;
pub use handoff::{Inbox, Mailboxes};
pub use kernel::{Kernel, KernelError};
pub use load_table::LoadTable;
pub use mode::{Mode, ModeError};
pub use name_table::{NameEntry, NameTable};
pub use process::{DrainError, Steering};
pub use rules::{NoSuchWorker, SteeringRules};
pub use spec::{ModeChoice, Pin, SteeringSpec};
pub use worker_steering::{Queue, WorkerSteering};
