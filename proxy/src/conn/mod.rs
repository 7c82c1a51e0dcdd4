//! One client connection: hello, TLS, HTTP, close. Each one is counted by how it ended.

mod activity;
mod close;
mod connection;
mod establish;
mod frames;
mod graceful_close;
mod handshake;
mod handshake_failure;
mod hello;
mod hibernation;
mod http1;
mod http2;
mod link;
mod listener_config;
mod permit;
mod registry;
mod serve;
mod server;
mod spec;
mod splice;
mod steer;
mod tunnel;

use crate::steering;

pub use connection::Accepted;
pub use hello::ReceivedHello;
pub use listener_config::ListenerConfig;
pub use permit::{Admission, OpenConnections, WorkerConnections};
pub use registry::{ConnectionRegistry, Registration};
pub use serve::serve;
pub use server::ConnectionServer;
pub use spec::ConnectionSettings;

/// A worker's side of steering; connections are what it hands to other workers.
pub type ConnectionSteering = steering::WorkerSteering<Accepted>;
