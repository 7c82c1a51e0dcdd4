//! Bearer tokens: who a machine is by a signed token in its `Authorization` header.
//!
//! [`spec`] and [`verify`] are pure; [`memory`] belongs to one worker. The keys come from the control
//! thread as snapshots ([`keys`]), so that a worker verifies a token alone.

pub(crate) mod keys;
pub(crate) mod memory;
pub(crate) mod spec;
pub(crate) mod verify;
