//! The measured proxies, one file each: it writes the configuration, starts the proxy, and reloads
//! it as its operator would.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod pingora;
mod portcullis;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    lab::{Lab, free_address},
    pin::{Core, pinned},
    template::fill,
};
use crate::{command::command, mkcert::Pair, process::Process, rig::ZONE};

pub(super) use portcullis::Portcullis;

/// The limit for a start: with 10,000 certificates nginx takes a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// The name of our own build in the tables.
pub(super) const OURS: &str = "portcullis";

/// A proxy that is available on this machine.
pub(super) trait Peer {
    /// The name in `--peers`.
    fn id(&self) -> &str;

    /// The version that it reports, with its TLS library.
    fn version(&self) -> String;

    /// Why it cannot do this setup, if it cannot.
    fn lacks(&self, _setup: &Setup) -> Option<&'static str> {
        None
    }

    /// Writes its configuration and starts it; it may not listen yet on return.
    fn start(&self, place: &Place<'_>) -> Result<Process>;

    /// The file with its process ID, if that is not the process that was started.
    fn pid_file(&self, _place: &Place<'_>) -> Option<PathBuf> {
        None
    }

    /// Reloads it with the configuration of a new setup while it serves.
    fn reload(&self, running: &mut Running<'_>) -> Result<()>;

    /// Replaces the serving process by a new one.
    fn restart(&self, _running: &mut Running<'_>) -> Result<()> {
        bail!("this peer has no restart")
    }

    /// Whether `restart` is implemented.
    fn restarts(&self) -> bool {
        false
    }
}

/// The configuration that a proxy must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) upstream: Upstream,
    /// The number of hosts it serves, `host-0` and on.
    pub(super) hosts: usize,
    /// Whether each host has its own certificate; otherwise all share one.
    pub(super) own_certificates: bool,
    pub(super) workers: usize,
    /// The address of a tunnel's upstream, served under the name `tunnel`. Only our proxy uses it.
    pub(super) tunnel: Option<SocketAddr>,
    /// The mode of steering. Only our proxy uses it.
    pub(super) steering: &'static str,
    /// Settings of sign-in as lines of YAML, and the users of the routes. Only our proxy uses it.
    pub(super) sign_in: Option<(String, OurRoute)>,
    /// The upstream, listed twice since the only one is never ejected. Only our proxy uses it.
    pub(super) guards: Option<Guards>,
    /// The number of reloads. Each reload adds a host, so that a skipped one is noticed.
    pub(super) generation: usize,
}

/// Whether the upstreams have health checks, ejection and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guards {
    /// None of them.
    Off,
    /// All of them.
    On,
}

/// The users of our routes, and what the upstream learns about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OurRoute {
    /// Everybody.
    Public,
    /// Users who have signed in.
    Users,
    /// The same; the upstream gets an assertion about the user.
    UsersAsserted,
}

impl OurRoute {
    /// The lines of a route.
    fn settings(self) -> &'static str {
        match self {
            Self::Public => "allow_public_unauthenticated_access: true",
            Self::Users => "allow_any_authenticated_user: true",
            Self::UsersAsserted => {
                "allow_any_authenticated_user: true\n  pass_identity_headers: true"
            }
        }
    }
}

/// The server of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    /// One nginx, whose connections stay open.
    Origin,
    /// Several `openssl s_server`, which need a handshake for every request.
    Openssl,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            upstream: Upstream::Origin,
            hosts: 1,
            own_certificates: false,
            workers: 1,
            tunnel: None,
            steering: "none",
            sign_in: None,
            guards: None,
            generation: 0,
        }
    }
}

impl Setup {
    /// Every name that is served.
    pub(super) fn names(&self) -> Vec<String> {
        let hosts = (0..self.hosts).map(|host| format!("host-{host}.{ZONE}"));
        let generations = (1..=self.generation).map(|one| format!("generation-{one}.{ZONE}"));
        hosts.chain(generations).collect()
    }
}

