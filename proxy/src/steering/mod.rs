//! Chooses the worker for a connection: by its server name, the worker that is home to the name,
//! unless that worker is overloaded.
//!
//! Steering is an optimisation and decides nothing else: the worker that serves a connection chooses
//! certificate and policy from the whole hello.

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
