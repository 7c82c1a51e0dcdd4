//! The proxy as a child process.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    curl::Curl,
    http::Response,
    metrics::Metrics,
    pki::{Pair, pki},
    ports::free_port,
    process::{Finished, Process, run},
    raw::Raw,
    tempdir::{TempDir, target_dir},
    tools::need,
    wait::{DEADLINE, eventually},
};

/// The proxy's program: `PORTCULLIS_BIN`, or what `cargo build` left in the target directory.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    let built = || target_dir().join("debug/portcullis");
    let path = std::env::var_os("PORTCULLIS_BIN").map_or_else(built, PathBuf::from);
    assert!(path.is_file(), "{} is missing; run: cargo build -p portcullis", path.display());
    path
}

/// What a configuration is made of. The parts are YAML, so that a test reads as its operator's
/// file would; addresses and what every test wants stand here.
#[derive(Debug, Clone)]
pub struct Config {
    addresses: Vec<String>,
    certificates: Vec<Pair>,
    globals: Vec<String>,
    own: Vec<(String, String)>,
    routes: Vec<String>,
    env: Vec<(String, String)>,
    by: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let own = [
            ("workers", "2"),
            ("admin_address", "127.0.0.1:{admin}"),
            ("drain_timeout", "5s"),
            ("log_format", "json"),
        ];
        Self {
            addresses: vec!["127.0.0.1:{port}".into()],
            certificates: vec![pki().server()],
            globals: Vec::new(),
            own: own.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            routes: Vec::new(),
            env: Vec::new(),
            by: Vec::new(),
        }
    }
}