/// The directory, addresses and setup of a proxy.
pub(super) struct Place<'a> {
    pub(super) lab: &'a Lab,
    pub(super) generator: &'a Path,
    /// The directory for its files.
    pub(super) directory: PathBuf,
    pub(super) edge: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) setup: Setup,
    /// The certificates in the order of the names; empty if all share one.
    certificates: Vec<Pair>,
}

impl<'a> Place<'a> {
    /// A place with ports that no process uses.
    pub(super) fn new(lab: &'a Lab, generator: &'a Path, id: &str, setup: Setup) -> Result<Self> {
        let directory = lab.directory.join(id);
        fs::create_dir_all(&directory)?;
        let certificates =
            if setup.own_certificates { lab.certificates(&setup.names())? } else { Vec::new() };
        let (edge, admin) = (free_address()?, free_address()?);
        Ok(Self { lab, generator, directory, edge, admin, setup, certificates })
    }

    fn upstreams(&self) -> Vec<SocketAddr> {
        match self.setup.upstream {
            Upstream::Origin => vec![self.lab.origin],
            Upstream::Openssl => self.lab.openssl.clone(),
        }
    }

    /// A block of lines, one for each upstream.
    fn each_upstream(&self, line: impl Fn(usize, SocketAddr) -> String) -> String {
        let lines: Vec<_> =
            self.upstreams().into_iter().enumerate().map(|(n, one)| line(n, one)).collect();
        lines.join("\n")
    }

    /// Fills a template with the values that all peers share, and with these.
    fn fill(&self, template: &str, own: &[(&str, &str)]) -> Result<String> {
        let common = [
            ("directory", self.directory.display().to_string()),
            ("edge", self.edge.to_string()),
            ("edge_address", self.edge.ip().to_string()),
            ("edge_port", self.edge.port().to_string()),
            ("admin", self.admin.to_string()),
            ("admin_port", self.admin.port().to_string()),
            ("workers", self.setup.workers.to_string()),
            ("server_name", ZONE.to_owned()),
            ("ca", self.lab.ca.display().to_string()),
            ("server_cert", self.lab.server.certificate.display().to_string()),
            ("server_key", self.lab.server.key.display().to_string()),
            ("proxy_cert", self.lab.proxy.certificate.display().to_string()),
            ("proxy_key", self.lab.proxy.key.display().to_string()),
        ];
        let mut values = own.to_vec();
        values.extend(common.iter().map(|(name, value)| (*name, value.as_str())));
        fill(template, &values)
    }

    /// Replaces a file in one step, since some peers watch their files.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        let new = self.directory.join(format!("{name}.new"));
        fs::write(&new, text)?;
        fs::rename(&new, &path)?;
        Ok(path)
    }

    /// Starts a proxy's program on the core of the proxies.
    fn spawn(&self, program: &Path, arguments: &[&str]) -> Result<Process> {
        let mut proxy = pinned(Core::Proxy, program);
        proxy.args(arguments);
        let process = Process::start(&proxy, &self.directory.join("output.log"))?;
        Ok(process.with_patience(PATIENCE))
    }

    /// A file with a certificate followed by its key.
    fn joined(&self, name: &str, pair: &Pair) -> Result<PathBuf> {
        let mut text = fs::read_to_string(&pair.certificate)?;
        text.push_str(&fs::read_to_string(&pair.key)?);
        self.write(name, &text)
    }
}

/// A running proxy. It ends, with all its processes, when this is dropped.
pub(super) struct Running<'a> {
    pub(super) place: Place<'a>,
    process: Process,
    /// The processes that `restart` has replaced, which may still have connections.
    former: Vec<Process>,
    /// The first process, if it is not the process that we started.
    adopted: Option<u32>,
    /// The time from its start until it listened.
    pub(super) started_in: Duration,
}

