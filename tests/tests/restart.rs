//! Processes that replace each other at the same addresses, without a gap.

use std::thread;

use portcullis_tests::{
    ConnectingClients, Proxy, StopAtEnd,
    netns::private,
    proxy::{Config, portcullis},
    tempdir::TempDir,
    tools::require_root,
    wait::until,
};
use rustix::process::Signal;
use serde_json::Value;

const HOST: &str = "app.localhost.pomerium.io";

fn config(mode: &str) -> Config {
    Proxy::config()
        .addresses(&["127.0.0.1:{port}", "[::1]:{port}"])
        .own("workers", "2")
        .own("drain_timeout", "30s")
        .own("steering", &format!("{{mode: {mode}}}"))
        .route(&format!("from: https://{HOST}\nredirect: {{path_redirect: /there}}"))
}

/// Process after process under load, each in the next mode, with the sysctl that the documentation
/// advises.
fn nothing_is_lost(modes: &[&str]) {
    private(|network| {
        network.sysctl("ipv4/tcp_migrate_req", "1");
        network.ip("link set lo mtu 1500"); // a SYN cookie does not keep loopback's segment size
        let mut modes = modes.iter();
        let mut proxy = config(modes.next().expect("a mode")).start();
        let addresses =
            [proxy.address(), ([0, 0, 0, 0, 0, 0, 0, 1], proxy.address().port()).into()];
        let clients = ConnectingClients::of(HOST);
        let failures: Vec<String> = thread::scope(|scope| {
            let _stop = StopAtEnd(&clients);
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| clients.run(&addresses))).collect();
            for mode in modes {
                clients.wait_for(100);
                let next = proxy.replace(config(mode));
                // Until it closes the administrative address, the former process may answer there.
                until("the next process to say its mode", || {
                    let answer = next.admin("/status").filter(|answer| answer.status == 200);
                    let status = answer.map(|answer| answer.text());
                    let status = status.and_then(|it| serde_json::from_str::<Value>(&it).ok());
                    status.is_some_and(|status| status["steering"]["mode"] == *mode)
                });
                assert_eq!(proxy.wait().code(), Some(0));
                proxy.assert_no_panic();
                proxy = next;
                clients.wait_for(100);
            }
            clients.stop();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("a client that has not panicked"))
                .map(|lost| lost.problem)
                .collect()
        });
        assert_eq!(failures, Vec::<String>::new());
        proxy.assert_no_panic();
    });
}

#[test]
fn a_replacement_under_load_loses_no_connection() {
    if require_root("network namespaces need root") {
        nothing_is_lost(&["handoff"; 4]);
    }
}

#[test]
fn a_replacement_under_load_with_kernel_steering_is_lossless() {
    if require_root("kernel steering: BPF programs and network namespaces need root") {
        nothing_is_lost(&["kernel"; 4]);
    }
}

/// Without the programs, the kernel's own choice includes the catcher of the process that ends.
#[test]
fn a_replacement_in_another_mode_under_load_loses_no_connection() {
    if require_root("kernel steering: BPF programs and network namespaces need root") {
        nothing_is_lost(&["kernel", "handoff", "kernel", "none", "kernel"]);
    }
}

#[test]
fn the_admin_address_moves_while_the_old_process_drains() {
    let mut before = config("handoff").start();
    let mut kept = before.raw("app");
    kept.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n"));
    let next = before.replace(config("handoff"));
    before.wait_for_log("that it is replaced", |line| {
        line["message"] == "another process has replaced this one"
    });
    until("the former process to leave the address", || {
        (0..20).all(|_| next.admin("/readyz").is_some_and(|response| response.status == 200))
    });
    kept.send("\r\n");
    assert_eq!(kept.to_end().response().status, 301);
    assert_eq!(before.wait().code(), Some(0));
    assert_eq!(next.admin("/readyz").map(|response| response.status), Some(200));
}

