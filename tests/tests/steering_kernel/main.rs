//! The whole proxy steered by the kernel programs, each test in its own network. All tests need
//! root.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catcher;
mod changes;
mod chromium;
mod download;
mod fallback;
mod floods;
mod held;
mod loss;
mod modes;
mod placement;
mod refusals;
mod silent;
mod stand;
