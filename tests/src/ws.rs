//! Python's `websockets` as client and server.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::{
    pki::{Pair, pki},
    process::{Finished, Process, run},
    tools::python,
};

/// A running websocket server that echoes.
#[derive(Debug)]
pub struct EchoServer {
    _process: Process,
    url: String,
}

impl EchoServer {
    /// Starts it without TLS.
    pub fn start() -> Self {
        let process = Process::spawn("ws_server.py", &mut script("ws_server.py"));
        let url = format!("http://127.0.0.1:{}", listening_port(&process));
        Self { _process: process, url }
    }

    /// Starts it with TLS.
    pub fn start_tls(pair: &Pair) -> Self {
        let mut command = script("ws_server.py");
        let process = Process::spawn("ws_server.py", command.arg(&pair.cert).arg(&pair.key));
        let url = format!("https://localhost:{}", listening_port(&process));
        Self { _process: process, url }
    }

    /// For a route's `to`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Sends `count` messages to a name at an address and checks that each comes back.
pub fn echo(address: SocketAddr, name: &str, path: &str, count: usize) -> Finished {
    run(&mut client(address, name, path, count), b"")
}

/// The same with cookies.
pub fn echo_with_cookies(
    address: SocketAddr,
    name: &str,
    path: &str,
    count: usize,
    cookies: &str,
) -> Finished {
    run(client(address, name, path, count).env("COOKIES", cookies), b"")
}

/// Echoes one message and then holds the socket: prints `held`, and `closed CODE` when the other
/// side ends it.
pub fn hold(address: SocketAddr, name: &str, path: &str) -> Process {
    let process = Process::spawn("ws_client.py", client(address, name, path, 1).arg("hold"));
    process.wait_for_text("held");
    process
}

fn client(address: SocketAddr, name: &str, path: &str, count: usize) -> Command {
    let mut command = script("ws_client.py");
    command.args([name, &address.port().to_string()]).arg(pki().ca());
    command.args([path, &count.to_string()]);
    command
}

/// One of our Python peers.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name));
    command
}

/// The port that a Python peer printed.
pub(crate) fn listening_port(process: &Process) -> u16 {
    let line = process.wait_for_text("listening");
    line.split_whitespace().nth(1).and_then(|port| port.parse().ok()).expect("a port")
}
