//! What a process keeps from other processes of its machine: its memory, and its orders.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    process::Command,
};

use portcullis_tests::{
    Backend, Proxy, Raw,
    process::{Finished, run},
    proxy::{Config, binary},
    tempdir::TempDir,
    tools::{AS_NOBODY, need, require_root},
};
use rustix::process::Signal;

const NOBODY: u32 = 65_534;

fn config(backend: &Backend) -> Config {
    Proxy::config().forward("app", &backend.url(), "")
}

fn pid(proxy: &Proxy) -> u64 {
    proxy.status()["pid"].as_u64().expect("a process ID")
}

#[test]
fn no_core_dump_is_left_unless_the_configuration_allows_it() {
    let backend = Backend::text("x");
    let with_cores = ["prlimit", "--core=unlimited:unlimited"];
    let limit = |proxy: &Proxy| {
        let limits = fs::read_to_string(format!("/proc/{}/limits", pid(proxy))).expect("limits");
        let line = limits.lines().find(|line| line.starts_with("Max core file size"));
        line.expect("a limit").split_whitespace().nth(4).expect("a soft limit").to_owned()
    };
    let mut proxy = config(&backend).started_by(&with_cores).start();
    assert_eq!(limit(&proxy), "0");
    proxy.signal(Signal::ABORT);
    let status = proxy.wait();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let proxy = config(&backend).started_by(&with_cores).own("core_dumps", "true").start();
    assert_eq!(limit(&proxy), "unlimited");
}

#[test]
fn processes_of_the_same_user_cannot_look_into_it() {
    if !require_root("running the proxy as another user needs root") {
        return;
    }
    let backend = Backend::text("x");
    // The kernel gives these files to root if the process is not dumpable.
    for (core_dumps, owner) in [("false", 0), ("true", NOBODY)] {
        let config = config(&backend).own("core_dumps", core_dumps).started_by(&AS_NOBODY);
        let proxy = config.start();
        let files = fs::metadata(format!("/proc/{}/fd", pid(&proxy))).expect("its descriptors");
        assert_eq!(files.uid(), owner, "core_dumps: {core_dumps}");
        assert_eq!(proxy.curl("app", "/").ok().text(), "x");
    }
}

/// The arguments of `portcullis` for two orders.
const DRAIN: &[&str] = &["drain", "--worker", "1"];
const END_SESSIONS: &[&str] = &["sessions", "end", "--user", "alice"];

/// `portcullis` with an order, as this user's command.
fn order(order: &[&str], by: &[&str], proxy: &Proxy) -> Finished {
    let address = proxy.admin_address().to_string();
    let arguments = [order, &["--address", &address]].concat();
    let mut command = match by.split_first() {
        None => Command::new(binary()),
        Some((program, words)) => {
            let mut command = Command::new(need(program));
            command.args(words).arg(binary());
            command
        }
    };
    run(command.args(arguments), b"")
}

fn is_drained(proxy: &Proxy) -> bool {
    proxy.status()["workers"][1]["drained"].as_bool().expect("a truth value")
}

fn with_runtime_directory(backend: &Backend, dir: &TempDir) -> Config {
    let directory = dir.path().join("run").display().to_string();
    config(backend).own("steering", "{mode: handoff}").env("RUNTIME_DIRECTORY", &directory)
}

#[test]
fn orders_come_over_the_socket_and_not_over_the_admin_address() {
    let (backend, dir) = (Backend::text("x"), TempDir::new("orders"));
    let proxy = with_runtime_directory(&backend, &dir).start();
    for line in ["PUT /workers/1/drain", "DELETE /workers/1/drain", "POST /sessions/end"] {
        let mut raw = Raw::tcp(proxy.admin_address());
        raw.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(raw.to_end().response().status, 405, "{line}");
    }
    assert!(!is_drained(&proxy));
    let done = order(DRAIN, &[], &proxy);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(is_drained(&proxy));
    proxy.wait_for_log("the order", |line| line["worker"] == 1 && line["drained"] == true);
}

#[test]
fn another_user_gives_no_orders() {
    if !require_root("an order of another user needs root") {
        return;
    }
    let (backend, dir) = (Backend::text("x"), TempDir::new("orders"));
    let proxy = with_runtime_directory(&backend, &dir).start();
    for arguments in [DRAIN, END_SESSIONS] {
        let done = order(arguments, &AS_NOBODY, &proxy);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("only root and the same user may give orders"), "{done:?}");
    }
    assert!(!is_drained(&proxy));
    proxy.wait_for_log("the refusal", |line| line["user"] == NOBODY && line["level"] == "warn");
}

#[test]
fn without_a_socket_an_order_is_an_error_that_says_why() {
    let (backend, dir) = (Backend::text("x"), TempDir::new("orders"));
    let file = dir.write("file", "").display().to_string();
    let proxy = config(&backend).env("RUNTIME_DIRECTORY", &file).start();
    for arguments in [DRAIN, END_SESSIONS] {
        let done = order(arguments, &[], &proxy);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("RUNTIME_DIRECTORY"), "{done:?}");
    }
}
