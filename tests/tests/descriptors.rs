//! The limit on open files, and what becomes of a process that is short of them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use portcullis::facade::steering::raise_descriptor_limit;
use portcullis_tests::{
    Backend, Proxy, Raw,
    http2::ask_for_all,
    proxy::Config,
    wait::{eventually, until},
};

const HOST: &str = "app.localhost.pomerium.io";
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
fn a_request_beyond_the_share_of_upstreams_is_refused_in_time() {
    let answers = Arc::new(AtomicBool::new(false));
    let (slow, quick) = (reluctant(&answers), Backend::text("x"));
    let config = Proxy::config().own("workers", "1").forward("app", &quick.url(), "").forward(
        "slow",
        &slow.url(),
        "timeout: 60s",
    );
    let proxy = with_few_files(config).start();
    let share = share(&proxy, "upstreams");
    // One connection of a browser or two: each stream takes a connection to the upstream.
    let stop = AtomicBool::new(false);
    let flood = || ask_for_all(proxy.address(), "slow.localhost.pomerium.io", 50, &stop);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        until("the share to be in use", || slow.open() >= share);
        let began = Instant::now();
        let refused = proxy.curl("app", "/").run();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
        let record = eventually("the record of the refusal", || {
            proxy.log().into_iter().find(|line| {
                line["response-code"] == 503 && line["authority"].as_str() == Some(HOST)
            })
        });
        let details = record["response-code-details"].as_str().unwrap_or_default();
        assert!(details.contains("overflow|") && details.contains("open files"), "{record}");
        assert!(
            proxy.metrics().sum("portcullis_upstream_failures_total", &[("reason", "overflow")])
                >= 1.0
        );
        assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
        assert!(slow.open() + quick.open() <= share, "{} connections", slow.open());
        assert!(open_files(&proxy) < 256);
        answers.store(true, SeqCst);
        until("a request to be served again", || proxy.curl("app", "/").run().status == 200);
        stop.store(true, SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("a client"));
    });
    proxy.assert_no_panic();
}
