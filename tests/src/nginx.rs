//! The real nginx as an upstream.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    pki::{Pair, pki},
    ports::free_port,
    process::Process,
    tempdir::TempDir,
    tools::need,
    wait::{eventually, until},
};

/// A running nginx with one server.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    dir: TempDir,
    address: SocketAddr,
    secure: bool,
    workers: bool,
}

/// The settings of the server; made by [`Nginx::plain`] or [`Nginx::tls`].
#[derive(Debug)]
pub struct Setup {
    tls: String,
    listen: &'static str,
    body: String,
    workers: bool,
    port: Option<u16>,
    http: String,
}

impl Nginx {
    /// A server of plain HTTP.
    pub fn plain() -> Setup {
        Setup {
            tls: String::new(),
            listen: "",
            body: String::new(),
            workers: false,
            port: None,
            http: String::new(),
        }
    }

    /// A server of HTTPS.
    pub fn tls(pair: &Pair) -> Setup {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        Setup {
            tls: format!("ssl_certificate {cert}; ssl_certificate_key {key};"),
            listen: " ssl",
            body: String::new(),
            workers: false,
            port: None,
            http: String::new(),
        }
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for a route's `to`.
    pub fn url(&self) -> String {
        let port = self.address.port();
        if self.secure {
            format!("https://localhost:{port}")
        } else {
            format!("http://127.0.0.1:{port}")
        }
    }

    /// Starts new workers and lets the old ones finish, as `nginx -s reload` does.
    ///
    /// # Panics
    /// When it has no workers: see [`Setup::workers`].
    pub fn reload(&self) {
        assert!(self.workers, "a single process does not replace itself");
        self.process.signal(Signal::HUP);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The directory of the served files.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Its access records so far, as soon as there are at least `count`. Fields: `connection`,
    /// `requests` (the request's number on its connection), `uri`, `status`, `client` (the subject
    /// of the client certificate), `serial`, `session` (`r` if resumed).
    pub fn records(&self, count: usize) -> Vec<Value> {
        let path = self.dir.path().join("access.log");
        eventually(&format!("{count} records of nginx"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let records: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (records.len() >= count).then_some(records)
        })
    }
}

impl Drop for Nginx {
    /// If a master is killed, its workers stay.
    fn drop(&mut self) {
        if self.workers && self.process.is_running() {
            self.process.signal(Signal::TERM);
            self.process.wait_quietly();
        }
    }
}

impl Setup {
    /// Runs a master with workers, for [`Nginx::reload`].
    pub fn workers(mut self) -> Self {
        self.workers = true;
        self
    }

    /// Listens at this port, which nobody uses.
    pub fn at(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds directives to the server.
    pub fn with(mut self, directives: &str) -> Self {
        self.body.push_str(directives);
        self.body.push('\n');
        self
    }

    /// Adds directives beside the server.
    pub fn with_http(mut self, directives: &str) -> Self {
        self.http.push_str(directives);
        self.http.push('\n');
        self
    }

    /// Requires a client certificate of [`crate::Pki::ca`].
    pub fn client_auth(self) -> Self {
        let ca = pki().ca();
        self.with(&format!("ssl_client_certificate {}; ssl_verify_client on;", ca.display()))
    }

    /// Offers HTTP/2.
    pub fn http2(mut self) -> Self {
        self.listen = if self.tls.is_empty() { " http2" } else { " ssl http2" };
        self
    }

    /// Starts nginx and waits until it accepts connections.
    pub fn start(self) -> Nginx {
        let dir = TempDir::new("nginx");
        let address = SocketAddr::from(([127, 0, 0, 1], self.port.unwrap_or_else(free_port)));
        let secure = !self.tls.is_empty();
        let config = dir.write("nginx.conf", self.render(dir.path(), address));
        let mut command = Command::new(need("nginx"));
        command.arg("-p").arg(dir.path()).arg("-c").arg(config);
        let mut process = Process::spawn("nginx", command.args(["-e", "stderr"]));
        until("nginx to listen", || {
            assert!(process.is_running(), "nginx ended: {:?}", process.lines());
            TcpStream::connect(address).is_ok()
        });
        Nginx { process, dir, address, secure, workers: self.workers }
    }

    fn render(&self, dir: &Path, address: SocketAddr) -> String {
        let dir = dir.display();
        let Self { tls, listen, body, workers, http, .. } = self;
        // One process, or workers that run as root if nginx does: another user could not read the
        // directory.
        let root = rustix::process::geteuid().is_root();
        let master = match (workers, root) {
            (false, _) => "master_process off;",
            (true, true) => "worker_processes 2; user root;",
            (true, false) => "worker_processes 2;",
        };
        format!(
            r#"daemon off; {master} pid {dir}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    log_format json escape=json '{{"connection":"$connection","requests":"$connection_requests",'
        '"uri":"$request_uri","status":"$status","client":"$ssl_client_s_dn",'
        '"serial":"$ssl_client_serial","session":"$ssl_session_reused",'
        '"protocol":"$server_protocol"}}';
    access_log {dir}/access.log json;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    ssl_protocols TLSv1.2 TLSv1.3; client_max_body_size 0; keepalive_requests 1000000; root {dir};
    {http}
    server {{ listen {address}{listen}; {tls}
        {body}
    }}
}}
"#
        )
    }
}
