//! Which worker a connection goes to: by the name it asks for, to the worker that holds the name,
//! as long as that one does not carry too much.
//!
//! Steering is an optimisation and decides nothing else: certificates and policy are chosen from
//! the whole hello by whichever worker serves it.

mod board;
mod choose;
mod desk;
mod handoff;
mod kernel;
mod load;
mod mode;
mod names;
mod process;
mod rules;
mod spec;
mod view;

pub use board::Board;
pub use choose::Choice;
pub use desk::{Desk, Queue};
pub use handoff::{Inbox, Mailboxes};
pub use kernel::{Kernel, KernelError};
pub use mode::{Mode, ModeError};
pub use names::{Entry, Names};
pub use process::{DrainError, Steering};
pub use rules::{NoSuchWorker, Rules};
pub use spec::{ModeChoice, Pin, SteeringSpec};
