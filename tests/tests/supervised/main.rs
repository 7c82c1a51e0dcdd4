//! The unit in a booted Debian 12 and 13: what is lost when the process ends, and when another takes
//! its place. Run by `cargo xtask supervised`, which makes the containers' trees; CI has none.
#![expect(clippy::print_stdout, reason = "the result is a table for people")]

mod load;
mod package;

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Instant};

use load::{Counted, HOST, in_a_network, under_load};
use portcullis_tests::{
    Container, Raw, pki,
    process::run,
    proxy::binary,
    tempdir::{TempDir, target_dir},
    tools::need,
    wait::until,
};
use rustix::thread::{CapabilitySet, capabilities};

const UNIT: &str = "portcullis.service";
const PROGRAM: &str = "/usr/bin/portcullis";
const CONFIG: &str = "/etc/portcullis/config.yaml";

/// Twice their rings fit into the memory that Debian lets a user lock.
const FEW_WORKERS: usize = 16;

/// The proxy as a service in a container.
struct Service {
    container: Container,
    release: &'static str,
    mode: &'static str,
    workers: usize,
    /// The program, without what debuggers read.
    program: PathBuf,
    _dir: TempDir,
}

impl Service {
    /// Installs the unit and starts it.
    fn start(release: &'static str, mode: &'static str, workers: usize) -> Service {
        let dir = TempDir::new("supervised");
        let program = dir.path().join("portcullis");
        let stripped = run(Command::new(need("strip")).arg("-o").arg(&program).arg(binary()), b"");
        assert_eq!(stripped.code, Some(0), "{stripped:?}");
        let container = Container::boot(release);
        container.install(&program, PROGRAM);
        let unit = target_dir().join("../packaging/portcullis.service");
        container
            .write("/etc/systemd/system/portcullis.service", fs::read(unit).expect("the unit"));
        container.ok(&["useradd", "--system", "--shell", "/usr/sbin/nologin", "portcullis"]);
        let pair = pki().server();
        container.write("/etc/portcullis/cert.pem", fs::read(&pair.cert).expect("a certificate"));
        container.write("/etc/portcullis/key.pem", fs::read(&pair.key).expect("a key"));
        let service = Service { container, release, mode, workers, program, _dir: dir };
        service.configure("");
        service.container.ok(&["chown", "-R", "root:portcullis", "/etc/portcullis"]);
        service.container.ok(&["chmod", "640", "/etc/portcullis/key.pem"]);
        if workers > FEW_WORKERS {
            lift_limits_that_this_machine_keeps(&service.container);
        }
        service.container.ok(&["systemctl", "daemon-reload"]);
        let started = service.container.run(&["systemctl", "start", UNIT]);
        assert_eq!(started.code, Some(0), "{}", service.container.log(UNIT));
        service
    }

    fn configure(&self, more: &str) {
        let Service { mode, workers, .. } = self;
        let text = format!(
            "address: \":443\"\n\
             certificates: [{{cert: /etc/portcullis/cert.pem, key: /etc/portcullis/key.pem}}]\n\
             runtime_flags: {{config_hot_reload: false}}\n\
             portcullis:\n  workers: {workers}\n  steering: {{mode: {mode}}}\n\
             routes:\n  - from: https://{HOST}\n    redirect: {{path_redirect: /there}}\n    \
             allow_public_unauthenticated_access: true\n{more}"
        );
        self.container.write(CONFIG, text);
    }

    fn main_process(&self) -> String {
        self.container.property(UNIT, "MainPID")
    }

    /// Waits until another process than this one is the main process and serves.
    fn wait_for_another_than(&self, process: &str) {
        until("another process to serve", || {
            let main = self.main_process();
            let status = self.container.property(UNIT, "StatusText");
            main != process && main != "0" && status.starts_with("serving")
        });
    }

    fn upgrade(&self) -> (Option<i32>, String) {
        let done = self.container.run(&["portcullis", "upgrade"]);
        (done.code, done.stdout + &done.stderr)
    }
}

/// Prints a line of the table, and checks that nothing was lost that should not be.
fn report(service: &Service, act: &str, counted: &Counted, may_die: bool) {
    let Service { release, mode, workers, .. } = service;
    counted.print(&format!("{release} | {mode} | {workers} | {act}"));
    counted.verify(act, may_die, || service.container.log(UNIT));
}

/// Restart, upgrade and SIGKILL under load, each twice.
fn nothing_is_lost(service: &Service) {
    for _ in 0..2 {
        let restart = || drop(service.container.ok(&["systemctl", "restart", UNIT]));
        report(service, "restart", &under_load(restart), false);
        let upgrade = || {
            let before = service.main_process();
            let (code, output) = service.upgrade();
            assert_eq!(code, Some(0), "{output}\n{}", service.container.log(UNIT));
            service.wait_for_another_than(&before);
        };
        report(service, "upgrade", &under_load(upgrade), false);
        let process = service.main_process();
        let mut ended = Instant::now();
        let mut counted = under_load(|| {
            service.container.ok(&["sh", "-c", &format!("kill -KILL {process}")]);
            until("the process to end", || !service.container.runs(&process));
            ended = Instant::now();
            service.wait_for_another_than(&process);
        });
        counted.forgive_before(ended);
        report(service, "kill -9", &counted, true);
    }
}

