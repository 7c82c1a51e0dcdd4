//! A real gRPC client and server, in Python.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{
    pki::{Pair, pki},
    process::{Process, run},
    ws::{listening_port, script},
};

/// A running gRPC server; `peers/grpc_server.py` defines its answers.
#[derive(Debug)]
pub struct Server {
    _process: Process,
    port: u16,
    secure: bool,
}

impl Server {
    /// Starts the server without TLS (`h2c`).
    pub fn plain() -> Self {
        Self::start(None)
    }

    /// Starts the server with TLS; it accepts HTTP/2 by ALPN.
    pub fn tls(pair: &Pair) -> Self {
        Self::start(Some(pair))
    }

    fn start(pair: Option<&Pair>) -> Self {
        let mut command = script("grpc_server.py");
        if let Some(pair) = pair {
            command.arg(&pair.cert).arg(&pair.key);
        }
        let process = Process::spawn("grpc_server.py", &mut command);
        let port = listening_port(&process);
        Self { _process: process, port, secure: pair.is_some() }
    }

    /// The URL for a route's `to`.
    pub fn url(&self) -> String {
        if self.secure {
            format!("https://localhost:{}", self.port)
        } else {
            format!("h2c://127.0.0.1:{}", self.port)
        }
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

/// Calls a method with this number of messages; returns `code`, `details`, `messages`, `initial`
/// and `trailing`.
///
/// # Panics
/// When the client fails otherwise than by the call's status.
pub fn call(address: SocketAddr, name: &str, method: &str, count: usize) -> Value {
    call_with(address, name, (method, count), &[])
}

/// The same with metadata, such as `cookie`.
///
/// # Panics
/// When the client fails otherwise than by the call's status.
pub fn call_with(
    address: SocketAddr,
    name: &str,
    (method, count): (&str, usize),
    metadata: &[(&str, &str)],
) -> Value {
    let mut command = script("grpc_client.py");
    command.args([name, &address.to_string()]).arg(pki().ca());
    command.args([method, &count.to_string()]);
    let pairs = metadata.iter().map(|(name, value)| format!("{name}={value}"));
    let done = run(command.args(pairs), b"");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}
