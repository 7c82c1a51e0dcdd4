//! Changes while the proxy serves.

use std::{
    io::ErrorKind,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use portcullis_tests::{
    Backend, Load, Proxy, Raw,
    proxy::{Config, portcullis},
    raw::TlsOptions,
    steering::{explain, first_choice, outcome, per_worker},
    wait::until,
    wire::End,
};
use rustix::process::Signal;

use crate::stand::{ask, config, host, in_network, outcomes, visit, worker_of};

fn reload(proxy: &mut Proxy, config: Config) {
    let generation = |proxy: &Proxy| proxy.metrics().sum("portcullis_config_generation", &[]);
    let before = generation(proxy);
    proxy.rewrite(config);
    until("the reload", || generation(proxy) > before);
}

#[test]
fn a_reload_moves_kernel_names_but_not_open_connections() {
    in_network(|_| {
        let pinned = |worker: usize| format!("pin: {{{}: [{worker}]}}", host(0));
        let mut proxy = config(1, &pinned(1)).start();
        let mut kept = visit(proxy.address(), &host(0), "/before");
        assert_eq!(worker_of(&proxy, "/before"), 1);
        reload(&mut proxy, config(2, &pinned(3)));
        drop(visit(proxy.address(), &host(0), "/after"));
        assert_eq!(worker_of(&proxy, "/after"), 3);
        ask(&mut kept, &host(0), "/kept");
        assert_eq!(worker_of(&proxy, "/kept"), 1);
        drop(visit(proxy.address(), &host(1), "/new"));
        assert_eq!(worker_of(&proxy, "/new"), first_choice(&proxy, &host(1)));
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 3.0)]);
        // A removed name is a name without a route.
        reload(&mut proxy, config(1, &pinned(3)));
        drop(Raw::tls(proxy.address(), &host(1)));
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 3.0), ("unknown", 1.0)]);
        proxy.assert_no_panic();
    });
}

#[test]
fn a_reload_changes_the_bound_in_the_kernel() {
    in_network(|_| {
        let mut proxy = config(1, "max_load_percent: 1000").start();
        let connect = |proxy: &Proxy, count| -> Vec<Raw> {
            (0..count).map(|_| Raw::tls(proxy.address(), &host(0))).collect()
        };
        let home = first_choice(&proxy, &host(0));
        let open = |proxy: &Proxy| per_worker(&proxy.metrics(), "portcullis_connections_active");
        let first = connect(&proxy, 120);
        assert_eq!(open(&proxy)[home], 120.0);
        reload(&mut proxy, config(1, "max_load_percent: 120"));
        let second = connect(&proxy, 60);
        let now = open(&proxy);
        // 1.2 times a mean of 45, and the slack of 64, are less than 120.
        assert_eq!((now[home], now.iter().sum()), (120.0, 180.0), "{now:?}");
        assert!(outcome(&proxy.metrics(), "spilled") >= 60.0);
        drop((first, second));
    });
}

#[test]
fn a_reload_under_load_loses_no_connection() {
    in_network(|_| {
        let backend = Backend::text("x");
        let with = |n: usize| {
            (0..8).fold(config(0, &format!("max_load_percent: {}", 110 + n)), |config, host| {
                config.forward(&format!("h{host}"), &backend.url(), "")
            })
        };
        let mut proxy = with(0).start();
        let load = Load::start(&proxy, "h0", 6);
        load.wait_for(100);
        for n in 1..6 {
            reload(&mut proxy, with(n));
            load.wait_for(100);
        }
        load.finish();
        proxy.assert_no_panic();
    });
}

