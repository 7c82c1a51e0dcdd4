//! The load generator against real servers, and against one of our own for what those never do.

mod open_loop;
mod responses;
mod run;
mod works;
