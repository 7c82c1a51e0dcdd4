//! One client connection: hello, TLS, HTTP, close; exactly one record of how it ended.

mod activity;
mod close;
mod registry;
mod spec;
mod splice;

pub use registry::Registry;
pub use spec::Settings;
