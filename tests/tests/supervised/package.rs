//! The Debian package, installed by apt: first start, upgrades under load, the way back, removal.
//! `cargo xtask supervised --package FILE` names the package.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use portcullis_tests::{
    Container, pki,
    process::{Finished, run},
    tempdir::TempDir,
    tools::need,
    wait::until,
};

use crate::{
    CONFIG, UNIT,
    load::{HOST, in_a_network, under_load},
};

/// Where the configuration of a first install listens.
const FIRST: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const FORMER: &str = "/root/former.deb";
const NEXT: &str = "/root/next.deb";
const NEXT_VERSION: &str = "999";
const WORKERS: usize = 4;
const STATE: &str = "/var/lib/portcullis";

/// A container that has two versions of the package as files, and neither of them installed.
struct Machine {
    container: Container,
    release: &'static str,
}

impl Machine {
    fn boot(release: &'static str) -> Machine {
        let container = Container::boot(release);
        let dir = TempDir::new("package");
        let package = std::env::var_os("PORTCULLIS_PACKAGE").map(PathBuf::from);
        let package = package.expect("run: cargo xtask supervised --package FILE");
        container.install(&package, FORMER);
        container.install(&next_version(&package, dir.path()), NEXT);
        Machine { container, release }
    }

    /// Runs apt as an administrator does; the container has no network, so recommended packages stay
    /// away.
    fn apt(&self, arguments: &[&str]) -> Finished {
        let apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt", "--yes"];
        let more = ["--no-install-recommends", "--allow-downgrades"];
        let done = self.container.run(&[&apt[..], &more, arguments].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {}{}", done.stdout, done.stderr);
        done
    }

    fn installed_version(&self) -> String {
        self.container.ok(&["dpkg-query", "--show", "--showformat=${Version}", "portcullis"])
    }

    fn main_process(&self) -> String {
        self.container.property(UNIT, "MainPID")
    }

    fn exists(&self, path: &str) -> bool {
        self.container.run(&["test", "-e", path]).code == Some(0)
    }

    /// Mode, owner and group: `750 root:portcullis`.
    fn access(&self, path: &str) -> String {
        self.container.ok(&["stat", "--dereference", "--format=%a %U:%G", path]).trim().to_owned()
    }

    fn runs(&self) -> bool {
        self.container.property(UNIT, "ActiveState") == "active"
    }

    /// The first configuration answers, and nobody else reads it.
    fn verify_first_install(&self) {
        assert!(self.runs(), "{}", self.container.log(UNIT));
        assert_eq!(self.container.ok(&["systemctl", "is-enabled", UNIT]).trim(), "enabled");
        let answer = first_answer();
        assert!(answer.contains("Portcullis works"), "{answer}");
        assert_eq!(self.access("/etc/portcullis"), "750 root:portcullis");
        assert_eq!(self.access(CONFIG), "640 root:portcullis");
        assert_eq!(self.access(STATE), "700 portcullis:portcullis");
    }

    fn configure(&self, mode: &str, more: &str) {
        self.container.write(
            CONFIG,
            format!(
                "address: \":443\"\n\
                 certificates: [{{cert: /etc/portcullis/cert.pem, key: /etc/portcullis/key.pem}}]\n\
                 portcullis:\n  workers: {WORKERS}\n  steering: {{mode: {mode}}}\n\
                 routes:\n  - from: https://{HOST}\n    redirect: {{path_redirect: /there}}\n    \
                 allow_public_unauthenticated_access: true\n{more}"
            ),
        );
    }

    /// Replaces the first configuration by one for the clients.
    fn serve_clients(&self, mode: &str) {
        let pair = pki().server();
        for (path, content) in
            [("/etc/portcullis/cert.pem", &pair.cert), ("/etc/portcullis/key.pem", &pair.key)]
        {
            self.container.write(path, fs::read(content).expect("a file of the test's PKI"));
            self.container.ok(&["chown", "root:portcullis", path]);
            self.container.ok(&["chmod", "640", path]);
        }
        self.configure(mode, "");
        self.container.ok(&["systemctl", "restart", UNIT]);
        let steering = format!("steering {mode} (");
        until(&steering, || {
            self.container.run(&["portcullis", "status"]).stdout.contains(&steering)
        });
    }

    /// Installs a version under load; nothing may be lost.
    fn replace(&self, mode: &str, act: &str, package: &str) {
        let process = self.main_process();
        let counted = under_load(|| {
            self.apt(&["install", package]);
        });
        counted.print(&format!("{} | {mode} | {WORKERS} | {act}", self.release));
        counted.verify(act, false, || self.container.log(UNIT));
        until("the new process to be the main one", || {
            ![process.as_str(), "0"].contains(&self.main_process().as_str())
        });
        assert_eq!(self.access(CONFIG), "640 root:portcullis");
        let config = fs::read_to_string(self.container.path(CONFIG)).expect("the configuration");
        assert!(config.contains(HOST), "{config}");
    }
}

/// The same files as another version.
fn next_version(package: &Path, directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    let deb = |arguments: &[&Path]| {
        let done = run(Command::new(need("dpkg-deb")).args(arguments), b"");
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    deb(&["--raw-extract".as_ref(), package, &tree]);
    let control = tree.join("DEBIAN/control");
    let fields = fs::read_to_string(&control).expect("fields");
    let others = fields.lines().filter(|line| !line.starts_with("Version:"));
    let others: Vec<_> = others.collect();
    let version = format!("{}\nVersion: {NEXT_VERSION}\n", others.join("\n"));
    fs::write(&control, version).expect("write fields");
    let next = directory.join("next.deb");
    deb(&["-Znone".as_ref(), "--root-owner-group".as_ref(), "--build".as_ref(), &tree, &next]);
    next
}

/// What the configuration of a first install answers.
fn first_answer() -> String {
    let mut stream = TcpStream::connect(SocketAddr::from(FIRST)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n")
        .expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// First start, upgrade, failed upgrade, the way back, removal, purge, and once more.
fn a_life(release: &'static str) {
    in_a_network(|| {
        let machine = Machine::boot(release);
        machine.apt(&["install", FORMER]);
        machine.verify_first_install();
        machine.container.ok(&["portcullis", "check", "--user", "portcullis"]);
        let former = machine.installed_version();
        for mode in ["kernel", "handoff"] {
            machine.serve_clients(mode);
            machine.replace(mode, "apt install, a later version", NEXT);
            assert_eq!(machine.installed_version(), NEXT_VERSION);
            machine.replace(mode, "apt install, the former version", FORMER);
            assert_eq!(machine.installed_version(), former);
        }
        an_invalid_configuration_keeps_the_process(&machine);
        a_service_that_is_disabled_stays_stopped(&machine);
        a_removal_keeps_what_a_purge_deletes(&machine);
        machine.apt(&["install", NEXT]);
        machine.verify_first_install();
    });
}

fn an_invalid_configuration_keeps_the_process(machine: &Machine) {
    let process = machine.main_process();
    machine.configure("handoff", "bogus: [");
    let mut told = String::new();
    let counted = under_load(|| {
        let done = machine.apt(&["install", NEXT]);
        told = done.stdout + &done.stderr;
    });
    let act = "apt install, an invalid configuration";
    counted.print(&format!("{} | handoff | {WORKERS} | {act}", machine.release));
    counted.verify(act, false, || machine.container.log(UNIT));
    assert!(told.contains("/etc/portcullis/config.yaml:"), "{told}");
    assert!(told.contains("the former version serves on"), "{told}");
    assert_eq!(machine.installed_version(), NEXT_VERSION);
    assert_eq!(machine.main_process(), process);
    machine.configure("handoff", "");
    machine.container.ok(&["portcullis", "upgrade"]);
}

fn a_service_that_is_disabled_stays_stopped(machine: &Machine) {
    machine.container.ok(&["systemctl", "disable", "--now", UNIT]);
    machine.apt(&["install", FORMER]);
    assert!(!machine.runs());
    machine.container.ok(&["systemctl", "enable", "--now", UNIT]);
}

fn a_removal_keeps_what_a_purge_deletes(machine: &Machine) {
    let state = format!("{STATE}/sessions");
    machine.container.write(&state, "sessions");
    machine.apt(&["remove", "portcullis"]);
    assert!(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 443))).is_err());
    for (path, there) in [("/usr/bin/portcullis", false), (CONFIG, true), (&state, true)] {
        assert_eq!(machine.exists(path), there, "{path} after remove");
    }
    machine.apt(&["install", FORMER]);
    assert!(machine.runs(), "{}", machine.container.log(UNIT));
    machine.apt(&["purge", "portcullis"]);
    let wanted = "/etc/systemd/system/multi-user.target.wants/portcullis.service";
    for (path, there) in
        [(CONFIG, false), (STATE, false), (wanted, false), ("/etc/portcullis/key.pem", true)]
    {
        assert_eq!(machine.exists(path), there, "{path} after purge");
    }
    assert_eq!(machine.container.run(&["test", "-L", wanted]).code, Some(1));
}

/// What a machine may have before the first install.
fn former_states(release: &'static str) {
    in_a_network(|| {
        let machine = Machine::boot(release);
        let add = ["useradd", "--system", "--shell", "/bin/bash", "--gid", "daemon", "portcullis"];
        machine.container.ok(&add);
        machine.container.ok(&["mkdir", "/srv/portcullis"]);
        machine.container.ok(&["ln", "-s", "/srv/portcullis", "/etc/portcullis"]);
        machine.apt(&["install", FORMER]);
        machine.verify_first_install();
        let account = machine.container.ok(&["getent", "passwd", "portcullis"]);
        assert!(account.trim().ends_with(":/bin/bash"), "{account}");
        assert!(machine.exists("/srv/portcullis/config.yaml"));
        machine.apt(&["install", NEXT]);
        assert_eq!(
            machine.container.ok(&["readlink", "/etc/portcullis"]).trim(),
            "/srv/portcullis"
        );
        machine.verify_first_install();
        machine.apt(&["purge", "portcullis"]);
        assert!(!machine.exists(CONFIG));
        an_address_in_use_fails_the_service_alone(&machine);
    });
}

/// The package is installed; the service starts by itself once the address is free.
fn an_address_in_use_fails_the_service_alone(machine: &Machine) {
    let other = TcpListener::bind(SocketAddr::from(FIRST)).expect("the address is free");
    let done = machine.apt(&["install", FORMER]);
    let told = done.stdout + &done.stderr;
    assert!(told.contains("the service did not start"), "{told}");
    let log = machine.container.log(UNIT);
    assert!(log.contains("127.0.0.1:8080"), "{log}");
    drop(other);
    until("the service to start", || machine.runs());
    machine.verify_first_install();
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn package_bookworm() {
    a_life("bookworm");
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn package_trixie() {
    a_life("trixie");
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn package_bookworm_former_states() {
    former_states("bookworm");
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn package_trixie_former_states() {
    former_states("trixie");
}
