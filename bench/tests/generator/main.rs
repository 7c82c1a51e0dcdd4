//! The load generator against real servers, and against a test server that does what those never
//! do.

mod open_loop;
mod responses;
mod run;
mod works;
