//! Who a request is from: sign-in by OpenID Connect, sessions, and identity for upstreams.
//!
//! `jose`, `seal`, `session`, `cookies` and `flow` are pure: the clock and the randomness are passed
//! in. `memory` belongs to one worker. `provider` and the table of sessions belong to the control
//! thread, and only there a third party is called. What workers must know of it is in [`shared`].

pub(crate) mod assertion;
pub(crate) mod bearer;
#[cfg(feature = "bench")]
pub(crate) mod bench;
pub(crate) mod binding;
pub(crate) mod calls;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod cookies;
pub(crate) mod ended_users;
pub(crate) mod flow;
pub(crate) mod jose;
pub(crate) mod memory;
mod presented;
mod program_token;
pub(crate) mod provider;
pub(crate) mod provider_tokens;
mod rare_warning;
pub(crate) mod seal;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod spec;
mod wire;
pub(crate) mod worker;
