//! The real HAProxy as an upstream.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
};

use rustix::process::Signal;

use crate::{ports::free_port, process::Process, tempdir::TempDir, tools::need, wait::until};

/// A running HAProxy that answers requests by itself: `/monitor` with its `monitor-uri`, all others
/// with a text.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
    _dir: TempDir,
    address: SocketAddr,
}

impl Haproxy {
    /// Starts it and waits until it accepts connections.
    pub fn start(text: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let dir = TempDir::new("haproxy");
        let config = dir.write(
            "haproxy.cfg",
            format!(
                "defaults\n  mode http\n  timeout client 60s\n  timeout http-keep-alive 60s\n\
                 frontend front\n  bind {address}\n  monitor-uri /monitor\n  http-request return \
                 status 200 content-type text/plain string \"{text}\"\n"
            ),
        );
        let mut command = Command::new(need("haproxy"));
        command.args(["-db", "-f"]).arg(config);
        let mut process = Process::spawn("haproxy", &mut command);
        until("haproxy to listen", || {
            assert!(process.is_running(), "haproxy ended: {:?}", process.lines());
            TcpStream::connect(address).is_ok()
        });
        Self { process, _dir: dir, address }
    }

    /// The URL for a route's `to`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }
}
