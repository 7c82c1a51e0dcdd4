//! Chooses the worker for a connection: by its server name, the worker that is home to the name,
//! unless that worker is overloaded.
//!
//! Steering is an optimisation and decides nothing else: the worker that serves a connection chooses
//! certificate and policy from the whole hello.

mod announce;
mod catcher;
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

pub(crate) use announce::mode as log_mode;
pub(crate) use catcher::{
    Catcher, CatcherKeeper, CatcherSize, CookieSource, CookieSysctls, NoCookies, NoRoomForCatcher,
    somaxconn,
};
pub(crate) use choose::Choice;
pub(crate) use handoff::{Inbox, Mailboxes};
pub use kernel::Kernel;
pub(crate) use kernel::{KernelError, detach as detach_programs, may_load_programs};
pub(crate) use load_table::LoadTable;
pub(crate) use mode::{Mode, ModeError};
pub(crate) use name_table::{NameEntry, NameTable};
pub(crate) use process::Steering;
pub(crate) use rules::{NoSuchWorker, SteeringRules};
pub(crate) use spec::{ModeChoice, Pin, SteeringSpec};
pub(crate) use worker_steering::{Queue, WorkerSteering};
