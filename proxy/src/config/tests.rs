//! Whole loads: a file in a directory of its own, an environment of its own.

mod access;
mod adversarial;
mod diagnostics;
mod environment;
mod facts;
mod guides;
mod identity;
mod keys;
pub(crate) mod support;
