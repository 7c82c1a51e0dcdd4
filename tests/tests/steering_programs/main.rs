//! Both kernel programs over real sockets, each test in its own network. All tests need root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catcher;
mod cookies;
mod hellos;
mod large_hellos;
mod loss;
mod names;
mod refusals;
mod silent;
mod stand;
mod workers;