#[test]
fn a_worker_that_is_drained_takes_no_more_and_loses_nothing() {
    in_network(|_| {
        let backend = Backend::text("x");
        let proxy = config(0, "").forward("h0", &backend.url(), "").start();
        let home = first_choice(&proxy, &host(0));
        let (id, address) = (home.to_string(), proxy.admin_address().to_string());
        let order = |more: &[&str]| {
            let args = [&["drain", "--worker", &id, "--address", &address], more].concat();
            let done = portcullis(&[], &args, None);
            assert_eq!(done.code, Some(0), "{done:?}");
        };
        let load = Load::start(&proxy, "h0", 6);
        load.wait_for(100);
        for _ in 0..3 {
            order(&[]);
            assert_ne!(explain(&proxy, &host(0))["worker"], home);
            load.wait_for(200);
            order(&["--undo"]);
            until("the worker to be chosen again", || {
                explain(&proxy, &host(0))["order"][0]["available"] == true
            });
            load.wait_for(100);
        }
        order(&[]);
        load.wait_for(100);
        load.finish();
        let active = [("worker", id.as_str())];
        proxy.wait_for_metric("portcullis_connections_active", &active, |open| open == 0.0);
        let accepted = "portcullis_connections_accepted_total";
        let before = proxy.metrics().sum(accepted, &active);
        let held: Vec<_> = (0..20).map(|_| Raw::tls(proxy.address(), &host(0))).collect();
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum(accepted, &active), before, "the kernel passes it over");
        assert!(outcome(&metrics, "worker_unavailable") >= 20.0, "{:?}", outcomes(&metrics));
        drop(held);
        proxy.assert_no_panic();
    });
}

/// Connects repeatedly until connections are refused. Returns errors of those before that.
fn until_refused(proxy: &Proxy, n: usize, served: &AtomicUsize) -> Vec<End> {
    let config = TlsOptions::name("resumed").alpn("http/1.1").config();
    let (mut failures, host) = (Vec::new(), host(n));
    loop {
        let tcp = match TcpStream::connect(proxy.address()) {
            Ok(tcp) => tcp,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return failures,
            Err(error) => panic!("{error}"),
        };
        match Raw::over(tcp).start_tls_with(&host, &config) {
            Err(end) => failures.push(end),
            Ok(mut raw) => {
                raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
                let answer = raw.to_end();
                match answer.end {
                    End::Clean if answer.response().status == 301 => {
                        served.fetch_add(1, SeqCst);
                    }
                    end => failures.push(end),
                }
            }
        }
    }
}

#[test]
fn stopping_under_load_loses_no_connection_that_was_not_refused() {
    in_network(|_| {
        let mut proxy = config(8, "").own("drain_timeout", "30s").start();
        let served = AtomicUsize::new(0);
        let failures: Vec<End> = std::thread::scope(|scope| {
            let (served, running) = (&served, &proxy);
            let client = |n| scope.spawn(move || until_refused(running, n, served));
            let clients: Vec<_> = (0..8).map(client).collect();
            until("load", || served.load(SeqCst) > 200);
            proxy.signal(Signal::TERM);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(failures, []);
        assert_eq!(proxy.wait().code(), Some(0));
        proxy.assert_no_panic();
    });
}

/// User space does not know these connections yet; data they send within a second is read.
#[test]
fn clients_without_a_hello_yet_are_served_during_a_drain() {
    in_network(|_| {
        let mut proxy = config(8, "").own("drain_timeout", "30s").start();
        let silent: Vec<_> = (0..8).map(|n| (host(n), Raw::tcp(proxy.address()))).collect();
        proxy.signal(Signal::TERM);
        until("new connections to be refused", || TcpStream::connect(proxy.address()).is_err());
        std::thread::scope(|scope| {
            for (host, raw) in silent {
                scope.spawn(move || {
                    let mut raw = raw.start_tls(&host).unwrap_or_else(|end| panic!("{end:?}"));
                    raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                    let answer = raw.to_end();
                    let status = answer.response().status;
                    assert_eq!((&answer.end, status), (&End::Clean, 301), "{answer:?}");
                });
            }
        });
        assert_eq!(proxy.wait().code(), Some(0));
        proxy.assert_no_panic();
    });
}

/// The programs stay with the address as long as a socket listens there.
#[test]
fn programs_of_a_former_process_are_detached_in_every_mode() {
    in_network(|network| {
        let mut before = config(1, "unknown_sni: refuse").start();
        let unknown = TlsOptions::name("nobody.localhost.pomerium.io");
        assert_eq!(Raw::try_tls(before.address(), &unknown).err(), Some(End::Reset));
        let after = before.start_beside(config(1, "").own("steering", "{mode: handoff}"));
        before.signal(Signal::TERM);
        assert_eq!(before.wait().code(), Some(0));
        assert!(Raw::try_tls(after.address(), &unknown).is_ok());
        drop(visit(after.address(), &host(0), "/"));
        network.sysctl("ipv4/tcp_syncookies", "1");
        drop(visit(after.address(), &host(0), "/"));
    });
}
