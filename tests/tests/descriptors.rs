//! The limit on open files, and what becomes of a process that is short of them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use portcullis::facade::steering::raise_descriptor_limit;
use portcullis_tests::{
    Backend, Proxy, Raw,
    http2::ask_for_all,
    proxy::Config,
    wait::{eventually, until},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";

/// With at most 256 open files.
fn with_few_files(config: Config) -> Config {
    // This process holds the other ends of all connections.
    raise_descriptor_limit();
    config.started_by(&["prlimit", "--nofile=256:256"])
}

/// How many files the proxy has open.
fn open_files(proxy: &Proxy) -> usize {
    let directory = format!("/proc/{}/fd", proxy.status()["pid"]);
    std::fs::read_dir(Path::new(&directory)).expect("its descriptors").count()
}

fn share(proxy: &Proxy, share: &str) -> usize {
    proxy.status()["descriptors"][share].as_u64().expect("a number") as usize
}

#[test]
fn the_shares_are_logged_and_are_in_status_and_metrics() {
    let backend = Backend::text("x");
    let proxy = with_few_files(Proxy::config().forward("app", &backend.url(), "")).start();
    let line = proxy.wait_for_log("the shares", |line| {
        line["message"].as_str().is_some_and(|message| message.starts_with("open files"))
    });
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("portcullis_descriptor_limit", &[]), 256.0);
    for name in ["clients", "upstreams", "reserved"] {
        let shown = share(&proxy, name);
        assert_eq!(line[name], shown, "{line}");
        let metric = metrics.sum("portcullis_descriptor_share", &[("share", name)]);
        assert_eq!(metric as usize, shown, "{name}");
    }
    // What the process has open without a client must fit into what is kept for it.
    let (open, reserved) = (open_files(&proxy), share(&proxy, "reserved"));
    assert!(open + 32 <= reserved, "{open} files are open, and {reserved} are reserved");
}

#[test]
fn a_max_connections_beyond_the_limit_is_a_warning_with_the_command() {
    let backend = Backend::text("x");
    let config = || Proxy::config().forward("app", &backend.url(), "");
    let mut proxy = with_few_files(config()).own("max_connections", "1000").start();
    let is_said = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "warn"
            && message.contains("portcullis.max_connections is 1000")
            && message.contains("`ulimit -n ")
    };
    proxy.wait_for_log("the warning", is_said);
    // So says a reload.
    let next = proxy.current().own("max_connections", "2000");
    proxy.rewrite(next);
    proxy.wait_for_log("the warning of the reload", |line| {
        line["message"].as_str().is_some_and(|m| m.contains("portcullis.max_connections is 2000"))
    });
    let silent = with_few_files(config()).start();
    assert!(
        !silent
            .log()
            .iter()
            .any(|line| line["level"] == "warn" && line.to_string().contains("max_connections"))
    );
}

#[test]
fn a_limit_that_serves_nobody_ends_the_start_with_the_command() {
    let backend = Backend::text("x");
    let config = Proxy::config().forward("app", &backend.url(), "");
    let refused = config.started_by(&["prlimit", "--nofile=64:64"]).refused();
    assert!(refused.stderr.contains("LimitNOFILE="), "{refused:?}");
}

#[test]
fn three_hundred_silent_clients_cut_nobody_off() {
    let backend = Backend::text("x");
    let mut proxy = with_few_files(Proxy::config().forward("app", &backend.url(), "")).start();
    let mut connected = proxy.raw("app");
    let mut ask = || {
        connected.send(GET);
        connected.response().status
    };
    assert_eq!(ask(), 200);
    let silent: Vec<_> = (0..300).map(|_| Raw::tcp(proxy.address())).collect();
    let admin: Vec<_> = (0..100).map(|_| Raw::tcp(proxy.admin_address())).collect();
    for _ in 0..10 {
        assert_eq!(ask(), 200, "a connected client");
        assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
        assert!(proxy.metrics().has("portcullis_build_info"));
    }
    assert_eq!(proxy.curl("app", "/").run().status, 200, "a new client");
    let other = Backend::text("y");
    proxy.rewrite(proxy.current().forward("other", &other.url(), ""));
    until("a reload to be applied", || proxy.curl("other", "/").run().text() == "y");
    assert!(open_files(&proxy) < 256);
    drop((silent, admin));
    assert!(!proxy.output().iter().any(|line| line.contains("Too many open files")));
    proxy.assert_no_panic();
}