impl<'a> Running<'a> {
    /// Starts the proxy and waits until it listens.
    pub(super) fn start(peer: &dyn Peer, place: Place<'a>) -> Result<Self> {
        let process = peer.start(&place)?;
        let (former, started_in) = (Vec::new(), Duration::ZERO);
        let mut running = Self { place, process, former, adopted: None, started_in };
        let edge = running.place.edge;
        running.process.wait_until("it listens", |_| TcpStream::connect(edge).is_ok())?;
        if let Some(file) = peer.pid_file(&running.place) {
            let id = running.wait_for_id(&file, |_| true)?;
            running.adopt(id);
        }
        // Without the time in which its configuration was written.
        running.started_in = running.process.age();
        Ok(running)
    }

    /// The ID of its first process.
    pub(super) fn id(&self) -> u32 {
        self.adopted.unwrap_or_else(|| self.process.id())
    }

    /// Fails with the end of its log if it has ended.
    pub(super) fn must_be_running(&mut self) -> Result<()> {
        match self.adopted {
            None => self.process.must_be_running(),
            Some(id) if Path::new(&format!("/proc/{id}")).exists() => Ok(()),
            Some(_) => bail!("its first process ended\n{}", self.process.log_tail()),
        }
    }

    /// Sends a signal to its first process, with a name for `kill`.
    fn signal(&self, name: &str) -> Result<()> {
        let id = self.id().to_string();
        crate::command::run(command("kill").args([&format!("-{name}"), "--", &id]))
    }

    /// Waits until the file contains a process ID that `is_it` accepts.
    fn wait_for_id(&mut self, file: &Path, is_it: impl Fn(u32) -> bool) -> Result<u32> {
        let read = || fs::read_to_string(file).ok()?.trim().parse().ok();
        self.process
            .wait_until("its process ID file is written", |_| read().is_some_and(&is_it))?;
        read().with_context(|| format!("no process ID in {}", file.display()))
    }

    /// Continues with a process that another one has started.
    fn adopt(&mut self, id: u32) {
        self.adopted = Some(id);
    }

    /// Waits until the replaced processes have served their connections.
    fn wait_for_end_of_former(&mut self) -> Result<()> {
        let Self { process, former, .. } = self;
        let former = std::cell::RefCell::new(former);
        process.wait_until("the previous process has ended", |_| {
            former.borrow_mut().iter_mut().all(|process| process.must_be_running().is_err())
        })
    }

    /// Continues with a process that we started.
    fn succeed(&mut self, next: Process) {
        self.former.push(std::mem::replace(&mut self.process, next));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for process in self.former.iter_mut().chain([&mut self.process]) {
            end_group(process);
        }
    }
}

/// Sends SIGTERM to a process and its children, and SIGKILL a moment later to those that are left:
/// workers of nginx and HAProxy would outlive a first process that is killed.
fn end_group(process: &mut Process) {
    let group = format!("-{}", process.id());
    let signal = |name: &str| {
        let mut kill = command("kill");
        // It fails if no process is left.
        let _ = kill.args([name, "--", &group]).stderr(Stdio::null()).status();
    };
    signal("-TERM");
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(20));
        if process.must_be_running().is_err() {
            break;
        }
    }
    signal("-KILL");
}

/// Why a proxy is missing, with the command that installs it.
#[derive(Debug, Clone)]
pub(super) struct Absent {
    pub(super) id: String,
    pub(super) reason: String,
}

/// The other proxies, in the order of the tables; `directory` has those without a package.
pub(super) fn others(directory: &Path) -> Vec<Result<Box<dyn Peer>, Absent>> {
    vec![
        nginx::find(),
        haproxy::find(),
        envoy::find(directory),
        caddy::find(directory),
        pingora::find(directory),
    ]
}

/// The output of a program, including standard error.
fn said_by(command: &mut Command) -> String {
    command.output().map_or_else(
        |error| format!("{error}"),
        |output| {
            let (out, err) = (output.stdout, output.stderr);
            format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err))
        },
    )
}

