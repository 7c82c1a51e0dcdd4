//! The real OpenSSL: `s_server` as an upstream, `s_client` as a client.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::{
    pki::{Pair, pki},
    ports::free_port,
    process::{Finished, Process, run},
    tools::need,
};

/// A running `openssl s_server -www`, the upstream of the guides.
#[derive(Debug)]
pub struct SServer {
    process: Process,
    pair: Pair,
    port: u16,
}

impl SServer {
    /// Starts the server on `localhost` with a certificate and more options, such as `-Verify 1`.
    pub fn start(pair: &Pair, options: &[&str]) -> Self {
        Self::at(free_port(), pair, options)
    }

    /// Ends it and starts it on the same port, with these options in the place of the former ones.
    #[must_use]
    pub fn restart(self, options: &[&str]) -> Self {
        let Self { process, pair, port } = self;
        drop(process);
        Self::at(port, &pair, options)
    }

    fn at(port: u16, pair: &Pair, options: &[&str]) -> Self {
        let mut command = Command::new(need("openssl"));
        command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www"]);
        command.arg("-cert").arg(&pair.cert).arg("-key").arg(&pair.key);
        command.arg("-CAfile").arg(pki().ca()).args(options);
        let process = Process::spawn("openssl s_server", &mut command);
        process.wait_for_text("ACCEPT");
        Self { process, pair: pair.clone(), port }
    }

    /// The URL for a route's `to`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Waits for a line of its output.
    pub fn wait_for_text(&self, text: &str) -> String {
        self.process.wait_for_text(text)
    }
}

/// One run of `openssl s_client`.
#[derive(Debug)]
pub struct SClient {
    command: Command,
}

impl SClient {
    /// Connects to an address with a server name, trusting [`crate::Pki::ca`].
    pub fn new(address: SocketAddr, name: &str) -> Self {
        Self::connect(address).args(["-servername", name])
    }

    /// Connects to an address without a server name.
    pub fn nameless(address: SocketAddr) -> Self {
        Self::connect(address).args(["-noservername"])
    }

    fn connect(address: SocketAddr) -> Self {
        let mut command = Command::new(need("openssl"));
        command.args(["s_client", "-connect", &address.to_string()]);
        command.arg("-CAfile").arg(pki().ca());
        Self { command }
    }

    /// Adds options.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Presents a client certificate.
    pub fn client(mut self, pair: &Pair) -> Self {
        self.command.arg("-cert").arg(&pair.cert).arg("-key").arg(&pair.key);
        self
    }

    /// Writes the session to a file before it ends.
    pub fn save_session(mut self, path: &Path) -> Self {
        self.command.arg("-sess_out").arg(path);
        self
    }

    /// Offers the session in a file.
    pub fn use_session(mut self, path: &Path) -> Self {
        self.command.arg("-sess_in").arg(path);
        self
    }

    /// Runs the client: sends `request` and reads until the server ends the connection. The request
    /// should ask for that (`Connection: close`).
    pub fn run(mut self, request: &str) -> Finished {
        // -ign_eof: the end of the input must not end the connection before the response has
        // arrived.
        self.command.arg("-ign_eof");
        run(&mut self.command, request.as_bytes())
    }
}

/// A request with `Connection: close`.
pub fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// The alert that `s_client` printed, if any.
pub fn alert(finished: &Finished) -> Option<u8> {
    let (_, rest) = finished.stderr.split_once("SSL alert number ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether `s_client` says that it resumed the session it offered.
pub fn was_resumed(finished: &Finished) -> bool {
    finished.stdout.lines().any(|line| line.starts_with("Reused, TLS"))
}
