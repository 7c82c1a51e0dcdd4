//! What the process tells its service manager, and what that keeps for the next process: the protocols
//! of sd_notify(3) and sd_listen_fds(3), with a socket of the test in the place of systemd's.

use std::{
    net::TcpStream,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::Duration,
};

use portcullis_tests::{
    NotifySocket, Proxy, Raw,
    process::Finished,
    proxy::{Config, portcullis},
    tempdir::TempDir,
    wait::until,
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::Signal,
};

const HOST: &str = "app.localhost.pomerium.io";
const WORKERS: usize = 2;

fn config(manager: &NotifySocket) -> Config {
    Proxy::config()
        .own("workers", &WORKERS.to_string())
        .own("steering", "{mode: handoff}")
        .global("runtime_flags: {config_hot_reload: false}")
        .route(&format!("from: https://{HOST}\nredirect: {{path_redirect: /there}}"))
        .env("NOTIFY_SOCKET", &manager.name())
        .env("FDSTORE", "64")
}

/// The order, to the process whose runtime directory this is.
fn order(order: &str, directory: &str) -> Finished {
    let env = [("RUNTIME_DIRECTORY".to_owned(), directory.to_owned())];
    portcullis(&env, &[order], None)
}

/// Starts a process as systemd does, with what it kept: from descriptor 3 on.
fn start_with_kept(proxy: &Proxy, manager: &NotifySocket) -> (Proxy, Vec<(String, OwnedFd)>) {
    let kept = manager.take();
    let (mut script, mut names) = (String::from("exec"), Vec::new());
    for (at, (name, descriptor)) in kept.iter().enumerate() {
        // The shell inherits it. No other test of this program starts processes meanwhile: each
        // runs in a process of its own, or the descriptor is one more handle for a moment.
        fcntl_setfd(descriptor.as_fd(), FdFlags::empty()).expect("a descriptor that is inherited");
        script += &format!(" {}<&{}", 3 + at, descriptor.as_raw_fd());
        names.push(name.as_str());
    }
    let (count, names) = (kept.len(), names.join(":"));
    script += &format!("; LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$@\"");
    let config = config(manager).started_by(&["bash", "-c", &script, "bash"]);
    (proxy.start_beside(config), kept)
}

#[test]
fn the_service_manager_hears_of_start_reload_and_drain() {
    let (manager, dir) = (NotifySocket::start(), TempDir::new("manager"));
    let directory = dir.path().join("run").display().to_string();
    let mut proxy = config(&manager).env("RUNTIME_DIRECTORY", &directory).start();
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=serving: generation 1, 1 routes, 2 workers"), "{ready}");
    let reloaded = order("reload", &directory);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");
    let mut kept = proxy.raw("app");
    kept.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"));
    proxy.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    manager.wait_for("EXTEND_TIMEOUT_USEC=20000000");
    kept.send("\r\n");
    assert_eq!(kept.to_end().response().status, 301);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_reload_fails_with_the_mistakes_of_the_configuration() {
    let (manager, dir) = (NotifySocket::start(), TempDir::new("manager"));
    let directory = dir.path().join("run").display().to_string();
    let proxy = config(&manager).env("RUNTIME_DIRECTORY", &directory).start();
    manager.wait_for("READY=1");
    std::fs::write(proxy.config_path(), "bogus: [").expect("write the configuration");
    let done = order("reload", &directory);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("config.yaml:1"), "{done:?}");
    manager.wait_for("RELOADING=1");
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("the last reload was rejected"), "{ready}");
    let done = order("upgrade", &directory);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("config.yaml:1"), "{done:?}");
    assert_eq!(proxy.status()["config"]["generation"], 1);
}

#[test]
fn the_watchdog_hears_that_the_workers_work() {
    let manager = NotifySocket::start();
    let _proxy = config(&manager).env("WATCHDOG_USEC", "3000000").start();
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
}

/// Connects, and leaves the client's first bytes in the kernel.
fn wait_in_the_queue(proxy: &Proxy) -> Raw {
    Raw::over(TcpStream::connect(proxy.address()).expect("the kernel to accept"))
}

#[test]
fn connections_that_arrive_after_a_crash_wait_for_the_next_process() {
    let manager = NotifySocket::start();
    let mut proxy = config(&manager).start();
    manager.wait_for("READY=1");
    assert_eq!(manager.kept().len(), WORKERS);
    proxy.signal(Signal::KILL);
    proxy.wait();
    are_served_by_the_next_process(&proxy, &manager);
}

/// Connections that arrive while there is no process.
fn are_served_by_the_next_process(proxy: &Proxy, manager: &NotifySocket) {
    let waiting: Vec<Raw> = (0..8).map(|_| wait_in_the_queue(proxy)).collect();
    let (next, kept) = start_with_kept(proxy, manager);
    drop(kept);
    let adopted = next.wait_for_log("the kept sockets", |line| line["sockets"] == WORKERS);
    assert_eq!(adopted["waiting"], 8);
    for raw in waiting {
        let mut raw = raw.start_tls(HOST).expect("a handshake");
        raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"));
        assert_eq!(raw.to_end().response().status, 301);
    }
    until("the listeners to be kept again", || manager.kept().len() == WORKERS);
}

#[test]
fn connections_that_arrive_after_a_drain_wait_for_the_next_process() {
    let manager = NotifySocket::start();
    let mut proxy = config(&manager).start();
    manager.wait_for("READY=1");
    let mut busy = proxy.raw("app");
    busy.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"));
    proxy.signal(Signal::TERM);
    proxy.wait_for_log("its drain", |line| line["message"] == "draining");
    busy.send("\r\n");
    assert_eq!(busy.to_end().response().status, 301);
    assert_eq!(proxy.wait().code(), Some(0));
    are_served_by_the_next_process(&proxy, &manager);
}

#[test]
fn an_upgrade_makes_the_new_process_the_main_one() {
    let (manager, dir) = (NotifySocket::start(), TempDir::new("manager"));
    let directory = dir.path().join("run").display().to_string();
    let proxy = config(&manager).env("RUNTIME_DIRECTORY", &directory).start();
    manager.wait_for("READY=1");
    let before = manager.kept();
    let done = order("upgrade", &directory);
    assert_eq!(done.code, Some(0), "{done:?}");
    let process = done.stdout.split_whitespace().nth(1).expect("a process").to_owned();
    let _end = EndOf(process.clone());
    manager.wait_for(&format!("MAINPID={process}"));
    manager.wait_for("FDSTORE=1");
    let after = manager.kept();
    assert_eq!(after.len(), WORKERS, "only those of the new process are kept");
    assert!(after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    proxy.wait_for_log("its end", |line| line["message"] == "drained: all connections ended");
    let mut raw = Raw::tls(proxy.address(), HOST);
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"));
    assert_eq!(raw.to_end().response().status, 301);
}

/// Kills a process that is no child of the test.
struct EndOf(String);

impl Drop for EndOf {
    fn drop(&mut self) {
        let id = self.0.parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
    }
}

#[test]
fn without_a_service_manager_nothing_is_kept_and_a_stop_refuses_connections() {
    let manager = NotifySocket::start();
    // FDSTORE is missing: it keeps no descriptors.
    let mut proxy = config(&manager).env("FDSTORE", "").start();
    manager.wait_for("READY=1");
    assert_eq!(manager.kept(), Vec::<String>::new());
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    let refused = TcpStream::connect_timeout(&proxy.address(), Duration::from_secs(5));
    assert!(refused.is_err());
}