/// The rest of the first line that begins with `start`.
fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_serves_one_host_more() {
        let setup = Setup { hosts: 2, generation: 1, ..Setup::default() };
        assert_eq!(
            setup.names(),
            [format!("host-0.{ZONE}"), format!("host-1.{ZONE}"), format!("generation-1.{ZONE}")]
        );
    }

    /// All files that are written for a setup, by peer.
    fn written(setup: &Setup) -> Vec<(&'static str, String)> {
        let directory = tempfile::tempdir().unwrap();
        let lab = Lab::on_paper(directory.path()).unwrap();
        let place = Place::new(&lab, Path::new("generator"), "peer", setup.clone()).unwrap();
        let file = |path: String| fs::read_to_string(path).unwrap();
        let watched = envoy::listeners(&place).unwrap() + &envoy::routes(&place).unwrap();
        vec![
            ("nginx", nginx::conf(&place).unwrap()),
            ("haproxy", file(haproxy::write(&place).unwrap())),
            ("envoy", envoy::bootstrap(&place).unwrap() + &watched),
            ("caddy", caddy::caddyfile(&place).unwrap()),
            ("pingora", file(pingora::settings(&place).unwrap())),
            (OURS, portcullis::config(&place).unwrap()),
        ]
    }

    #[test]
    fn every_peer_asks_for_certificates_shows_one_and_verifies() {
        for (peer, text) in written(&Setup::default()) {
            let files = ["/ca.pem", "/server", "/proxy"];
            assert!(files.iter().all(|file| text.contains(file)), "{peer}: {text}");
            let asks = [
                "ssl_verify_client on",
                "verify required",
                "require_client_certificate: true",
                "mode require_and_verify",
                "ca /",
                "enforcement: reject_connection",
            ];
            assert!(asks.iter().any(|asks| text.contains(asks)), "{peer}: {text}");
        }
    }

    #[test]
    fn every_peer_is_told_of_every_upstream() {
        let setup = Setup { upstream: Upstream::Openssl, ..Setup::default() };
        for (peer, text) in written(&setup) {
            for port in 2..4 {
                let is_there = ["127.0.0.1:", "address: 127.0.0.1, port_value: "]
                    .iter()
                    .any(|before| text.contains(&format!("{before}{port}")));
                assert!(is_there, "{peer}: {text}");
            }
        }
    }

    #[test]
    fn nginx_sends_many_hosts_through_a_map() {
        let setup = Setup { hosts: 1000, ..Setup::default() };
        let (_, text) = written(&setup).swap_remove(0);
        assert!(text.contains(&format!("host-999.{ZONE} origin;")), "{text}");
        assert_eq!(text.matches("server_name *.").count(), 1);
    }

    #[test]
    fn only_a_guarded_setup_has_keys_that_watch_the_upstream() {
        for (guards, urls) in [(None, 1), (Some(Guards::Off), 2), (Some(Guards::On), 2)] {
            let (_, text) = written(&Setup { guards, ..Setup::default() }).pop().unwrap();
            assert_eq!(text.matches("https://127.0.0.1").count(), urls, "{text}");
            for key in ["health_checks", "outlier_detection", "circuit_breaker_thresholds"] {
                let is_there = text.contains(&format!("\n  {key}: "));
                assert_eq!(is_there, guards == Some(Guards::On), "{text}");
            }
        }
    }

    #[test]
    fn a_group_ends_with_all_its_children() {
        let mut shell = command("sh");
        shell.args(["-c", "trap '' TERM; sleep 600 & echo child $!; wait; wait"]);
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start(&shell, &log).unwrap();
        process.wait_until("it has a child", |log| log.contains("child")).unwrap();
        let said = fs::read_to_string(process.log()).unwrap();
        let child = after(&said, "child").unwrap().to_owned();
        end_group(&mut process);
        process.wait_until("it has ended", |_| false).unwrap_err();
        let is_gone = |_: &str| {
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        let mut patience = Process::start(command("sleep").arg("600"), &log).unwrap();
        patience.wait_until("the child is gone", is_gone).unwrap();
    }
}