#[test]
fn a_thousand_clients_of_a_process_with_200_files_blind_nobody() {
    let backend = Backend::text("x");
    raise_descriptor_limit();
    let limited = ["prlimit", "--nofile=200:200"];
    let config = Proxy::config().own("workers", "1").forward("app", &backend.url(), "");
    let mut proxy = config.started_by(&limited).start();
    let attack: Vec<_> = (0..1000).map(|_| Raw::tcp(proxy.address())).collect();
    for _ in 0..10 {
        assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
        assert!(proxy.metrics().has("portcullis_build_info"));
    }
    let other = Backend::text("y");
    proxy.rewrite(proxy.current().forward("other", &other.url(), ""));
    proxy.wait_for_log("the reload", |line| line["message"] == "configuration reloaded");
    until("the new route to be served", || proxy.curl("other", "/").run().text() == "y");
    assert!(open_files(&proxy) < 200);
    assert!(!proxy.output().iter().any(|line| line.contains("Too many open files")));
    drop(attack);
    proxy.assert_no_panic();
}

/// A backend that answers no request before the flag is set.
fn reluctant(answers: &Arc<AtomicBool>) -> Backend {
    let answers = Arc::clone(answers);
    Backend::plain(move |conn| {
        while conn.request().is_some() {
            while !answers.load(SeqCst) {
                thread::sleep(Duration::from_millis(5)); // as the flag has no waiter
            }
            conn.respond(200, "late");
        }
    })
}

#[test]
fn an_upstream_that_never_answers_leaves_room_for_others() {
    let answers = Arc::new(AtomicBool::new(false));
    let (slow, quick) = (reluctant(&answers), Backend::text("x"));
    raise_descriptor_limit();
    let proxy = Proxy::config()
        .own("workers", "1")
        .forward("app", &quick.url(), "")
        .forward("slow", &slow.url(), "timeout: 60s")
        .started_by(&["prlimit", "--nofile=1024:1024"])
        .start();
    let share = share(&proxy, "upstreams");
    let before = proxy.resident_kib();
    let stop = AtomicBool::new(false);
    // A hundred streams on each of 50 connections, all from one client.
    let flood = || ask_for_all(proxy.address(), "slow.localhost.pomerium.io", 100, &stop);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(flood)).collect();
        until("the upstream to have most of the share", || slow.open() >= share * 3 / 4);
        for _ in 0..20 {
            assert_eq!(proxy.curl("app", "/").ok().text(), "x", "another route");
            assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
        }
        assert!(slow.open() < share, "{} of {share}", slow.open());
        let record = eventually("the record of a refusal", || {
            proxy
                .log()
                .into_iter()
                .find(|line| line["response-code-details"].to_string().contains("overflow|"))
        });
        assert!(record["response-code-details"].to_string().contains("open files"), "{record}");
        let open_files_limit = [("limit", "open_files")];
        assert!(proxy.metrics().sum("portcullis_circuit_open_total", &open_files_limit) >= 1.0);
        assert!(open_files(&proxy) < 1024);
        let grown = proxy.peak_resident_kib().saturating_sub(before);
        assert!(grown < 128 * 1024, "memory grew by {grown} KiB");
        answers.store(true, SeqCst);
        stop.store(true, SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("a client"));
    });
    until("the slow route to be served", || proxy.curl("slow", "/").run().status == 200);
    assert!(!proxy.output().iter().any(|line| line.contains("Too many open files")));
    proxy.assert_no_panic();
}
