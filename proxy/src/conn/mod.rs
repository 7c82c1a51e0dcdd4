//! One client connection: hello, TLS, HTTP, close; exactly one record of how it ended.

mod spec;

pub use spec::Settings;
