//! One client connection: hello, TLS, HTTP, close. Each one is counted by how it ended.

mod activity;
mod cleartext;
mod close;
mod connection;
mod establish;
mod excess;
mod graceful_close;
mod handshake;
mod handshake_failure;
mod hello;
mod hibernation;
mod http1;
mod http2;
mod interim;
mod kept_back;
mod link;
mod listener_config;
mod permit;
mod read_deadline;
mod registry;
mod serve;
mod server;
mod spec;
mod splice;
mod steer;
mod stream_task;
mod tunnel;

use crate::steering;

pub(crate) use connection::Accepted;
pub(crate) use hello::ReceivedHello;
pub(crate) use listener_config::ListenerConfig;
pub(crate) use permit::{Admission, OpenConnections, WorkerConnections};
pub(crate) use registry::{ConnectionRegistry, Registration};
pub(crate) use serve::serve;
pub(crate) use server::ConnectionServer;
pub(crate) use spec::ConnectionSettings;

/// A worker's side of steering; connections are what it hands to other workers.
pub(crate) type ConnectionSteering = steering::WorkerSteering<Accepted>;
