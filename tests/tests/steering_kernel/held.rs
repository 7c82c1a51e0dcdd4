//! The connections of our own that keep the catchers' queues full: what happens when they are gone or
//! cannot be made.

use std::{fs, net::SocketAddr, process::Command, thread};

use portcullis_tests::{
    Backend, Load, Proxy, Raw,
    process::run,
    steering::outcome,
    tools::{need, python},
    wait::until,
};
use rustix::process::Signal;

use crate::stand::{ask, config, held, host, in_network, visit};

const LOST: &str = "portcullis_steering_held_connections_lost_total";

fn mode(proxy: &Proxy) -> String {
    proxy.status()["steering"]["mode"].as_str().expect("a mode").to_owned()
}

fn reason(proxy: &Proxy) -> String {
    proxy.status()["steering"]["reason"].as_str().expect("a reason").to_owned()
}

/// Ends all requests that wait at the proxy, as the kernel does for want of memory.
fn kill_held(proxy: &Proxy) {
    let port = format!(":{}", proxy.address().port());
    let kill = ["-K", "state", "syn-recv", "sport", "=", &port];
    let done = run(Command::new(need("ss")).args(kill), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// The number of sockets of the network with this filter.
fn sockets(filter: &str) -> usize {
    let shown = run(Command::new(need("ss")).arg("-tanH").args(filter.split(' ')), b"");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    shown.stdout.lines().count()
}

#[test]
fn held_connections_that_are_killed_are_counted_and_made_again() {
    in_network(|_| {
        let backend = Backend::text("x");
        let proxy = config(0, "").forward("h0", &backend.url(), "").start();
        let (load, all) = (Load::start(&proxy, "h0", 4), held(&proxy));
        for _ in 0..3 {
            let before = proxy.metrics().sum(LOST, &[]);
            kill_held(&proxy);
            proxy.wait_for_metric(LOST, &[], |now| now >= before + all / 4.0);
            until("new ones", || held(&proxy) == all);
            load.wait_for(50);
        }
        load.finish();
        assert_eq!(mode(&proxy), "kernel");
        proxy.assert_no_panic();
    });
}

/// Makes the kernel keep requests at catchers for a second or three, instead of a minute; prints how
/// many catchers there are. A process with these rights may change the sockets of another.
const KEEP_SHORTLY: &str = "
import ctypes, os, socket, sys
PIDFD_GETFD = 438
pid, catchers = int(sys.argv[1]), 0
process = os.pidfd_open(pid)
for name in os.listdir(f'/proc/{pid}/fd'):
    fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, int(name), 0)
    if fd < 0 or not os.readlink(f'/proc/self/fd/{fd}').startswith('socket:'):
        continue
    taken = socket.socket(fileno=fd)
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type != socket.SOCK_STREAM:
        continue
    if taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        if taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT):
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
            catchers += 1
print(catchers)
";

fn keep_shortly(proxy: &Proxy) {
    let id = proxy.id().to_string();
    let done = run(Command::new(python()).args(["-c", KEEP_SHORTLY, &id]), b"");
    // Two handles of each: the catcher's thread and its worker have one.
    let handles: usize = done.stdout.trim().parse().unwrap_or_else(|_| panic!("{done:?}"));
    assert!(handles >= 2, "{handles}");
}

#[test]
fn held_connections_that_expire_are_counted_and_made_again() {
    in_network(|_| {
        let backend = Backend::text("x");
        let proxy = config(0, "").forward("h0", &backend.url(), "").start();
        let (load, all) = (Load::start(&proxy, "h0", 4), held(&proxy));
        keep_shortly(&proxy);
        // All of them twice: new ones are made in between.
        proxy.wait_for_metric(LOST, &[], |lost| lost >= 2.0 * all);
        until("new ones", || held(&proxy) == all);
        load.wait_for(50);
        load.finish();
        assert_eq!(mode(&proxy), "kernel");
        proxy.assert_no_panic();
    });
}

/// As in a freezer, or on a machine that was suspended.
#[test]
fn a_process_that_stood_still_for_longer_serves_and_steers_again() {
    const CLIENTS: usize = 20;
    in_network(|_| {
        let proxy = config(1, "max_load_percent: 1000").start();
        let (all, port) = (held(&proxy), proxy.address().port());
        keep_shortly(&proxy);
        proxy.signal(Signal::STOP);
        let of_server = format!("state syn-recv sport = :{port}");
        until("requests to expire", || sockets(&of_server) == 0);
        thread::scope(|scope| {
            let address: SocketAddr = proxy.address();
            let there = format!("dport = :{port}");
            let before = sockets(&there);
            for n in 0..CLIENTS {
                scope.spawn(move || drop(visit(address, &host(0), &format!("/{n}"))));
            }
            until("clients to connect", || sockets(&there) >= before + CLIENTS);
            proxy.signal(Signal::CONT);
        });
        proxy.wait_for_metric(LOST, &[], |lost| lost >= all);
        until("new ones", || held(&proxy) == all);
        let before = outcome(&proxy.metrics(), "steered");
        drop(visit(proxy.address(), &host(0), "/afterwards"));
        assert_eq!(outcome(&proxy.metrics(), "steered"), before + 1.0);
        proxy.assert_no_panic();
    });
}

/// The limit on open files of a process.
fn file_limit(proxy: &Proxy) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()).expect("a limit").to_owned()
}

fn limit_files(proxy: &Proxy, limit: &str) {
    let (id, limit) = (proxy.id().to_string(), format!("--nofile={limit}:"));
    let done = run(Command::new(need("prlimit")).args(["--pid", &id, &limit]), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn without_descriptors_for_them_connections_are_handed_over() {
    in_network(|_| {
        let proxy = config(1, "").addresses(&["127.0.0.1:{port}"]).start();
        let (all, limit) = (held(&proxy), file_limit(&proxy));
        let mut open: Raw = visit(proxy.address(), &host(0), "/before");
        // Room for half of them.
        limit_files(&proxy, &format!("{}", all / 2.0 + 200.0));
        kill_held(&proxy);
        until("hand-off", || mode(&proxy) == "handoff");
        let reason = reason(&proxy);
        assert!(reason.contains("open files"), "{reason}");
        let visits = |path: &str| {
            for n in 0..20 {
                drop(visit(proxy.address(), &host(0), &format!("/{path}/{n}")));
            }
        };
        visits("without");
        limit_files(&proxy, &limit);
        until("new ones", || mode(&proxy) == "kernel" && held(&proxy) == all);
        visits("with");
        ask(&mut open, &host(0), "/kept");
        assert!(outcome(&proxy.metrics(), "steered") >= 20.0);
        proxy.assert_no_panic();
    });
}