#[test]
fn an_address_that_the_next_process_does_not_have_is_warned_of() {
    let port = portcullis_tests::ports::free_port();
    let former = format!("127.0.0.1:{port}");
    let mut before =
        config("handoff").addresses(&["127.0.0.1:{port}", "[::1]:{port}", &former]).start();
    let next = before.replace(config("handoff"));
    let line = next.wait_for_log("the warning", |line| {
        line["message"].as_str().is_some_and(|it| it.starts_with("the process that is replaced"))
    });
    assert_eq!((line["level"].as_str(), line["address"].as_str()), (Some("warn"), Some(&*former)));
    assert_eq!(before.wait().code(), Some(0));
    // With the same addresses nothing is said.
    let last = next.replace(config("handoff"));
    let is_said = |line: &Value| {
        line["message"].as_str().is_some_and(|it| it.starts_with("the process that is replaced"))
    };
    assert!(!last.log().iter().any(is_said));
}

#[test]
fn what_is_no_portcullis_is_not_replaced() {
    let this = std::process::id().to_string();
    let path = std::path::Path::new("/nowhere");
    let done = portcullis(&[], &["run", "--replace", &this, "--config"], Some(path));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains(&this), "{done:?}");
}

#[test]
fn a_process_starts_in_the_place_of_one_that_has_ended() {
    let mut before = config("handoff").start();
    before.signal(Signal::KILL);
    before.wait();
    let next = before.replace(config("handoff"));
    next.wait_for_log("what it found", |line| {
        line["message"] == "the process to replace has ended: this one starts in its place"
    });
}

/// Replaces a process whose runtime directory is `directory`. Returns how it was notified.
fn told_by(directory: &str) -> String {
    let config = || config("handoff").env("RUNTIME_DIRECTORY", directory);
    let mut before = config().start();
    let _next = before.replace(config());
    let line = before.wait_for_log("that it is replaced", |line| {
        line["message"] == "another process has replaced this one"
    });
    assert_eq!(before.wait().code(), Some(0));
    line["told_by"].as_str().expect("a text").to_owned()
}

#[test]
fn a_predecessor_is_told_by_its_socket_or_else_by_signal() {
    let dir = TempDir::new("runtime");
    assert_eq!(told_by(&dir.path().join("portcullis").display().to_string()), "socket");
    // The directory is a file: the process runs nevertheless.
    let file = dir.write("file", "");
    assert_eq!(told_by(&file.display().to_string()), "signal");
}

#[test]
fn without_a_runtime_directory_it_runs_with_a_warning() {
    let dir = TempDir::new("runtime");
    let file = dir.write("file", "").display().to_string();
    let proxy = config("handoff").env("RUNTIME_DIRECTORY", &file).start();
    let is_said = |line: &Value| {
        let text = line.to_string();
        line["level"] == "warn" && text.contains("--replace") && text.contains(&file)
    };
    proxy.wait_for_log("what it costs", is_said);
    assert_eq!(proxy.log().iter().filter(|line| is_said(line)).count(), 1);
}

#[test]
fn a_socket_is_removed_at_exit_or_by_the_next_process() {
    let dir = TempDir::new("runtime");
    let sockets_of = dir.path().join("portcullis");
    let config = || config("handoff").env("RUNTIME_DIRECTORY", &sockets_of.display().to_string());
    let is_socket = |entry: &std::fs::DirEntry| {
        entry.path().extension().is_some_and(|extension| extension == "sock")
    };
    let sockets = || {
        let entries = std::fs::read_dir(&sockets_of).into_iter().flatten().flatten();
        entries.filter(is_socket).count()
    };
    let mut proxy = config().start();
    until("its socket", || sockets() == 1);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(sockets(), 0);
    drop(config().start());
    assert_eq!(sockets(), 1, "a killed process leaves its socket");
    let _next = config().start();
    until("only the living one's socket", || sockets() == 1);
}