impl Config {
    /// Listens here instead; `{port}` stands for the test's port.
    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        self
    }

    /// Serves these certificates instead of [`crate::Pki::server`].
    pub fn certificates(mut self, pairs: &[Pair]) -> Self {
        self.certificates = pairs.to_vec();
        self
    }

    /// Adds top-level keys. `{port}`, `{admin}` and `{redirect}` stand for the test's ports.
    pub fn global(mut self, yaml: &str) -> Self {
        self.globals.push(yaml.to_owned());
        self
    }

    /// Asks clients for a certificate of this CA and refuses connections without.
    pub fn reject_connection(self, ca: &Path) -> Self {
        let ca = ca.display();
        self.global(&format!("downstream_mtls:\n  ca_file: {ca}\n  enforcement: reject_connection"))
    }

    /// Sets a key of the `portcullis` section.
    pub fn own(mut self, key: &str, value: &str) -> Self {
        self.own.retain(|(known, _)| known != key);
        self.own.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a route that anybody may use.
    pub fn route(self, yaml: &str) -> Self {
        self.route_as_is(&format!("{yaml}\nallow_public_unauthenticated_access: true"))
    }

    /// Adds a route from `https://HOST.localhost.pomerium.io` to a URL that anybody may use.
    pub fn forward(self, host: &str, to: &str, more: &str) -> Self {
        self.route(&format!("from: https://{host}.localhost.pomerium.io\nto: {to}\n{more}"))
    }

    /// As [`Config::forward`], to an upstream whose certificate is of [`crate::Pki::ca`].
    pub fn forward_tls(self, host: &str, to: &str, more: &str) -> Self {
        let ca = pki().ca();
        self.forward(host, to, &format!("tls_custom_ca_file: {}\n{more}", ca.display()))
    }

    /// Adds a route as it is.
    pub fn route_as_is(mut self, yaml: &str) -> Self {
        self.routes.push(yaml.to_owned());
        self
    }

    /// Takes all routes away.
    pub fn without_routes(mut self) -> Self {
        self.routes.clear();
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has another program start the proxy, such as setpriv: its name and arguments, after which
    /// the proxy's stand.
    pub fn started_by(mut self, command: &[&str]) -> Self {
        self.by = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn command(&self) -> Command {
        match self.by.split_first() {
            None => command(&binary(), &self.env),
            Some((program, arguments)) => {
                let mut command = command(&need(program), &self.env);
                command.args(arguments).arg(binary());
                command
            }
        }
    }

    /// Starts the proxy and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or does not become ready.
    pub fn start(self) -> Proxy {
        Proxy::start(self)
    }

    /// Runs `portcullis check` on it.
    pub fn check(&self) -> Finished {
        let dir = TempDir::new("check");
        let path = dir.write("config.yaml", self.render(&Ports::take()));
        portcullis(&self.env, &["check", "--config"], Some(&path))
    }

    /// Runs the proxy, which is expected to refuse to start.
    ///
    /// # Panics
    /// When it starts.
    pub fn refused(&self) -> Finished {
        let dir = TempDir::new("refused");
        let path = dir.write("config.yaml", self.render(&Ports::take()));
        let mut command = self.command();
        let mut process = Process::spawn("portcullis", command.args(["run", "--config"]).arg(path));
        let status = process.wait();
        let all = process.lines().join("\n");
        assert!(!status.success(), "the proxy was to refuse this configuration");
        Finished { code: status.code(), stdout: all.clone(), stderr: all }
    }

    fn render(&self, ports: &Ports) -> String {
        let mut lines = vec![match self.addresses.as_slice() {
            [one] => format!("address: {one:?}"),
            several => format!("address: {several:?}"),
        }];
        if !self.certificates.is_empty() {
            lines.push("certificates:".into());
        }
        for Pair { cert, key } in &self.certificates {
            lines.push(format!("  - {{cert: {cert:?}, key: {key:?}}}"));
        }
        lines.extend(self.globals.iter().cloned());
        lines.push("portcullis:".into());
        lines.extend(self.own.iter().map(|(key, value)| format!("  {key}: {value}")));
        if !self.routes.is_empty() {
            lines.push("routes:".into());
        }
        for route in &self.routes {
            let inner = route.trim_end().replace('\n', "\n    ");
            lines.push(format!("  - {inner}"));
        }
        let text = lines.join("\n") + "\n";
        text.replace("{port}", &ports.port.to_string())
            .replace("{admin}", &ports.admin.to_string())
            .replace("{redirect}", &ports.redirect.to_string())
    }
}

#[derive(Debug)]
struct Ports {
    port: u16,
    admin: u16,
    redirect: u16,
}

impl Ports {
    fn take() -> Self {
        Self { port: free_port(), admin: free_port(), redirect: free_port() }
    }
}

/// A command without the caller's environment, since variables set configuration keys.
fn command(program: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("RUST_BACKTRACE", "1");
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs the program to its end.
pub fn portcullis(env: &[(String, String)], args: &[&str], path: Option<&Path>) -> Finished {
    let mut command = command(&binary(), env);
    command.args(args);
    if let Some(path) = path {
        command.arg(path);
    }
    run(&mut command, b"")
}

/// A running proxy; killed when dropped, its log printed if the test is panicking.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    config: Config,
    ports: Ports,
    dir: TempDir,
}

impl Proxy {
    /// A configuration to add to.
    pub fn config() -> Config {
        Config::default()
    }

    fn start(config: Config) -> Self {
        for _ in 0..3 {
            if let Some(proxy) = Self::try_start(config.clone()) {
                return proxy;
            }
        }
        panic!("three times a port that was free was taken before the proxy listened");
    }

    /// Starts another that listens at the same address, as the next process does while this one
    /// drains.
    ///
    /// # Panics
    /// When it ends or does not become ready.
    pub fn start_beside(&self, config: Config) -> Self {
        let ports = Ports { port: self.ports.port, ..Ports::take() };
        Self::start_at(config, ports).expect("ports that are free")
    }

    /// Starts the next process at this one's addresses, which it is to replace.
    ///
    /// # Panics
    /// When it ends or does not become ready.
    pub fn replace(&self, config: Config) -> Self {
        let Ports { port, admin, redirect } = self.ports;
        let process = self.process.id().to_string();
        let with = ["--replace", &process];
        let proxy = Self::start_with(config, Ports { port, admin, redirect }, &with);
        let proxy = proxy.expect("an address that is shared");
        proxy.wait_for_log("its readiness", |line| line["message"] == "serving");
        proxy
    }

    /// `None` when another program has taken one of the ports in between.
    fn try_start(config: Config) -> Option<Self> {
        Self::start_at(config, Ports::take())
    }

    fn start_at(config: Config, ports: Ports) -> Option<Self> {
        Self::start_with(config, ports, &[])
    }

    fn start_with(config: Config, ports: Ports, arguments: &[&str]) -> Option<Self> {
        let dir = TempDir::new("proxy");
        let path = dir.write("config.yaml", config.render(&ports));
        let mut command = config.command();
        command.args(["run", "--config"]).arg(path).args(arguments).current_dir(dir.path());
        let process = Process::spawn("portcullis", &mut command);
        let mut proxy = Self { process, config, ports, dir };
        let ready = eventually("the proxy to be ready", || {
            if !proxy.process.is_running() {
                return Some(false);
            }
            proxy.admin("/readyz").filter(|response| response.status == 200).map(|_| true)
        });
        if ready {
            proxy.wait_for_steering();
            return Some(proxy);
        }
        let lines = proxy.process.lines().join("\n");
        assert!(
            lines.to_lowercase().contains("in use"),
            "the proxy ended before it was ready; its output:\n{lines}\n\
             its configuration:\n{}",
            proxy.config.render(&proxy.ports)
        );
        None
    }

    /// Waits until its steering is what it will be: it serves before that.
    fn wait_for_steering(&self) {
        eventually("steering to be decided", || {
            let status = self.admin("/status").filter(|response| response.status == 200);
            status.is_none_or(|it| !it.text().contains("are being filled")).then_some(())
        });
    }

    /// Where it listens, on IPv4.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.port))
    }

    /// Where it listens on IPv6, if it was told to.
    pub fn address_v6(&self) -> SocketAddr {
        SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, self.ports.port))
    }

    /// Where `{redirect}` is.
    pub fn redirect_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.redirect))
    }

    /// Where its administrative listener is.
    pub fn admin_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.admin))
    }

    /// curl for a path of `https://HOST.localhost.pomerium.io`.
    pub fn curl(&self, host: &str, path: &str) -> Curl {
        Curl::new(self.address(), &format!("https://{host}.localhost.pomerium.io{path}"))
    }

    /// A TLS connection that asks for `HOST.localhost.pomerium.io`.
    pub fn raw(&self, host: &str) -> Raw {
        Raw::tls(self.address(), &format!("{host}.localhost.pomerium.io"))
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("config.yaml")
    }

    /// Its directory.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// What it was configured with, to change and give to [`Proxy::rewrite`].
    pub fn current(&self) -> Config {
        self.config.clone()
    }

    /// Replaces its configuration file as one step, which it is to notice by itself.
    pub fn rewrite(&mut self, config: Config) {
        self.dir.write("config.yaml", config.render(&self.ports));
        self.config = config;
    }

    /// Replaces its configuration file by this text.
    pub fn rewrite_text(&self, text: &str) {
        self.dir.write("config.yaml", text);
    }

    /// Orders a reload.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, which a signal has ordered.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Asks the administrative listener; `None` when it does not answer.
    pub fn admin(&self, path: &str) -> Option<Response> {
        admin_get(self.admin_address(), path)
    }

    /// Its metrics.
    ///
    /// # Panics
    /// When they are not served.
    pub fn metrics(&self) -> Metrics {
        let response = eventually("an answer to /metrics", || self.admin("/metrics"));
        assert_eq!(response.status, 200, "{}", response.text());
        Metrics::parse(&response.text())
    }

    /// Waits until a metric's sum (see [`Metrics::sum`]) satisfies a condition; gives it.
    pub fn wait_for_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        condition: impl Fn(f64) -> bool,
    ) -> f64 {
        eventually(&format!("{name}{labels:?} to be as wanted"), || {
            Some(self.metrics().sum(name, labels)).filter(|value| condition(*value))
        })
    }

    /// `/status`.
    ///
    /// # Panics
    /// When it is not served or not JSON.
    pub fn status(&self) -> Value {
        // A process that was replaced may take the question and close.
        let text = eventually("an answer to /status", || self.admin("/status")).text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// All its log lines that are JSON.
    pub fn log(&self) -> Vec<Value> {
        self.process.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All it printed.
    pub fn output(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Waits for a log line.
    pub fn wait_for_log(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.process.wait_for(what, 0, |line| serde_json::from_str(line).ok().filter(&is_it))
    }

    /// Waits for the access record of a request with this path.
    pub fn wait_for_access(&self, path: &str) -> Value {
        self.wait_for_log(&format!("the access record of {path}"), |line| {
            line["message"] == "http-request" && line["path"] == path
        })
    }

    /// Waits for the record of a refused connection of which `is_it` holds.
    pub fn wait_for_refusal(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_log("the record of a refused connection", |line| {
            line["message"] == "listener connection failure" && is_it(line)
        })
    }

    /// How many log lines have this message.
    pub fn count_log(&self, message: &str) -> usize {
        self.log().iter().filter(|line| line["message"] == message).count()
    }

    /// Fails if it has ever panicked.
    ///
    /// # Panics
    /// When it has.
    pub fn assert_no_panic(&self) {
        let panicked = self.output().into_iter().find(|line| line.contains("panicked at"));
        assert_eq!(panicked, None);
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.process.id())).map_or(0, Iterator::count)
    }

    /// Memory it holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// The most memory it has held, in KiB.
    pub fn peak_resident_kib(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    fn proc_status(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        text.unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

/// Asks a plain HTTP listener for a path; `None` when it does not answer.
pub fn admin_get(address: SocketAddr, path: &str) -> Option<Response> {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    let mut tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(DEADLINE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).ok()?;
    let mut response = Response::parse(&bytes)?;
    if response.header("transfer-encoding").is_some() {
        response.body = unchunk(&response.body);
    }
    Some(response)
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let digits = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = usize::from_str_radix(digits.trim(), 16).unwrap_or(0);
        let Some(chunk) = bytes.get(end + 2..end + 2 + length).filter(|_| length > 0) else {
            break;
        };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 2 + length + 2..).unwrap_or_default();
    }
    body
}
