//! Signing in and out, step by step. Pure: clock and randomness are passed in, and what only the
//! control thread knows is asked for by value.

mod challenge;
mod return_path;

pub(crate) use challenge::{Challenge, challenge};