/// A reload of a good and of a bad configuration.
fn a_reload_says_the_verdict(service: &Service) {
    service.container.ok(&["systemctl", "reload", UNIT]);
    service.configure("bogus: [");
    let bad = service.container.run(&["systemctl", "reload", UNIT]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    let log = service.container.log(UNIT);
    assert!(log.contains("not reloaded: /etc/portcullis/config.yaml:"), "{log}");
    let status = service.container.property(UNIT, "StatusText");
    assert!(status.contains("the last reload was rejected"), "{status}");
    assert_eq!(service.container.property(UNIT, "ActiveState"), "active");
    service.configure("");
    println!("| {} | {} | reload, good and bad | exit 0, exit 1 |", service.release, service.mode);
}

/// Successors that refuse the configuration, crash and hang leave the process serving, under load.
fn a_failed_upgrade_leaves_the_process_serving(service: &Service) {
    let scripts = [
        ("refuses the configuration", None, "config.yaml:"),
        ("crashes", Some("#!/bin/sh\nkill -SEGV $$\n"), "(signal: 11"),
        ("exits", Some("#!/bin/sh\nexit 3\n"), "exit status: 3"),
        ("hangs", Some("#!/bin/sh\nexec sleep 1000\n"), "was not ready within 60 seconds"),
    ];
    for (successor, script, reason) in scripts {
        let process = service.main_process();
        // Not the program in use: that is a file which no package manager writes into.
        let stand_in = service.program.with_file_name("stand-in");
        if let Some(script) = script {
            fs::write(&stand_in, script).expect("write a script");
            run(Command::new("chmod").arg("755").arg(&stand_in), b"");
            service.container.install(&stand_in, PROGRAM);
        } else {
            service.configure("bogus: [");
        }
        let order = service.program.with_file_name("order");
        fs::copy(&service.program, &order).expect("copy a program");
        service.container.install(&order, "/usr/local/bin/order");
        let counted = under_load(|| {
            let done = service.container.run(&["/usr/local/bin/order", "upgrade"]);
            assert_eq!(done.code, Some(1), "{successor}: {done:?}");
            assert!(done.stderr.contains(reason), "{successor}: {done:?}");
        });
        assert_eq!(service.main_process(), process, "{successor}");
        report(service, &format!("upgrade to one that {successor}"), &counted, false);
        service.configure("");
        service.container.install(&service.program, PROGRAM);
    }
}

/// A process that stands still is killed by the service manager's watchdog; connections that arrive from
/// then on are served by the next one.
fn a_hanging_process_is_restarted(service: &Service) {
    service.container.write(
        "/etc/systemd/system/portcullis.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=3s\n",
    );
    service.container.ok(&["systemctl", "daemon-reload"]);
    service.container.ok(&["systemctl", "restart", UNIT]);
    let process = service.main_process();
    let mut stopped = Instant::now();
    let mut counted = under_load(|| {
        service.container.ok(&["sh", "-c", &format!("kill -STOP {process}")]);
        stopped = Instant::now();
        service.wait_for_another_than(&process);
    });
    counted.forgive_before(stopped);
    report(service, "a hang (SIGSTOP)", &counted, true);
}

/// The process that started the new one still drains, and is its parent.
fn a_successor_that_crashes_at_once_is_restarted(service: &Service) {
    let mut kept = Raw::tls(SocketAddr::from(([127, 0, 0, 1], 443)), HOST);
    kept.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"));
    let (code, output) = service.upgrade();
    assert_eq!(code, Some(0), "{output}");
    let process = service.main_process();
    let mut ended = Instant::now();
    let mut counted = under_load(|| {
        service.container.ok(&["sh", "-c", &format!("kill -KILL {process}")]);
        until("the process to end", || !service.container.runs(&process));
        ended = Instant::now();
        service.wait_for_another_than(&process);
    });
    counted.forgive_before(ended);
    report(service, "kill -9 right after an upgrade", &counted, true);
    drop(kept);
}

/// All acts in one mode.
fn supervised(release: &'static str, mode: &'static str, workers: usize) {
    in_a_network(|| {
        let service = Service::start(release, mode, workers);
        // Kernel steering begins with the first round of the SYN catchers.
        let steering = format!("{workers} workers, steering {mode}");
        until(&steering, || service.container.property(UNIT, "StatusText").contains(&steering));
        nothing_is_lost(&service);
    });
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn bookworm_handoff() {
    supervised("bookworm", "handoff", 4);
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn bookworm_kernel() {
    supervised("bookworm", "kernel", 4);
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn trixie_handoff() {
    supervised("trixie", "handoff", 4);
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn trixie_kernel() {
    supervised("trixie", "kernel", 4);
}

/// With locked memory as the unit sets it, the rings of 64 workers exist twice during an upgrade.
#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn bookworm_kernel_with_64_workers() {
    supervised("bookworm", "kernel", 64);
}

/// Root of a machine that is a container itself may not raise limits: there, locked memory of the
/// service is not counted, as if the limit of the unit applied.
fn lift_limits_that_this_machine_keeps(container: &Container) {
    if !capabilities(None).expect("capabilities").effective.contains(CapabilitySet::SYS_RESOURCE) {
        println!("this machine may not raise limits: the service gets CAP_IPC_LOCK");
        container.write(
            "/etc/systemd/system/portcullis.service.d/limits.conf",
            "[Service]\nAmbientCapabilities=CAP_IPC_LOCK\nCapabilityBoundingSet=CAP_IPC_LOCK\n",
        );
    }
}

/// What fails, in hand-off mode.
fn failures(release: &'static str) {
    in_a_network(|| {
        let service = Service::start(release, "handoff", 2);
        a_successor_that_crashes_at_once_is_restarted(&service);
        a_failed_upgrade_leaves_the_process_serving(&service);
        a_reload_says_the_verdict(&service);
        a_hanging_process_is_restarted(&service);
    });
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn bookworm_failures() {
    failures("bookworm");
}

#[test]
#[ignore = "needs the trees of `cargo xtask supervised`"]
fn trixie_failures() {
    failures("trixie");
}
